"""Runs: rows with their places, splits by picture; what failed is counted, told and left out."""

import itertools
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.runs import FAILED, RUNS, KeptPairs, RunSink, Shares, remove_runs, run_schema, run_units
from pipeline.reasons import Reason, Status
from pipeline.records import Caption, PairRow, PersonRow, to_table
from pipeline.shards import SPLITS, shard_schema
from pipeline.stage import UnitError
from pipeline.storage import listing, read_table
from pipeline.units import PhaseFolder, Unit
from tests.curation.made_rows import SHARES, TRACE, Row, publish_runs, row, table
from tests.curation.made_run import final_rows, recipe, run


def test_equal_pictures_never_stand_in_two_splits() -> None:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for each in map(row, range(600)):
        splits[each["image_sha256"]].add(each["split"])
    assert {len(names) for names in splits.values()} == {1}
    assert {name for names in splits.values() for name in names} == set(SPLITS)


def test_the_shares_are_shares_of_the_pictures() -> None:
    drawn = Counter(SHARES.split_of(f"{n:064x}") for n in range(20_000))
    assert drawn["test"] / 20_000 == pytest.approx(0.3, abs=0.015)
    assert drawn["val"] / 20_000 == pytest.approx(0.2, abs=0.015)


def test_shares_of_nothing_leave_all_for_training() -> None:
    assert {Shares(0, 0, 0).split_of(f"{n:064x}") for n in range(500)} == {"train"}


def test_the_test_split_does_not_move_when_the_val_share_does() -> None:
    hashes = [f"{n:064x}" for n in range(2000)]
    before, after = (
        [shares.split_of(h) == "test" for h in hashes] for shares in (SHARES, Shares(0, 0.4, 0.3))
    )
    assert before == after


def test_another_seed_is_another_shuffle_and_another_split() -> None:
    one, two = ([row(n, shares=Shares(seed, 0.2, 0.3)) for n in range(300)] for seed in (0, 1))
    assert [r["split"] for r in one] != [r["split"] for r in two]
    one, two = (sorted(rows, key=lambda r: int(r["place"]) % 2**61) for rows in (one, two))
    assert [r["key"] for r in one] != [r["key"] for r in two]


@given(kept=st.lists(st.integers(0, 9)), rows=st.integers(1, 20))
def test_runs_cover_every_annotate_unit_with_persons_once_and_fit(kept: list[int], rows: int) -> None:
    units = run_units(kept, rows)
    assert [unit.index for unit in units] == list(range(len(units)))
    covered = [unit.first + n for unit in units for n in range(unit.count)]
    assert covered == sorted(set(covered))
    assert {n for n, persons in enumerate(kept) if persons} <= set(covered)
    held = [kept[unit.first : unit.first + unit.count] for unit in units]
    assert all(sum(each) <= rows or sum(each) == max(each) for each in held)
    assert all(sum(one) + sum(two) > rows for one, two in itertools.pairwise(held) if sum(two) <= rows)


def test_a_failed_row_is_counted_and_told_but_in_no_run(tmp_path: Path) -> None:
    bad = {"reason": Reason.DECODE_FAILED, "error": "OSError: truncated"}
    rows = [row(0), row(1, bad), row(2), row(3, {"reason": Reason.QUARANTINED, "error": "it killed"})]
    folder = PhaseFolder(tmp_path, TRACE)
    counts = RunSink(folder).publish(Unit(0, 0, 1), table(rows))
    failed = {"decode_failed": 1, "quarantined": 1}
    assert counts == {"persons": {"rows_in": 4, "kept": 2, "rejected": {}, "failed": failed}}
    (run_part,), (failed_part,) = folder.parts(RUNS, 0), folder.parts(FAILED, 0)
    assert sorted(read_table(run_part)["key"].to_pylist()) == [rows[0]["key"], rows[2]["key"]]
    assert read_table(failed_part).to_pylist() == [
        {"key": rows[1]["key"], **bad},
        {"key": rows[3]["key"], "reason": "quarantined", "error": "it killed"},
    ]


def test_removed_runs_leave_their_markers(tmp_path: Path) -> None:
    folder = publish_runs(tmp_path, [[row(1)], [row(2)]])
    remove_runs(folder)
    assert listing(tmp_path, ".parquet") == []
    assert [marker["counts"]["persons"]["kept"] for marker in folder.markers(range(2))] == [1, 1]
    assert folder.finished() == []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[KeptPairs, list[Row]]:
    """The source of a made run, and the rows of its shards."""
    reports = run(tmp_path_factory.mktemp("made"))
    shares = recipe().pack.shares(0)
    harvest, annotate = reports["harvest"].folder, reports["annotate"].folder
    return KeptPairs(harvest, annotate, 2, shares), final_rows(reports)["shards"]


def test_kept_pairs_are_the_persons_with_their_valid_captions_in_the_order_of_keys(
    made: tuple[KeptPairs, list[Row]],
) -> None:
    source, packed = made
    rows = source.read(Unit(0, 0, 2))
    assert rows.schema.equals(run_schema())
    by_key = sorted(packed, key=lambda each: str(each["key"]))
    assert rows.select(shard_schema().names).to_pylist() == by_key
    assert source.read(Unit(0, 0, 0)).num_rows == 0


def folders(path: Path, persons: int, captions: list[Caption]) -> KeptPairs:
    """A source on one annotate unit that keeps one person, of whom the harvest has `persons`."""
    harvest, annotate = PhaseFolder(path / "harvest", TRACE), PhaseFolder(path / "annotate", TRACE)
    person = PersonRow(
        unit=0,
        row=0,
        person=0,
        url="http://made/",
        image_sha256="00",
        image_width_px=8,
        image_height_px=8,
        box_xyxy_px=[0.0, 0.0, 8.0, 8.0],
        score=0.9,
        keypoints=[0.0] * 51,
        crop_sha256="00",
        crop_width_px=8,
        crop_height_px=8,
        crop=b"pixels",
        model_id="m",
    )
    pair = PairRow(unit=0, row=0, person=0, status=Status.KEPT, captions=captions)
    harvest.publish_unit(Unit(0, 0, 1), {"persons": to_table(PersonRow, [person] * persons)}, {})
    annotate.publish_unit(Unit(0, 0, 1), {"pairs": to_table(PairRow, [pair])}, {})
    return KeptPairs(harvest, annotate, 1, SHARES)


def caption(slot: int, text: str | None, reason: Reason | None = None) -> Caption:
    return Caption(
        slot=slot,
        text=text,
        reason=reason,
        seed=0,
        model_id=f"m{slot}",
        prompt_id="p",
        template_id=f"t{slot}",
    )


def test_captions_that_failed_are_left_out(tmp_path: Path) -> None:
    captions = [caption(0, None, Reason.CAPTION_FAILED), caption(1, "words")]
    (row,) = folders(tmp_path, 1, captions).read(Unit(0, 0, 1)).to_pylist()
    assert row["captions"] == ["words"]
    assert (row["caption_model_ids"], row["caption_template_ids"]) == (["m1"], ["t1"])
    assert row["image"] == {"bytes": b"pixels", "path": "000000-00000-00.jpg"}


def test_a_kept_pair_without_its_person_stops_its_unit(tmp_path: Path) -> None:
    with pytest.raises(UnitError, match=r"annotate: unit 0 keeps 1 persons, the harvest has 0$"):
        folders(tmp_path, 0, [caption(0, "words")]).read(Unit(0, 0, 1))
