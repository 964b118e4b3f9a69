"""Captions written anew because a table of scores, such as training gives, finds them worst."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.recipe import Section
from pipeline.records import PERSON_KEY, CaptionKey, PersonKey
from pipeline.storage import StorageError, place, read_table

COLUMNS = {"slot": pa.types.is_integer, "score": pa.types.is_floating} | dict.fromkeys(
    PERSON_KEY, pa.types.is_integer
)


class ScoresError(ValueError):
    """A table of scores that cannot be used; one line naming the file."""


class RecaptionSettings(Section):
    """One round of writing anew."""

    scores: str
    """Parquet with columns unit, row, person, slot and score: a caption each, the lowest score the worst."""
    worst: float = Field(gt=0, le=1)
    """Share of the table's captions that are written anew."""


@dataclass(frozen=True, eq=False)
class Rounds:
    """Which captions are written anew, and by which round: the last that names them."""

    names: dict[CaptionKey, str]

    def of(self, key: PersonKey, slots: int) -> list[str]:
        """For each slot of a person the round's name, "" where the caption stands."""
        keys = (CaptionKey(key.unit, key.row, key.person, slot) for slot in range(slots))
        return [self.names.get(caption, "") for caption in keys] if self.names else []


def load_rounds(settings: Sequence[RecaptionSettings]) -> Rounds:
    """Read the tables and keep each one's worst; raises ScoresError."""
    names: dict[CaptionKey, str] = {}
    for number, round_ in enumerate(settings):
        worst = _worst(_read(round_.scores), round_.worst)
        digest = hashlib.sha256("\n".join(map(str, sorted(worst))).encode()).hexdigest()[:12]
        names |= dict.fromkeys(worst, f"round-{number}-{digest}")
    return Rounds(names)


def _worst(table: pa.Table, share: float) -> list[CaptionKey]:
    """The keys of the lowest scores; equal scores are told apart by the key, whatever the order of rows."""
    scores = table["score"].to_numpy()
    columns = [table[name].to_numpy() for name in (*PERSON_KEY, "slot")]
    rows = np.lexsort((*reversed(columns), scores))[: int(np.ceil(share * len(scores)))]
    return [CaptionKey(*key) for key in zip(*(column[rows].tolist() for column in columns), strict=True)]


def _read(path: str) -> pa.Table:
    try:
        table = read_table(place(path))
    except StorageError as error:
        raise ScoresError(f"scores: {error}") from None
    for name, is_type in COLUMNS.items():
        if name not in table.column_names:
            raise ScoresError(f"{path}: column {name} is missing")
        if not is_type(table.schema.field(name).type) or table[name].null_count:
            raise ScoresError(f"{path}: column {name} is no column of numbers without gaps")
    if np.isnan(table["score"].to_numpy()).any():
        raise ScoresError(f"{path}: column score holds NaN")
    return table
