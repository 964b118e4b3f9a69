"""Trainings at the same time: both end, both tell their steps, and none goes on alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from pipeline.cli.trainings import TrainingFailedError, train_together
from tests.training.toy_shards import toy_config, write_outfits
from training.checkpoint import checkpoints, read_progress

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump({"train": json.loads(toy_config(epochs=2).model_dump_json())}))
    return str(path)


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    shards = {
        name: write_outfits(tmp_path / name, {"train": count, "test": 5})
        for name, count in (("a", 8), ("b", 12))
    }
    return {name: (folder, tmp_path / f"train-{name}") for name, folder in shards.items()}


def test_both_end_are_evaluated_and_show_every_step(recipe: str, runs: dict[str, tuple[Path, Path]]) -> None:
    steps: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}
    found = train_together(recipe, [], runs, lambda name, *step: steps[name].append(step))
    assert steps == {
        "a": [(step, 4) for step in range(1, 5)],
        "b": [(step, 6) for step in range(1, 7)],
    }
    assert [read_progress(checkpoints(out)[-1]).step for _, out in runs.values()] == [4, 6]
    assert found
    assert {name: (e.split, e.gallery, e.shards) for name, e in found.items()} == {
        name: ("test", 5, str(shards)) for name, (shards, _) in runs.items()
    }


def test_the_first_that_fails_is_named_and_the_other_is_ended(
    recipe: str, runs: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    runs["b"] = (tmp_path / "nowhere", runs["b"][1])
    before = set(psutil.Process().children())
    with pytest.raises(
        TrainingFailedError, match=r"training b: ShardError: .*nowhere: not a finished folder"
    ):
        train_together(recipe, ["train.epochs=100000"], runs, lambda *_: None)
    left = {
        child for child in set(psutil.Process().children()) - before if "spawn_main" in str(child.cmdline())
    }
    assert not left


PROGRAM = """
import signal
import sys
from pathlib import Path
from pipeline.cli.trainings import train_together

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    recipe, shards, out = sys.argv[1:]
    runs = {"a": (Path(shards), Path(out))}
    train_together(recipe, ["train.epochs=100000"], runs, lambda *step: print(*step, flush=True))
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_no_training_outlives_its_parent(
    recipe: str, runs: dict[str, tuple[Path, Path]], tmp_path: Path, end: signal.Signals
) -> None:
    """After Ctrl-C it has a checkpoint of its last step; after a kill it notices at its next step."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    out = tmp_path / "out"
    command = [sys.executable, str(program), recipe, str(runs["a"][0]), str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("a 1 ")
        children = psutil.Process(process.pid).children()
        process.send_signal(end)
        process.stdout.read()
    wait_for(lambda: not any(child.is_running() for child in children))
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert read_progress(checkpoints(out)[-1]).step == steps[-1]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
