"""Exemplars: pictures with their verdicts, which the judge is shown before each question."""

import csv
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from curation.fit import CropError, FitSettings, fit

TABLE = "exemplars.csv"


class ExemplarError(ValueError):
    """A folder of exemplars that cannot be used; one line naming file and row."""


@dataclass(frozen=True)
class Exemplar:
    """A picture and the letter that is right for it."""

    jpeg: bytes
    letter: str


@dataclass(frozen=True)
class Exemplars:
    """Exemplars in the order of their table; `id` is the hash of pictures and letters."""

    id: str
    shown: tuple[Exemplar, ...]


def load_exemplars(folder: str, letters: Collection[str] = tuple("ABCDEFGHIJ")) -> Exemplars:
    """Read a folder with `exemplars.csv`, which has the columns file and letter. Raises ExemplarError."""
    table = Path(folder) / TABLE
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExemplarError(f"{table}: {' '.join(str(error).split())}") from None
    rows = csv.DictReader(lines)
    if not {"file", "letter"} <= set(rows.fieldnames or ()):
        raise ExemplarError(f"{table}: expected the columns file,letter")
    shown = [_exemplar(table, number, row, letters) for number, row in enumerate(rows, start=2)]
    if not shown:
        raise ExemplarError(f"{table}: no exemplar in it")
    digest = hashlib.sha256(b"".join(e.letter.encode() + hashlib.sha256(e.jpeg).digest() for e in shown))
    return Exemplars(digest.hexdigest()[:12], tuple(shown))


def _exemplar(table: Path, number: int, row: dict[str, str], letters: Collection[str]) -> Exemplar:
    letter, name = (row["letter"] or "").strip(), (row["file"] or "").strip()
    if letter not in letters:
        raise ExemplarError(f"{table}: row {number}: letter {letter!r} is none of {' '.join(letters)}")
    try:
        return Exemplar(fit((table.parent / name).read_bytes(), FitSettings()).jpeg, letter)
    except (OSError, CropError) as error:
        raise ExemplarError(f"{table}: row {number}: {' '.join(str(error).split())}") from None
