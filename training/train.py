"""A training run of GA-DMS: epochs of steps, with checkpoints, the best one chosen on the val split.

Kill it at any time and run it again: it goes on from its newest checkpoint, to the same weights.
"""

import json
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, TextIO

import torch
from pydantic import Field

from pipeline.recipe import Section, operational
from pipeline.storage import publish, run_lock
from training.checkpoint import (
    Progress,
    checkpoints,
    load_state,
    load_weights,
    progress_of,
    read_progress,
    save_checkpoint,
)
from training.config import Count, TrainConfig
from training.data import data_fingerprint, epoch_plan, load_batches, load_split, split_counts
from training.evaluate import evaluate
from training.model import build_model
from training.optimizer import adam, compile_blocks, gradient_norm, learning_rate
from training.step import Batch, StepReport, ga_dms_step
from training.tokens import CaptionTokenizer

LOG = "log.jsonl"
Report = dict[str, float]
"""The numbers of one step: epoch, learning_rate, gradient_norm, and the fields of `StepReport`."""


class TrainError(RuntimeError):
    """A run that cannot go on; the message is one line."""


class RunSettings(Section):
    """How a run is carried out: nothing here is part of the recipe's hash."""

    device: str = "auto"
    """cpu, cuda, cuda:1; auto takes a GPU where there is one."""
    cpu_threads: Count | None = None
    """Threads of torch on the CPU; null leaves torch's own choice."""
    loader_threads: Annotated[int, Field(ge=0)] = 4
    """Threads that decode pictures ahead of the step; 0 decodes between the steps."""
    checkpoint_steps: Count | None = None
    """Steps between checkpoints of their own; null writes them with validations only."""
    evaluation_batch_size: Count = 64
    """Pictures, and captions, encoded at once in validation."""


class TrainRecipe(Section):
    """Training's sections of a recipe."""

    train: TrainConfig = TrainConfig()
    """What is trained and how."""
    run: RunSettings = operational(RunSettings())
    """How the run is carried out."""


@dataclass(frozen=True)
class TrainOutcome:
    """How a run ended."""

    state: Literal["finished", "stopped", "already finished"]
    progress: Progress
    chosen_by: str
    """In words, what chooses the best checkpoint."""


