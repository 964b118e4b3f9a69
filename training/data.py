"""From shards to batches: every caption of a picture is a sample, and a match of it (docs/method.md).

All randomness is keyed by (seed, epoch, sample): a sample looks the same whatever thread, rank or place in
the batch it gets.
"""

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from pipeline.recipe import fingerprint
from pipeline.shards import DONE, ShardError, read_rows, shard_paths
from training.augment import augment, normalise
from training.config import TrainConfig
from training.step import Batch

COLUMNS = ["key", "image", "captions", "identity"]
_ORDER, _AUGMENT = 1, 2  # what drawn numbers are for: a part of their key

T = TypeVar("T")
R = TypeVar("R")
Encode = Callable[[Sequence[str]], Tensor]
"""Captions to token ids [B, N]: `CaptionTokenizer().encode`."""
Plan = np.ndarray[tuple[int, int, int], np.dtype[np.int64]]
"""[steps, groups, 2]: first sample and end (exclusive) of each group; a group shares one encoded picture."""


@dataclass(frozen=True)
class ShardSplit:
    """One split of a folder of shards in memory; pictures stay encoded."""

    folder: Path
    name: str
    table: pa.Table
    """Columns key, image, captions and identity; one row per picture."""
    rows: Tensor
    """[samples]: the picture of each caption; the captions of a picture stand together, in order."""
    first_samples: Tensor
    """[pictures]: the sample that is a picture's first caption."""
    ids: Tensor
    """[pictures]: who is seen; the identity, or a number of the picture's own where nobody knows."""

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        return len(self.ids)

    @property
    def samples(self) -> int:
        """Number of captions."""
        return len(self.rows)

    @property
    def known_identities(self) -> int:
        """Number of pictures whose person is known."""
        return self.pictures - int(self.table["identity"].null_count)

    def key(self, row: int) -> str:
        """The key of a picture."""
        return str(self.table["key"][row])

    def caption(self, sample: int) -> str:
        """The text of a sample."""
        row = int(self.rows[sample])
        return str(self.table["captions"][row][sample - int(self.first_samples[row])])

    def picture(self, row: int, size: tuple[int, int]) -> Image.Image:
        """A picture as RGB, resized to (height, width).

        Raises ShardError naming folder and key if the bytes are no picture.
        """
        encoded = self.table["image"][row]["bytes"].as_buffer()
        try:
            with Image.open(io.BytesIO(encoded)) as image:
                return image.convert("RGB").resize((size[1], size[0]), Image.Resampling.BILINEAR)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            problem = "not a picture" if isinstance(error, UnidentifiedImageError) else error
            raise ShardError(
                f"{self.folder}: picture {self.key(row)} cannot be decoded: {problem}"
            ) from error


def data_fingerprint(folder: Path, split: str) -> str:
    """Hash of a split's name, the done-marker and the shards' sizes: by it a run knows its data again."""
    sizes = [[path.name, path.stat().st_size] for path in shard_paths(folder)]
    return fingerprint(split, (folder / DONE).read_text(encoding="utf-8"), sizes)


def split_counts(folder: Path) -> dict[str, int]:
    """Pictures in each split of a finished folder of shards; no picture is read."""
    counts: dict[str, int] = {}
    for path in _shards_with(folder, ["split"]):
        for entry in pc.value_counts(pq.read_table(path, columns=["split"])["split"]).to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    return counts


def load_split(folder: Path, split: str) -> ShardSplit:
    """Read one split of a finished folder of shards.

    Raises ShardError naming the folder if it is unfinished, lacks a column, has no row of this split, or has
    a row without captions.
    """
    _shards_with(folder, COLUMNS)
    counts = split_counts(folder)
    if split not in counts:
        found = ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "no rows"
        raise ShardError(f"{folder}: split {split} is empty (there is: {found})")
    table = pa.concat_tables(read_rows(folder, split, COLUMNS))
    captions = _integers(pc.fill_null(pc.list_value_length(table["captions"]), 0))
    if not captions.all():
        raise ShardError(f"{folder}: {table['key'][int(captions.argmin())]} has no caption")
    return ShardSplit(
        folder=folder,
        name=split,
        table=table,
        rows=torch.arange(len(captions)).repeat_interleave(captions),
        first_samples=captions.cumsum(0) - captions,
        ids=_person_ids(table["identity"]),
    )


