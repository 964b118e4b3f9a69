"""A list that has grown: what stands is taken over, what is new is fetched."""

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from curation.inputs import INPUT_ROWS
from curation.taken_over import take_over
from pipeline.reasons import Reason
from pipeline.storage import listing
from pipeline.units import PhaseFolder, Unit
from tests.curation import made_run
from tests.curation.made_run import URLS, InProcess, curation, final_rows, recipe, run

NEW = ["http://made/person/21", "http://made/person/22", "http://made/two/23"]


def harvested(runner: InProcess) -> list[int]:
    """Indices of the units that were fetched."""
    return [index for sink, index in runner.ran if sink == "HarvestSink"]


def test_of_a_list_that_has_grown_only_the_end_is_fetched(tmp_path: Path) -> None:
    run(tmp_path)
    runner, said = InProcess(), list[str]()
    grown = curation(tmp_path, runner=runner, urls=[*URLS, *NEW])
    reports = replace(grown, notice=said.append).run()
    assert harvested(runner) == [3, 4]
    assert said[0] == "harvest: 3 of 5 units taken over from the harvest of another list"
    assert reports[2].note == "captions written 8, taken over 22"
    fresh = run(tmp_path / "fresh", urls=[*URLS, *NEW])
    assert final_rows({report.phase: report for report in reports}) == final_rows(fresh)


def test_a_changed_row_costs_its_unit(tmp_path: Path) -> None:
    run(tmp_path)
    runner = InProcess()
    run(tmp_path, runner, urls=[*URLS[:5], "http://made/person/99", *URLS[6:]])
    assert harvested(runner) == [1]


def test_a_list_that_was_cut_costs_its_last_unit(tmp_path: Path) -> None:
    run(tmp_path)
    runner = InProcess()
    run(tmp_path, runner, urls=URLS[:9])
    assert harvested(runner) == [2]


def test_other_settings_take_nothing_over(tmp_path: Path) -> None:
    run(tmp_path)
    runner = InProcess()
    other = recipe(harvest={"persons": {"jpeg_quality": 80}})
    run(tmp_path, runner, settings=other, urls=[*URLS, *NEW])
    assert harvested(runner) == [0, 1, 2, 3, 4]


def test_a_damaged_harvest_gives_what_is_whole(tmp_path: Path) -> None:
    (harvest,) = [run(tmp_path)["harvest"].folder]
    (harvest.parts("persons", 1)[0]).write_bytes(b"PAR1")
    runner = InProcess()
    run(tmp_path, runner, urls=[*URLS, *NEW])
    assert harvested(runner) == [1, 3, 4]


def test_what_was_taken_over_stays_when_the_other_harvest_is_removed(tmp_path: Path) -> None:
    first = run(tmp_path)["harvest"].folder
    second = run(tmp_path, urls=[*URLS, *NEW])
    shutil.rmtree(str(first.path))
    runner = InProcess()
    again = run(tmp_path, runner, urls=[*URLS, *NEW])
    assert runner.ran == []
    assert final_rows(again) == final_rows(second)


def test_a_retried_unit_is_taken_over_under_the_names_of_a_first_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path)
    fetched = made_run._fetched

    def healed(url: str) -> bytes | Reason:
        return fetched("http://made/person/77" if url == "http://made/dns/1" else url)

    monkeypatch.setattr(made_run, "_fetched", healed)
    replace(curation(tmp_path), retry_failed=True).run()
    runner = InProcess()
    grown = run(tmp_path, runner, urls=[*URLS, *NEW])["harvest"]
    assert harvested(runner) == [3, 4]
    assert grown.line.counts.failed == {}
    assert not [path for path in listing(grown.folder.path, ".parquet") if "round" in path.name]


class Listed:
    """One row, as a list gives it."""

    def __init__(self, url: str | None, carried: str | None, reason: Reason | None) -> None:
        self.row = {"unit": 0, "row": 0, "url": url, "carried": carried, "reason": reason, "error": None}

    def read(self, unit: Unit) -> pa.Table:
        return pa.Table.from_pylist([self.row], schema=INPUT_ROWS)


@pytest.mark.parametrize(
    ("before", "now", "taken"),
    [
        (("http://a", None, "dns_failed"), ("http://a", None, None), 1),
        (("http://a", '{"n": 1}', None), ("http://a", '{"n": 1}', None), 1),
        (("http://a", '{"n": 1}', None), ("http://a", '{"n": 2}', None), 0),
        (("http://a", None, "listed_size"), ("http://a", None, Reason.LISTED_SIZE), 1),
        (("http://a", None, "listed_size"), ("http://a", None, None), 0),
        (("http://a", None, None), ("http://a", None, Reason.LISTED_NSFW), 0),
        (("", None, "row_unreadable"), (None, None, Reason.ROW_UNREADABLE), 1),
    ],
)
def test_a_row_is_the_same_if_the_list_says_the_same_of_it(
    tmp_path: Path,
    before: tuple[str, str | None, str | None],
    now: tuple[str | None, str | None, Reason | None],
    taken: int,
) -> None:
    other, folder = (PhaseFolder(tmp_path / name, {"recipe_hash": "abc"}) for name in ("other", "new"))
    columns = dict(zip(("url", "carried", "reason"), ([value] for value in before), strict=True))
    unit = Unit(0, 0, 1)
    stands = pa.table(
        {"row": pa.array([0], pa.int32()), **{k: pa.array(v, pa.string()) for k, v in columns.items()}}
    )
    other.publish_unit(unit, {"urls": stands}, {})
    assert take_over([unit], Listed(*now), folder, [other], lambda _: None) == taken
    assert folder.finished() == [0] * taken
