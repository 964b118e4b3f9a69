"""Runs: the first half of pack's shuffle, kept pairs in files sorted by the place that each row will have.

The shuffle is an external sort: no process ever holds all rows, nor all their keys. Ranges of annotate units
become runs. A row's place is drawn from seed and key, so it does not depend on other rows. Then shards are
gathered out of all runs (curation/buckets.py).
"""

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.funnel import Counts
from pipeline.reasons import Status
from pipeline.records import PERSON_KEY, PersonKey, person_keys
from pipeline.shards import SPLITS, shard_schema
from pipeline.stage import UnitError
from pipeline.storage import listing, publish, publish_table, read_ahead, remove
from pipeline.units import PhaseFolder, Unit

PARTS_AT_ONCE = 4
"""Annotate units that a worker fetches from an object store at once; each is held in memory."""
ROWS_PER_GROUP = 32
"""Rows of a run that are read together; a bucket wants about as many of each run, or fewer."""
RUNS, FAILED = "runs", "failed"
"""The tables of a run: its rows, until the shards stand; which rows failed and why."""


def run_schema() -> pa.Schema:
    """A shard's columns with the row's place, and the reason where it failed.

    Pictures are large binaries: a run may hold more than the 2 GiB that a shard may.
    """
    image = pa.struct([("bytes", pa.large_binary()), ("path", pa.string())])
    columns = [field.with_type(image) if field.name == "image" else field for field in shard_schema()]
    more = [("place", pa.int64()), ("reason", pa.string()), ("error", pa.string())]
    return pa.schema([*columns, *(pa.field(*column) for column in more)])


@dataclass(frozen=True)
class Shares:
    """How source pictures are drawn into splits."""

    seed: int
    val: float
    test: float

    def split_of(self, image_sha256: str) -> str:
        """The split of a picture, drawn from its hash: equal pictures never stand on both sides."""
        draw = _draw(f"split {self.seed} {image_sha256}") / 2**64
        if draw < self.test:
            return "test"
        return "val" if draw < self.test + self.val else "train"

    def place_of(self, key: str, split: str) -> int:
        """Where a row stands among all rows, 0 to 2^63: by split, then by a hash of seed and key."""
        return SPLITS.index(split) << 61 | _draw(f"order {self.seed} {key}") >> 3


def run_units(kept: Iterable[int], rows: int) -> list[Unit]:
    """Ranges of annotate units that keep at most `rows` persons together; one that keeps more stands alone.

    kept: persons that each annotate unit keeps.
    """
    units: list[Unit] = []
    first, held, end = 0, 0, 0
    for end, more in enumerate(kept, start=1):
        if held and held + more > rows:
            units.append(Unit(len(units), first, end - 1 - first))
            first, held = end - 1, 0
        held += more
    return [*units, Unit(len(units), first, end - first)] if held else units


