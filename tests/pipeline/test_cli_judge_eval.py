"""`webperson judge-eval`: a sheet first, then numbers, from the output of a curation with a judge."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.judge_eval import judge_eval
from pipeline.cli.options import UsageError
from pipeline.cli.report import publish_run
from tests.curation.fake_endpoint import FakeEndpoint, chosen, fake_endpoint, sees_colours
from tests.curation.made_run import curation, recipe

RUN = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def reply(number: int, body: dict[str, Any]) -> Any:
    """Canaries are seen; every third person who comes is judged cut off."""
    choices = body["structured_outputs"]["choice"]
    if len(choices) == 4:
        return sees_colours(number, body)
    return chosen("D" if number % 3 == 0 else "A", choices)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeEndpoint]:
    with fake_endpoint(reply) as running:
        yield running


def curate(out: Path, endpoint: FakeEndpoint, **judge: Any) -> Path:
    """Eleven judged persons."""
    models = [{"name": "toy", "urls": [endpoint.url], "backoff_s": 0.001}]
    made = recipe(annotate={"models": models, "judge": {"judge": "endpoint", "model": "toy", **judge}})
    publish_run(out, curation(out, made).run())
    return out


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory, endpoint: FakeEndpoint) -> Path:
    return curate(tmp_path_factory.mktemp("curated"), endpoint)


@pytest.fixture
def judged(tmp_path: Path, curated: Path) -> Path:
    """A copy for each test."""
    return Path(shutil.copytree(curated, tmp_path / "out"))


def call(out: Path, *options: str) -> str:
    app = typer.Typer()
    app.command()(judge_eval)
    ended = RUN.invoke(app, [str(out), *options])
    if ended.exception:
        raise ended.exception
    return ended.stdout


def label(out: Path, **exceptions: str) -> None:
    """Label everybody as the judge did, but for exceptions by letter: the first such gets another one."""
    drawn = json.loads((out / "judge-eval/drawn.json").read_text())
    rows = []
    for key in drawn["order"]:
        letter = drawn["persons"][key]
        rows.append(f"{key},{exceptions.pop(letter, letter)}\n")
    (out / "judge-eval/labels.csv").write_text("key,letter\n" + "".join(rows))


def test_first_a_blind_sheet_is_drawn_and_then_the_labels_are_measured(judged: Path) -> None:
    printed = call(judged, "--sample", "10")
    folder = judged / "judge-eval"
    assert "10 of 11 judged persons to label" in printed
    keys = json.loads((folder / "drawn.json").read_text())["order"]
    assert (folder / "labels.csv").read_text().splitlines() == ["key,letter", *(f"{key}," for key in keys)]
    assert [key for key in keys if key not in (folder / "sheet.html").read_text()] == []

    label(judged)
    printed = call(judged)
    assert "10 persons labelled, 0 not; keep_min 0.5" in printed
    assert "same outcome 100.0 %" in printed
    assert "kappa 1.00" in printed
    result = json.loads((folder / "result.json").read_text())
    assert [row["outcome"] for row in result["agreement"]] == ["kept", "rejected", "cut_off"]


def test_a_wrong_keep_lowers_the_precision_of_kept_and_the_recall_of_its_reason(judged: Path) -> None:
    call(judged)
    label(judged, A="D")
    call(judged)
    kept, _, cut_off = json.loads((judged / "judge-eval/result.json").read_text())["agreement"]
    assert kept["precision"]["value"] < kept["recall"]["value"] == 1.0
    assert cut_off["recall"]["value"] < cut_off["precision"]["value"] == 1.0


def test_a_threshold_is_tried_without_asking_anybody(judged: Path, endpoint: FakeEndpoint) -> None:
    call(judged)
    label(judged)
    asked = len(endpoint.requests)
    call(judged)
    own = (judged / "judge-eval/result.json").read_text()
    printed = call(judged, "--keep-min", "0.95")
    assert "kept                  0" in printed
    assert "judged_unsure" in printed
    assert len(endpoint.requests) == asked
    assert (judged / "judge-eval/result.json").read_text() == own
    tried = json.loads((judged / "judge-eval/result-keep_min-0.95.json").read_text())
    assert tried["keep_min"] == 0.95


def test_labels_measure_a_judge_that_comes_later(
    judged: Path, endpoint: FakeEndpoint, tmp_path: Path
) -> None:
    call(judged)
    label(judged)
    prompt = tmp_path / "own.yaml"
    prompt.write_text("system: Sort.\nuser: Which?\n")
    curate(judged, endpoint, prompt=str(prompt))
    assert "11 persons labelled, 0 not" in call(judged)


def test_labels_from_elsewhere_are_named(judged: Path, tmp_path: Path) -> None:
    call(judged)
    label(judged)
    own = (judged / "judge-eval/labels.csv").rename(tmp_path / "own.csv")
    assert "11 persons labelled" in call(judged, "--labels", str(own))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ((), "labels.csv: nobody is labelled yet"),
        (("--labels", "none.csv"), "--labels none.csv: no such file"),
        (("--sample", "50"), "holds a sheet with 200; name another --sheet"),
        (("--seed", "1"), "holds a sheet with 0; name another --sheet"),
    ],
)
def test_a_second_call_that_makes_no_sense_is_refused(
    judged: Path, options: tuple[str, ...], problem: str
) -> None:
    call(judged)
    with pytest.raises(ValueError, match=problem):
        call(judged, *options)


def test_a_sheet_of_another_harvest_is_refused(judged: Path) -> None:
    call(judged)
    run = json.loads((judged / "run.json").read_text())
    run["phases"]["harvest"] = "harvest-other"
    (judged / "run.json").write_text(json.dumps(run))
    with pytest.raises(UsageError, match="the run is harvest-other"):
        call(judged)


def test_a_run_without_a_judge_has_nobody_to_label(tmp_path: Path) -> None:
    publish_run(tmp_path, curation(tmp_path).run())
    with pytest.raises(UsageError, match="nobody has a verdict"):
        call(tmp_path)
    assert not (tmp_path / "judge-eval").exists()


def test_a_folder_without_a_run_or_without_captions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run of webperson curate stands here"):
        call(tmp_path)
    publish_run(tmp_path, curation(tmp_path, phases=frozenset({"harvest"})).run())
    with pytest.raises(UsageError, match="not annotated yet"):
        call(tmp_path)


def test_labels_without_a_sheet_are_refused(judged: Path) -> None:
    with pytest.raises(UsageError, match="no sheet stands here yet"):
        call(judged, "--labels", "labels.csv")
