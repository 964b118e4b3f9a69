"""Pack: kept pairs, shuffled over the whole run, split, written as training shards."""

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from pipeline.recipe import Section
from pipeline.records import PersonKey, content_hash
from pipeline.shards import DONE, SPLITS, STATISTICS, encode_shard, shard_name, shard_schema
from pipeline.stage import Process
from pipeline.storage import Place, publish, publish_json, read_ahead, read_table
from pipeline.units import PhaseFolder, Unit


class PackSettings(Section):
    """How shards are cut and which share of the pictures is held out."""

    rows_per_shard: PositiveInt = 10_000
    """Pictures in a shard."""
    max_side_px: PositiveInt = 1024
    """Crops with a longer side are scaled down to it."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """Quality of crops that are scaled down; others keep their bytes."""
    val_share: NonNegativeFloat = 0.01
    """Share of the source pictures that chooses the model; all persons of a picture fall into one split."""
    test_share: NonNegativeFloat = 0.01
    """Share of the source pictures that measures the model and is used for nothing else."""

    @model_validator(mode="after")
    def _something_to_train_on(self) -> Self:
        if self.val_share + self.test_share >= 1:
            raise ValueError("val_share and test_share leave nothing to train on")
        return self


PARTS_AT_ONCE = 4
"""Parts with pixels that a shard's worker fetches from an object store at once; each is held in memory."""

_ByKey = dict[PersonKey, dict[str, Any]]

PLAN = pa.schema(
    [
        ("unit", pa.int64()),
        ("row", pa.int32()),
        ("person", pa.int32()),
        ("split", pa.string()),
        ("shard", pa.int32()),
    ]
)


def split_of(image_sha256: str, seed: int, settings: PackSettings) -> str:
    """The split of a source picture, drawn from its hash: equal pictures never stand on both sides."""
    draw = _draw(f"split {seed} {image_sha256}")
    if draw < settings.test_share:
        return "test"
    return "val" if draw < settings.test_share + settings.val_share else "train"


def plan_shards(pairs: pa.Table, seed: int, settings: PackSettings) -> pa.Table:
    """Which row goes into which shard: by split, then shuffled by a hash of seed and key.

    pairs: columns unit, row, person, image_sha256 of what is kept. Returns a table of schema PLAN, in the
    order of the shards.
    """
    rows = [{**row, "split": split_of(row["image_sha256"], seed, settings)} for row in pairs.to_pylist()]
    rows.sort(key=lambda row: (SPLITS.index(row["split"]), _draw(f"order {seed} {_key(row)}"), _key(row)))
    for position, row in enumerate(rows):
        row["shard"] = position // settings.rows_per_shard
    return pa.Table.from_pylist(rows, schema=PLAN)


