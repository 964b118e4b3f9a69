"""Several trainings at once, each in a process of its own and on one thread, and what they are worth."""

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.progress import ShowProgress

if TYPE_CHECKING:
    from training.evaluate import Evaluation

ONE_THREAD = ("run.cpu_threads=1", "run.loader_threads=1", "run.device=cpu")
SECONDS_TO_STOP = 30.0
"""A stopped training ends its step and writes a checkpoint."""


class TrainingFailedError(RuntimeError):
    """One of the trainings failed; the message is one line naming it."""


def train_together(
    recipe: str, overrides: Sequence[str], runs: Mapping[str, tuple[Path, Path]], progress: ShowProgress
) -> dict[str, "Evaluation"] | None:
    """Train each run, named, from its folder of shards into its output folder; all at the same time.

    Returns how each does on its test split, measured in its own process, which has everything loaded; None if
    one was stopped, with a checkpoint to go on from. Raises TrainingFailedError. However this ends, by Ctrl-C
    too, no training goes on afterwards.
    """
    # A new interpreter each: torch and Ray do not survive a fork.
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = []
    reports: dict[Connection, str] = {}
    try:
        for name, (shards, out) in runs.items():
            here, there = context.Pipe(duplex=False)
            settings = [*overrides, *ONE_THREAD]
            process = context.Process(target=_train, args=(recipe, settings, shards, out, there), name=name)
            process.start()
            there.close()
            processes.append(process)
            reports[here] = name
        return _follow(reports, progress)
    finally:
        _end(processes)


def _follow(reports: dict[Connection, str], progress: ShowProgress) -> dict[str, "Evaluation"] | None:
    """Show every step until all have said how they ended."""
    found: dict[str, Evaluation | None] = dict.fromkeys(reports.values())
    while reports:
        for connection in wait(list(reports)):
            assert isinstance(connection, Connection)
            name = reports[connection]
            try:
                report = connection.recv()
            except EOFError:
                raise TrainingFailedError(f"training {name}: its process died") from None
            match report:
                case (int(step), int(total)):
                    progress(name, step, total)
                case {"error": error}:
                    raise TrainingFailedError(f"training {name}: {error}")
                case {"found": evaluation}:
                    found[name] = evaluation
                    del reports[connection]
    evaluated = {name: evaluation for name, evaluation in found.items() if evaluation}
    return evaluated if len(evaluated) == len(found) else None


def _end(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(SECONDS_TO_STOP)
        if process.is_alive():
            process.kill()
            process.join()


def _train(recipe: str, overrides: list[str], shards: Path, out: Path, report: Connection) -> None:
    """In the new process: train, tell every step, evaluate, and tell what was found."""
    from pipeline.cli.train import run_evaluation, run_training

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its runs
    parent = multiprocessing.parent_process()

    def show(_name: str, step: int, total: int, _counts: object = None, /) -> None:
        if parent and not parent.is_alive():
            os.kill(os.getpid(), signal.SIGTERM)
            return
        report.send((step, total))

    ended: dict[str, object]
    try:
        outcome = run_training(recipe, overrides, shards, out, show)
        ended = {"found": None if outcome.state == "stopped" else run_evaluation(out, shards, "test")}
    except Exception as error:
        ended = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    with suppress(BrokenPipeError):  # nobody is left to hear it
        report.send(ended)
