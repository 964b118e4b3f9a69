"""A series of kills: `webperson curate`, its driver killed again and again, against a run left alone.

    python -m benchmarks.kills --kills 10

Each run is killed (SIGKILL) after a random time, the same command continues, and at the end the final rows
of both output folders are compared by hash. The result is written to benchmarks/results/kills.json.
"""

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.cli.demo import DEADLINE_S, OVERRIDES
from pipeline.storage import publish_json
from tests.chain.tables import row_hashes
from world.pages import build_web
from world.photographs import photographs
from world.web import serve

RESULT = Path(__file__).parent / "results" / "kills.json"
UNIT_ROWS = "harvest.unit_rows=8"
LONGEST_S = 600


def main() -> None:
    """Run the series, print and publish its result; exit 1 if any table differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10, help="how often the driver is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills")
    options = parser.parse_args()
    web = build_web(photographs(seed=0), seed=0, silence_s=10 * DEADLINE_S)
    with tempfile.TemporaryDirectory() as folder, serve(web) as running:
        urls = Path(folder) / "urls.txt"
        urls.write_text("".join(f"{url}\n" for url in running.urls))
        alone, killed = Path(folder) / "alone", Path(folder) / "killed"
        seconds = _curate(urls, alone, None)
        draws = random.Random(options.seed)
        lives = [_curate(urls, killed, draws.uniform(0.1, 0.9) * seconds) for _ in range(options.kills)]
        _curate(urls, killed, None)
        expected, found = row_hashes(alone), row_hashes(killed)
        result = {
            "command": f"python -m benchmarks.kills --kills {options.kills} --seed {options.seed}",
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
            "urls": len(running.urls),
            "units": len(list(alone.glob("harvest-*/done/*/*.json"))),
            "seconds_alone": round(seconds, 1),
            "seconds_before_each_kill": [round(life, 1) for life in lives],
            "tables_equal": {name: expected[name] == found[name] for name in expected},
        }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))
    sys.exit(0 if expected == found else 1)


def _curate(urls: Path, out: Path, kill_after_s: float | None) -> float:
    """Run the command to its end, or kill its driver after some seconds; return how long it lived."""
    settings = [part for override in [*OVERRIDES, UNIT_ROWS] for part in ("--set", override)]
    command = [sys.executable, "-m", "pipeline", "curate", "laptop", "--urls", str(urls), "--out", str(out)]
    started = time.monotonic()
    process = subprocess.Popen([*command, *settings], stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        code = process.wait(kill_after_s or LONGEST_S)
        if code:
            raise SystemExit(f"the command ended with exit code {code}")
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
