"""What the judge says of the made world's people: its letters beside what their pictures were made for."""

from collections import Counter
from collections.abc import Iterable, Mapping

from pipeline.cli.matching import Shown, both
from pipeline.cli.said_words import COLOURLESS
from world.truth import Kind

DUE: Mapping[Kind, str] = {
    Kind.CURATED: "A",
    Kind.VARIED: "A",
    Kind.CUT_OFF: "D",
    Kind.HEAD_HIDDEN: "E",
    Kind.HIPS_HIDDEN: "E",
    Kind.MOSTLY_HIDDEN: "E",
    Kind.VAGUE: "F",
    Kind.BLURRED: "F",
    Kind.DARK: "F",
}
"""The letter (curation/judge.py) that is right for a kind of picture; other kinds do not tell one."""


def letters(shown: Iterable[Shown], verdicts: Mapping[str, str]) -> dict[Kind, Counter[str]]:
    """How often which letter was said of the drawn persons, by the kind of their picture.

    verdicts: letters by person. Persons in pictures that have lost their colours are left out.
    """
    said: dict[Kind, Counter[str]] = {}
    for picture in shown:
        for truth, measured in both(picture.pairs):
            letter = verdicts.get(measured.key)
            if letter and picture.entry.kind not in COLOURLESS:
                kind = Kind(truth.picture.rpartition("-")[0])
                said.setdefault(kind, Counter())[letter] += 1
    return {kind: said[kind] for kind in Kind if kind in said}


def as_due(said: Mapping[Kind, Counter[str]]) -> tuple[int, int]:
    """How many letters are those that are due, and of how many for which one is."""
    due = [(counts[DUE[kind]], counts.total()) for kind, counts in said.items() if kind in DUE]
    return sum(right for right, _ in due), sum(total for _, total in due)


def letters_text(said: Mapping[Kind, Counter[str]]) -> list[str]:
    """A line for each kind: what is due, and how often each letter was said."""
    return [
        f"{kind:<13}  {f'due {DUE[kind]}' if kind in DUE else 'none due':<8}  "
        + ", ".join(f"{letter} {count}" for letter, count in sorted(counts.items()))
        for kind, counts in said.items()
    ]
