"""What captions say of the made world's people: forms, colours and garments, right, wrong or unsaid."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.cli.matching import Shown, both
from pipeline.templates import Template
from world.people import ATTRIBUTES

COLOURLESS = frozenset({"jpeg_grey"})
"""Forms of a picture that have lost its colours."""
ATTRIBUTES_SAID = ("form", "upper colour", "lower colour", "garments")


@dataclass(frozen=True)
class Said:
    """What captions say of one attribute, over the persons that have captions."""

    right: int = 0
    wrong: int = 0
    unsaid: int = 0

    @property
    def persons(self) -> int:
        """All of them."""
        return self.right + self.wrong + self.unsaid

    def __str__(self) -> str:
        return f"right {self.right}, wrong {self.wrong}, unsaid {self.unsaid}"


def words(
    shown: Iterable[Shown], captions: Mapping[str, Sequence[tuple[str, str]]], templates: Iterable[Template]
) -> dict[str, Said]:
    """What the captions of kept persons say of colours and garments, held against the truth.

    captions: by person, text and template id. The form is right if all of them follow their templates. A
    colour is what stands in a template's place, and unsaid by a caption that does not follow it; of a striped
    or checked garment either colour is right. A garment is named by a word of the world's own list.
    """
    known = {template.id: template for template in templates}
    said: dict[str, list[bool | None]] = {name: [] for name in ATTRIBUTES_SAID}
    for picture in shown:
        for truth, measured in both(picture.pairs):
            texts = captions.get(measured.key)
            if texts and picture.entry.kind not in COLOURLESS:
                read = [said_colours(text, known[template]) for text, template in texts]
                colours = [each for each in read if each]
                said["form"].append(None not in read)
                upper = {truth.upper_colour, truth.pattern_colour or truth.upper_colour}
                said["upper colour"].append(_right((c for each in colours for c in each.upper), upper))
                lower = {truth.lower_colour}
                said["lower colour"].append(_right((c for each in colours for c in each.lower), lower))
                worn = {truth.upper, truth.lower}
                said["garments"].append(_right((g for text, _ in texts for g in said_garments(text)), worn))
    return {name: Said(v.count(True), v.count(False), v.count(None)) for name, v in said.items()}


@dataclass(frozen=True)
class Colours:
    """Colours that a caption gives to the upper and to the lower clothing; none where it says none."""

    upper: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()


def said_colours(text: str, template: Template) -> Colours | None:
    """The colours in a caption that follows its template; None if it does not."""
    pieces = re.split(r"\[([^\[\]]*)\]", template.text)
    # An article before a place agrees with what was put there, or gives way to it.
    pattern = "".join(
        _SLOTS.get(piece, ".+?")
        if place % 2
        else re.sub(r"\ba\\ $", r"(?:an?\\ )?", re.escape(piece), flags=re.I)
        for place, piece in enumerate(pieces)
    )
    found = re.fullmatch(pattern, text, re.IGNORECASE)
    if found is None:
        return None
    said = {name: tuple(colours.lower().split(" and ")) for name, colours in found.groupdict().items()}
    return Colours(**said)


def said_garments(text: str) -> list[str]:
    """The garments that a text names, in its order; a colour may stand in a name ("a long red skirt")."""
    named = [name.lower().split() for name in _GARMENT.findall(text)]
    return [" ".join((words[0], words[-1]) if len(words) > 1 else words) for words in named]


def words_text(said: Mapping[str, Mapping[str, Said]]) -> list[str]:
    """What captioners say, by name, in lines: for each attribute one captioner below the other."""
    width = max(map(len, said), default=0)
    several = len(said) > 1
    return [
        f"{'' if place else attribute:<12}  {f'{captioner:<{width}}  ' if several else ''}{words[attribute]}"
        for attribute in ATTRIBUTES_SAID
        for place, (captioner, words) in enumerate(said.items())
    ]


def _one_of(names: Iterable[str]) -> str:
    return "|".join(re.escape(name).replace(r"\ ", r" (?:\w+ )?") for name in names)


_UPPER = rf"(?:an? )?(?P<upper>\w+(?: and \w+)?)(?: striped| checked)? (?:top|{_one_of(ATTRIBUTES['upper'])})"
_LOWER = r"(?:an? )?(?:long )?(?P<lower>\w+) (?:bottoms|trousers|shorts|skirt)"
# A colour as the stand-in (curation/attributes.py) and as the made world (world/words.py) write it.
_SLOTS = {
    "top color": r"(?P<upper>\w+(?: and \w+)?)",
    "colored top": _UPPER,
    "colored outerwear": _UPPER,
    "bottom color": r"(?P<lower>\w+)",
    "colored bottom": _LOWER,
}
_GARMENT = re.compile(rf"\b(?:{_one_of((*ATTRIBUTES['upper'], *ATTRIBUTES['lower']))})\b", re.IGNORECASE)


def _right(said: Iterable[str], true: set[str]) -> bool | None:
    """None if nothing is said, else whether all that is said is true."""
    values = list(said)
    return all(value in true for value in values) if values else None
