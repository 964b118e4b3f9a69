"""Exemplars: pictures with their verdicts, which the judge is shown before each question."""

import csv
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from curation.exemplar_pictures import find_picture, make_picture
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
    """Exemplars in the order of their table; `id` is the hash of letters and what pictures are made of."""

    id: str
    shown: tuple[Exemplar, ...]


def load_exemplars(folder: str, letters: Collection[str] = tuple("ABCDEFGHIJ")) -> Exemplars:
    """Read a folder with `exemplars.csv`, by path or by the name of a packaged one. Raises ExemplarError.

    Columns: file and letter; also box and change, where a picture is made (curation/exemplar_pictures.py).
    """
    path = Path(folder)
    if not path.is_dir():
        packaged = Path(str(resources.files("prompts"))) / folder
        path = packaged if packaged.is_dir() else path
    table = path / TABLE
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ExemplarError(f"{table}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ExemplarError(f"{table}: {error}") from None
    rows = csv.DictReader(lines)
    if not {"file", "letter"} <= set(rows.fieldnames or ()):
        raise ExemplarError(f"{table}: expected the columns file,letter")
    found = [_exemplar(table, number, row, letters) for number, row in enumerate(rows, start=2)]
    if not found:
        raise ExemplarError(f"{table}: no exemplar in it")
    # Not of the pixels that were made: those may differ from one version of Pillow to the next.
    digest = hashlib.sha256("\n".join(made_of for _, made_of in found).encode())
    return Exemplars(digest.hexdigest()[:12], tuple(exemplar for exemplar, _ in found))


def _exemplar(
    table: Path, number: int, row: Mapping[str, str | None], letters: Collection[str]
) -> tuple[Exemplar, str]:
    """An exemplar, and in one line all that it is made of."""
    file, letter, box, change = (
        (row.get(name) or "").strip() for name in ("file", "letter", "box", "change")
    )
    if letter not in letters:
        raise ExemplarError(f"{table}: row {number}: letter {letter!r} is none of {' '.join(letters)}")
    try:
        data = find_picture(table.parent, file).read_bytes()
        exemplar = Exemplar(fit(make_picture(data, box, change), FitSettings()), letter)
    except (OSError, CropError) as error:
        raise ExemplarError(f"{table}: row {number}: {' '.join(str(error).split())}") from None
    return exemplar, f"{letter},{hashlib.sha256(data).hexdigest()},{' '.join(box.split())},{change}"
