"""Typed recipes: YAML plus `--set key=value`, unknown keys refused, hashed into every output."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from pipeline.recipe_errors import explain
from pipeline.records import SCHEMA_VERSION
from pipeline.yaml_text import RepeatedKeyError, YamlError, read_yaml

TRACED_PACKAGES = (
    "webperson",
    "torch",
    "torchvision",
    "open_clip_torch",
    "pyarrow",
    "pillow",
    "numpy",
    "ray",
    "img2dataset",
    "ultralytics-opencv-headless",
    "vllm",
    "transformers",
)
"""Packages whose version can change a result."""


def operational(default: Any, **limits: Any) -> Any:
    """A setting that changes how work is done but not its result (pool sizes, addresses, time-outs).

    default: `...` for none. limits: as pydantic's Field takes them, such as `gt=0`.
    """
    return Field(default=default, json_schema_extra={"operational": True}, **limits)


class RecipeError(ValueError):
    """A recipe that cannot be used; the message is one line naming file and key."""


class Section(BaseModel):
    """A part of a recipe. Frozen; unknown keys are errors; every field has a description."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # it may hold a secret
    )

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: ValidationInfo) -> Any:
        """A section that is left blank is the default one; true and false are no numbers."""
        field = cls.model_fields[str(info.field_name)]
        if value is None and _is_section(field.annotation):
            return {} if field.is_required() else field.get_default(call_default_factory=True)
        values = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(each, bool) for each in values) and not _takes_bool(field.annotation):
            raise ValueError("takes no true or false, as YAML also reads yes, no, on and off")
        return value

    def result_settings(self) -> dict[str, Any]:
        """The settings that change results: all but the operational ones, nested sections included."""
        settings: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get("operational"):
                continue
            value = getattr(self, name)
            settings[name] = value.result_settings() if isinstance(value, Section) else _plain(value)
        return settings

    def fingerprint(self, *inputs: str) -> str:
        """Hash of the settings that change results and of the inputs' fingerprints, 12 hex digits."""
        return fingerprint(self.result_settings(), *inputs)


R = TypeVar("R", bound=Section)


def fingerprint(*parts: object) -> str:
    """Stable hash of JSON-like parts, 12 hex digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_recipe(
    schema: type[R], name: str, overrides: Iterable[str] = (), others: frozenset[str] = frozenset()
) -> R:
    """Read a recipe by path, or by the name of a packaged one, and apply `key.path=value` overrides.

    others: top-level sections that another schema types; they are left to it.
    Raises RecipeError in one line: file and key; for an unknown key the nearest known one.
    """
    tree, changed = _read_yaml(name), []
    for override in overrides:
        changed.append(_apply(tree, override))
    mine = {key: value for key, value in tree.items() if key not in others}
    return parse_recipe(schema, mine, name, changed)


def parse_recipe(schema: type[R], tree: Mapping[str, Any], source: str, changed: Iterable[str] = ()) -> R:
    """Validate a tree of settings; `source` names it in errors. changed: keys that are not the source's."""
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        said = explain(schema, error)
        key = said.split()[0].rstrip(":")
        by_hand = any(f"{key}.".startswith(f"{each}.") for each in changed)
        raise RecipeError(f"--set {said}" if by_hand else f"{source}: {said}") from None


def _read_yaml(name: str) -> dict[str, Any]:
    path: Path | Traversable = Path(name)
    if not path.is_file():
        packaged = name.removeprefix("recipes/").removesuffix(".yaml")
        if packaged not in packaged_recipes():
            raise RecipeError(f"{name}: no such recipe (packaged ones: {', '.join(packaged_recipes())})")
        path = resources.files("recipes") / f"{packaged}.yaml"
    try:
        tree = read_yaml(path.read_text(encoding="utf-8"))
    except RepeatedKeyError as error:
        raise RecipeError(f"{name}: {error}") from None
    except (YamlError, UnicodeDecodeError) as error:
        raise RecipeError(f"{name}: not YAML: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise RecipeError(f"{name}: a recipe is a mapping of settings, not a {type(tree).__name__}")
    return tree


def packaged_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(f.name[:-5] for f in resources.files("recipes").iterdir() if f.name.endswith(".yaml"))


def _apply(tree: dict[str, Any], override: str) -> str:
    """Returns the key that it changes."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise RecipeError(f"--set {override}: expected key=value, such as gates.score_min=0.8")
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        below = {} if tree.get(parent) is None else tree[parent]  # absent, or present and empty
        if not isinstance(below, dict):
            raise RecipeError(f"--set {override}: {parent} is a value, not a section")
        tree[parent] = dict(below)  # its own: YAML's anchor and alias are one object
        tree = tree[parent]
    try:
        tree[leaf] = read_yaml(text)
    except RepeatedKeyError as error:
        raise RecipeError(f"--set {override}: {error}") from None
    except YamlError:
        if text.lstrip().startswith(("{", "[")):
            raise RecipeError(f"--set {override}: not YAML; put a text in quotes") from None
        tree[leaf] = text
    return key.strip()


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _takes_bool(annotation: Any) -> bool:
    """Whether true and false are of a type, or of one that it holds: bool, Any, a Literal with them."""
    known = annotation is bool or annotation is Any or isinstance(annotation, bool)
    return known or any(map(_takes_bool, get_args(annotation)))


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=_encode))


def _encode(value: Any) -> Any:
    return value.result_settings() if isinstance(value, Section) else str(value)


def trace(recipe: Section) -> dict[str, Any]:
    """What every output carries: the resolved recipe, its hash, package versions, source revision."""
    return {
        "schema_version": SCHEMA_VERSION,
        "recipe": _plain(recipe.model_dump(mode="json")),
        "recipe_hash": recipe.fingerprint(),
        "packages": {name: version(name) for name in TRACED_PACKAGES if _installed(name)},
        "source_revision": source_revision(),
    }


def source_revision() -> str:
    """The commit that runs: from the environment, else from git, else `unknown`."""
    given = os.environ.get("WEBPERSON_REVISION")
    if given:
        return given
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return "unknown"
    try:
        described = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
