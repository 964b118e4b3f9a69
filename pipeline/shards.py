"""The shard format: Parquet that training streams, `datasets` opens and the hub viewer shows."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.records import ShardRow, arrow_schema

SPLITS = ("train", "val", "test")
ROWS_PER_GROUP = 100
BYTES_PER_GROUP = 100 * 2**20
STATISTICS = "statistics.json"
DONE = "done.json"


class ShardError(ValueError):
    """Shards that cannot be read; the message names the folder, file or column."""


def shard_schema() -> pa.Schema:
    """The Arrow schema of a shard, with Hugging Face feature metadata."""
    schema = arrow_schema(ShardRow)
    # `datasets` takes a picture for one only if the column is nullable, as its own would be.
    image = pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    schema = schema.set(schema.get_field_index("image"), image)
    features = {field.name: _feature(field.type) for field in schema}
    return schema.with_metadata(
        {**schema.metadata, "huggingface": json.dumps({"info": {"features": features}})}
    )


def shard_name(index: int, count: int) -> str:
    """`webperson-00000-of-00042.parquet`."""
    return f"webperson-{index:05d}-of-{count:05d}.parquet"


def encode_shard(table: pa.Table, metadata: dict[str, str] | None = None) -> bytes:
    """A table of shard rows as Parquet bytes, in row groups small enough to shuffle and to stream."""
    schema = shard_schema()
    schema = schema.with_metadata({**schema.metadata, **(metadata or {})})
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_index=True) as writer:
        for group in _row_groups(table.cast(schema)):
            writer.write_table(group)
    return sink.getvalue()


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a finished folder, in order.

    Raises ShardError if the folder has no done-marker, not the number of shards that their names promise, or
    a shard that is cut off.
    """
    if not (folder / DONE).is_file():
        raise ShardError(f"{folder}: not a finished folder of shards (no {DONE})")
    paths = sorted(folder.glob("webperson-*-of-*.parquet"))
    if not paths:
        raise ShardError(f"{folder}: holds no shards")
    if paths[-1].name != shard_name(len(paths) - 1, len(paths)):
        raise ShardError(f"{folder}: shards are missing; found {len(paths)}")
    for path in paths:
        try:
            pq.read_metadata(path)
        except pa.ArrowInvalid:
            raise ShardError(f"{path}: not a whole Parquet file") from None
    return paths


def read_rows(folder: Path, split: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield the row groups of a split, in shard order; row groups of other splits are not read."""
    for path in shard_paths(folder):
        with pq.ParquetFile(path) as shard:
            for group in range(shard.num_row_groups):
                wanted = pc.equal(shard.read_row_group(group, columns=["split"])["split"], split)
                if pc.any(wanted).as_py():
                    yield shard.read_row_group(group, columns=columns).filter(wanted)


def _row_groups(table: pa.Table) -> Iterator[pa.Table]:
    start, size = 0, 0
    for row, image in enumerate(table["image"].combine_chunks().field("bytes")):
        image_bytes = len(image.as_buffer())
        if row > start and (row - start == ROWS_PER_GROUP or size + image_bytes > BYTES_PER_GROUP):
            yield table.slice(start, row - start)
            start, size = row, 0
        size += image_bytes
    if start < table.num_rows:
        yield table.slice(start)


def _feature(arrow: pa.DataType) -> dict[str, object]:
    if pa.types.is_struct(arrow):
        return {"_type": "Image"}
    if pa.types.is_list(arrow):
        return {"feature": _feature(arrow.value_type), "_type": "List"}
    return {"dtype": str(arrow).replace("float", "float32"), "_type": "Value"}
