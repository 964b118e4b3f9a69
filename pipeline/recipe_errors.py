"""What is wrong with a recipe: one line, in the words of whoever writes recipes."""

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

WORDS = {
    "missing": "missing",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "dict_type": "expected a mapping",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "int_from_float": "expected a whole number",
    "int_parsing": "expected a whole number in digits",  # YAML reads 1e3 as a text
    "int_type": "expected a whole number",
    "invalid_key": "a key is a text; put it in quotes",
    "path_type": "expected a path",
    "string_type": "expected a text; put it in quotes",
}
"""Pydantic's kinds of errors that speak of its types; the other messages stay as they are."""

_SHOWN = 6
"""Known keys that are listed when none is like the one given."""


def explain(schema: type[BaseModel], error: ValidationError) -> str:
    """The first error: its key, and what was expected there. A value is never told, it may be a secret."""
    # An unknown key may be the missing one, misspelt.
    first = min(error.errors(include_url=False), key=lambda found: found["type"] == "missing")
    location, kind = first["loc"], first["type"]
    if kind == "extra_forbidden":
        names, section, _ = _walk(schema, location[:-1])
        name = str(location[-1])
        return f"{'.'.join([*names, name])}: unknown key; {_hint(schema, section, name)}"
    names, section, field = _walk(schema, location)
    words = first["msg"].removeprefix("Value error, ")
    if kind == "model_type":
        words = f"expected settings, such as {_settings_like(section)}"
    elif kind == "tuple_type" and field is not None:
        words = f"expected a list, such as {_list_like(field)}"
    words = WORDS.get(kind, words)
    return f"{'.'.join(names)}: {words}" if names else words


def section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation is, or holds: optional, or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for found in map(section_in, get_args(annotation)) if found), None)


def _walk(
    schema: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[list[str], type[BaseModel], FieldInfo | None]:
    """The names on the way to a setting, the innermost section, and the setting's field."""
    names: list[str] = []
    section, field, inside = schema, None, True
    for part in location:
        found = section.model_fields.get(part) if inside and isinstance(part, str) else None
        if found is not None:
            field, nested = found, section_in(found.annotation)
            section, inside = nested or section, nested is not None
        elif isinstance(part, str):
            continue  # pydantic's name for a branch of a union
        names.append(str(part))
    return names, section, field


def _hint(schema: type[BaseModel], section: type[BaseModel], name: str) -> str:
    known = list(section.model_fields)
    elsewhere = (path for path in _paths(schema) if path.split(".")[-1] == name)
    near = next(elsewhere, None) or next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.5)), None)
    if near:
        return f"did you mean {near}?"
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"known are {', '.join(known[:_SHOWN])}{more}"


def _paths(schema: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted names of all settings."""
    for name, field in schema.model_fields.items():
        yield f"{prefix}{name}"
        if nested := section_in(field.annotation):
            yield from _paths(nested, f"{prefix}{name}.")


def _settings_like(section: type[BaseModel]) -> str:
    return f"{{{next(iter(section.model_fields))}: …}}"


def _list_like(field: FieldInfo) -> str:
    if nested := section_in(field.annotation):
        return f"[{_settings_like(nested)}]"
    usual = field.default if isinstance(field.default, tuple) else ()
    return f"[{', '.join(map(str, usual or ('a', 'b')))}]"
