"""The laws of the phases: every row accounted for, kill and run again, what redoes what."""

import dataclasses
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curation.captioners import read_person
from curation.pack import FitImages
from curation.phase_work import PhaseError, PhaseReport
from curation.recipe import CurateRecipe
from pipeline.funnel import AccountingError, Counts, check_accounting
from pipeline.recipe import RecipeError, load_recipe
from pipeline.records import SCHEMA_VERSION
from pipeline.shards import ShardError, shard_paths
from pipeline.storage import listing, publish_json, read_json, read_table
from tests.curation.made_run import ALL, URLS, InProcess, curation, final_rows, recipe, run, table

TIGHT = {"score_min": 0.9}
"""Above the second persons of the made list (0.87)."""
LOOSE = {"score_min": 0.6}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PhaseReport]:
    """One uninterrupted run; tests only look at it."""
    return run(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def done(tmp_path: Path, whole: dict[str, PhaseReport]) -> Path:
    """A folder in which the whole run stands already."""
    return Path(shutil.copytree(str(whole["pack"].folder.path.parent), tmp_path / "done"))


def counts(reports: dict[str, PhaseReport]) -> dict[str, Counts]:
    return {phase: report.line.counts for phase, report in reports.items()}


def files(out: Path) -> dict[Path, bytes]:
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_every_row_is_accounted_for(whole: dict[str, PhaseReport]) -> None:
    check_accounting([report.line for report in whole.values()])
    rejected = {"no_person": 1, "url_invalid": 1, "not_an_image": 1}
    assert counts(whole) == {
        "harvest": Counts(14, 10, rejected, {"dns_failed": 1}),
        "decide": Counts(14, 11, {"exact_duplicate": 3}),
        "annotate": Counts(11, 11),
        "pack": Counts(11, 11),
    }


def test_the_counts_are_those_of_the_tables(whole: dict[str, PhaseReport]) -> None:
    rows = final_rows(whole)
    for phase, name in (("harvest", "urls"), ("decide", "decisions"), ("annotate", "pairs")):
        assert Counts.of(len(rows[name]), [row["reason"] for row in rows[name]]) == counts(whole)[phase]
    assert len(rows["shards"]) == counts(whole)["pack"].kept


def test_every_url_has_one_row_in_the_order_of_the_list(whole: dict[str, PhaseReport]) -> None:
    urls = final_rows(whole)["urls"]
    assert [row["url"] for row in urls] == URLS
    assert [(row["unit"], row["row"]) for row in urls] == [(n // 4, n % 4) for n in range(len(URLS))]


@pytest.mark.parametrize("name", ["persons", "decisions", "pairs"])
def test_no_key_stands_twice(name: str, whole: dict[str, PhaseReport]) -> None:
    seen = Counter((row["unit"], row["row"], row["person"]) for row in final_rows(whole)[name])
    assert set(seen.values()) == {1}


def test_each_table_goes_on_with_what_the_one_before_it_kept(whole: dict[str, PhaseReport]) -> None:
    rows = final_rows(whole)
    key = ("unit", "row", "person")
    persons, decided, kept, pairs = (
        {tuple(row[name] for name in key) for row in chosen}
        for chosen in (
            rows["persons"],
            rows["decisions"],
            [row for row in rows["decisions"] if row["status"] == "kept"],
            rows["pairs"],
        )
    )
    assert persons == decided
    assert kept == pairs
    packed = {row["key"] for row in rows["shards"]}
    assert packed == {"{:06d}-{:05d}-{:02d}".format(*person) for person in kept}


def test_a_packed_row_is_the_person_with_its_captions(whole: dict[str, PhaseReport]) -> None:
    rows = final_rows(whole)
    persons = {(p["unit"], p["row"], p["person"]): p for p in rows["persons"]}
    pairs = {(p["unit"], p["row"], p["person"]): p for p in rows["pairs"]}
    for row in rows["shards"]:
        unit, number, person = key = tuple(int(part) for part in row["key"].split("-"))
        assert row["image"]["bytes"] == persons[unit, number, person]["crop"]
        assert row["captions"] == [c["text"] for c in pairs[key]["captions"] if c["text"]]  # type: ignore[index]
        assert row["url"] == URLS[unit * 4 + number]
    assert all(len(row["captions"]) == 2 for row in rows["shards"])


def test_a_second_run_does_nothing(done: Path) -> None:
    before, again = files(done), InProcess()
    reports = run(done, again)
    assert again.ran == []
    assert all(report.done_before == report.units for report in reports.values())
    assert files(done) == before


@pytest.mark.parametrize("stop_after", range(11))
def test_a_run_that_is_stopped_and_run_again_leaves_the_same_rows(
    stop_after: int, tmp_path: Path, whole: dict[str, PhaseReport]
) -> None:
    first, second = InProcess(stop_after=stop_after), InProcess()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, first)
    reports = run(tmp_path, second)
    assert final_rows(reports) == final_rows(whole)
    assert counts(reports) == counts(whole)
    assert len(first.ran) == stop_after
    assert not set(first.ran) & set(second.ran)


def test_a_unit_that_dies_between_its_files_and_its_marker_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, PhaseReport]
) -> None:
    def refuse(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.units.PhaseFolder.mark_done", refuse)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    again = InProcess()
    assert final_rows(run(tmp_path, again)) == final_rows(whole)
    assert ("HarvestSink", 0) in again.ran


def test_a_unit_that_fails_stops_its_phase_after_the_others(
    tmp_path: Path, whole: dict[str, PhaseReport]
) -> None:
    failing = InProcess(fails=lambda unit, sink: unit.index == 1)
    with pytest.raises(
        PhaseError, match=r"harvest: 1 of 4 units failed, first unit 1: RuntimeError: told to"
    ):
        run(tmp_path, failing)
    assert failing.ran == [("HarvestSink", 0), ("HarvestSink", 2), ("HarvestSink", 3)]
    again = InProcess()
    assert final_rows(run(tmp_path, again)) == final_rows(whole)
    assert again.ran[0] == ("HarvestSink", 1)
    assert again.ran[1][0] == "PairSink"


def test_tighter_gates_rewrite_decisions_and_take_all_captions_over(
    done: Path, whole: dict[str, PhaseReport]
) -> None:
    tight = InProcess()
    reports = run(done, tight, settings=recipe(gates=TIGHT))
    assert reports["harvest"].done_before == reports["harvest"].units
    assert reports["harvest"].folder.path == done / whole["harvest"].folder.path.name
    assert reports["decide"].folder.path.name != whole["decide"].folder.path.name
    assert counts(reports)["decide"].rejected["low_score"] == 4
    assert reports["annotate"].note == "captions written 0, taken over 16"
    assert tight.captioned == []
    kept = {(row["unit"], row["row"], row["person"]) for row in final_rows(reports)["pairs"]}
    old = final_rows(whole)["pairs"]
    assert final_rows(reports)["pairs"] == [r for r in old if (r["unit"], r["row"], r["person"]) in kept]


def test_looser_gates_caption_only_the_new_persons(tmp_path: Path) -> None:
    run(tmp_path, settings=recipe(gates=TIGHT))
    loose = InProcess()
    reports = run(tmp_path, loose, settings=recipe(gates=LOOSE))
    assert reports["harvest"].done_before == reports["harvest"].units
    assert reports["annotate"].note == "captions written 6, taken over 16"
    assert {person for _, _, person in loose.captioned} == {1}
    fresh = run(tmp_path / "fresh", settings=recipe(gates=LOOSE))
    assert final_rows(reports) == final_rows(fresh)


def test_gates_and_back_again_find_their_own_folders(tmp_path: Path) -> None:
    for gates in (TIGHT, LOOSE):
        run(tmp_path, settings=recipe(gates=gates))
    back = InProcess()
    run(tmp_path, back, settings=recipe(gates=TIGHT))
    assert back.ran == []


def test_a_takedown_list_decides_anew_on_a_harvest_that_is_done(tmp_path: Path, done: Path) -> None:
    takedown = {"path": str(tmp_path / "takedown.txt")}
    Path(takedown["path"]).write_text("url http://made/person/3\n")
    reports = run(done, settings=recipe(takedown=takedown), phases=frozenset({"harvest"}))
    assert counts(reports)["decide"].rejected == {"exact_duplicate": 3, "taken_down": 1}


def test_what_is_taken_down_is_known_to_every_stage_that_meets_it(tmp_path: Path) -> None:
    takedown = {"path": str(tmp_path / "takedown.txt")}
    Path(takedown["path"]).write_text("domain gone.example\n")
    stages = [placed.stage for placed in curation(tmp_path, recipe(takedown=takedown))._harvest_stages()]
    assert [vars(stage)["takedown"].domains for stage in stages] == [{"gone.example"}] * 2


def test_the_workers_of_the_download_pool_share_what_may_be_asked_of_a_host(tmp_path: Path) -> None:
    settings = recipe(harvest={"download_pool": {"workers": 3}})
    download, _ = curation(tmp_path, settings)._harvest_stages()
    assert (vars(download.stage)["workers"], download.pool.workers) == (3, 3)


def test_captions_of_an_unfinished_run_are_taken_over(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, InProcess(stop_after=5))  # four units of harvest, one of annotate
    reports = run(tmp_path, settings=recipe(gates=TIGHT))
    captioned, taken_over = (int(part.split()[-1]) // 2 for part in reports["annotate"].note.split(","))
    assert captioned > 0
    assert taken_over > 0
    assert captioned + taken_over == 8


@pytest.mark.parametrize(
    ("changes", "redone"),
    [
        ({"seed": 5}, {"RunSink", "ShardSink"}),
        ({"pack": {"rows_per_shard": 3}}, {"RunSink", "ShardSink"}),
        ({"annotate": {"caption": {"captions_per_person": 1}}}, {"PairSink", "RunSink", "ShardSink"}),
        ({"annotate": {"caption": {"seed": 1}}}, {"PairSink", "RunSink", "ShardSink"}),
        ({"harvest": {"persons": {"jpeg_quality": 80}}}, {"HarvestSink", "PairSink", "RunSink", "ShardSink"}),
        ({"harvest": {"unit_rows": 5}}, {"HarvestSink", "PairSink", "RunSink", "ShardSink"}),
        ({"harvest": {"measure_pool": {"workers": 9}, "part_bytes": 1000}}, set()),
        ({"annotate": {"caption_pool": {"cpus": 0.1}}, "object_store_bytes": 10**9}, set()),
        ({"harvest": {"download": {"web": {"deadline_s": 1}}}}, set()),
    ],
    ids=str,
)
def test_a_changed_setting_redoes_what_depends_on_it_and_no_more(
    changes: dict[str, Any], redone: set[str], done: Path
) -> None:
    again = InProcess()
    run(done, again, settings=recipe(**changes))
    assert {sink for sink, _ in again.ran} == redone


def test_changed_captions_are_all_made_anew(done: Path) -> None:
    again = InProcess()
    reports = run(done, again, settings=recipe(annotate={"caption": {"seed": 1}}))
    assert reports["annotate"].note == "captions written 22, taken over 0"


def test_captions_of_another_harvest_are_not_taken_over(done: Path) -> None:
    reports = run(done, settings=recipe(harvest={"persons": {"jpeg_quality": 80}}))
    assert reports["annotate"].note == "captions written 22, taken over 0"


def test_another_list_is_another_harvest(done: Path) -> None:
    again = InProcess()
    run(done, again, urls=URLS[1:])
    assert {sink for sink, _ in again.ran} == {"HarvestSink", "PairSink", "RunSink", "ShardSink"}


def test_parts_below_a_small_cap_hold_the_same_rows(tmp_path: Path, whole: dict[str, PhaseReport]) -> None:
    reports = run(tmp_path, settings=recipe(harvest={"part_bytes": 1000}))
    assert len(reports["harvest"].folder.parts("persons", 0)) > 1
    assert final_rows(reports) == final_rows(whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gates": {"score_min": 0.4}}, r"gates\.score_min is looser than harvest\.persons\.pixel_floor"),
        (
            {"gates": {"hips_min": 0}},
            r"gates\.hips_min is looser than harvest\.persons\.pixel_floor\.hips_min",
        ),
        (
            {
                "gates": {"score_min": 0.1},
                "harvest": {"persons": {"pixel_floor": {"score_min": 0}, "measure_floor": 0.2}},
            },
            r"gates\.score_min is looser than harvest\.persons\.measure_floor",
        ),
    ],
)
def test_gates_looser_than_a_floor_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(**changes)


@pytest.mark.parametrize(
    "override",
    [
        "harvest.unit_rows=0",
        "harvest.part_bytes=0",
        "harvest.persons.batch=0",
        "harvest.measure_pool.workers=0",
        "annotate.units_per_unit=0",
        "pack.rows_per_shard=0",
        "pack.val_share=-0.1",
    ],
)
def test_sizes_that_make_no_sense_are_named(override: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(RecipeError, match=f"^--set {key}: Input should be greater than"):
        load_recipe(CurateRecipe, "laptop", [override], others=frozenset({"train", "run"}))


def test_a_phase_that_may_not_work_must_be_done(tmp_path: Path) -> None:
    with pytest.raises(
        PhaseError,
        match=r"harvest: 4 of 4 units .* not done; run --phase harvest first",
    ):
        run(tmp_path, phases=frozenset({"annotate"}))
    run(tmp_path, phases=frozenset({"harvest"}))
    with pytest.raises(
        PhaseError,
        match=r"annotate: 2 of 2 units .* not done; run --phase annotate first",
    ):
        run(tmp_path, phases=frozenset({"pack"}))


def test_phases_one_by_one_leave_the_same_as_all_at_once(
    tmp_path: Path, whole: dict[str, PhaseReport]
) -> None:
    assert list(run(tmp_path, phases=frozenset({"harvest"}))) == ["harvest", "decide"]
    assert list(run(tmp_path, phases=frozenset({"annotate"}))) == ["harvest", "decide", "annotate"]
    reports = run(tmp_path, phases=frozenset({"pack"}))
    assert list(reports) == ["harvest", "decide", "annotate", "pack"]
    assert final_rows(reports) == final_rows(whole)


@pytest.mark.parametrize(
    "urls", [["http://made/none/1", "http://made/dns/1"], ["http://made/two/2"]], ids=["nobody", "gates"]
)
def test_a_run_that_keeps_nobody_ends_cleanly_without_shards(urls: list[str], tmp_path: Path) -> None:
    reports = run(tmp_path, urls=urls, settings=recipe(gates={"score_min": 0.97}))
    check_accounting([report.line for report in reports.values()])
    assert counts(reports)["pack"] == counts(reports)["annotate"] == Counts()
    assert reports["pack"].note == "no person is kept, so there are no shards"
    with pytest.raises(ShardError, match="holds no shards"):
        shard_paths(tmp_path / reports["pack"].folder.path.name)
    assert run(tmp_path, urls=urls, settings=recipe(gates={"score_min": 0.97}))["pack"].units == 0


def test_every_output_says_what_made_it(whole: dict[str, PhaseReport]) -> None:
    settings = recipe()
    for report in whole.values():
        trace = read_json(report.folder.path / "phase.json")
        assert trace["recipe_hash"] == settings.fingerprint()
        assert trace["recipe"]["pack"]["rows_per_shard"] == 4
        for path in listing(report.folder.path, ".parquet"):
            metadata = read_table(path).schema.metadata
            assert metadata[b"recipe_hash"].decode() == settings.fingerprint()
            assert metadata[b"schema_version"] == str(SCHEMA_VERSION).encode()


def test_markers_of_equal_runs_hold_equal_content(tmp_path: Path, whole: dict[str, PhaseReport]) -> None:
    reports = run(tmp_path)
    for phase in ("harvest", "annotate", "pack"):
        one, other = (
            [marker["content"] for marker in r[phase].folder.markers(range(r[phase].units))]
            for r in (whole, reports)
        )
        assert one == other


def test_progress_tells_of_every_unit(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    dataclasses.replace(curation(tmp_path), progress=lambda *step: told.append(step[:3])).run()
    assert [step for step in told if step[0] == "harvest"] == [("harvest", n, 4) for n in range(5)]
    assert {step[0] for step in told} == ALL | {"shuffle"}


def test_progress_does_not_count_units_that_failed(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    failing = curation(tmp_path, runner=InProcess(fails=lambda unit, sink: unit.index == 1))
    with pytest.raises(PhaseError):
        dataclasses.replace(failing, progress=lambda *step: told.append(step[:3])).run()
    assert [done for _, done, _ in told] == [0, 1, 1, 2, 3]


def test_a_failed_caption_is_counted_and_the_person_is_not_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_for_second_persons(key: Any, row: Any) -> Any:
        if key.person == 1:
            raise RuntimeError("boom")
        return read_person(key, row)

    monkeypatch.setattr("curation.annotator.read_person", fails_for_second_persons)
    reports = run(tmp_path)
    check_accounting([report.line for report in reports.values()])
    assert counts(reports)["annotate"] == Counts(11, 8, {}, {"crashed": 3})
    assert counts(reports)["pack"] == Counts(8, 8)
    assert table(reports["annotate"].folder, "pairs", 2).num_rows == 11


def test_a_picture_that_cannot_be_fitted_is_counted_and_the_others_are_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, PhaseReport]
) -> None:
    packed = final_rows(whole)["shards"]
    bad = packed[3]["image"]["bytes"]

    def refuse_it(stage: FitImages, data: bytes) -> bytes:
        if data == bad:
            raise OSError("broken data stream")
        return data

    monkeypatch.setattr(FitImages, "_fit_image", refuse_it)
    reports = run(tmp_path)
    check_accounting([report.line for report in reports.values()])
    assert counts(reports)["pack"] == Counts(11, 10, {}, {"decode_failed": 1})
    others = [row for row in packed if row["key"] != packed[3]["key"]]
    assert final_rows(reports)["shards"] == others
    assert run(tmp_path)["pack"].line == reports["pack"].line


@pytest.mark.parametrize("rows_in_memory", [1, 8, 100])
def test_what_the_shuffle_holds_at_once_does_not_change_the_rows_or_their_order(
    rows_in_memory: int, done: Path, whole: dict[str, PhaseReport]
) -> None:
    reports = run(done, settings=recipe(pack={"rows_in_memory": rows_in_memory}))
    assert final_rows(reports)["shards"] == final_rows(whole)["shards"]
    assert len(shard_paths(done / reports["pack"].folder.path.name)) == 3


def test_a_run_that_dies_before_the_shuffle_is_cleared_away_leaves_that_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, PhaseReport]
) -> None:
    def die(folder: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("curation.phases.remove_runs", die)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    again = InProcess()
    reports = run(tmp_path, again)
    assert again.ran == []
    assert listing(reports["pack"].folder.path / "shuffle", ".parquet") == []
    assert final_rows(reports) == final_rows(whole)


def test_pixels_of_the_shuffle_are_gone_once_the_shards_stand(done: Path, tmp_path: Path) -> None:
    (pack,) = done.glob("pack-*")
    assert listing(pack / "shuffle", ".parquet") == []
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", InProcess(stop_after=9))
    (pack,) = (tmp_path / "cut").glob("pack-*")
    assert len(listing(pack / "shuffle", ".parquet")) == 2
    run(tmp_path / "cut")
    assert listing(pack / "shuffle", ".parquet") == []


def test_failed_captions_are_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("boom")

    with monkeypatch.context() as patch:
        patch.setattr("curation.annotator.read_person", fails)
        run(tmp_path)
    reports = run(tmp_path, settings=recipe(gates=TIGHT))
    assert reports["annotate"].note == "captions written 16, taken over 0"


def test_decisions_that_do_not_add_up_are_not_done(tmp_path: Path) -> None:
    reports = run(tmp_path)
    marker = reports["harvest"].folder.path / "done" / "000" / "unit-000000.json"
    whole = read_json(marker)
    counts = {**whole["counts"], "persons": whole["counts"]["persons"] + 1}
    publish_json(marker, {**whole, "counts": counts})
    tighter = recipe(gates={"score_min": 0.88})
    with pytest.raises(AccountingError, match="decide: "):
        run(tmp_path, settings=tighter)
    publish_json(marker, whole)
    assert run(tmp_path, settings=tighter)["decide"].line.counts.kept > 0


def test_a_cut_marker_of_decisions_is_made_again(done: Path, whole: dict[str, PhaseReport]) -> None:
    (marker,) = done.glob("decisions-*/done.json")
    marker.write_text('{"counts": ')
    assert run(done)["decide"].line == whole["decide"].line


def test_what_was_packed_is_known_without_the_markers_of_the_shuffle(
    done: Path, whole: dict[str, PhaseReport]
) -> None:
    (shuffle,) = done.glob("pack-*/shuffle")
    shutil.rmtree(shuffle)
    assert run(done)["pack"].line == whole["pack"].line


@pytest.mark.parametrize("damaged", ["phase.json", "pairs/000/unit-000000-00.parquet"])
def test_a_damaged_folder_of_an_earlier_recipe_stops_nobody(done: Path, damaged: str) -> None:
    (earlier,) = done.glob("annotate-*")
    (earlier / damaged).write_bytes(b"PAR1 cut")
    reports = run(done, settings=recipe(gates=TIGHT))
    assert reports["annotate"].line.counts.kept > 0


def test_what_harvest_would_stumble_over_is_said_before_it_begins(tmp_path: Path, done: Path) -> None:
    with pytest.raises(PhaseError, match=r"^harvest\.persons\.weights: gone$"):
        dataclasses.replace(
            curation(tmp_path / "new"), unready=lambda: ["harvest.persons.weights: gone"]
        ).run()
    assert not list((tmp_path / "new").glob("harvest-*/done"))
    dataclasses.replace(curation(done), unready=lambda: ["not asked"]).run()
