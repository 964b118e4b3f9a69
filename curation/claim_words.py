"""The words of captions for colours and for what people wear: two tables, and what they mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curation.packaged import packaged_hash, packaged_rows

COLOUR_WORDS, GARMENT_WORDS = "colour-words.csv", "garment-words.csv"
ANYTHING = "*"


@dataclass(frozen=True)
class ColourWord:
    """A colour as it was said, and the basic terms that a picture may show it as, its own one first."""

    word: str
    terms: tuple[str, ...]
    before: tuple[str, ...] | None = None
    """What it adds to a colour behind it; None where it cannot stand before one."""

    def like(self, other: "ColourWord") -> bool:
        """Whether both can be words for the same cloth."""
        return self.terms[0] in other.terms or other.terms[0] in self.terms


@dataclass(frozen=True)
class Thing:
    """What a word names: `name` in a `region`, and the names that the same thing may fairly go by."""

    region: str
    name: str
    alike: frozenset[str]

    def like(self, other: "Thing") -> bool:
        """Whether both can be words for the same thing of one region."""
        either = self.alike | other.alike
        return self.name == other.name or ANYTHING in either or self.name in either or other.name in either


@dataclass(frozen=True, eq=False)
class ClaimWords:
    """The tables; terms are tuples of words. `id`: hash of both files, 12 hex digits."""

    id: str
    colours: Mapping[tuple[str, ...], ColourWord]
    things: Mapping[tuple[str, ...], Sequence[Thing]]
    longest: int
    """Words of the longest term."""


def load_claim_words() -> ClaimWords:
    """The packaged tables."""
    colours = {tuple(row["word"].split()): _colour_word(row) for row in packaged_rows(COLOUR_WORDS)}
    things: dict[tuple[str, ...], list[Thing]] = {}
    for row in packaged_rows(GARMENT_WORDS):
        thing = Thing(row["region"], row["name"], frozenset(_listed(row["alike"])))
        for term in _listed(row["terms"]):
            for form in _forms(term):
                things.setdefault(form, []).append(thing)
    longest = max(map(len, (*colours, *things)))
    return ClaimWords(packaged_hash(COLOUR_WORDS, GARMENT_WORDS), colours, things, longest)


def _colour_word(row: Mapping[str, str]) -> ColourWord:
    before = tuple(_listed(row["before"]))
    terms = tuple(_listed(row["terms"]))
    return ColourWord(row["word"], terms, before if before or not terms else None)


def _forms(term: str) -> list[tuple[str, ...]]:
    words = tuple(term.split())
    plural = "es" if term.endswith(("s", "x", "ch", "sh")) else "s"
    return [words, (*words[:-1], words[-1] + plural)]


def _listed(cell: str) -> list[str]:
    return [term for term in cell.split("|") if term]
