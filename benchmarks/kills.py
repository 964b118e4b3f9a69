"""A series of kills: `webperson curate`, killed again and again at random moments, against a run left alone.

    python -m benchmarks.kills --kills 24

Killed (SIGKILL) are in turn the driver, an actor in the middle of its unit, another Ray worker, and the
whole cluster with the driver. After the first and the last the same command continues; the other two the run
must survive by itself. Each time that a run has come to its end its final rows are compared by hash with
those of the run left alone, and another run begins. The result is written to benchmarks/results/kills.json.
"""

import argparse
import itertools
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline.cli.demo import DEADLINE_S, OVERRIDES
from pipeline.storage import publish_json
from tests.chain.conftest import Command, start
from tests.chain.tables import row_hashes
from world.pages import build_web
from world.photographs import photographs
from world.web import serve

RESULT = Path(__file__).parent / "results" / "kills.json"
UNIT_ROWS = "harvest.unit_rows=4"
LONGEST_S = 900
WORKERS = {"actor": ("ray::MapWorker",), "worker": ("ray::MapBatches", "ray::IDLE")}
"""How the processes of actors and of other Ray workers are titled."""
VICTIMS = ("driver", "actor", "worker", "cluster")


@dataclass
class Series:
    """The kills still to come, and those that were."""

    kills: int
    draws: random.Random
    longest_s: float
    """Kills come within this time after a start, or after the kill before."""
    victims: Iterator[str] = field(default_factory=lambda: itertools.cycle(VICTIMS))
    done: list[tuple[str, float]] = field(default_factory=list)
    """Who was killed, and seconds since the start or the kill before."""

    def run(self, *arguments: str) -> None:
        """Run a command to its end, killed as long as kills are to come; it is started again when it dies."""
        while not self._life(arguments):
            pass

    def _life(self, arguments: tuple[str, ...]) -> bool:
        """One process of the command; whether it came to its end."""
        with start(*arguments) as command:
            while len(self.done) < self.kills:
                seconds = self.draws.uniform(0.1, 1.0) * self.longest_s
                if _ended(command, seconds):
                    return True
                victim = next(self.victims)
                if self._kill(command, victim):
                    self.done.append((victim, round(seconds, 1)))
                    print(f"{len(self.done)} of {self.kills}: {victim} after {seconds:.1f} s", flush=True)
                if victim in ("driver", "cluster"):
                    return False
            return _ended(command, LONGEST_S)

    def _kill(self, command: Command, victim: str) -> bool:
        """Kill; False if nobody of that kind was there."""
        if victim == "driver":
            command.process.kill()
        elif victim == "cluster":
            command.end()
        else:
            there = [process for process in command.family() if _title(process).startswith(WORKERS[victim])]
            if not there:
                return False
            self.draws.choice(there).kill()
        return True


def main() -> None:
    """Run the series, print and publish its result; exit 1 if any table of any run differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=24, help="how often something is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of who is killed")
    options = parser.parse_args()
    web = build_web(photographs(seed=0), seed=0, silence_s=10 * DEADLINE_S)
    with tempfile.TemporaryDirectory() as folder, serve(web) as running:
        urls = Path(folder) / "urls.txt"
        urls.write_text("".join(f"{url}\n" for url in running.urls))
        settings = [part for override in [*OVERRIDES, UNIT_ROWS] for part in ("--set", override)]
        command = ("curate", "laptop", "--urls", str(urls), *settings)
        alone, started = Path(folder) / "alone", time.monotonic()
        Series(0, random.Random(), 0).run(*command, "--out", str(alone))
        seconds = time.monotonic() - started
        series, expected = (
            Series(options.kills, random.Random(options.seed), 0.6 * seconds),
            row_hashes(alone),
        )
        runs: list[dict[str, bool]] = []
        while len(series.done) < options.kills:
            killed = Path(folder) / f"killed-{len(runs)}"
            series.run(*command, "--out", str(killed))
            found = row_hashes(killed)
            runs.append({name: found[name] == rows for name, rows in expected.items()})
        result = {
            "command": f"python -m benchmarks.kills --kills {options.kills} --seed {options.seed}",
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
            "urls": len(running.urls),
            "units": len(list(alone.glob("harvest-*/done/*/*.json"))),
            "seconds_alone": round(seconds, 1),
            "kills": dict(Counter(victim for victim, _ in series.done)),
            "seconds_before_each_kill": [f"{victim} {life}" for victim, life in series.done],
            "runs_with_tables_equal": runs,
        }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))
    sys.exit(0 if all(all(run.values()) for run in runs) else 1)


def _ended(command: Command, seconds: float) -> bool:
    """Whether the command ends within some seconds, as it must end: with exit code 0."""
    try:
        output, _ = command.process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    if command.process.returncode:
        raise SystemExit(f"the command ended with exit code {command.process.returncode}:\n{output}")
    return True


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


if __name__ == "__main__":
    main()
