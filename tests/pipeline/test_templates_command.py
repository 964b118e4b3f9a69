import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli.templates import templates_app
from tests.curation.fake_endpoint import completion, fake_endpoint
from tests.curation.made_templates import CAPTIONS, STARTER, RuleModel

RUN = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def by_rule(number: int, body: dict[str, Any]) -> tuple[int, bytes]:
    system, user = (message["content"] for message in body["messages"])
    return completion(RuleModel().complete(system, user, body["seed"]))


def arguments(tmp_path: Path, url: str) -> list[str]:
    captions = tmp_path / "captions.txt"
    captions.write_text("\n".join(CAPTIONS), encoding="utf-8")
    where = ["--endpoint", url, "--model", "toy", "--out", str(tmp_path / "review.csv")]
    return ["build", str(captions), *where, "--clusters", "4", "--new", "20"]


def test_build_then_accept_gives_a_library_and_its_statistics(tmp_path: Path) -> None:
    review, library = tmp_path / "review.csv", tmp_path / "own.txt"
    with fake_endpoint(by_rule) as server:
        built = RUN.invoke(templates_app(), arguments(tmp_path, server.url), catch_exceptions=False)
        asked = len(server.requests)
        RUN.invoke(templates_app(), arguments(tmp_path, server.url), catch_exceptions=False)
        assert len(server.requests) == asked == len(CAPTIONS) + 2
    assert "templates to review, " in built.stdout
    assert "without problems\nnot taken  " in built.stdout
    assert "templates: 60 of 60" in built.stdout
    summary = json.loads((tmp_path / "review.summary.json").read_text(encoding="utf-8"))
    assert summary["captions"] == 60

    lines = review.read_text(encoding="utf-8").splitlines()
    assert lines[1].endswith(",,,")
    decided = [lines[0], *(line + "accept" if line.endswith(",,,") else line for line in lines[1:])]
    review.write_text("\n".join(decided), encoding="utf-8")
    accepted = RUN.invoke(
        templates_app(), ["accept", str(review), "--out", str(library)], catch_exceptions=False
    )
    assert "not taken  judgement 1" in accepted.stdout
    statistics = json.loads((tmp_path / "own.stats.json").read_text(encoding="utf-8"))
    assert statistics["templates"] == summary["clean"] == len(library.read_text().splitlines()) - 1


def test_stats_of_a_packaged_library_are_printed() -> None:
    printed = RUN.invoke(templates_app(), ["stats", "starter"], catch_exceptions=False).stdout
    assert f"templates     {len(STARTER)}" in printed
    assert "unused        framing" in printed


@pytest.mark.parametrize("command", ["build", "accept", "stats"])
def test_each_command_has_help_and_an_example(command: str) -> None:
    printed = RUN.invoke(templates_app(), [command, "--help"], catch_exceptions=False).stdout
    assert "Example: webperson templates " + command in " ".join(printed.split())


def test_a_library_has_the_name_of_one(tmp_path: Path) -> None:
    found = RUN.invoke(templates_app(), ["accept", "review.csv", "--out", "own.csv"])
    assert "a library's name ends in .txt" in str(found.exception)
