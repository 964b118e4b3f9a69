"""Runs of a toy: it learns what captions say, and a killed run ends as an undisturbed one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.storage import StorageError, run_lock
from tests.training.toy_shards import TOY_MODEL, toy_config, write_outfits
from training.checkpoint import MARKER, WEIGHTS, CheckpointError, checkpoints, load_model
from training.data import load_split
from training.evaluate import Evaluation, evaluate
from training.train import LOG, Report, RunSettings, TrainError, TrainOutcome, train

ROOT = Path(__file__).parents[2]
ON_CPU = RunSettings(device="cpu", loader_threads=0, checkpoint_steps=2)
STEPS = 6
"""Of two epochs over 12 pictures with two captions each, eight captions a step."""
CONFIG = toy_config(epochs=2, model=TOY_MODEL.model_copy(update={"patch_dropout": 0.25}))
"""With patch dropout, so that torch's own random numbers have to survive a kill too."""


class Crash(BaseException):
    """Stands for a process that dies between two steps."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_outfits(tmp_path_factory.mktemp("shards"), {"train": 12, "val": 6})


@pytest.fixture(scope="module")
def undisturbed(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed")
    assert train(CONFIG, shards, output, ON_CPU).state == "finished"
    return output


def assert_same_run(output: Path, undisturbed: Path) -> None:
    """Equal checkpoints, to the last bit, and equal logs."""
    names = [folder.name for folder in checkpoints(undisturbed)]
    assert [folder.name for folder in checkpoints(output)] == names
    for name in names:
        for file in (WEIGHTS, MARKER):
            assert (output / name / file).read_bytes() == (undisturbed / name / file).read_bytes()
    assert (output / LOG).read_text() == (undisturbed / LOG).read_text()


def crash_at(step: int, error: BaseException) -> Callable[[int, int, Report], None]:
    def on_step(done: int, _total: int, _report: Report) -> None:
        if done == step:
            raise error

    return on_step


@pytest.mark.parametrize("step", [1, 3, 5, STEPS])
def test_a_crashed_run_ends_as_an_undisturbed_one(
    shards: Path, undisturbed: Path, tmp_path: Path, step: int
) -> None:
    with pytest.raises(Crash):
        train(CONFIG, shards, tmp_path, ON_CPU, crash_at(step, Crash()))
    assert train(CONFIG, shards, tmp_path, ON_CPU).state == "finished"
    assert_same_run(tmp_path, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_step_with_a_checkpoint_and_the_run_goes_on_from_it(
    shards: Path, undisturbed: Path, tmp_path: Path, number: int
) -> None:
    steps: list[int] = []

    def on_step(done: int, _total: int, _report: Report) -> None:
        steps.append(done)
        if len(steps) in (1, 3):  # within the first epoch, and at its end
            os.kill(os.getpid(), number)

    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    for expected in ([1], [1, 2, 3], [1, 2, 3, 4, 5, 6]):
        outcome = train(CONFIG, shards, tmp_path, ON_CPU, on_step)
        assert steps == expected
        assert outcome.progress.step == expected[-1]
        assert outcome.state == ("finished" if expected[-1] == STEPS else "stopped")
    assert_same_run(tmp_path, undisturbed)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers


def test_a_run_killed_by_sigkill_ends_as_an_undisturbed_one(
    shards: Path, undisturbed: Path, tmp_path: Path
) -> None:
    program = f"""
import os, signal
from pathlib import Path
from tests.training.test_train import CONFIG, ON_CPU
from training.train import train
def kill(step, total, report):
    if step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
train(CONFIG, Path({str(shards)!r}), Path({str(tmp_path)!r}), ON_CPU, kill)
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [folder.name for folder in checkpoints(tmp_path)] != []
    assert train(CONFIG, shards, tmp_path, ON_CPU).progress.step == STEPS
    assert_same_run(tmp_path, undisturbed)


def test_threads_that_load_ahead_do_not_change_the_result(
    shards: Path, undisturbed: Path, tmp_path: Path
) -> None:
    train(CONFIG, shards, tmp_path, ON_CPU.model_copy(update={"loader_threads": 2}))
    assert_same_run(tmp_path, undisturbed)


