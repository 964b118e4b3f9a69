"""A recipe with a setting of every kind, for the tests of recipes."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, PositiveInt

from pipeline.recipe import RecipeError, Section, load_recipe, operational


class Leaf(Section):
    """The innermost section."""

    colour: str = "red"
    """A result."""
    workers: PositiveInt = operational(1)
    """How, not what."""


class Middle(Section):
    """A section with sections."""

    leaf: Leaf = Leaf()
    """Nested."""
    maybe: Leaf | None = None
    """Optional."""
    annotated: Annotated[Leaf, Field(description="x")] = Leaf()
    """Annotated."""


class Whole(Section):
    """A recipe."""

    seed: int = 0
    """A result."""
    share: float = 0.5
    """A result."""
    names: tuple[str, ...] = ()
    """A result."""
    middle: Middle = Middle()
    """Nested."""
    leaves: tuple[Leaf, ...] = ()
    """Sections in a list."""
    pool: Leaf = operational(Leaf(workers=2))
    """A whole section that changes no result."""
    limit: Annotated[int, Field(ge=0)] | None = None
    """Optional."""
    pair: tuple[int, float] = (80, 0.5)
    """A list of fixed length."""
    either: tuple[str, ...] | str = ()
    """A list or a text."""
    times: Literal[1, 2] = 1
    """One of few numbers."""
    flag: bool = False
    """True or false."""
    flags: tuple[bool, ...] | None = None
    """Many of them."""
    free: dict[str, Any] = Field(default={})
    """Anything, by name."""
    anything: Any = None
    """Anything."""


def recipe_file(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def error_of(name: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(Whole, name, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message
