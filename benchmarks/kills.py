"""Series of kills: `webperson curate`, killed again and again at random moments, against a run left alone.

    python -m benchmarks.kills --phase all --kills 20

Two series: `harvest` is the whole command on the small web; `annotate` asks models behind fake endpoints
about persons who are harvested already. Killed (SIGKILL) are in turn the driver, an actor in the middle of
its unit, another Ray worker, and the whole cluster with the driver. After the first and the last the same
command continues; the other two the run must survive by itself. Each time that a run has come to its end it
is compared with the one left alone (benchmarks/killed_commands.py), and another run begins. The results are
written to benchmarks/results/kills.json; that of a series that is not run stays.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.killed_commands import Killed, Trial, annotate_phase, whole_command
from pipeline.storage import publish_json, read_json
from tests.chain.conftest import Command, start
from tests.chain.killing import kill_driver, title

RESULT = Path(__file__).parent / "results" / "kills.json"
OPENED: dict[str, Callable[[Path], AbstractContextManager[Killed]]] = {
    "harvest": whole_command,
    "annotate": annotate_phase,
}
LONGEST_S = 900
POLL_S = 0.05
WORKERS = {"actor": ("ray::MapWorker",), "worker": ("ray::MapBatches", "ray::IDLE")}
"""How the processes of actors and of other Ray workers are titled."""
VICTIMS = ("driver", "actor", "worker", "cluster")


@dataclass
class Series:
    """The kills still to come, and those that were."""

    kills: int
    draws: random.Random
    longest_s: float
    """Kills come within this time of work after a start or the kill before; later if nobody is there."""
    done: list[tuple[str, float]] = field(default_factory=list)
    """Who was killed, and seconds of work since the start or the kill before it."""
    working_since: float = 0.0
    """When work had last begun, or gone on after a kill."""

    def run(self, trial: Trial) -> None:
        """Run a command to its end, killed as long as kills are to come; it is started again when it dies."""
        while not self._life(trial):
            pass

    def _life(self, trial: Trial) -> bool:
        """One process of the command; whether it came to its end."""
        with start(*trial.arguments) as command:
            if not self._goes_on(command, trial):
                return True
            while len(self.done) < self.kills:
                if _ended(command, self.draws.uniform(0.1, 1.0) * self.longest_s):
                    return True
                victim = VICTIMS[len(self.done) % len(VICTIMS)]
                if not self._kill(command, victim):
                    continue
                self._note(victim, trial)
                if victim in ("driver", "cluster"):
                    return False
                if not self._goes_on(command, trial):
                    return True
            return _ended(command, LONGEST_S)

    def _goes_on(self, command: Command, trial: Trial) -> bool:
        """Wait until work has begun, or goes on after a kill; False if the command ends before."""
        before = trial.work()
        while trial.work() == before:
            if _ended(command, POLL_S):
                return False
        self.working_since = time.monotonic()
        return True

    def _note(self, victim: str, trial: Trial) -> None:
        seconds = time.monotonic() - self.working_since
        trial.look(victim)
        self.done.append((victim, round(seconds, 1)))
        print(f"{len(self.done)} of {self.kills}: {victim} after {seconds:.1f} s", flush=True)

    def _kill(self, command: Command, victim: str) -> bool:
        """Kill; False if nobody of that kind was there."""
        if victim == "driver":
            kill_driver(command)
        elif victim == "cluster":
            command.end()
        else:
            there = [process for process in command.family() if title(process).startswith(WORKERS[victim])]
            if not there:
                return False
            self.draws.choice(there).kill()
        return True


def main() -> None:
    """Run the series, print and publish their results; exit 1 if any run differs from the one left alone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--phase", choices=[*OPENED, "all"], default="all", help="which series")
    parser.add_argument("--kills", type=int, default=20, help="how often something is killed in each")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of who is killed")
    options = parser.parse_args()
    results = read_json(RESULT) if RESULT.exists() else {}
    equal = True
    for phase in OPENED if options.phase == "all" else [options.phase]:
        command = f"python -m benchmarks.kills --phase {phase} --kills {options.kills} --seed {options.seed}"
        with tempfile.TemporaryDirectory() as folder, OPENED[phase](Path(folder)) as killed:
            numbers, runs = run_series(killed, Path(folder), options.kills, options.seed)
        results[phase] = {"command": command, **numbers}
        publish_json(RESULT, results)
        print(json.dumps(results[phase], indent=2))
        equal = equal and all(all(run.values()) for run in runs)
    sys.exit(0 if equal else 1)


def run_series(
    killed: Killed, folder: Path, kills: int, seed: int
) -> tuple[dict[str, Any], list[dict[str, bool]]]:
    """Its result; for each run, whether what came of it is equal, by name."""
    undisturbed, alone = Series(0, random.Random(), 0), killed.begin(folder / "alone")
    undisturbed.run(alone)
    seconds, expected = time.monotonic() - undisturbed.working_since, alone.outcome()
    series = Series(kills, random.Random(seed), 0.6 * seconds)
    runs: list[dict[str, bool]] = []
    while len(series.done) < kills:
        trial = killed.begin(folder / f"killed-{len(runs)}")
        series.run(trial)
        found = trial.outcome()
        runs.append({name: found[name] == value for name, value in expected.items()})
    numbers = {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        **killed.numbers(folder / "alone"),
        "seconds_alone": round(seconds, 1),
        "kills": dict(Counter(victim for victim, _ in series.done)),
        "seconds_before_each_kill": [f"{victim} {life}" for victim, life in series.done],
        "runs_with_tables_equal": runs,
    }
    return numbers, runs


def _ended(command: Command, seconds: float) -> bool:
    """Whether the command ends within some seconds, as it must end: with exit code 0."""
    try:
        output, _ = command.process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    if command.process.returncode:
        raise SystemExit(f"the command ended with exit code {command.process.returncode}:\n{output}")
    return True


if __name__ == "__main__":
    main()
