"""`webperson report` on a run that is still going, or was killed."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.report import RUNNING, current_shards, note_phases, publish_run, write_report
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
