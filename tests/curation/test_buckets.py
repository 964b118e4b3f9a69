"""Buckets: the same rows give the same shards, however they came; none is lost, none stands twice."""

import itertools
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.buckets import BucketRows, Buckets, note_places, sorted_places
from curation.runs import ROWS_PER_GROUP, RUNS
from pipeline.shards import SPLITS, shard_schema
from pipeline.stage import UnitError
from pipeline.storage import StorageError
from pipeline.units import PhaseFolder
from tests.curation.made_rows import TRACE, Row, publish_runs, row


def gathered(folder: PhaseFolder, runs: int, rows_per_shard: int, rows: int) -> list[list[Row]]:
    """The rows of each bucket."""
    buckets = Buckets.cut(sorted_places(folder, runs), rows_per_shard, rows)
    source = BucketRows(folder, runs, buckets.bounds)
    read = [source.read(unit) for unit in buckets.units]
    assert all(rows.schema.equals(shard_schema()) for rows in read)
    return [rows.to_pylist() for rows in read]


@given(count=st.integers(0, 60), runs=st.integers(1, 4), shuffle=st.integers(0, 99))
def test_shards_do_not_depend_on_the_order_or_the_runs_that_their_rows_came_in(
    count: int, runs: int, shuffle: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [row(number) for number in range(count)]
    mixed = random.Random(shuffle).sample(rows, count)
    one = publish_runs(tmp_path_factory.mktemp("one"), [rows])
    other = publish_runs(tmp_path_factory.mktemp("other"), [mixed[n::runs] for n in range(runs)])
    buckets = gathered(one, 1, 7, 14)
    assert gathered(other, runs, 7, 14) == buckets
    assert sorted(row["key"] for rows in buckets for row in rows) == sorted(row["key"] for row in rows)


def test_splits_follow_each_other_and_are_shuffled_inside(tmp_path: Path) -> None:
    folder = publish_runs(tmp_path, [[row(number) for number in range(600)]])
    (rows,) = gathered(folder, 1, 600, 600)
    splits = [row["split"] for row in rows]
    assert splits == sorted(splits, key=SPLITS.index)
    train = [row["key"] for row in rows if row["split"] == "train"]
    places = np.argsort(np.argsort(train))
    assert abs(np.corrcoef(places, range(len(train)))[0, 1]) < 0.2


@given(count=st.integers(0, 200), rows_per_shard=st.integers(1, 30), rows=st.integers(1, 90))
def test_buckets_hold_whole_shards_and_every_row(count: int, rows_per_shard: int, rows: int) -> None:
    buckets = Buckets.cut(np.arange(0, 3 * count, 3), rows_per_shard, rows)
    full = rows_per_shard * buckets.shards_per_bucket
    assert full <= max(rows, rows_per_shard)
    sizes = [unit.count for unit in buckets.units]
    assert sizes == [full] * (count // full) + ([count % full] if count % full else [])
    assert buckets.shards == -(-count // rows_per_shard)
    assert [unit.first for unit in buckets.units] == [full * n for n in range(len(sizes))]


def test_rows_that_were_drawn_alike_stay_together(tmp_path: Path) -> None:
    rows = [row(number, {"place": [5, 7, 7, 7, 9][number]}) for number in range(5)]
    found = gathered(publish_runs(tmp_path, [rows[3:], rows[:3]]), 2, 2, 2)
    assert [[each["key"] for each in bucket] for bucket in found] == [
        [rows[0]["key"]],
        [each["key"] for each in rows[1:4]],
        [rows[4]["key"]],
    ]


def test_a_bucket_reads_only_its_part_of_a_run(tmp_path: Path) -> None:
    folder = publish_runs(tmp_path, [[row(number) for number in range(5 * ROWS_PER_GROUP)]])
    (part,) = folder.parts(RUNS, 0)
    with pq.ParquetFile(part) as file:
        groups = [file.metadata.row_group(n) for n in range(file.num_row_groups)]
        (place,) = (n for n in range(groups[0].num_columns) if groups[0].column(n).path_in_schema == "place")
        ranges = [group.column(place).statistics for group in groups]
    assert [group.num_rows for group in groups] == [ROWS_PER_GROUP] * 5
    assert all(one.max < two.min for one, two in itertools.pairwise(ranges))


def test_a_bucket_whose_rows_are_not_all_there_is_not_made(tmp_path: Path) -> None:
    folder = publish_runs(
        tmp_path, [[row(number) for number in range(10)], [row(number) for number in range(10, 20)]]
    )
    buckets = Buckets.cut(sorted_places(folder, 2), 20, 20)
    with pytest.raises(UnitError, match=r"unit-000000 is of 20 rows, found 10$"):
        BucketRows(folder, 1, buckets.bounds).read(buckets.units[0])


def test_shards_of_other_rows_are_not_mixed_with_those_that_stand(tmp_path: Path) -> None:
    folder, places = PhaseFolder(tmp_path, TRACE), np.arange(5)
    note_places(folder, places)
    note_places(folder, places)
    with pytest.raises(
        StorageError, match=r"holds shards of other rows; remove this folder and run it again$"
    ):
        note_places(folder, places + 1)


def test_a_note_of_places_that_is_cut_off_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "places.json").write_text('{"rows"')
    note_places(PhaseFolder(tmp_path, TRACE), np.arange(5))
    note_places(PhaseFolder(tmp_path, TRACE), np.arange(5))
