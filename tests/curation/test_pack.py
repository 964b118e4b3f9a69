"""Packing: a plan that depends on seed and keys alone, no picture on two sides, pictures that fit."""

import io
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.pack import (
    PLAN,
    FitImages,
    PackSettings,
    ShardSink,
    plan_shards,
    publish_statistics,
    shard_units,
    split_of,
)
from pipeline.recipe import RecipeError, parse_recipe
from pipeline.records import ShardImage, ShardRow, to_table
from pipeline.shards import read_rows, shard_paths
from pipeline.storage import read_json
from pipeline.units import PhaseFolder, Unit

SETTINGS = PackSettings(rows_per_shard=10, val_share=0.2, test_share=0.3)


def pairs(count: int, persons: int = 3) -> list[dict[str, Any]]:
    """Kept persons, `persons` of each picture; every picture stands at two URLs."""
    return [
        {
            "unit": n // 40,
            "row": n // persons % 40,
            "person": n % persons,
            "image_sha256": f"{n // persons // 2:064x}",
        }
        for n in range(count)
    ]


def plan(
    rows: list[dict[str, Any]], seed: int = 0, settings: PackSettings = SETTINGS
) -> list[dict[str, Any]]:
    schema = pa.schema(
        [("unit", pa.int64()), ("row", pa.int32()), ("person", pa.int32()), ("image_sha256", pa.string())]
    )
    table = plan_shards(pa.Table.from_pylist(rows, schema=schema), seed, settings)
    assert table.schema.equals(PLAN)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def key(row: dict[str, Any]) -> tuple[int, int, int]:
    return row["unit"], row["row"], row["person"]


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


@given(seed=st.integers(0, 9), shuffle=st.integers(0, 99), count=st.integers(0, 60))
def test_the_plan_does_not_depend_on_the_order_of_its_input(seed: int, shuffle: int, count: int) -> None:
    rows = pairs(count)
    assert plan(random.Random(shuffle).sample(rows, count), seed) == plan(rows, seed)


def test_every_pair_is_planned_once() -> None:
    rows = pairs(95)
    assert sorted(map(key, plan(rows))) == sorted(map(key, rows))


def test_shards_are_full_but_for_the_last() -> None:
    sizes = Counter(row["shard"] for row in plan(pairs(95)))
    assert [sizes[shard] for shard in sorted(sizes)] == [10] * 9 + [5]


def test_equal_pictures_never_stand_in_two_splits() -> None:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    pictures = {key(row): row["image_sha256"] for row in pairs(600)}
    for row in plan(pairs(600)):
        splits[pictures[key(row)]].add(row["split"])
    assert {len(names) for names in splits.values()} == {1}
    assert {name for names in splits.values() for name in names} == {"train", "val", "test"}


def test_splits_follow_each_other_and_are_shuffled_inside() -> None:
    rows = plan(pairs(600))
    names = [row["split"] for row in rows]
    assert names == sorted(names, key=["train", "val", "test"].index)
    train = [key(row) for row in rows if row["split"] == "train"]
    places = np.argsort(np.argsort([f"{u:03d}{r:03d}{p}" for u, r, p in train]))
    assert abs(np.corrcoef(places, range(len(train)))[0, 1]) < 0.2


def test_the_shares_are_shares_of_the_pictures() -> None:
    drawn = Counter(split_of(f"{n:064x}", 0, SETTINGS) for n in range(20_000))
    assert drawn["test"] / 20_000 == pytest.approx(0.3, abs=0.015)
    assert drawn["val"] / 20_000 == pytest.approx(0.2, abs=0.015)


def test_shares_of_nothing_leave_all_for_training() -> None:
    settings = PackSettings(val_share=0, test_share=0)
    assert {split_of(f"{n:064x}", 0, settings) for n in range(500)} == {"train"}


def test_a_picture_stays_in_its_split_when_others_come() -> None:
    few = {key(row): row["split"] for row in plan(pairs(30))}
    many = {key(row): row["split"] for row in plan(pairs(300))}
    assert {key: many[key] for key in few} == few


def test_the_test_split_does_not_move_when_the_val_share_does() -> None:
    wider = PackSettings(val_share=0.4, test_share=0.3)
    hashes = [f"{n:064x}" for n in range(2000)]
    before, after = ([split_of(sha, 0, s) == "test" for sha in hashes] for s in (SETTINGS, wider))
    assert before == after


def test_another_seed_is_another_shuffle_and_another_split() -> None:
    one, two = plan(pairs(300), 0), plan(pairs(300), 1)
    assert list(map(key, one)) != list(map(key, two))
    assert {key(r): r["split"] for r in one} != {key(r): r["split"] for r in two}


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.0, 1.0), (0.9, 0.2)])
def test_shares_that_leave_nothing_to_train_on_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(RecipeError, match=r"^made: val_share and test_share leave nothing to train on$"):
        parse_recipe(PackSettings, {"val_share": shares[0], "test_share": shares[1]}, "made")


def test_a_shard_is_a_unit() -> None:
    table = pa.Table.from_pylist(plan(pairs(25)), schema=PLAN)
    assert shard_units(table) == [Unit(0, 0, 10), Unit(1, 10, 10), Unit(2, 20, 5)]
    assert shard_units(PLAN.empty_table()) == []


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
    assert read_json(folder.path / "done.json") == {"shards": 2, **statistics}


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