def train(
    config: TrainConfig,
    shards: Path,
    output: Path,
    settings: RunSettings | None = None,
    on_step: Callable[[int, int, Report], None] | None = None,
) -> TrainOutcome:
    """Train on the `train` split of a folder of shards, into the folder `output`.

    `on_step(step, total, report)` is called after each step. SIGTERM and Ctrl-C stop the run after the step
    in hand, with a checkpoint. Raises ShardError, CheckpointError (`output` was begun with another recipe or
    other data), StorageError (another run writes there), or TrainError (a loss or gradient is not finite).
    """
    settings = settings or RunSettings()
    device = _device(settings.device)
    with run_lock(output), _stop_signals() as stop, _random_numbers(config.seed, device):
        begun = progress_of(config, data_fingerprint(shards, "train"), output)
        if begun and begun.step == begun.total_steps:
            return TrainOutcome("already finished", begun, _chosen_by(shards))
        run = Run(config, shards, output, settings, device)
        with (output / LOG).open("a", encoding="utf-8") as log:
            for epoch in range(run.step // run.epoch_steps, config.epochs):
                for batch in run.batches(epoch):
                    report = run.take_step(batch, epoch)
                    _write(log, run.step, report)
                    if on_step:
                        on_step(run.step, run.progress.total_steps, report)
                    if stop.is_set():
                        break
                    if run.checkpoint_is_due():
                        run.save()
                stopped, validated = stop.is_set(), run.validation_is_due()
                if validated:
                    _write(log, run.step, run.choose_best())
                if validated or stopped:
                    run.save()
                if stopped:
                    break
        finished = run.step == run.progress.total_steps
        return TrainOutcome("finished" if finished else "stopped", run.progress, _chosen_by(shards))


class Run:
    """What a run holds between its steps."""

    def __init__(
        self, config: TrainConfig, shards: Path, output: Path, settings: RunSettings, device: torch.device
    ) -> None:
        if settings.cpu_threads:
            torch.set_num_threads(settings.cpu_threads)
        self.config, self.settings, self.output, self.device = config, settings, output, device
        self.split = load_split(shards, "train")
        self.validation = load_split(shards, "val") if "val" in split_counts(shards) else None
        self.encode = CaptionTokenizer().encode
        self.model = build_model(config.model).to(self.device).train()
        if config.compile:
            compile_blocks(self.model)
        self.optimizer = adam(self.model, config)
        self.epoch_steps = len(epoch_plan(self.split, config, epoch=0))
        data = data_fingerprint(shards, "train")
        self.progress = Progress(step=0, total_steps=config.epochs * self.epoch_steps, data=data)
        if found := checkpoints(output):
            self._resume(found[-1])
        _keep_log(output / LOG, self.step)

    @property
    def step(self) -> int:
        """Steps done."""
        return self.progress.step

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch that are still to come."""
        done = self.step - epoch * self.epoch_steps
        plan = epoch_plan(self.split, self.config, epoch)[done:]
        return load_batches(self.split, plan, self.config, epoch, self.encode, self.settings.loader_threads)

    def take_step(self, batch: Batch, epoch: int) -> Report:
        """Losses, gradients, Adam. Raises TrainError, weights untouched, if something is not finite."""
        config = self.config
        rate = learning_rate(config, self.step, self.epoch_steps)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            losses, report = ga_dms_step(self.model, batch.to(self.device), config, epoch)
        self.optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = gradient_norm(self.model, config.clip_norm)
        numbers = {"epoch": epoch, "learning_rate": rate, "gradient_norm": norm, **_numbers(report)}
        if not (math.isfinite(numbers["total"]) and math.isfinite(norm)):
            raise TrainError(
                f"step {self.step + 1}: loss {numbers['total']} (sdm {numbers['sdm']}, mtp {numbers['mtp']}),"
                f" gradient norm {norm}: not finite"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.progress = replace(self.progress, step=self.step + 1)
        return numbers

    def validation_is_due(self) -> bool:
        """Whether an epoch has just ended after which the model is validated, and a checkpoint written."""
        epochs, more_steps = divmod(self.step, self.epoch_steps)
        chosen = epochs % self.config.validate_epochs == 0 or epochs == self.config.epochs
        return more_steps == 0 and chosen

    def checkpoint_is_due(self) -> bool:
        """Whether `checkpoint_steps` asks for a checkpoint that no validation brings."""
        every = self.settings.checkpoint_steps
        return every is not None and self.step % every == 0 and not self.validation_is_due()

    def choose_best(self) -> Report:
        """R@1 on val chooses, the earlier of equals; without val the last is best."""
        if self.validation is None:
            self.progress = replace(self.progress, best_step=self.step)
            return {}
        found = evaluate(
            self.model,
            self.validation,
            self.config.model,
            self.settings.evaluation_batch_size,
            self.settings.loader_threads,
        )
        best = self.progress.best_score
        if best is None or found.metrics.r1 > best:
            self.progress = replace(self.progress, best_step=self.step, best_score=found.metrics.r1)
        return {f"val_{name}": value for name, value in vars(found.metrics).items()}

    def save(self) -> None:
        """Publish a checkpoint of this moment."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict(), "random": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        save_checkpoint(self.output, self.model, self.config, self.progress, state)

    def _resume(self, checkpoint: Path) -> None:
        self.progress = read_progress(checkpoint)
        load_weights(self.model, checkpoint)
        state = load_state(checkpoint)
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)


def _numbers(report: StepReport) -> Report:
    names = [field.name for field in fields(report)]
    values = torch.stack([getattr(report, name).float() for name in names])
    return dict(zip(names, values.tolist(), strict=True))


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise TrainError(f"device {name}: {str(error).splitlines()[0]}") from None


def _chosen_by(shards: Path) -> str:
    if "val" in split_counts(shards):
        return "R@1 on the val split chose the epoch"
    return "no val split: the last epoch is used"


@contextmanager
def _random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's generators for a run: the recipe's seed, and afterwards the caller's state again."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _write(log: TextIO, step: int, report: Report) -> None:
    if report:
        print(json.dumps({"step": step, **report}), file=log, flush=True)


def _keep_log(path: Path, step: int) -> None:
    """Drop from a log what a killed run wrote after its last checkpoint; those steps come again."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
    publish(path, "".join(f"{line}\n" for line in kept).encode())


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and the first Ctrl-C set; the second Ctrl-C interrupts as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread alone
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[number])

    before: dict[int, Any] = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