@dataclass(frozen=True)
class KeptPairs:
    """The kept pairs of a range of annotate units, as rows of shards."""

    harvest: PhaseFolder
    annotate: PhaseFolder
    units_per_unit: int
    """Harvest units in an annotate unit."""
    shares: Shares

    def read(self, unit: Unit) -> pa.Table:
        """Rows of `run_schema`, in the order of their keys. Raises UnitError if a pair has no person."""
        units = range(unit.first, unit.first + unit.count)
        tables = read_ahead(self.harvest.path, self._read, units, PARTS_AT_ONCE)
        return pa.concat_tables([run_schema().empty_table(), *(each for some in tables for each in some)])

    def _read(self, index: int) -> list[pa.Table]:
        captions = self._captions(index)
        if not captions:
            return []
        first = index * self.units_per_unit
        columns = [*PERSON_KEY, "url", "image_sha256", "score", "crop"]
        persons = self.harvest.tables("persons", range(first, first + self.units_per_unit), columns)
        tables = [self._rows(table, captions) for table in persons]
        found = sum(table.num_rows for table in tables)
        if found != len(captions):
            raise UnitError(
                f"{self.annotate.path}: unit {index} keeps {len(captions)} persons, the harvest has {found}"
            )
        return tables

    def _captions(self, index: int) -> dict[PersonKey, list[dict[str, Any]]]:
        """The valid captions of the pairs that are kept."""
        columns, kept = [*PERSON_KEY, "captions"], pc.field("status") == Status.KEPT.value
        captions = {}
        for pairs in self.annotate.tables("pairs", [index], columns, kept):
            for key, texts in zip(person_keys(pairs), pairs["captions"].to_pylist(), strict=True):
                captions[key] = [caption for caption in texts if caption["reason"] is None]
        return captions

    def _rows(self, persons: pa.Table, captions: Mapping[PersonKey, list[dict[str, Any]]]) -> pa.Table:
        wanted = {at: key for at, key in enumerate(person_keys(persons)) if key in captions}
        persons = persons.take(pa.array(wanted, pa.int64()))
        texts = [captions[key] for key in wanted.values()]
        keys = [str(key) for key in wanted.values()]
        splits = [self.shares.split_of(sha) for sha in persons["image_sha256"].to_pylist()]
        crops = persons["crop"].combine_chunks().cast(pa.large_binary())
        paths = pa.array([f"{key}.jpg" for key in keys], pa.string())
        values = {
            "key": keys,
            "image": pa.StructArray.from_arrays([crops, paths], ["bytes", "path"]),
            "captions": [[caption["text"] for caption in each] for each in texts],
            "caption_model_ids": [[caption["model_id"] for caption in each] for each in texts],
            "caption_template_ids": [[caption["template_id"] for caption in each] for each in texts],
            "split": splits,
            "place": [self.shares.place_of(*each) for each in zip(keys, splits, strict=True)],
            **{name: persons[name] for name in ("url", "image_sha256", "score")},
        }
        schema, nothing = run_schema(), [None] * len(keys)  # for identity, reason and error
        return pa.table([_column(values.get(f.name, nothing), f.type) for f in schema], schema)


@dataclass(frozen=True)
class RunSink:
    """Publishes a run: the rows that have no reason, in the order of their places."""

    folder: PhaseFolder

    def publish(self, unit: Unit, rows: pa.Table) -> Mapping[str, Any]:
        """rows: `run_schema`; those with a reason are written down beside the run, by key."""
        files = {}
        failed = rows.filter(pc.is_valid(rows["reason"])).select(["key", "reason", "error"])
        if failed.num_rows:
            name = unit.file(FAILED)
            files[name] = publish_table(self.folder.path / name, failed, self._metadata())
        run = in_order(rows.filter(pc.is_null(rows["reason"]))).drop_columns(["reason", "error"])
        sink, name = io.BytesIO(), unit.file(RUNS)
        pq.write_table(
            run.replace_schema_metadata(self._metadata()),
            sink,
            row_group_size=ROWS_PER_GROUP,
            compression="none",  # pictures are compressed already
            use_dictionary=False,
            write_statistics=["place"],
        )
        publish(self.folder.path / name, sink.getvalue())
        files[name] = sink.tell()
        counts = {"persons": Counts.of(rows.num_rows, rows["reason"].to_pylist()).to_json()}
        self.folder.mark_done(unit, counts, {}, files)
        return counts

    def _metadata(self) -> dict[str, str]:
        return {name: str(self.folder.trace[name]) for name in ("schema_version", "recipe_hash")}


def remove_runs(folder: PhaseFolder) -> None:
    """Remove the pixels of all runs; their markers stay, with the counts."""
    for part in listing(folder.path / RUNS, ".parquet"):
        remove(part)


def in_order(rows: pa.Table) -> pa.Table:
    """By place; the key decides where two were drawn alike."""
    order = pc.sort_indices(rows.select(["place", "key"]), [("place", "ascending"), ("key", "ascending")])
    return rows.combine_chunks().take(order)


def _column(values: Sequence[Any] | pa.Array | pa.ChunkedArray, arrow: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.cast(arrow) if isinstance(values, pa.Array) else pa.array(values, arrow)


def _draw(text: str) -> int:
    """64 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