def epoch_plan(split: ShardSplit, config: TrainConfig, epoch: int) -> Plan:
    """The samples of every step of an epoch: whole pictures' groups, shuffled by (seed, epoch).

    A group is one caption, or with `captions_per_image` 2 up to two of the same picture. A last step that
    would be incomplete is left out (other epochs leave out others), unless it is the only one.
    """
    samples = torch.arange(split.samples)
    starts = samples[(samples - split.first_samples[split.rows]) % config.captions_per_image == 0]
    groups = torch.stack([starts, torch.cat([starts[1:], torch.tensor([split.samples])])], dim=1).numpy()
    width = min(len(groups), max(1, config.batch_size // config.captions_per_image))
    order = np.random.default_rng((_ORDER, config.seed, epoch)).permutation(len(groups))
    steps = len(groups) // width
    return groups[order[: steps * width]].reshape(steps, width, 2)


def load_batches(
    split: ShardSplit, plan: Plan, config: TrainConfig, epoch: int, encode: Encode, threads: int
) -> Iterator[Batch]:
    """Decode, augment and tokenize the steps of a plan, in order, on the CPU; two batches are kept ready.

    `threads` decode pictures; with 0 all work is done when a batch is asked for. Raises ShardError as
    `ShardSplit.picture` does.
    """
    size = (config.model.image_height_px, config.model.image_width_px)

    def load(first_sample: int) -> Tensor:
        image = split.picture(int(split.rows[first_sample]), size)
        draws = np.random.default_rng((_AUGMENT, config.seed, epoch, first_sample))
        return augment(image, config.augment, draws)

    def assemble(groups: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Batch:
        samples = torch.cat([torch.arange(first, end) for first, end in groups])
        captions = torch.from_numpy(groups[:, 1] - groups[:, 0])
        return Batch(
            images=torch.stack([next(pictures) for _ in groups]),
            token_ids=encode([split.caption(sample) for sample in samples.tolist()]),
            image_index=torch.arange(len(groups)).repeat_interleave(captions),
            ids=split.ids[split.rows[samples]],
            samples=samples,
        )

    pictures = ahead(load, plan[..., 0].flatten().tolist(), threads, depth=8 * threads)
    yield from ahead(assemble, plan, min(threads, 1), depth=2)


def load_captions(split: ShardSplit, batch_size: int) -> Iterator[list[str]]:
    """Every caption of a split once, in order, up to `batch_size` at a time."""
    for start in range(0, split.samples, batch_size):
        yield [split.caption(sample) for sample in range(start, min(start + batch_size, split.samples))]


def load_pictures(
    split: ShardSplit, size: tuple[int, int], batch_size: int, threads: int
) -> Iterator[Tensor]:
    """Every picture of a split once, in order, unaugmented: tensors [up to batch_size, 3, height, width]."""
    pictures = ahead(
        lambda row: normalise(split.picture(row, size)), range(split.pictures), threads, 8 * threads
    )
    for start in range(0, split.pictures, batch_size):
        yield torch.stack([next(pictures) for _ in range(min(batch_size, split.pictures - start))])


def ahead(work: Callable[[T], R], items: Iterable[T], threads: int, depth: int) -> Iterator[R]:
    """`map`, in order, with up to `depth` results worked out ahead by threads; without threads, plain `map`.

    An error comes up at its item's turn.
    """
    if not threads:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _shards_with(folder: Path, columns: list[str]) -> list[Path]:
    paths = shard_paths(folder)
    for path in paths:
        missing = sorted(set(columns) - set(pq.read_schema(path).names))
        if missing:
            raise ShardError(f"{path}: no column {', '.join(missing)}")
    return paths


def _person_ids(identity: pa.ChunkedArray) -> Tensor:
    """Identities; pictures of unknown persons get numbers above all of them, each its own."""
    greatest = pc.max(identity).as_py()
    own = pa.array(np.arange(len(identity)) + (0 if greatest is None else greatest + 1))
    return _integers(pc.coalesce(identity, own))


def _integers(column: pa.ChunkedArray) -> Tensor:
    return torch.from_numpy(column.to_numpy().astype(np.int64))
