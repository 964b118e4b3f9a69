"""What harvest costs beside its parts: the persons stage against Ultralytics' own loop, the streamed phase
against the bound that its two stages set, and what is held in memory when the list grows tenfold.

    OMP_NUM_THREADS=1 python -m benchmarks.harvest

Photographs (variations of what installed packages carry) are served on loopback by another process. A rate by
itself says little; the ratios are between runs that alternate. The result is written to
benchmarks/results/harvest.json; the downloader stands by itself in benchmarks/download.py.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from curation.download import Download
from curation.inputs import UrlList
from curation.persons import MeasurePersons
from curation.recipe import CurateRecipe
from curation.tables import HarvestSink
from pipeline.cli.demo import OVERRIDES
from pipeline.cli.options import TRAINING_SECTIONS
from pipeline.recipe import load_recipe
from pipeline.runner import Cluster, pool_cpus
from pipeline.stage import Placed, Pool, Sink, Source
from pipeline.storage import publish_json
from pipeline.units import PhaseFolder, Unit
from world.photographs import photographs
from world.web import Answer, Entry, SmallWeb, serve

RESULT = Path(__file__).parent / "results" / "harvest.json"
REPEATS = 5
PROCESSES = 3
"""Where a process finds its memory moves the model's own speed by a tenth: the persons stage is measured in
so many, one after the other."""
COPIES = 20
"""Each photograph is served under so many addresses."""
UNIT_ROWS = 32
WARM_UP = 8
"""Units until all workers have begun and what piled up before them is gone."""
BATCH = 8
SMALL = 2_000
"""Addresses of the short list; the long one has ten times as many."""
TRACE = {"recipe_hash": "benchmark"}
DOWNLOADERS, MEASURERS = Pool(workers=1, cpus=0.5), Pool(workers=2, cpus=1.0)


def main() -> None:
    """Measure what is asked for, print and publish it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=("persons", "streamed", "memory"), action="append")
    wanted = parser.parse_args().only or ["persons", "streamed", "memory"]
    result: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    result |= {
        "command": "OMP_NUM_THREADS=1 python -m benchmarks.harvest",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
    }
    pictures = [picture.data for picture in photographs(seed=0)]
    if "persons" in wanted:
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
            result["persons"] = _pooled(list(fresh.map(measure_persons, [pictures] * PROCESSES)))
    with tempfile.TemporaryDirectory() as folder:
        if "streamed" in wanted:
            result["streamed"] = measure_streamed(pictures, Path(folder))
        if "memory" in wanted:
            result["memory"] = measure_memory(Path(folder))
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def measure_persons(pictures: Sequence[bytes]) -> dict[str, Any]:
    """The stage in this process, against Ultralytics' predict over the same files, letterboxed alike."""
    from ultralytics import YOLO

    from curation.weights import resolve_weights

    settings = _recipe().harvest.persons.model_copy(update={"batch": BATCH})
    pictures = [*pictures, *pictures]
    rows = _downloaded(pictures)
    with tempfile.TemporaryDirectory() as folder, MeasurePersons(settings).open() as process:
        for number, picture in enumerate(pictures):
            (Path(folder) / f"{number:04d}.jpg").write_bytes(picture)
        model = YOLO(resolve_weights(settings.weights, settings.weights_sha256))

        def alone() -> None:
            options = {"imgsz": 640, "conf": settings.measure_floor, "classes": [0], "rect": False}
            for _ in model.predict(folder, batch=BATCH, stream=True, verbose=False, **options):
                pass

        ours, theirs = _alternate(lambda: process(rows), alone)
    count = len(pictures)
    return {
        "pictures": count,
        "batch": BATCH,
        "stage_pictures_per_s": _rates(ours, count),
        "ultralytics_pictures_per_s": _rates(theirs, count),
        "ratio": round(statistics.median(theirs) / statistics.median(ours), 3),
    }


def _pooled(processes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "processes": list(processes),
        "ratio": statistics.median(process["ratio"] for process in processes),
        "what_the_stage_does_besides": "crops, their JPEGs and hashes, phash of the picture, Arrow rows",
    }


def measure_streamed(pictures: Sequence[bytes], folder: Path) -> dict[str, Any]:
    """Harvest through Ray; its two stages each by itself through the same runner set the bound."""
    recipe = _recipe()
    download = Placed(stage=Download(recipe.harvest.download), pool=DOWNLOADERS)
    persons = Placed(stage=MeasurePersons(recipe.harvest.persons), pool=MEASURERS)
    with _server(list(pictures) * COPIES) as urls, _cluster(recipe, folder) as cluster:
        count, listed = len(urls), _listed(urls, folder / "urls.txt")
        units = listed.units(UNIT_ROWS)
        bodies = _Bodies(tuple(pictures), UNIT_ROWS)
        seconds: dict[str, list[float]] = {"download": [], "persons": [], "streamed": []}
        for repeat in range(REPEATS + 1):
            sink = HarvestSink(PhaseFolder(folder / f"harvest-{repeat}", TRACE), 64 * 2**20)
            runs: Mapping[str, tuple[Source, list[Placed], Sink]] = {
                "download": (listed, [download], _Dropped()),
                "persons": (bodies, [persons], _Dropped()),
                "streamed": (listed, [download, persons], sink),
            }
            for name, (source, stages, into) in runs.items():
                took = _timed(cluster, units, source, stages, into)
                seconds[name] += [took] if repeat else []  # the first time everything is warmed up
    rates = {name: count / statistics.median(took) for name, took in seconds.items()}
    bound = 1 / (1 / rates["download"] + 1 / rates["persons"])
    return {
        "pictures": count,
        "pools": {"download": "1 worker", "persons": "2 workers"},
        **{f"{name}_pictures_per_s": _rates(took, count) for name, took in seconds.items()},
        "bound_pictures_per_s": round(bound, 2),
        "ratio": round(rates["streamed"] / bound, 3),
        "clock": f"from the status of unit {WARM_UP} to the last one's: all workers are at work by then",
    }


