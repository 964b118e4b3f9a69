"""Shards with identities: no identity in two splits, and captions that stay or are another's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.cli.labelled import LabelError, label, label_shards, permute_captions
from pipeline.records import ShardRow, to_table
from pipeline.shards import SPLITS, read_rows, shard_paths
from pipeline.storage import publish_json, read_json
from tests.training.toy_shards import shard_row, write_shards
from training.data import load_split

PEOPLE, VIEWS = 20, 3
IDENTITIES = {f"key-{number}": 5 * (number // VIEWS) for number in range(PEOPLE * VIEWS)}
"""With gaps: not everybody who was drawn is kept."""


def packed_rows() -> list[ShardRow]:
    """Three pictures each of twenty persons, and two of nobody known, as pack leaves them."""
    return [
        shard_row(key, "train", key.encode(), [f"first of {key}", f"second of {key}"])
        for key in [*IDENTITIES, "stranger-0", "stranger-1"]
    ]


def packed_table() -> pa.Table:
    return to_table(ShardRow, packed_rows())


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A finished folder of two shards."""
    rows = packed_rows()
    folder = write_shards(tmp_path / "pack-0", rows[:31], rows[31:])
    publish_json(folder / "phase.json", {"recipe_hash": "abc"})
    return folder


def by_split(rows: pa.Table, column: str) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {split: [] for split in SPLITS}
    for row in rows.select([column, "split"]).to_pylist():
        found[row["split"]].append(row[column])
    return found


def test_every_known_row_has_its_identity_and_strangers_are_left_out() -> None:
    rows = label(packed_table(), IDENTITIES, seed=0)
    assert dict(zip(rows["key"].to_pylist(), rows["identity"].to_pylist(), strict=True)) == IDENTITIES


def test_no_identity_stands_in_two_splits_and_splits_have_their_shares() -> None:
    found = {
        split: set(ids) for split, ids in by_split(label(packed_table(), IDENTITIES, 0), "identity").items()
    }
    assert {split: len(ids) for split, ids in found.items()} == {"train": 12, "val": 2, "test": 6}
    assert set.union(*found.values()) == set(IDENTITIES.values())


def test_the_seed_draws_the_splits() -> None:
    splits = [by_split(label(packed_table(), IDENTITIES, seed), "key") for seed in (0, 0, 1)]
    assert splits[0] == splits[1]
    assert splits[0] != splits[2]


def test_all_else_of_a_row_stays() -> None:
    before = {row["key"]: row for row in packed_table().to_pylist()}
    for row in label(packed_table(), IDENTITIES, seed=0).to_pylist():
        expected = before[row["key"]]
        assert row == expected | {"identity": row["identity"], "split": row["split"]}


@pytest.mark.parametrize("people", [0, 1, 4])
def test_too_few_identities_are_refused(people: int) -> None:
    few = {key: identity for key, identity in IDENTITIES.items() if identity < 5 * people}
    with pytest.raises(
        LabelError, match=f"^{people} identities are too few for the splits train, val, test$"
    ):
        label(packed_table(), few, seed=0)


def test_permuted_captions_are_those_of_another_training_identity_each_once() -> None:
    rows = label(packed_table(), IDENTITIES, seed=0)
    permuted = permute_captions(rows, seed=0)
    train = [row for row in permuted.to_pylist() if row["split"] == "train"]
    owners = [row["captions"][0].removeprefix("first of ") for row in train]
    assert sorted(owners) == sorted(row["key"] for row in train)
    assert all(IDENTITIES[owner] != row["identity"] for owner, row in zip(owners, train, strict=True))
    assert all(row["captions"][1] == f"second of {owner}" for owner, row in zip(owners, train, strict=True))


