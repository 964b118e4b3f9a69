"""Training shards of a made world: readable by the product, split by identity, cut at the true boxes."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.shards import DONE, SPLITS, read_rows, shard_paths
from world import shards
from world.folder import FolderError, World, make_world, read_truth
from world.shards import CAPTION_MODEL, split_identities, write_shards

PEOPLE = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "world"
    make_world(World(people=PEOPLE, views=1, others=1, seed=2), out, workers=1)
    return out


@pytest.fixture(scope="module")
def packed(made: Path) -> Path:
    write_shards(made, made / "shards", seed=0)
    return made / "shards"


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for split in SPLITS for table in read_rows(folder, split) for row in table.to_pylist()]


def person_of(made: Path, key: str) -> dict[str, Any]:
    return next(
        row
        for row in read_truth(made, "persons").to_pylist()
        if f"{row['picture']}-{row['person']:02d}" == key
    )


def test_the_number_of_pairs_is_that_of_the_rows(made: Path, tmp_path: Path) -> None:
    pairs = write_shards(made, tmp_path / "s", seed=0)
    assert pairs == len(rows(tmp_path / "s"))
    assert PEOPLE <= pairs <= PEOPLE + 4  # and whoever is in the scene


def test_no_identity_is_in_two_splits(packed: Path) -> None:
    pairs = {(row["identity"], row["split"]) for row in rows(packed)}
    assert len(pairs) == len({identity for identity, _ in pairs}) == PEOPLE
    assert {split for _, split in pairs} == set(SPLITS)


def test_a_crop_has_the_size_of_the_true_box(made: Path, packed: Path) -> None:
    for row in rows(packed):
        x1, y1, x2, y2 = person_of(made, row["key"])["box_xyxy_px"]
        with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
            assert image.size == (x2 - x1, y2 - y1)
            assert image.format == "JPEG"


def test_captions_are_those_of_the_person(made: Path, packed: Path) -> None:
    told = read_truth(made, "captions").to_pylist()
    for row in rows(packed):
        mine = [each for each in told if f"{each['picture']}-{each['person']:02d}" == row["key"]]
        assert row["captions"] == [each["text"] for each in mine]
        assert row["caption_template_ids"] == [each["template_id"] for each in mine]
        assert row["caption_model_ids"] == [CAPTION_MODEL] * 2


def test_negatives_make_no_pairs(packed: Path) -> None:
    kinds = Counter(str(row["key"]).rsplit("-", 2)[0] for row in rows(packed))
    assert kinds.keys() <= {"curated", "varied", "scene"}


def test_hardly_visible_people_make_no_pairs(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = read_truth(made, "persons").to_pylist()
    whole = sum(row["visible_share"] >= 1.0 and row["picture"][:3] in ("cur", "var", "sce") for row in shares)
    monkeypatch.setattr(shards, "VISIBLE_SHARE", 1.0)
    assert write_shards(made, tmp_path, seed=0) == whole


def test_rows_of_a_split_are_shuffled(packed: Path) -> None:
    keys = [row["key"] for row in rows(packed) if row["split"] == "train"]
    assert keys != sorted(keys)


def test_the_same_seed_gives_the_same_bytes_and_another_one_another_split(
    made: Path, packed: Path, tmp_path: Path
) -> None:
    for seed, folder in ((0, "same"), (1, "other")):
        write_shards(made, tmp_path / folder, seed)
    (first,), (same,), (other,) = (shard_paths(f) for f in (packed, tmp_path / "same", tmp_path / "other"))
    assert same.read_bytes() == first.read_bytes()
    assert other.read_bytes() != first.read_bytes()


def test_the_done_marker_counts_by_split(packed: Path) -> None:
    done = json.loads((packed / DONE).read_text())
    assert done["pictures_by_split"] == Counter(row["split"] for row in rows(packed))
    assert done["pictures"] == len(rows(packed))
    assert done["captions"] == 2 * len(rows(packed))


def test_shards_can_be_written_again(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 5)
    many = write_shards(made, tmp_path, seed=0)
    assert len(shard_paths(tmp_path)) == -(-many // 5)
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 1000)
    assert write_shards(made, tmp_path, seed=0) == len(rows(tmp_path)) == many
    assert len(shard_paths(tmp_path)) == 1


def test_a_stop_while_shards_are_written_again_leaves_no_done_marker(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(made, tmp_path, seed=0)

    def stop(*_: object) -> bytes:
        raise RuntimeError("stopped")

    monkeypatch.setattr(shards, "encode_shard", stop)
    with pytest.raises(RuntimeError, match="stopped"):
        write_shards(made, tmp_path, seed=0)
    assert not (tmp_path / DONE).exists()


def test_a_folder_with_other_files_is_refused_and_left_alone(made: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FolderError, match=r"notes\.txt: is no shard; take another folder$"):
        write_shards(made, tmp_path, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_world_that_is_not_whole_gives_no_shards(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"holds no whole made world$"):
        write_shards(tmp_path, tmp_path / "shards", seed=0)


def test_splits_have_their_shares() -> None:
    splits = Counter(split_identities(range(100), val=0.1, test=0.2, seed=0).values())
    assert splits == {"train": 70, "val": 10, "test": 20}


def test_splits_do_not_depend_on_the_order_of_identities() -> None:
    assert split_identities(range(30), 0.1, 0.2, 0) == split_identities(reversed(range(30)), 0.1, 0.2, 0)


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_too_few_identities_for_three_splits_are_an_error(count: int) -> None:
    with pytest.raises(
        ValueError, match=rf"^{count} identities are too few for the splits train, val, test$"
    ):
        split_identities(range(count), 0.1, 0.2, 0)
