"""Packing: pictures that fit or fail with a reason, shards that are published whole and counted."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation.pack import (
    FitImages,
    PackSettings,
    ShardSink,
    is_packed,
    publish_statistics,
)
from pipeline.attempts import with_reasons
from pipeline.reasons import Reason
from pipeline.recipe import RecipeError, parse_recipe
from pipeline.records import ShardImage, ShardRow, to_table
from pipeline.shards import read_rows, shard_paths, shard_schema
from pipeline.storage import read_json
from pipeline.units import PhaseFolder, Unit


def shard_row(number: int, size: tuple[int, int], split: str = "train") -> ShardRow:
    sink = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(sink, "JPEG")
    return ShardRow(
        key=f"k{number}",
        image=ShardImage(bytes=sink.getvalue(), path=f"k{number}.jpg"),
        captions=["one two three", "four five"],
        caption_model_ids=["m", "m"],
        caption_template_ids=["t", "t"],
        identity=None,
        split=split,
        url="http://made/",
        image_sha256="00",
        score=0.9,
    )


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.0, 1.0), (0.9, 0.2)])
def test_shares_that_leave_nothing_to_train_on_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(RecipeError, match=r"^made: val_share and test_share leave nothing to train on$"):
        parse_recipe(PackSettings, {"val_share": shares[0], "test_share": shares[1]}, "made")


def fitted(size: tuple[int, int], max_side_px: int) -> tuple[bytes, bytes]:
    rows = to_table(ShardRow, [shard_row(1, size)])
    with FitImages(PackSettings(max_side_px=max_side_px)).open() as process:
        out = process(rows)
    assert out.drop_columns("image").equals(rows.drop_columns("image"))
    return rows["image"][0].as_py()["bytes"], out["image"][0].as_py()["bytes"]


@pytest.mark.parametrize("size", [(30, 100), (100, 30), (100, 100)])
def test_a_picture_that_fits_keeps_its_bytes(size: tuple[int, int]) -> None:
    before, after = fitted(size, 100)
    assert after == before


@pytest.mark.parametrize(
    ("size", "expected"), [((50, 200), (25, 100)), ((200, 50), (100, 25)), ((1, 300), (1, 100))]
)
def test_a_larger_picture_is_scaled_to_the_longest_side(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    _, after = fitted(size, 100)
    with Image.open(io.BytesIO(after)) as image:
        assert (image.size, image.format) == (expected, "JPEG")


def fit(rows: pa.Table) -> list[dict[str, Any]]:
    with FitImages(PackSettings(max_side_px=100)).open() as process:
        out: list[dict[str, Any]] = process(rows).to_pylist()
    return out


def without_image(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("image", "reason", "error")}


def cut_off(data: bytes) -> bytes:
    return data[: len(data) // 2]


def nothing(data: bytes) -> None:
    return None


def bomb(data: bytes) -> bytes:
    """A PNG that says it has 65,000 x 65,000 pixels."""
    header = struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b""))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (cut_off, "OSError: image file is truncated"),
        (lambda _: b"no picture", "UnidentifiedImageError: cannot identify"),
        (nothing, "UnidentifiedImageError: cannot identify"),
        (bomb, "DecompressionBombError: Image size"),
    ],
    ids=["cut off", "no picture", "nothing", "bomb"],
)
def test_a_picture_that_cannot_be_fitted_fails_and_the_others_go_on(
    damage: Callable[[bytes], bytes | None], error: str
) -> None:
    rows = to_table(ShardRow, [shard_row(number, (200, 200)) for number in range(3)]).to_pylist()
    rows[1]["image"]["bytes"] = damage(rows[1]["image"]["bytes"])
    out = fit(pa.Table.from_pylist(rows, schema=shard_schema()))
    assert [row["reason"] for row in out] == [None, "decode_failed", None]
    assert out[1]["error"].startswith(error)
    assert "\n" not in out[1]["error"]
    assert out[1]["image"] == rows[1]["image"]
    assert list(map(without_image, out)) == list(map(without_image, rows))
    assert [Image.open(io.BytesIO(out[n]["image"]["bytes"])).size for n in (0, 2)] == [(100, 100)] * 2


def test_a_picture_that_has_a_reason_already_is_left_alone() -> None:
    rows = to_table(ShardRow, [shard_row(number, (200, 200)) for number in range(2)])
    marked = with_reasons(rows, {0: (Reason.QUARANTINED, "it killed")})
    out = fit(marked)
    assert out[0] == marked.to_pylist()[0]
    assert (out[1]["reason"], out[1]["error"]) == (None, None)
    assert out[1]["image"] != marked.to_pylist()[1]["image"]


def test_pictures_in_several_chunks_keep_their_rows() -> None:
    rows = pa.concat_tables(to_table(ShardRow, [shard_row(number, (8, 8))]) for number in range(3))
    rows = with_reasons(pa.concat_tables([rows.slice(0, 0), rows]), {0: (Reason.CRASHED, "it raised")})
    bad = rows.to_pylist()
    bad[2]["image"]["bytes"] = b""
    chunks = pa.concat_tables(pa.Table.from_pylist([row], schema=rows.schema) for row in bad)
    assert [row["reason"] for row in fit(chunks)] == ["crashed", None, "decode_failed"]


def test_a_unit_of_several_shards_is_cut_evenly(tmp_path: Path) -> None:
    folder = PhaseFolder(tmp_path, {"recipe_hash": "abc"})
    rows = to_table(ShardRow, [shard_row(number, (8, 8)) for number in range(9)])
    sink = ShardSink(folder, shards=5, shards_per_unit=2)
    counts = [sink.publish(Unit(n, 4 * n, 4), rows.slice(4 * n, 4)) for n in range(3)]
    assert [unit["shards"] for unit in counts] == [2, 2, 1]
    publish_statistics(folder, counts)
    shards = [pq.read_table(path)["key"].to_pylist() for path in shard_paths(tmp_path)]
    assert shards == [["k0", "k1"], ["k2", "k3"], ["k4", "k5"], ["k6", "k7"], ["k8"]]
    assert read_json(folder.path / "done.json")["shards"] == 5


def test_shards_are_packed_when_all_stand_with_their_statistics(tmp_path: Path) -> None:
    folder, rows = PhaseFolder(tmp_path, {"recipe_hash": "abc"}), to_table(ShardRow, [shard_row(0, (8, 8))])
    assert not is_packed(folder)
    counts = ShardSink(folder, 1).publish(Unit(0, 0, 1), rows)
    assert not is_packed(folder)
    publish_statistics(folder, [counts])
    assert is_packed(folder)
    (shard,) = shard_paths(tmp_path)
    shard.write_bytes(b"")
    assert not is_packed(folder)
    (tmp_path / "done.json").write_text("{")
    assert not is_packed(folder)


def test_published_shards_are_read_by_split_and_counted(tmp_path: Path) -> None:
    folder = PhaseFolder(tmp_path / "pack", {"recipe_hash": "abc"})
    shards = [
        [shard_row(0, (8, 8)), shard_row(1, (8, 8))],
        [shard_row(2, (8, 8), "val"), shard_row(3, (8, 8), "test")],
    ]
    counts = [
        ShardSink(folder, 2).publish(Unit(index, 2 * index, 2), to_table(ShardRow, rows))
        for index, rows in enumerate(shards)
    ]
    statistics = publish_statistics(folder, counts)
    assert folder.finished() == [0, 1]
    assert [path.name for path in shard_paths(tmp_path / "pack")] == [
        "webperson-00000-of-00002.parquet",
        "webperson-00001-of-00002.parquet",
    ]
    assert [t["key"].to_pylist() for t in read_rows(tmp_path / "pack", "train")] == [["k0", "k1"]]
    assert statistics == {
        "pictures": 4,
        "pictures_by_split": {"train": 2, "val": 1, "test": 1},
        "captions": 8,
        "words_per_caption": 2.5,
    }
    assert read_json(folder.path / "statistics.json") == {**statistics, "trace": {"recipe_hash": "abc"}}
    packed = {"persons": {"rows_in": 4, "kept": 4, "rejected": {}, "failed": {}}}
    assert read_json(folder.path / "done.json") == {"shards": 2, "counts": packed, **statistics}


def test_the_shards_are_readable_only_after_their_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []
    monkeypatch.setattr("curation.pack.publish_json", lambda path, _: published.append(path.name))
    publish_statistics(PhaseFolder(tmp_path, {"recipe_hash": "abc"}), [])
    assert published == ["statistics.json", "done.json"]


def test_statistics_of_nothing_are_zeros(tmp_path: Path) -> None:
    statistics = publish_statistics(PhaseFolder(tmp_path, {"recipe_hash": "abc"}), [])
    assert statistics["pictures"] == statistics["captions"] == statistics["words_per_caption"] == 0
