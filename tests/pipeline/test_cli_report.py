"""`webperson report`: of runs that ended, go on or were killed; captions side by side; which shards count."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.options import UsageError
from pipeline.cli.report import current_shards, note_phases, publish_run, write_report
from pipeline.cli.run_file import RUNNING
from pipeline.units import PhaseFolder
from tests.curation.made_run import InProcess, curation, recipe


@pytest.fixture
def killed(tmp_path: Path) -> Callable[[int], Path]:
    """Makes the output folder of a run that was killed after so many units."""

    def run(units: int) -> Path:
        made = replace(curation(tmp_path, runner=InProcess(stop_after=units)), began=note_phases(tmp_path))
        with pytest.raises(KeyboardInterrupt):
            made.run()
        return tmp_path

    return run


def text(out: Path) -> str:
    """The report's words, tags and pictures left out."""
    html = re.sub(r"<style>.*?</style>|<[^>]+>", " ", (out / "report.html").read_text())
    return " ".join(html.split())


def test_a_harvest_that_goes_on_shows_what_is_measured_so_far(killed: Callable[[int], Path]) -> None:
    out = killed(2)
    write_report(out)
    assert "This run has not ended" in text(out)
    assert "harvest (unfinished, 2 of 4 units) 8 URLs" in text(out)
    assert "Measured so far" in text(out)


def test_an_annotate_that_goes_on_shows_decisions_and_captions_so_far(killed: Callable[[int], Path]) -> None:
    out = killed(5)
    write_report(out)
    assert "harvest 14 URLs" in text(out)
    assert "annotate (unfinished, 1 of 2 units)" in text(out)
    assert text(out).index("harvest 14 URLs") < text(out).index("annotate (unfinished")
    assert "Kept" in text(out)
    assert "(attributes-stand-in/1)" in text(out)


def test_the_report_names_the_recipe_that_ran_last(tmp_path: Path) -> None:
    hashes = []
    for score in (0.85, 0.9):
        made = curation(tmp_path, settings=recipe(gates={"score_min": score}))
        publish_run(tmp_path, made.run())
        write_report(tmp_path)
        hashes.append(made.trace["recipe_hash"])
        assert f"Recipe {hashes[-1]}" in text(tmp_path)
    assert hashes[0] != hashes[1]


def test_a_run_that_ends_leaves_nothing_unfinished(killed: Callable[[int], Path]) -> None:
    out = killed(5)
    publish_run(out, replace(curation(out), began=note_phases(out)).run())
    write_report(out)
    assert not (out / RUNNING).exists()
    assert "unfinished" not in text(out)


def test_shards_of_a_finished_run_stay_current_while_another_goes_on(tmp_path: Path) -> None:
    publish_run(tmp_path, curation(tmp_path).run())
    before = current_shards(tmp_path)
    note_phases(tmp_path)("harvest", PhaseFolder(tmp_path / "harvest-other", {}), 3)
    assert current_shards(tmp_path) == before


def test_numbers_stand_beside_the_page_and_tables_are_printed(tmp_path: Path) -> None:
    publish_run(tmp_path, curation(tmp_path).run())
    printed: list[str] = []
    write_report(tmp_path, show=printed.append)
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["funnel"][0]["counts"]["rows_in"] == 14
    assert [each["captions"] for each in numbers["captions"]["captioners"]] == [22]
    for shown in (text(tmp_path), " ".join("".join(printed).split())):
        assert "attributes-stand-in/1 captions 22 kept 22 colour checked" in shown
        assert "Statistics of captions" in shown
        assert "96,623" in shown
    assert "pack 11 persons = 11 kept" in " ".join("".join(printed).split())


def test_before_anybody_is_captioned_there_are_no_tables(tmp_path: Path) -> None:
    publish_run(tmp_path, curation(tmp_path, phases=frozenset({"harvest"})).run())
    write_report(tmp_path)
    assert "Captioners" not in text(tmp_path)
    assert "captions" not in json.loads((tmp_path / "report.json").read_text())