@dataclass(frozen=True)
class PlannedPairs:
    """The rows of one shard, gathered from persons and pairs.

    A shard reads every part that holds one of its rows.
    """

    harvest: PhaseFolder
    annotate: PhaseFolder
    units_per_unit: int
    """Harvest units in an annotate unit."""
    plan: Place

    def read(self, unit: Unit) -> pa.Table:
        """Rows of the shard schema, in the planned order."""
        plan = read_table(self.plan, filters=pc.field("shard") == unit.index).to_pylist()
        by_unit: defaultdict[int, set[PersonKey]] = defaultdict(set)
        for row in plan:
            by_unit[row["unit"]].add(_key(row))
        persons: _ByKey = {}
        captions: _ByKey = {}
        units = read_ahead(self.harvest.path, self._read_unit, by_unit.items(), PARTS_AT_ONCE)
        for some_persons, some_captions in units:
            persons |= some_persons
            captions |= some_captions
        rows = [_shard_row(persons[_key(row)], captions[_key(row)], row["split"]) for row in plan]
        return pa.Table.from_pylist(rows, schema=shard_schema())

    def _read_unit(self, wanted: tuple[int, set[PersonKey]]) -> tuple[_ByKey, _ByKey]:
        """The persons and the pairs of one harvest unit that are wanted."""
        index, keys = wanted
        columns = ["unit", "row", "person", "url", "image_sha256", "score", "crop"]
        persons = _by_key(self.harvest.parts("persons", index), columns, keys)
        pairs = self.annotate.parts("pairs", index // self.units_per_unit)
        return persons, _by_key(pairs, ["unit", "row", "person", "captions"], keys)


@dataclass(frozen=True)
class FitImages:
    """Stage: pictures of a shard scaled down to the longest side allowed."""

    settings: PackSettings

    @contextmanager
    def open(self) -> Iterator[Process]:
        """Nothing to load."""
        yield self._fit

    def _fit(self, rows: pa.Table) -> pa.Table:
        fitted = rows.to_pylist()
        for row in fitted:
            row["image"]["bytes"] = self._fit_image(row["image"]["bytes"])
        return pa.Table.from_pylist(fitted, schema=rows.schema)

    def _fit_image(self, data: bytes) -> bytes:
        with Image.open(io.BytesIO(data)) as image:
            if max(image.size) <= self.settings.max_side_px:
                return data
            scale = self.settings.max_side_px / max(image.size)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            sink = io.BytesIO()
            image.resize(size, Image.Resampling.LANCZOS).save(
                sink, "JPEG", quality=self.settings.jpeg_quality, subsampling=0
            )
            return sink.getvalue()


@dataclass(frozen=True)
class ShardSink:
    """Publishes a shard and its marker."""

    folder: PhaseFolder
    shards: int

    def publish(self, unit: Unit, rows: pa.Table) -> Mapping[str, Any]:
        """rows: the shard schema. Counts rows, captions and words, for the statistics."""
        metadata = {"recipe_hash": str(self.folder.trace["recipe_hash"])}
        name, shard = shard_name(unit.index, self.shards), encode_shard(rows, metadata)
        publish(self.folder.path / name, shard)
        captions = [caption for row in rows["captions"].to_pylist() for caption in row]
        counts = {
            "rows_in": unit.count,
            "rows": rows.num_rows,
            "splits": dict(Counter(rows["split"].to_pylist())),
            "captions": len(captions),
            "words": sum(len(caption.split()) for caption in captions),
        }
        self.folder.mark_done(unit, counts, {"shard": content_hash(rows)}, {name: len(shard)})
        return counts


def publish_statistics(folder: PhaseFolder, counts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Publish what the shards hold, then the done-marker that makes them readable."""
    splits: Counter[str] = Counter()
    for unit in counts:
        splits.update(unit["splits"])
    captions = sum(unit["captions"] for unit in counts)
    statistics = {
        "pictures": sum(unit["rows"] for unit in counts),
        "pictures_by_split": {split: splits[split] for split in SPLITS},
        "captions": captions,
        "words_per_caption": round(sum(unit["words"] for unit in counts) / captions, 2) if captions else 0.0,
    }
    publish_json(folder.path / STATISTICS, {**statistics, "trace": folder.trace})
    publish_json(folder.path / DONE, {"shards": len(counts), **statistics})
    return statistics


def shard_units(plan: pa.Table) -> list[Unit]:
    """One unit a shard."""
    sizes = Counter(plan["shard"].to_pylist())
    units, first = [], 0
    for shard in sorted(sizes):
        units.append(Unit(shard, first, sizes[shard]))
        first += sizes[shard]
    return units


def _shard_row(person: dict[str, Any], pair: dict[str, Any], split: str) -> dict[str, Any]:
    key = str(_key(person))
    captions = [caption for caption in pair["captions"] if caption["reason"] is None]
    return {
        "key": key,
        "image": {"bytes": person["crop"], "path": f"{key}.jpg"},
        "captions": [caption["text"] for caption in captions],
        "caption_model_ids": [caption["model_id"] for caption in captions],
        "caption_template_ids": [caption["template_id"] for caption in captions],
        "identity": None,
        "split": split,
        "url": person["url"],
        "image_sha256": person["image_sha256"],
        "score": person["score"],
    }


def _by_key(parts: Sequence[Place], columns: list[str], keys: set[PersonKey]) -> _ByKey:
    rows = (row for part in parts for row in read_table(part, columns=columns).to_pylist())
    return {_key(row): row for row in rows if _key(row) in keys}


def _key(row: Mapping[str, Any]) -> PersonKey:
    return PersonKey(row["unit"], row["row"], row["person"])


def _draw(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
