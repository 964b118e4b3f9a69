"""Shards: plain Parquet, `datasets` and training read the same rows; unfinished folders are refused."""

import dataclasses
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline import shards
from pipeline.records import SCHEMA_VERSION, ShardImage, ShardRow, to_table
from pipeline.shards import (
    DONE,
    ShardError,
    encode_shard,
    read_rows,
    shard_name,
    shard_paths,
    shard_schema,
)


def jpeg(red: int, size: tuple[int, int] = (4, 8)) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", size, (red, 0, 0)).save(sink, "JPEG")
    return sink.getvalue()


def row(number: int, split: str = "train", image: bytes = b"") -> ShardRow:
    return ShardRow(
        key=f"key-{number}",
        image=ShardImage(bytes=image or jpeg(number % 256), path=f"key-{number}.jpg"),
        captions=[f"first of {number}", f"second of {number}"],
        caption_model_ids=["m", "n"],
        caption_template_ids=["t", "u"],
        identity=None if number % 2 else number,
        split=split,
        url=f"http://a/{number}",
        image_sha256=f"{number:064x}",
        score=0.5,
    )


def table(rows: list[ShardRow]) -> pa.Table:
    return to_table(ShardRow, rows)


def write(folder: Path, *shards: list[ShardRow]) -> Path:
    folder.mkdir(exist_ok=True)
    for index, rows in enumerate(shards):
        (folder / shard_name(index, len(shards))).write_bytes(encode_shard(table(rows)))
    (folder / DONE).write_text("{}")
    return folder


def groups(data: bytes) -> list[int]:
    metadata = pq.read_metadata(pa.BufferReader(data))
    return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]


def test_a_shard_is_named_by_its_number_and_their_count() -> None:
    assert shard_name(0, 42) == "webperson-00000-of-00042.parquet"


def test_plain_pyarrow_reads_the_rows_as_they_were() -> None:
    rows = [row(n) for n in range(5)]
    back = pq.read_table(pa.BufferReader(encode_shard(table(rows))))
    assert back.to_pylist() == [dataclasses.asdict(r) for r in rows]
    assert back.schema.equals(shard_schema())


@pytest.mark.parametrize(
    ("count", "expected"), [(0, []), (1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])]
)
def test_a_row_group_has_at_most_a_hundred_rows(count: int, expected: list[int]) -> None:
    assert groups(encode_shard(table([row(n, image=b"x") for n in range(count)]))) == expected


def test_a_row_group_stays_below_the_byte_cap_where_single_pictures_allow_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shards, "BYTES_PER_GROUP", 100)
    sizes = [300, 40, 60, 1, 90, 20, 300, 10]
    data = encode_shard(table([row(n, image=b"x" * size) for n, size in enumerate(sizes)]))
    assert groups(data) == [1, 2, 2, 1, 1, 1]
    assert pq.read_table(pa.BufferReader(data))["key"].to_pylist() == [f"key-{n}" for n in range(8)]


def test_a_slice_of_a_larger_table_keeps_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "BYTES_PER_GROUP", 100)
    sizes = [400, 400, 50, 50, 1]
    rows = table([row(n, image=b"x" * size) for n, size in enumerate(sizes)]).slice(2)
    data = encode_shard(pa.concat_tables([rows.slice(0, 1), rows.slice(1)]))
    assert groups(data) == [2, 1]
    assert pq.read_table(pa.BufferReader(data))["key"].to_pylist() == ["key-2", "key-3", "key-4"]


def test_metadata_of_the_recipe_stands_beside_the_features() -> None:
    metadata = pq.read_schema(pa.BufferReader(encode_shard(table([row(1)]), {"recipe_hash": "abc"}))).metadata
    assert metadata[b"recipe_hash"] == b"abc"
    assert metadata[b"schema_version"] == str(SCHEMA_VERSION).encode()
    features = json.loads(metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["score"] == {"dtype": "float32", "_type": "Value"}
    assert features["captions"] == {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}


def test_datasets_opens_pictures_and_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    rows = [row(n, image=jpeg(200, (5, 9 + n))) for n in range(3)]
    folder = write(tmp_path / "shards", rows[:2], rows[2:])
    files = [str(path) for path in shard_paths(folder)]
    found = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert [r["image"].size for r in found] == [(5, 9), (5, 10), (5, 11)]
    assert found[0]["image"].getpixel((2, 4))[0] == pytest.approx(200, abs=4)
    assert found[2]["captions"] == ["first of 2", "second of 2"]
    assert [r["identity"] for r in found] == [0, None, 2]
    assert found[1]["score"] == 0.5


def test_rows_of_a_split_come_in_the_order_of_the_shards(tmp_path: Path) -> None:
    splits = ["train", "val", "train", "test", "train"]
    rows = [row(n, split) for n, split in enumerate(splits)]
    folder = write(tmp_path / "shards", rows[:3], rows[3:])
    found = {
        split: [key for part in read_rows(folder, split) for key in part["key"].to_pylist()]
        for split in ("train", "val", "test", "none")
    }
    assert found == {
        "train": ["key-0", "key-2", "key-4"],
        "val": ["key-1"],
        "test": ["key-3"],
        "none": [],
    }


def test_only_the_wanted_columns_come_back(tmp_path: Path) -> None:
    folder = write(tmp_path / "shards", [row(1), row(2, "val")])
    (part,) = read_rows(folder, "val", ["captions", "key"])
    assert part.to_pylist() == [{"captions": ["first of 2", "second of 2"], "key": "key-2"}]


def test_row_groups_of_other_splits_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(n, "train" if n < 200 else "test", b"x") for n in range(300)]
    folder = write(tmp_path / "shards", rows)
    read: list[tuple[int, list[str] | None]] = []
    whole = pq.ParquetFile.read_row_group

    def note(self: pq.ParquetFile, group: int, columns: list[str] | None) -> pa.Table:
        read.append((group, columns))
        return whole(self, group, columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", note)
    assert sum(part.num_rows for part in read_rows(folder, "test")) == 100
    assert [group for group, columns in read if columns != ["split"]] == [2]


def test_a_folder_without_marker_is_not_finished(tmp_path: Path) -> None:
    folder = write(tmp_path / "shards", [row(1)])
    (folder / DONE).unlink()
    with pytest.raises(ShardError, match=r"shards: not a finished folder of shards \(no done.json\)"):
        shard_paths(folder)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_missing_shard_is_noticed(lost: int, tmp_path: Path) -> None:
    folder = write(tmp_path / "shards", [row(1)], [row(2)], [row(3)])
    (folder / shard_name(lost, 3)).unlink()
    with pytest.raises(ShardError, match="shards: shards are missing; found 2"):
        shard_paths(folder)


def test_shards_of_two_packings_in_one_folder_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "shards", [row(1)], [row(2)])
    (folder / shard_name(0, 1)).write_bytes(encode_shard(table([row(3)])))
    with pytest.raises(ShardError, match="shards"):
        shard_paths(folder)


def test_a_finished_folder_may_hold_no_shards_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="shards: holds no shards"):
        shard_paths(write(tmp_path / "shards"))


def test_a_shard_that_is_cut_off_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, [row(0)], [row(1)])
    path = folder / "webperson-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ShardError, match=r"webperson-00001-of-00002\.parquet: not a whole Parquet file"):
        shard_paths(folder)
