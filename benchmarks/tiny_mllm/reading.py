"""Captions in one sentence form, read back and compared with the truth."""

from collections.abc import Mapping, Sequence
from math import sqrt

from benchmarks.tiny_mllm.data import Captions, Person
from pipeline.templates import make_template
from world.people import CLOTH
from world.words import phrases

FORM = make_template("Clad in [colored top], [colored bottom] and [colored shoes], the [person] is [action].")
"""One form of prompts/templates/world.txt for everybody, so that each value stands where it is looked for."""


def right(people: Sequence[Person], captions: Sequence[str]) -> Mapping[str, str]:
    """Share of captions that tell each attribute as it is."""
    told: dict[str, list[bool]] = {}
    for person, caption in zip(people, captions, strict=True):
        for name, is_right in _told(person, caption).items():
            told.setdefault(name, []).append(is_right)
    return {name: share(values) for name, values in told.items()}


def _told(person: Person, caption: str) -> Mapping[str, bool]:
    """The form's places, read from a caption; a caption out of form is wrong everywhere.

    The two colours of a pattern cover as much each, so no order is wrong. `upper_colour`: the one named first
    is a colour of the garment. `upper_colours`: all of its colours are named and no other.
    """
    top, bottom, shoes = _places(caption)
    told, said = person.told, phrases(person.told)
    worn = {told["upper_colour"], told.get("pattern_colour", told["upper_colour"])}
    named = [word for word in top.split() if word in CLOTH]
    return {
        "form": bool(top and bottom and shoes),
        "sex": f" {told['sex']} " in caption,
        "upper_colour": bool(named) and named[0] in worn,
        "upper_colours": set(named) == worn,
        f"upper_colours_{told['pattern']}": set(named) == worn,
        "upper_garment": top.endswith(f" {told['upper']}"),
        "upper": top == _phrase(said["colored top"]),
        "lower_colour": told["lower_colour"] in bottom.split(),
        "lower": bottom == _phrase(said["colored bottom"]),
        "shoe_colour": shoes == told["shoe_colour"],
        "true_whole": caption == Captions().filled(person, FORM),
    }


def _places(caption: str) -> tuple[str, str, str]:
    worn, shod, _ = caption.partition(" shoes, the ")
    top, comma, rest = worn.removeprefix("Clad in ").partition(", ")
    bottom, _, shoes = rest.rpartition(" and ")
    return (top, bottom, shoes) if shod and comma and caption.startswith("Clad in ") else ("", "", "")


def _phrase(words: Sequence[tuple[str, str]]) -> str:
    return " ".join(word for word, _ in words)


def share(values: Sequence[bool]) -> str:
    """Percent and the half width of its 95 % interval."""
    rate = sum(values) / max(1, len(values))
    return f"{100 * rate:.1f} ± {196 * sqrt(rate * (1 - rate) / max(1, len(values))):.1f} %"
