"""Shards to batches: order, groups, matches, and errors that name what is wrong."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from pipeline.shards import ShardError, shard_name, shard_paths
from tests.training.toy_shards import OUTFITS, outfit_row, shard_row, toy_config, write_outfits, write_shards
from training.config import TrainConfig
from training.data import ShardSplit, ahead, epoch_plan, load_batches, load_pictures, load_split, split_counts
from training.step import Batch
from training.tokens import CaptionTokenizer

ENCODE = CaptionTokenizer().encode


@pytest.fixture
def split(tmp_path: Path) -> ShardSplit:
    """Seven pictures, the third with one caption, in two shards; identities of the first four are known."""
    rows = [
        outfit_row("train", number, 4 + number % 2 if number < 4 else None, captions=1 if number == 2 else 2)
        for number in range(7)
    ]
    return load_split(write_shards(tmp_path / "shards", rows[:3], rows[3:]), "train")


def batches(split: ShardSplit, config: TrainConfig, epoch: int = 0, threads: int = 0) -> list[Batch]:
    return list(load_batches(split, epoch_plan(split, config, epoch), config, epoch, ENCODE, threads))


def test_every_caption_of_a_picture_is_a_sample_and_knows_its_picture(split: ShardSplit) -> None:
    assert split.rows.tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert [split.caption(sample).startswith("a person") for sample in (0, 1, 4, 5)] == [1, 0, 1, 1]
    for sample in range(split.samples):
        coat, trousers = OUTFITS[int(split.rows[sample])]
        assert f"{coat} coat" in split.caption(sample)
        assert f"{trousers} trousers" in split.caption(sample)


def test_a_picture_of_an_unknown_person_is_its_own_person(split: ShardSplit) -> None:
    ids = split.ids.tolist()
    assert ids[:4] == [4, 5, 4, 5]
    assert len(set(ids[4:])) == 3
    assert not set(ids[4:]) & {4, 5}
    assert split.known_identities == 4


def test_an_epoch_visits_every_sample_once(split: ShardSplit) -> None:
    visited = torch.cat([batch.samples for batch in batches(split, toy_config(batch_size=1))])
    assert sorted(visited.tolist()) == list(range(split.samples))


def test_an_incomplete_last_step_is_left_out_unless_it_is_the_only_one(split: ShardSplit) -> None:
    assert [len(batch.ids) for batch in batches(split, toy_config(batch_size=5))] == [5, 5]
    assert [len(batch.ids) for batch in batches(split, toy_config(batch_size=99))] == [13]


def test_the_order_depends_on_seed_and_epoch_alone(split: ShardSplit) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        plan = epoch_plan(split, toy_config(batch_size=4, seed=seed), epoch)
        return [int(first) for first in plan[..., 0].flatten()]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


@pytest.mark.parametrize("captions_per_image", [1, 2])
def test_a_sample_looks_the_same_in_any_batch_and_with_any_threads(
    split: ShardSplit, captions_per_image: int
) -> None:
    def pictures(batch_size: int, threads: int) -> dict[int, torch.Tensor]:
        config = toy_config(batch_size=batch_size, captions_per_image=captions_per_image)
        return {
            int(sample): batch.images[index]
            for batch in batches(split, config, epoch=3, threads=threads)
            for sample, index in zip(batch.samples, batch.image_index, strict=True)
        }

    alone, together = pictures(1, 0), pictures(6, 2)
    assert len(together) >= 10
    for sample, picture in together.items():
        assert torch.equal(picture, alone[sample])


def test_augmentation_changes_with_the_epoch_and_the_seed(split: ShardSplit) -> None:
    def first(seed: int, epoch: int) -> torch.Tensor:
        found = batches(split, toy_config(batch_size=1, seed=seed), epoch)
        return torch.stack([b.images[0] for b in sorted(found, key=lambda b: int(b.samples[0]))])

    assert torch.equal(first(0, 0), first(0, 0))
    assert not torch.equal(first(0, 0), first(0, 1))
    assert not torch.equal(first(0, 0), first(1, 0))


def test_two_captions_per_image_share_one_encoding_and_both_match_it(split: ShardSplit) -> None:
    (batch,) = batches(split, toy_config(batch_size=99, captions_per_image=2))
    assert (len(batch.images), len(batch.samples)) == (7, 13)
    rows = split.rows[batch.samples]
    for index in range(7):
        assert len(set(rows[batch.image_index == index].tolist())) == 1
    assert torch.equal(batch.ids, split.ids[rows])


def test_both_captions_of_a_picture_carry_the_same_id_when_drawn_alone(split: ShardSplit) -> None:
    (batch,) = batches(split, toy_config(batch_size=99))
    ids = dict(zip(batch.samples.tolist(), batch.ids.tolist(), strict=True))
    assert batch.image_index.tolist() == list(range(13))
    assert all(ids[sample] == int(split.ids[split.rows[sample]]) for sample in ids)
    assert ids[11] == ids[12] != ids[9]


def test_the_token_ids_of_a_batch_are_those_of_its_samples(split: ShardSplit) -> None:
    for batch in batches(split, toy_config(batch_size=4)):
        captions = [split.caption(sample) for sample in batch.samples.tolist()]
        assert torch.equal(batch.token_ids, ENCODE(captions))


def test_pictures_come_once_in_order_and_the_last_batch_is_short(split: ShardSplit) -> None:
    found = list(load_pictures(split, (32, 16), batch_size=3, threads=2))
    assert [len(pictures) for pictures in found] == [3, 3, 1]
    one_by_one = torch.cat(list(load_pictures(split, (32, 16), batch_size=1, threads=0)))
    assert torch.equal(torch.cat(found), one_by_one)
    assert len({picture.numpy().tobytes() for picture in one_by_one}) == 7


def test_splits_are_kept_apart(tmp_path: Path) -> None:
    folder = write_outfits(tmp_path, {"train": 5, "val": 3, "test": 2})
    assert split_counts(folder) == {"train": 5, "val": 3, "test": 2}
    assert load_split(folder, "val").pictures == 3


def test_an_empty_split_is_an_error_that_says_what_there_is(tmp_path: Path) -> None:
    folder = write_outfits(tmp_path, {"train": 5, "test": 2})
    with pytest.raises(ShardError, match=r"split val is empty \(there is: test 2, train 5\)"):
        load_split(folder, "val")


def test_an_unfinished_folder_is_an_error(tmp_path: Path) -> None:
    write_outfits(tmp_path, {"train": 5})
    (tmp_path / "done.json").unlink()
    with pytest.raises(ShardError, match="not a finished folder"):
        load_split(tmp_path, "train")


def test_a_missing_column_is_an_error_that_names_file_and_column(tmp_path: Path) -> None:
    write_outfits(tmp_path, {"train": 5})
    (path,) = shard_paths(tmp_path)
    pq.write_table(pq.read_table(path).drop_columns(["captions", "identity"]), path)
    with pytest.raises(ShardError, match=rf"{shard_name(0, 1)}: no column captions, identity"):
        load_split(tmp_path, "train")


@pytest.mark.parametrize("threads", [0, 2])
def test_a_picture_that_cannot_be_decoded_is_an_error_that_names_its_key(
    tmp_path: Path, threads: int
) -> None:
    whole = outfit_row("train", 0).image.bytes
    rows = [
        shard_row("good-one", "train", whole, ["a"]),
        shard_row("cut-off", "train", whole[: len(whole) // 2], ["b"]),
    ]
    split = load_split(write_shards(tmp_path, rows), "train")
    with pytest.raises(ShardError, match="picture cut-off cannot be decoded") as raised:
        batches(split, toy_config(), threads=threads)
    assert "\n" not in str(raised.value)
    no_picture = load_split(write_shards(tmp_path, [shard_row("k", "train", b"html", ["a"])]), "train")
    with pytest.raises(ShardError, match="picture k cannot be decoded: not a picture"):
        no_picture.picture(0, (32, 16))


def test_a_picture_without_caption_is_an_error_that_names_its_key(tmp_path: Path) -> None:
    rows = [outfit_row("train", 0), outfit_row("train", 1, captions=0)]
    with pytest.raises(ShardError, match="train-1 has no caption"):
        load_split(write_shards(tmp_path, rows), "train")


def test_work_ahead_keeps_the_order_and_raises_at_the_turn_of_the_failing_item() -> None:
    assert list(ahead(lambda item: item * 2, range(50), threads=3, depth=7)) == list(range(0, 100, 2))
    results = ahead(lambda item: 1 / (5 - item), range(50), threads=3, depth=7)
    assert len([next(results) for _ in range(5)]) == 5
    with pytest.raises(ZeroDivisionError):
        next(results)