def measure_memory(folder: Path) -> dict[str, Any]:
    """The largest resident sizes of driver and workers: bodies of 1 kB, no model, a list and ten times it."""
    recipe = _recipe()
    download = Placed(stage=Download(recipe.harvest.download), pool=DOWNLOADERS)
    body = bytes(1000)
    found = {}
    with _server([body] * 10 * SMALL) as urls, _cluster(recipe, folder) as cluster:
        for name, count in (("warm-up", SMALL), ("short", SMALL), ("long", 10 * SMALL)):
            listed = _listed(urls[:count], folder / f"{name}.txt")
            with _largest_rss() as rss:
                took = _timed(cluster, listed.units(64), listed, [download], _Dropped())
            found[name] = {"urls": count, "urls_per_s": round(count / took), **rss}
    return {name: found[name] for name in ("short", "long")} | {"unit_rows": 64}


@contextmanager
def _cluster(recipe: CurateRecipe, folder: Path) -> Iterator[Cluster]:
    with Cluster(
        None, pool_cpus([DOWNLOADERS, MEASURERS]), recipe.object_store_bytes, folder / "marks"
    ) as made:
        yield made


def _timed(
    cluster: Cluster, units: Sequence[Unit], source: Source, stages: Sequence[Placed], sink: Sink
) -> float:
    """Seconds for all units at the pace of those after the first few: starting workers is no part of it, nor
    what was finished while the publishing worker started.
    """
    ended = []
    for status in cluster.run_units(units, source, stages, sink):
        assert status.error is None, status.error
        ended.append(time.monotonic())
    return (ended[-1] - ended[WARM_UP - 1]) / (len(ended) - WARM_UP) * len(ended)


@dataclass(frozen=True)
class _Bodies:
    """A source of downloaded rows."""

    pictures: tuple[bytes, ...]
    rows: int

    def read(self, unit: Unit) -> pa.Table:
        picked = [self.pictures[(unit.first + n) % len(self.pictures)] for n in range(unit.count)]
        return _downloaded(picked, unit.index)


@dataclass(frozen=True)
class _Dropped:
    """A sink that publishes nothing."""

    def publish(self, unit: Unit, rows: pa.Table) -> Mapping[str, Any]:
        return {"rows": rows.num_rows}


def _downloaded(pictures: Sequence[bytes], unit: int = 0) -> pa.Table:
    """Rows as the download stage hands them on."""
    count = len(pictures)
    return pa.table(
        {
            "unit": pa.array([unit] * count, pa.int64()),
            "row": pa.array(range(count), pa.int32()),
            "url": [f"http://made/{n}" for n in range(count)],
            "image": pa.array(pictures, pa.large_binary()),
            "reason": pa.array([None] * count, pa.string()),
            "error": pa.array([None] * count, pa.string()),
            "seconds": pa.array([0.0] * count, pa.float32()),
            "image_sha256": ["0" * 64] * count,
            "image_bytes": pa.array([len(picture) for picture in pictures], pa.int64()),
        }
    )


def _alternate(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Seconds of both, one after the other, again and again; the first of each is dropped."""
    taken: tuple[list[float], list[float]] = ([], [])
    for repeat in range(REPEATS + 1):
        for seconds, work in zip(taken, (ours, theirs), strict=True):
            started = time.monotonic()
            work()
            seconds += [time.monotonic() - started] if repeat else []
    return taken


def _rates(seconds: Sequence[float], count: int) -> list[float]:
    return [round(count / took, 2) for took in seconds]


def _recipe() -> CurateRecipe:
    return load_recipe(CurateRecipe, "laptop", OVERRIDES, others=TRAINING_SECTIONS)


def _listed(urls: Sequence[str], path: Path) -> UrlList:
    path.write_text("".join(f"{url}\n" for url in urls))
    return UrlList(path)


@contextmanager
def _server(bodies: Sequence[bytes]) -> Iterator[list[str]]:
    """The bodies' addresses, served by another process."""
    here, there = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=_serve, args=(bodies, there), daemon=True)
    server.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        server.join(10)
        server.kill()


def _serve(bodies: Sequence[bytes], connection: Connection) -> None:
    paths = [f"/{number}.jpg" for number in range(len(bodies))]
    entries = tuple(Entry("picture", "{base}" + path, (None,)) for path in paths)
    answers = {path: Answer(body) for path, body in zip(paths, bodies, strict=True)}
    with serve(SmallWeb(entries, answers, silence_s=1.0)) as running:
        connection.send(running.urls)
        connection.recv()


@contextmanager
def _largest_rss() -> Iterator[dict[str, int]]:
    """The largest resident sizes while the block runs, in MiB: of this process, and of any one below it."""
    largest = {"driver_mib": 0, "largest_worker_mib": 0}
    ended = threading.Event()

    def watch() -> None:
        driver = psutil.Process()
        while not ended.wait(0.5):
            sizes = [_mib(process) for process in driver.children(recursive=True)]
            largest["driver_mib"] = max(largest["driver_mib"], _mib(driver))
            largest["largest_worker_mib"] = max(largest["largest_worker_mib"], *sizes, 0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield largest
    finally:
        ended.set()
        watcher.join()


def _mib(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss / 2**20)
    except psutil.NoSuchProcess:
        return 0


if __name__ == "__main__":
    main()
