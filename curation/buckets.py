"""Buckets: the second half of pack's shuffle, whole shards gathered out of all runs (curation/runs.py).

The places of all runs, sorted, tell where each shard begins. A bucket is as many shards as a worker takes at
once.
"""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.runs import RUNS, in_order
from pipeline.shards import shard_schema
from pipeline.stage import UnitError
from pipeline.storage import DamagedError, StorageError, publish_json, read_ahead, read_json
from pipeline.units import PhaseFolder, Unit

ROWS_PER_CAST = 100
LAST = 2**63 - 1
"""Above every place."""


def sorted_places(folder: PhaseFolder, runs: int) -> NDArray[np.int64]:
    """The places of the rows of all runs, in order; 8 bytes a row are all that is held of it."""

    def read(run: int) -> list[NDArray[np.int64]]:
        return [rows["place"].to_numpy() for rows in folder.tables(RUNS, [run], ["place"])]

    found = [places for some in read_ahead(folder.path, read, range(runs)) for places in some]
    places: NDArray[np.int64] = np.concatenate([np.empty(0, np.int64), *found])
    places.sort()
    return places


def note_places(folder: PhaseFolder, places: NDArray[np.int64]) -> None:
    """Write down of which rows a folder's shards are made.

    Raises StorageError if shards stand there that were made of others: some were lost, and as the runs were
    made again for them, other rows failed than did before.
    """
    path, made_of = folder.path / "places.json", hashlib.sha256(places.tobytes()).hexdigest()
    try:
        noted = read_json(path)["sha256"]
    except (DamagedError, KeyError):
        publish_json(path, {"rows": len(places), "sha256": made_of})
        return
    if noted != made_of:
        raise StorageError(f"{folder.path}: holds shards of other rows; remove this folder and run it again")


@dataclass(frozen=True)
class Buckets:
    """Where the buckets begin among the sorted places, and how many shards are cut out of them."""

    units: tuple[Unit, ...]
    """One a bucket; first and count are rows in the order of their places."""
    bounds: tuple[int, ...]
    """The place at which each bucket begins, and one past the last."""
    shards: int
    shards_per_bucket: int

    @classmethod
    def cut(cls, places: NDArray[np.int64], rows_per_shard: int, rows: int) -> "Buckets":
        """Cut sorted places into buckets of whole shards: of at most `rows` rows, or one shard each."""
        shards_per_bucket = max(1, rows // rows_per_shard)
        starts = places[:: rows_per_shard * shards_per_bucket]
        bounds = (*starts.tolist(), LAST) if len(starts) else ()
        edges = np.searchsorted(places, bounds).tolist()
        units = [
            Unit(index, first, end - first) for index, (first, end) in enumerate(itertools.pairwise(edges))
        ]
        return cls(tuple(units), bounds, -(-len(places) // rows_per_shard), shards_per_bucket)


@dataclass(frozen=True)
class BucketRows:
    """The rows of one bucket, out of all runs."""

    folder: PhaseFolder
    runs: int
    bounds: tuple[int, ...]

    def read(self, unit: Unit) -> pa.Table:
        """Rows of the shard schema, in the order of their places. Raises UnitError if some are missing."""
        first, end = self.bounds[unit.index : unit.index + 2]
        inside = (pc.field("place") >= first) & (pc.field("place") < end)
        names = [*shard_schema().names, "place"]

        def read(run: int) -> list[pa.Table]:
            return list(self.folder.tables(RUNS, [run], names, inside))

        tables = [table for some in read_ahead(self.folder.path, read, range(self.runs)) for table in some]
        rows = pa.concat_tables(tables)
        if rows.num_rows != unit.count:
            raise UnitError(f"{self.folder.path}: {unit.name} is of {unit.count} rows, found {rows.num_rows}")
        return pa.concat_tables(_as_shard(in_order(rows)))


def _as_shard(rows: pa.Table) -> Iterator[pa.Table]:
    """Pieces of the shard schema, each small enough for its plain binaries."""
    schema = shard_schema()
    for start in range(0, max(rows.num_rows, 1), ROWS_PER_CAST):
        # taken, not sliced: a slice keeps the large offsets of the whole
        piece = rows.take(pa.array(range(start, min(start + ROWS_PER_CAST, rows.num_rows)), pa.int64()))
        yield piece.select(schema.names).cast(schema)
