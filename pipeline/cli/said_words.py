"""What captions say of the made world's people: each colour and garment right, wrong or unsaid."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.cli.matching import Shown, both
from pipeline.templates import Template
from world.people import ATTRIBUTES

COLOURLESS = frozenset({"jpeg_grey"})
"""Forms of a picture that have lost its colours."""


@dataclass(frozen=True)
class Said:
    """What captions say of one attribute, over the persons that have captions."""

    right: int = 0
    wrong: int = 0
    unsaid: int = 0

    def __str__(self) -> str:
        return f"right {self.right}, wrong {self.wrong}, unsaid {self.unsaid}"


def words(
    shown: Iterable[Shown], captions: Mapping[str, Sequence[tuple[str, str]]], templates: Iterable[Template]
) -> dict[str, Said]:
    """What the captions of kept persons say of colours and garments, held against the truth.

    captions: by person, text and template id. A colour is what stands in its template's place; of a striped
    or checked garment either colour is right. A garment is named by a word of the world's own list.
    Raises ValueError for a caption that is not of its template.
    """
    known = {template.id: template for template in templates}
    said: dict[str, list[bool | None]] = {"upper colour": [], "lower colour": [], "garments": []}
    for picture in shown:
        for truth, measured in both(picture.pairs):
            texts = captions.get(measured.key)
            if texts and picture.entry.kind not in COLOURLESS:
                colours = [said_colours(text, known[template]) for text, template in texts]
                upper = {truth.upper_colour, truth.pattern_colour or truth.upper_colour}
                said["upper colour"].append(_right((top for top, _ in colours), upper))
                said["lower colour"].append(_right((bottom for _, bottom in colours), {truth.lower_colour}))
                worn = {truth.upper, truth.lower}
                said["garments"].append(_right((g for text, _ in texts for g in _garments(text)), worn))
    return {name: Said(v.count(True), v.count(False), v.count(None)) for name, v in said.items()}


def said_colours(text: str, template: Template) -> tuple[str | None, str | None]:
    """Colours of the upper and of the lower clothing in a caption of the stand-in; None where unsaid.

    Raises ValueError if the text does not follow the template.
    """
    pieces = re.split(r"\[([^\[\]]*)\]", template.text)
    # An article before a place agrees with what was put there.
    pattern = "".join(
        _SLOTS.get(piece, ".+?")
        if place % 2
        else re.sub(r"\b(a)\\ $", r"\1n?\\ ", re.escape(piece), flags=re.I)
        for place, piece in enumerate(pieces)
    )
    found = re.fullmatch(pattern, text, re.IGNORECASE)
    if found is None:
        raise ValueError(f"caption {text!r} does not follow its template {template.id}")
    groups = {name: colour.lower() for name, colour in found.groupdict().items()}
    return groups.get("upper"), groups.get("lower")


# A colour as the stand-in writes it (curation/attributes.py).
_SLOTS = {
    "top color": r"(?P<upper>\w+)",
    "colored top": r"an? (?P<upper>\w+) top",
    "bottom color": r"(?P<lower>\w+)",
    "colored bottom": r"(?P<lower>\w+) bottoms",
}
_NAMES = (*ATTRIBUTES["upper"], *ATTRIBUTES["lower"])
_GARMENT = re.compile(rf"\b(?:{'|'.join(map(re.escape, _NAMES))})\b", re.IGNORECASE)


def _garments(text: str) -> list[str]:
    return [name.lower() for name in _GARMENT.findall(text)]


def _right(said: Iterable[str | None], true: set[str]) -> bool | None:
    """None if nothing is said, else whether all that is said is true."""
    values = [value for value in said if value is not None]
    return all(value in true for value in values) if values else None
