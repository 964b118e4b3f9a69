"""Captions written anew because a table of scores, such as training gives, finds them worst."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from pipeline.recipe import Section
from pipeline.records import PERSON_KEY, PersonKey
from pipeline.storage import StorageError, place, read_table

KEY = (*PERSON_KEY, "slot")


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
    """Which captions are written anew, and by which round: the last that names them.

    Arrays, so that millions of keys can be handed to every worker.
    """

    keys: NDArray[np.int64]
    """unit, row, person, slot [K, 4], in their order."""
    by: NDArray[np.int64]
    """The round of each [K], an index into `names`."""
    names: tuple[str, ...]

    def of(self, key: PersonKey, slots: int) -> list[str]:
        """For each slot of a person the round's name, "" where the caption stands."""
        first, last = np.searchsorted(self.keys[:, 0], [key.unit, key.unit + 1])
        found = [""] * slots
        keys = self.keys[first:last]
        for n in np.flatnonzero((keys[:, 1] == key.row) & (keys[:, 2] == key.person)):
            slot = int(keys[n, 3])
            if 0 <= slot < slots:
                found[slot] = self.names[self.by[first + n]]
        return found

    @property
    def last(self) -> NDArray[np.int64]:
        """The captions that the last round names [K, 4]."""
        keys: NDArray[np.int64] = self.keys[self.by == len(self.names) - 1]
        return keys

    def count_last(self, persons: pa.Table, slots: int) -> int:
        """How many of the last round's belong to persons (unit, row, person) with so many slots."""
        keys = self.last
        named = keys[(keys[:, 3] >= 0) & (keys[:, 3] < slots), :3]
        there = pa.table(dict(zip(PERSON_KEY, named.T, strict=True)))
        wanted = persons.select(PERSON_KEY).cast(there.schema)
        return int(there.join(wanted, PERSON_KEY, join_type="left semi").num_rows)


def load_rounds(settings: Sequence[RecaptionSettings]) -> Rounds:
    """Read the tables and keep each one's worst; raises ScoresError."""
    keys, by, names = [np.empty((0, 4), np.int64)], [], []
    for number, round_ in enumerate(settings):
        worst = _worst(_read(round_.scores), round_.worst)
        keys.append(worst)
        by.append(np.full(len(worst), number))
        names.append(f"round-{number}-{hashlib.sha256(worst.tobytes()).hexdigest()[:12]}")
    # Of a key that stands several times, the last round's stays: the first one as seen from the end.
    unique, last = np.unique(np.concatenate(keys)[::-1], axis=0, return_index=True)
    return Rounds(unique, np.concatenate([np.empty(0, np.int64), *by])[::-1][last], tuple(names))


def _worst(table: pa.Table, share: float) -> NDArray[np.int64]:
    """The keys of the lowest scores [K, 4], in their order; equal scores are told apart by the key."""
    scores = table["score"].to_numpy()
    keys = np.stack([table[name].to_numpy().astype(np.int64) for name in KEY], axis=1)
    rows = np.lexsort((*reversed(keys.T), scores))[: math.ceil(round(share * len(scores), 6))]
    worst: NDArray[np.int64] = np.unique(keys[rows], axis=0)
    return worst


def _read(path: str) -> pa.Table:
    try:
        table = read_table(place(path))
    except StorageError as error:
        raise ScoresError(f"scores: {error}") from None
    if not table.num_rows:
        raise ScoresError(f"{path}: holds no rows")
    for name in (*KEY, "score"):
        if name not in table.column_names:
            raise ScoresError(f"{path}: column {name} is missing")
        kind, gaps = table.schema.field(name).type, table[name].null_count
        if not (pa.types.is_integer(kind) or (name == "score" and pa.types.is_floating(kind))):
            wanted = "numbers" if name == "score" else "whole numbers"
            raise ScoresError(f"{path}: column {name} holds {kind}, not {wanted}")
        if gaps:
            raise ScoresError(f"{path}: column {name} has {gaps} rows without a number")
    if np.isnan(table["score"].to_numpy().astype(np.float64)).any():
        raise ScoresError(f"{path}: column score holds NaN")
    repeated = table.num_rows - table.group_by([*KEY]).aggregate([]).num_rows
    if repeated:
        raise ScoresError(f"{path}: {repeated} rows name a caption that stands before")
    return table
