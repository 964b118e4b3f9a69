"""Laws 2, 3, 6 and 7 on a real run: kill anything and run again; second writers; reruns; changed limits."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.reasons import Reason
from tests.chain.conftest import SECONDS, Finished, Photographs, run, start
from tests.chain.tables import phase_folder, row_hashes, table
from world.web import RunningWeb, serve

pytestmark = [pytest.mark.chain, pytest.mark.timeout(600)]


@dataclass
class Killed:
    """A run whose driver was killed in the middle, and the run after it."""

    second_writer: Finished
    units_before: int
    again: Finished
    out: Path
    arguments: list[str]
    web: RunningWeb

    def curate(self, *more: str) -> Finished:
        """The same command, with more options."""
        return run(*self.arguments, *more)


@pytest.fixture(scope="module")
def killed(undisturbed: Photographs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    """SIGKILL the driver once a unit is done, then an actor, then the whole cluster; run again each time.

    Whom of the actors, and how many units later, is drawn by a seed. Before all that a second writer comes.
    """
    out = tmp_path_factory.mktemp("killed") / "out"
    arguments = ["curate", "laptop", "--out", str(out), *undisturbed.arguments]
    with serve(undisturbed.web, undisturbed.port) as running:
        with start(*arguments) as first:
            _wait_for(lambda: (out / "run.lock").exists(), first.process.poll)
            second_writer = run(*arguments)
            _wait_for(lambda: bool(_markers(out)), first.process.poll)
            os.kill(first.process.pid, signal.SIGKILL)
            first.process.wait(20)
            units_before = len(_markers(out))
        draws = random.Random(0)
        with start(*arguments) as second:
            _wait_for(lambda: len(_markers(out)) > units_before, second.process.poll)
            draws.choice(second.actors()).kill()
            more = len(_markers(out)) + draws.randint(1, 3)
            _wait_for(lambda: len(_markers(out)) >= more, second.process.poll)
            second.end()
            units_before = len(_markers(out))
        again = run(*arguments)
        yield Killed(second_writer, units_before, again, out, arguments, running)


def test_a_second_writer_is_refused_by_name(killed: Killed) -> None:
    assert killed.second_writer.code == 1
    assert "another run is writing here: process" in killed.second_writer.output


def test_a_killed_run_goes_on_to_the_same_rows(undisturbed: Photographs, killed: Killed) -> None:
    units = len(_markers(undisturbed.out))
    assert 1 <= killed.units_before < units
    assert killed.again.code == 0, killed.again.output
    assert f"harvest: {units - killed.units_before} of {units} units done now" in killed.again.output
    assert row_hashes(killed.out) == row_hashes(undisturbed.out)


def test_the_same_command_again_does_nothing_and_says_so(killed: Killed) -> None:
    before = killed.web.requests()
    files = {path: path.stat().st_mtime_ns for path in killed.out.rglob("*.parquet")}
    again = killed.curate()
    assert again.code == 0, again.output
    for phase in ("harvest", "decide", "annotate", "pack"):
        assert f"{phase}: was done already, nothing to do" in again.output
    assert killed.web.requests() == before
    assert {path: path.stat().st_mtime_ns for path in killed.out.rglob("*.parquet")} == files


def test_the_metrics_of_all_attempts_stand_in_one_log(killed: Killed) -> None:
    lines = [json.loads(line) for line in (killed.out / "metrics.jsonl").read_text().splitlines()]
    assert {line["phase"] for line in lines} == {"harvest", "annotate", "shuffle", "pack"}
    last = [line for line in lines if line["phase"] == "harvest" and line["rows"]][-1]
    assert last["units"] == last["units_total"] == len(_markers(killed.out))
    assert last["rows"] == last["kept"] + sum(last["reasons"].values()) > 0


def test_no_mark_of_an_attempt_is_left(killed: Killed) -> None:
    assert list((killed.out / "attempts").rglob("*.json")) == []


def test_a_tighter_gate_rewrites_decisions_and_runs_no_model(killed: Killed, tmp_path: Path) -> None:
    before, harvest = killed.web.requests(), phase_folder(killed.out, "harvest")
    old = _reasons(killed.out)
    shutil.copy(killed.out / "run.json", tmp_path)
    tighter = killed.curate("--set", "gates.score_min=0.87")
    try:
        assert tighter.code == 0, tighter.output
        new = _reasons(killed.out)
        assert phase_folder(killed.out, "harvest") == harvest
        assert "harvest: was done already" in tighter.output
        # Who has no caption yet is tried again.
        lost = sum(
            reason is not None for reason in table(killed.out, "annotate", "pairs")["reason"].to_pylist()
        )
        assert f"(captions written {2 * lost}, taken over {2 * (new.count(None) - lost)})" in tighter.output
        assert killed.web.requests() == before
        assert new.count(Reason.LOW_SCORE) > old.count(Reason.LOW_SCORE)
        assert 0 < new.count(None) < old.count(None)
    finally:
        shutil.copy(tmp_path / "run.json", killed.out)


def test_a_run_that_lost_more_than_its_recipe_allows_is_done_and_ends_with_code_3(killed: Killed) -> None:
    over = killed.curate("--set", "harvest.max_failed_share=0.01")
    assert over.code == 3, over.output
    assert "harvest: was done already" in over.output
    assert "of the URLs failed, more than the recipe's harvest.max_failed_share allows" in over.output
    assert "--retry-failed takes up once more what the web or an endpoint has cost." in over.output


def test_a_gate_looser_than_the_floor_is_refused(killed: Killed) -> None:
    refused = killed.curate("--set", "gates.score_min=0.1")
    assert refused.code == 2
    assert "gates.score_min" in refused.output


def _reasons(out: Path) -> list[str | None]:
    return list(pq.read_table(phase_folder(out, "decide") / "decisions.parquet")["reason"].to_pylist())


def _markers(out: Path) -> list[Path]:
    return list(out.glob("harvest-*/done/*/unit-*.json"))


def _wait_for(condition: Callable[[], bool], ended: Callable[[], int | None]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert ended() is None, "the command ended too early"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