@pytest.fixture
def captioned_twice(tmp_path: Path) -> tuple[Path, str]:
    """An output folder whose persons were captioned with two seeds; the name of the first phase."""
    out, names = tmp_path / "out", []
    for seed in (0, 1):
        reports = curation(out, settings=recipe(annotate={"caption": {"seed": seed}})).run()
        publish_run(out, reports)
        names += [report.folder.path.name for report in reports if report.phase == "annotate"]
    return out, names[0]


def test_other_captions_of_the_persons_are_named_and_stand_beside_the_runs(
    captioned_twice: tuple[Path, str],
) -> None:
    out, first = captioned_twice
    write_report(out)
    assert f"Other captions of this harvest, for --beside: {first}." in text(out)
    write_report(out, 0, first, 5)
    assert "Side by side over the 11 persons that both captioned" in text(out)
    assert "annotate.caption.seed 1 0" in text(out)
    assert "5 persons, drawn by key" in text(out)
    assert json.loads((out / "report.json").read_text())["beside"]["persons"] == 11


def test_another_output_folder_can_stand_beside_it(captioned_twice: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = captioned_twice
    other = tmp_path / "other"
    publish_run(other, curation(other, settings=recipe(annotate={"caption": {"seed": 2}})).run())
    write_report(out, 0, str(other))
    assert "Side by side over the 11 persons" in text(out)


def test_what_cannot_stand_beside_is_refused_in_one_line(
    captioned_twice: tuple[Path, str], tmp_path: Path
) -> None:
    out, first = captioned_twice
    with pytest.raises(
        UsageError, match=f"--beside annotate-nothing: neither an annotate folder of .*{first}"
    ):
        write_report(out, beside="annotate-nothing")
    with pytest.raises(UsageError, match="it is the annotate phase of the report itself"):
        write_report(out, beside=json.loads((out / "run.json").read_text())["phases"]["annotate"])
    other = tmp_path / "other"
    publish_run(other, curation(other, settings=recipe(harvest={"unit_rows": 2})).run())
    with pytest.raises(UsageError, match="its harvest is harvest-"):
        write_report(out, beside=str(other))
    publish_run(other, curation(other, phases=frozenset({"harvest"})).run())
    with pytest.raises(UsageError, match=f"--beside {first}: .*not annotated yet"):
        write_report(other, beside=first)


def test_shards_stay_current_when_a_later_run_packs_nothing(tmp_path: Path) -> None:
    publish_run(tmp_path, curation(tmp_path).run())
    before = current_shards(tmp_path)
    told: list[str] = []
    for phases in ({"harvest"}, {"harvest"}, {"annotate"}):
        strict = recipe(gates={"score_min": 0.9})
        publish_run(
            tmp_path, curation(tmp_path, settings=strict, phases=frozenset(phases)).run(), told.append
        )
        assert current_shards(tmp_path) == before
        write_report(tmp_path)
        assert f"the shards of an earlier run stay current, {before.name}" in text(tmp_path)
    assert told == [f"pack: the shards of an earlier run stay current, {before.name}."] * 3


def test_a_run_that_packs_makes_its_own_shards_current(tmp_path: Path) -> None:
    publish_run(tmp_path, curation(tmp_path).run())
    before = current_shards(tmp_path)
    publish_run(tmp_path, curation(tmp_path, settings=recipe(gates={"score_min": 0.9})).run())
    assert current_shards(tmp_path) != before


def test_shards_that_are_gone_are_not_current(tmp_path: Path) -> None:
    publish_run(tmp_path, curation(tmp_path).run())
    shutil.rmtree(current_shards(tmp_path))
    publish_run(tmp_path, curation(tmp_path, phases=frozenset({"harvest"})).run())
    with pytest.raises(UsageError, match="not packed yet"):
        current_shards(tmp_path)
