"""`run.json` and `running.json` that are cut off or say nonsense: one line, or what else stands."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.options import UsageError
from pipeline.cli.report import current_shards, note_phases, publish_run, write_report
from pipeline.cli.run_file import RUN, RUNNING, Trace, read_run, run_so_far
from tests.curation.made_run import InProcess, curation


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The output folders of a run that ended and of one that was killed in annotate."""
    ended, killed = tmp_path_factory.mktemp("ended"), tmp_path_factory.mktemp("killed")
    publish_run(ended, curation(ended).run())
    with pytest.raises(KeyboardInterrupt):
        replace(curation(killed, runner=InProcess(stop_after=5)), began=note_phases(killed)).run()
    return {"ended": ended, "killed": killed}


@pytest.fixture
def ended(runs: dict[str, Path], tmp_path: Path) -> Path:
    """A copy for each test."""
    return Path(shutil.copytree(runs["ended"], tmp_path / "out"))


@pytest.fixture
def killed(runs: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs["killed"], tmp_path / "out"))


def without(name: str) -> Callable[[Path], None]:
    def drop(path: Path) -> None:
        content = json.loads(path.read_text())
        del content[name]
        path.write_text(json.dumps(content))

    return drop


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


GARBLED: dict[str, Callable[[Path], object]] = {
    "cut off": cut,
    "empty": lambda path: path.write_bytes(b""),
    "not text": lambda path: path.write_bytes(bytes(range(128, 256))),
    "a list": lambda path: path.write_text("[]"),
    "an empty object": lambda path: path.write_text("{}"),
    "without phases": without("phases"),
    "a wrong trace": lambda path: path.write_text(
        path.read_text().replace('"trace": {', '"trace": 1, "x": {')
    ),
}
garbled = pytest.mark.parametrize("garble", GARBLED.values(), ids=GARBLED)


@garbled
def test_a_garbled_note_of_a_killed_run_is_told_in_one_line(
    killed: Path, garble: Callable[[Path], object]
) -> None:
    garble(killed / RUNNING)
    with pytest.raises(UsageError, match=r"running\.json: .*curate again") as error:
        write_report(killed)
    assert "\n" not in str(error.value)


@garbled
def test_behind_a_garbled_note_the_last_run_that_ended_is_shown(
    ended: Path, garble: Callable[[Path], object]
) -> None:
    note_phases(ended)("harvest", curation(ended).harvest().folder, 4)
    garble(ended / RUNNING)
    run = run_so_far(ended)
    assert run.notes[0].startswith("Another run has not ended, but its note cannot be read (")
    assert run.phases == read_run(ended).phases
    write_report(ended)


@garbled
def test_a_garbled_run_is_told_in_one_line_and_the_next_run_mends_it(
    ended: Path, garble: Callable[[Path], object]
) -> None:
    garble(ended / RUN)
    for use in (write_report, current_shards):
        with pytest.raises(UsageError, match=r"run\.json: .*curate again") as error:
            use(ended)
        assert "\n" not in str(error.value)
    publish_run(ended, curation(ended).run())
    write_report(ended)


def test_phases_and_their_order_must_be_the_same(killed: Path) -> None:
    content: dict[str, Any] = json.loads((killed / RUNNING).read_text())
    (killed / RUNNING).write_text(json.dumps({**content, "order": ["harvest", "pack"]}))
    with pytest.raises(UsageError, match="order: names other phases than phases"):
        run_so_far(killed)


@pytest.mark.parametrize("name", ["cut off", "empty", "not text", "an empty object"])
def test_decisions_whose_marker_is_garbled_are_not_done(killed: Path, name: str) -> None:
    (marker,) = killed.glob("decisions-*/done.json")
    GARBLED[name](marker)
    assert [line.phase for line in run_so_far(killed).funnel] == ["harvest", "annotate"]


def test_a_run_that_does_not_say_what_it_was_made_with_is_shown_all_the_same(ended: Path) -> None:
    without("trace")(ended / RUN)
    write_report(ended)
    assert "Recipe unknown, source unknown." in (ended / "report.html").read_text()


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run of webperson curate stands here \(run\.json is missing\)"):
        run_so_far(tmp_path)


def test_stand_ins_are_named_and_a_recipe_of_other_days_is_no_error() -> None:
    def sentences(recipe: dict[str, Any]) -> int:
        return len(Trace(recipe=recipe).stand_ins())

    judge, caption = {"judge": "heuristics-stand-in"}, {"captioner": "attributes-stand-in"}
    assert sentences({"annotate": {"judge": judge, "caption": caption}}) == 2
    assert sentences({"annotate": {"caption": caption}}) == 1
    assert sentences({"annotate": {"judge": None}}) == sentences({}) == 0
