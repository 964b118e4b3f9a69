"""What a unit costs that holds next to nothing: the runner, its marks and files, and Ray alone.

    python -m benchmarks.units

Units of one row go through the runner with an empty stage; each leaves a real done-marker on local disk, in
windows as in any run. Beside it stand the same three steps of Ray Data without marks, files or rows, and the
marks and files without Ray. Then the folder is listed as a run does that is gone on with. What the driver
holds is told for every thousand units; what 750,000 would need is extrapolated: for memory an upper bound, as
each window adds less than the one before. The result is written to benchmarks/results/units.json.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import ray

from pipeline.attempts import Attempts
from pipeline.runner import WINDOW_UNITS, Cluster, pool_cpus
from pipeline.stage import Placed, Pool, Process
from pipeline.storage import publish_json
from pipeline.units import PhaseFolder, Unit, UnitRange

RESULT = Path(__file__).parent / "results" / "units.json"
POOL = Pool(cpus=0.5)
LARGE = 750_000
"""Units of a harvest of 192 million URLs, 256 each."""
MEASURED_EVERY = 1000


@dataclass(frozen=True)
class OneRow:
    """A source of units that hold one number."""

    def read(self, unit: Unit) -> pa.Table:
        """Its index."""
        return pa.table({"n": pa.array([unit.index], pa.int64())})


@dataclass(frozen=True)
class Nothing:
    """A stage that does nothing."""

    @contextmanager
    def open(self) -> Iterator[Process]:
        """Rows as they come."""
        yield lambda rows: rows


@dataclass(frozen=True)
class MarkerSink:
    """A sink that leaves a done-marker and no other file."""

    folder: PhaseFolder

    def publish(self, unit: Unit, rows: pa.Table) -> Mapping[str, Any]:
        """Counts the row."""
        counts = {"rows": rows.num_rows}
        self.folder.publish_unit(unit, {}, counts)
        return counts


class Pass:
    """An empty step of Ray Data in an actor."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """The block as it comes."""
        return block


def main() -> None:
    """Time all, print and publish the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=10_000, help=f"two windows of {WINDOW_UNITS} or more")
    count = parser.parse_args().units
    if count < 2 * WINDOW_UNITS:
        raise SystemExit(f"--units {count}: growth shows over two windows, {2 * WINDOW_UNITS} units")
    units = list(UnitRange(count, 1))
    with tempfile.TemporaryDirectory() as out:
        folder = PhaseFolder(Path(out) / "phase", {"recipe_hash": "none"})
        alone = PhaseFolder(Path(out) / "alone", folder.trace)
        with Cluster(None, pool_cpus([POOL]), 2**28, Path(out) / "attempts") as cluster:
            stages = [Placed(stage=Nothing(), pool=POOL)]
            list(cluster.run_units(units[:1], OneRow(), stages, MarkerSink(alone)))  # the cluster starts
            runner = _watched(cluster.run_units(units, OneRow(), stages, MarkerSink(folder)))
            bare = _watched(_bare(units))
        files = _watched(_files(units, Attempts(Path(out) / "attempts", "alone"), MarkerSink(alone)))
        started = time.monotonic()
        assert folder.finished() == list(range(count))
        listed = time.monotonic() - started
    growth = _growth(runner["driver_mb_every_1000_units"])
    result = {
        "command": f"python -m benchmarks.units --units {count}",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "window_units": WINDOW_UNITS,
        "runner": runner,
        "ray_data_alone": bare,
        "marks_and_files_without_ray": files,
        "ratio_runner_to_ray_data_alone": round(runner["ms_a_unit"] / bare["ms_a_unit"], 2),
        "resume_seconds": round(listed, 2),
        "resume_ms_a_unit": round(1000 * listed / count, 3),
        "driver_mb_growth_per_1000_units_by_the_last_window": growth,
        f"extrapolated_to_{LARGE}_units": {
            "hours_of_overhead": round(LARGE * runner["ms_a_unit"] / 3.6e6, 1),
            "driver_mb_at_most": round(runner["driver_mb_every_1000_units"][0] + growth * LARGE / 1000),
            "resume_minutes": round(LARGE * listed / count / 60, 1),
        },
    }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def _watched(statuses: Iterable[object]) -> dict[str, Any]:
    """Run to the end: milliseconds a unit, of it the driver's processor time, and its memory on the way."""
    process, number = psutil.Process(), 0
    memory, started, cpu = [_mb(process)], time.monotonic(), time.process_time()
    for number, _ in enumerate(statuses, start=1):
        if number % MEASURED_EVERY == 0:
            memory.append(_mb(process))
    return {
        "ms_a_unit": round(1000 * (time.monotonic() - started) / number, 2),
        "driver_cpu_ms_a_unit": round(1000 * (time.process_time() - cpu) / number, 2),
        "driver_mb_every_1000_units": [*memory, _mb(process)],
    }


def _bare(units: list[Unit]) -> Iterator[object]:
    """The runner's operators, empty, over the same windows."""
    whole: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow", "zero_copy_batch": True}
    for start in range(0, len(units), WINDOW_UNITS):
        items = [asdict(unit) for unit in units[start : start + WINDOW_UNITS]]
        dataset = ray.data.from_items(items, override_num_blocks=len(items))
        one = ray.data.TaskPoolStrategy(size=1)
        dataset = dataset.map_batches(lambda block: block, compute=one, num_cpus=0.10, **whole)
        actor = ray.data.ActorPoolStrategy(size=1, max_tasks_in_flight_per_actor=2)
        dataset = dataset.map_batches(Pass, compute=actor, num_cpus=POOL.cpus, **whole)
        dataset = dataset.map_batches(lambda block: block, compute=one, num_cpus=0.11, **whole)
        yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def _files(units: list[Unit], attempts: Attempts, sink: MarkerSink) -> Iterator[object]:
    """What the workers write of each unit, in this process."""
    for unit in units:
        rows = attempts.once(unit, "read", partial(OneRow().read, unit))
        rows = attempts.process(unit, "stage-0", rows, lambda rows: rows)
        yield attempts.once(unit, "publish", partial(sink.publish, unit, rows))


def _growth(megabytes: list[float]) -> float:
    """Megabytes a thousand units, from the end of the last window but one to the end of the last."""
    step = WINDOW_UNITS // MEASURED_EVERY
    ends = megabytes[step::step]
    return round((ends[-1] - ends[-2]) / step, 2)


def _mb(process: psutil.Process) -> float:
    return round(process.memory_info().rss / 2**20, 1)


if __name__ == "__main__":
    main()