def test_a_finished_run_does_nothing_and_says_so(shards: Path, undisturbed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.name != "run.lock"}
    outcome = train(CONFIG, shards, undisturbed, ON_CPU, crash_at(1, AssertionError()))
    assert outcome.state == "already finished"
    assert before == {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*") if p.name != "run.lock"}


def test_another_recipe_or_a_second_run_in_the_same_folder_is_refused(
    shards: Path, undisturbed: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"learning_rate was 0\.003, is 0\.1"):
        train(CONFIG.model_copy(update={"learning_rate": 0.1}), shards, undisturbed, ON_CPU)
    with run_lock(undisturbed), pytest.raises(StorageError, match="another run is writing here"):
        train(CONFIG, shards, undisturbed, ON_CPU)


def test_the_val_split_chooses_the_best_epoch(shards: Path, undisturbed: Path) -> None:
    lines = [json.loads(line) for line in (undisturbed / LOG).read_text().splitlines()]
    scores = {line["step"]: line["val_r1"] for line in lines if "val_r1" in line}
    assert sorted(scores) == [3, 6]
    outcome = train(CONFIG, shards, undisturbed, ON_CPU)
    assert outcome.progress.best_step == max(scores, key=lambda step: (scores[step], -step))
    assert outcome.progress.best_score == max(scores.values())
    assert "val split" in outcome.chosen_by


def test_only_every_second_epoch_and_the_last_are_validated_and_kept_and_the_weights_are_the_same(
    shards: Path, tmp_path: Path
) -> None:
    kept: dict[int, list[str]] = {}

    def on_step(step: int, _total: int, _report: Report) -> None:
        kept[step] = [folder.name for folder in checkpoints(tmp_path / "seldom")]

    settings = ON_CPU.model_copy(update={"checkpoint_steps": None})
    train(toy_config(epochs=3, validate_epochs=2), shards, tmp_path / "seldom", settings, on_step)
    assert [kept[step] for step in (6, 7)] == [[], ["step-00000006"]]
    lines = [json.loads(line) for line in (tmp_path / "seldom" / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines if "val_r1" in line] == [6, 9]
    train(toy_config(epochs=3), shards, tmp_path / "each", settings)
    seldom, each = (checkpoints(tmp_path / name)[-1] / WEIGHTS for name in ("seldom", "each"))
    assert seldom.read_bytes() == each.read_bytes()


@pytest.mark.parametrize("step", [2, 3])  # within an epoch that is not validated, and at its end
def test_a_run_stopped_between_validations_goes_on_from_there(
    shards: Path, tmp_path: Path, step: int
) -> None:
    def on_step(done: int, _total: int, _report: Report) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    config = CONFIG.model_copy(update={"validate_epochs": 2})
    settings = ON_CPU.model_copy(update={"checkpoint_steps": None})
    train(config, shards, tmp_path / "undisturbed", settings)
    assert train(config, shards, tmp_path / "stopped", settings, on_step).state == "stopped"
    assert [folder.name for folder in checkpoints(tmp_path / "stopped")] == [f"step-{step:08d}"]
    assert train(config, shards, tmp_path / "stopped", settings, crash_at(step, Crash())).state == "finished"
    assert_same_run(tmp_path / "stopped", tmp_path / "undisturbed")


def test_checkpoint_steps_count_at_the_end_of_an_epoch_that_is_not_validated(
    shards: Path, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"validate_epochs": 2})
    settings = ON_CPU.model_copy(update={"checkpoint_steps": 3})
    with pytest.raises(Crash):
        train(config, shards, tmp_path, settings, crash_at(4, Crash()))
    assert [folder.name for folder in checkpoints(tmp_path)] == ["step-00000003"]


def test_without_a_val_split_the_last_epoch_is_used_and_said(tmp_path: Path) -> None:
    shards = write_outfits(tmp_path / "shards", {"train": 4, "test": 4})
    outcome = train(toy_config(epochs=2), shards, tmp_path / "run", ON_CPU)
    assert outcome.chosen_by == "no val split: the last epoch is used"
    assert outcome.progress.best_step == outcome.progress.total_steps == 2
    assert [folder.name for folder in checkpoints(tmp_path / "run")] == ["step-00000002"]


def test_the_log_has_a_line_for_every_step_with_its_losses(undisturbed: Path) -> None:
    lines = [json.loads(line) for line in (undisturbed / LOG).read_text().splitlines()]
    steps = [line for line in lines if "total" in line]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert [line["epoch"] for line in steps] == [0, 0, 0, 1, 1, 1]
    for line in steps:
        assert line["total"] == pytest.approx(line["sdm"] + CONFIG.mtp_weight * line["mtp"], rel=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_last_good_checkpoint(
    shards: Path, tmp_path: Path
) -> None:
    exploding = toy_config(learning_rate=1e30, warmup_epochs=0.0, epochs=2)
    with pytest.raises(TrainError, match=r"step \d: loss .* not finite"):
        train(exploding, shards, tmp_path, ON_CPU)
    for folder in checkpoints(tmp_path):
        model, _ = load_model(folder)
        assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_the_callers_random_numbers_neither_matter_nor_change(
    shards: Path, undisturbed: Path, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(CONFIG, shards, tmp_path, ON_CPU)
    assert_same_run(tmp_path, undisturbed)
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_device_is_named_in_one_line(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"^device warp: [^\n]+$"):
        train(CONFIG, shards, tmp_path, RunSettings(device="warp"))


def trained(folder: Path, permute: bool) -> Evaluation:
    shards = write_outfits(folder / "shards", {"train": 25, "test": 25}, permute)
    config = toy_config(epochs=16, batch_size=25)
    outcome: TrainOutcome = train(config, shards, folder / "run", ON_CPU)
    assert outcome.progress.step == 32
    model, _ = load_model(folder / "run")
    return evaluate(model, load_split(shards, "test"), config.model)


def test_a_toy_learns_to_find_pictures_it_never_saw(tmp_path: Path) -> None:
    found = trained(tmp_path, permute=False)
    assert found.metrics.map > 3 * found.chance.map
    assert found.metrics.r5 > 3 * found.chance.r5


def test_with_the_captions_of_other_pictures_it_learns_nothing(tmp_path: Path) -> None:
    found = trained(tmp_path, permute=True)
    assert found.metrics.map < 1.5 * found.chance.map
