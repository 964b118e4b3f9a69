"""Pack: what shards are like, pictures that fit into them, and their publication."""

import io
import itertools
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
from PIL import Image, ImageFile
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from curation.runs import Shares
from pipeline.attempts import with_reasons
from pipeline.funnel import Counts
from pipeline.reasons import Reason
from pipeline.recipe import Section, operational
from pipeline.records import content_hash
from pipeline.shards import DONE, SPLITS, STATISTICS, encode_shard, shard_name
from pipeline.stage import Process
from pipeline.storage import DamagedError, publish, publish_json, read_json
from pipeline.units import PhaseFolder, Unit


class PackSettings(Section):
    """How shards are cut and which share of the pictures is held out."""

    rows_per_shard: PositiveInt = 10_000
    """Pictures in a shard."""
    rows_in_memory: PositiveInt = 10_000
    """Pictures that a worker holds while it shuffles, a shard at least. More of them mean fewer reads."""
    max_side_px: PositiveInt = 1024
    """Crops with a longer side are scaled down to it."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """Quality of crops that are scaled down; others keep their bytes."""
    val_share: NonNegativeFloat = 0.01
    """Share of the source pictures that chooses the model; all persons of a picture fall into one split."""
    test_share: NonNegativeFloat = 0.01
    """Share of the source pictures that measures the model and is used for nothing else."""

    max_failed_share: float = operational(0.05, ge=0, le=1)
    """Share of the persons that may fail here; above it the command ends with exit code 3."""

    @model_validator(mode="after")
    def _something_to_train_on(self) -> Self:
        if self.val_share + self.test_share >= 1:
            raise ValueError("val_share and test_share leave nothing to train on")
        return self

    def shares(self, seed: int) -> Shares:
        """As the shuffle takes them."""
        return Shares(seed, self.val_share, self.test_share)


@dataclass(frozen=True)
class FitImages:
    """Stage: pictures scaled down to the longest side allowed; one that cannot be is failed."""

    settings: PackSettings

    @contextmanager
    def open(self) -> Iterator[Process]:
        """Nothing to load."""
        # Process-wide, and other libraries set it: half a picture would come out grey, without an error.
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        yield self._fit

    def _fit(self, rows: pa.Table) -> pa.Table:
        """rows: at least `image`."""
        reasons = rows["reason"].to_pylist() if "reason" in rows.column_names else [None] * rows.num_rows
        failed: dict[int, tuple[Reason, str]] = {}
        numbers = itertools.count()

        def fit(image: dict[str, Any]) -> dict[str, Any]:
            number = next(numbers)
            if reasons[number] is not None:
                return image
            try:
                return {**image, "bytes": self._fit_image(image["bytes"])}
            except Exception as error:  # Pillow raises nearly anything
                failed[number] = Reason.DECODE_FAILED, _in_words(error)
                return image

        # Chunk by chunk: an array of Arrow's plain binaries holds 2 GiB, a table more.
        chunks = [pa.array(map(fit, chunk.to_pylist()), chunk.type) for chunk in rows["image"].chunks]
        place = rows.column_names.index("image")
        field = rows.schema.field(place)
        return with_reasons(rows.set_column(place, field, pa.chunked_array(chunks, field.type)), failed)

    def _fit_image(self, data: bytes) -> bytes:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
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
    """Publishes the shards of a unit, then its marker."""

    folder: PhaseFolder
    shards: int
    """In the folder, once it is done."""
    shards_per_unit: int = 1

    def publish(self, unit: Unit, rows: pa.Table) -> Mapping[str, Any]:
        """rows: the shard schema, cut evenly. Counts rows, captions and words, for the statistics."""
        first = unit.index * self.shards_per_unit
        count = min(self.shards_per_unit, self.shards - first)
        edges = [rows.num_rows * number // count for number in range(count + 1)]
        files, content = {}, {}
        for index, (start, end) in enumerate(itertools.pairwise(edges), start=first):
            name, shard = shard_name(index, self.shards), rows.slice(start, end - start)
            files[name] = self._publish_shard(name, shard)
            content[name] = content_hash(shard)
        captions = [caption for row in rows["captions"].to_pylist() for caption in row]
        counts = {
            "rows_in": unit.count,
            "rows": rows.num_rows,
            "shards": count,
            "splits": dict(Counter(rows["split"].to_pylist())),
            "captions": len(captions),
            "words": sum(len(caption.split()) for caption in captions),
        }
        self.folder.mark_done(unit, counts, content, files)
        return counts

    def _publish_shard(self, name: str, rows: pa.Table) -> int:
        shard = encode_shard(rows, {"recipe_hash": str(self.folder.trace["recipe_hash"])})
        publish(self.folder.path / name, shard)
        return len(shard)


def publish_statistics(
    folder: PhaseFolder, counts: list[Mapping[str, Any]], persons: Counts | None = None
) -> dict[str, Any]:
    """Publish what the shards hold, then the done-marker that makes them readable.

    counts: those of the units, or their sums. persons: what became of those who were to be packed; by default
    all of them are.
    """
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
    persons = persons or Counts(statistics["pictures"], statistics["pictures"])
    shards = {"shards": sum(unit["shards"] for unit in counts), "counts": {"persons": persons.to_json()}}
    publish_json(folder.path / DONE, {**shards, **statistics})
    return statistics


def is_packed(folder: PhaseFolder) -> bool:
    """Whether all shards stand, whole, with their statistics."""
    try:
        done = read_json(folder.path / DONE)
        shards = done["shards"] if done["counts"] else None
    except (DamagedError, KeyError):
        return False
    return bool(shards == folder.totals(folder.finished()).get("shards", 0))


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