def test_permuting_does_not_deal_one_persons_captions_to_one_other_person() -> None:
    """Else an identity would keep captions of its own, if wrong ones."""
    train = [
        row
        for row in permute_captions(label(packed_table(), IDENTITIES, seed=0), seed=0).to_pylist()
        if row["split"] == "train"
    ]
    dealt: dict[int, set[int]] = {}
    for row in train:
        owner = row["captions"][0].removeprefix("first of ")
        dealt.setdefault(row["identity"], set()).add(IDENTITIES[owner])
    assert sum(len(owners) for owners in dealt.values()) > 2 * len(dealt)


def test_permuting_leaves_the_other_splits_and_all_other_columns_alone() -> None:
    rows = label(packed_table(), IDENTITIES, seed=0)
    permuted = permute_captions(rows, seed=0)
    kept = [name for name in rows.schema.names if not name.startswith("caption")]
    assert permuted.select(kept).equals(rows.select(kept))
    for before, after in zip(rows.to_pylist(), permuted.to_pylist(), strict=True):
        assert (before == after) == (before["split"] != "train")


def table_of(identities: Sequence[int]) -> pa.Table:
    rows = [
        shard_row(f"key-{n}", "train", b"", [f"caption {n}"], identity)
        for n, identity in enumerate(identities)
    ]
    return to_table(ShardRow, rows)


@pytest.mark.parametrize("seed", range(20))
def test_half_of_the_rows_may_be_one_persons(seed: int) -> None:
    ids = [0, 0, 0, 0, 1, 2, 3, 3]
    texts = permute_captions(table_of(ids), seed)["captions"].to_pylist()
    owners = [ids[int(text.removeprefix("caption "))] for (text,) in texts]
    assert all(owner != identity for owner, identity in zip(owners, ids, strict=True))


def test_more_than_half_of_the_rows_cannot_be_one_persons() -> None:
    with pytest.raises(LabelError, match="identity 0 has more than half"):
        permute_captions(table_of([0, 0, 0, 1, 2]), seed=0)


@pytest.mark.parametrize("rows_per_shard", [1000, 25])
def test_rows_are_cut_into_shards_and_none_comes_twice(
    packed: Path, tmp_path: Path, rows_per_shard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.cli.labelled.ROWS_PER_SHARD", rows_per_shard)
    folder = label_shards(packed, IDENTITIES, tmp_path, seed=0, permuted=False)
    assert len(shard_paths(folder)) == -(-60 // rows_per_shard)
    assert sorted(row["key"] for row in rows_of(folder)) == sorted(IDENTITIES)


@pytest.mark.parametrize("permuted", [False, True])
def test_the_written_folder_is_one_that_training_reads(packed: Path, tmp_path: Path, permuted: bool) -> None:
    folder = label_shards(packed, IDENTITIES, tmp_path, seed=0, permuted=permuted)
    assert folder.parent == tmp_path
    pictures = {split: load_split(folder, split) for split in SPLITS}
    assert {split: found.pictures for split, found in pictures.items()} == {"train": 36, "val": 6, "test": 18}
    assert all(found.known_identities == found.pictures for found in pictures.values())
    train = pictures["train"]
    own = [train.caption(2 * row) == f"first of {train.key(row)}" for row in range(train.pictures)]
    assert own == [not permuted] * 36
    assert all(row["image"]["bytes"] == row["key"].encode() for row in rows_of(folder))
    assert read_json(folder / "statistics.json")["pictures"] == 60


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for split in SPLITS for group in read_rows(folder, split) for row in group.to_pylist()]


def test_what_was_written_before_is_left_and_other_identities_go_elsewhere(
    packed: Path, tmp_path: Path
) -> None:
    folder = label_shards(packed, IDENTITIES, tmp_path, seed=0, permuted=False)
    (shard,) = shard_paths(folder)
    before = shard.stat().st_mtime_ns
    assert label_shards(packed, IDENTITIES, tmp_path, seed=0, permuted=False) == folder
    assert shard.stat().st_mtime_ns == before
    others = {key: identity + 1 for key, identity in IDENTITIES.items()}
    assert label_shards(packed, others, tmp_path, seed=0, permuted=False) != folder
    assert label_shards(packed, IDENTITIES, tmp_path, seed=1, permuted=False) != folder
