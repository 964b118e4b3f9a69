"""The chain as its users run it: commands in processes of their own, on the small web."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from curation.inputs import UrlList
from curation.phases import Curation
from curation.recipe import CurateRecipe
from pipeline.cli.demo import DEADLINE_S, OVERRIDES, Size, made_pictures, small_web
from pipeline.cli.options import TRAINING_SECTIONS, Phase
from pipeline.cli.report import publish_run
from pipeline.recipe import load_recipe, trace
from pipeline.runner import UnitStatus
from pipeline.stage import Placed, Sink, Source
from pipeline.units import Unit
from world.pages import build_web
from world.photographs import photographs
from world.web import RunningWeb, SmallWeb, serve

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 280
"""Longest that a command may take before its test ends it."""
SETTINGS = [*OVERRIDES, "harvest.unit_rows=8", "dedup.radius=null"]
"""The demo's, in units so small that the short list has a dozen; its photographs are variations of a few."""


@dataclass
class Finished:
    """A command that has ended."""

    code: int
    output: str
    peak_bytes: int = 0


@dataclass
class Demo:
    """The demo's run: what it printed, where it wrote, and the address of its web."""

    command: Finished
    out: Path
    port: int
    sockets: Path

    def web(self) -> SmallWeb:
        """Its web again, from the pictures that it has left in its cache."""
        pictures, _ = made_pictures(Size.SMALL, self.out / "world", lambda *_: None)
        return small_web(pictures)


@dataclass
class Photographs:
    """A short list: photographs, and all that goes wrong on the small web, as a run without Ray leaves it."""

    web: SmallWeb
    port: int
    urls: Path
    out: Path

    @property
    def arguments(self) -> list[str]:
        """How `webperson curate` is told of the list and of all settings but the output folder."""
        overrides = [part for override in SETTINGS for part in ("--set", override)]
        return ["--urls", str(self.urls), *overrides]


@dataclass
class Command:
    """A running command, in a session of its own so that all it started can be found and ended."""

    process: subprocess.Popen[str]
    seen: set[int] = field(default_factory=set)
    peak_bytes: int = 0

    def watch_memory(self) -> None:
        """Sample what the command and all its children hold for themselves, until it ends."""
        while self.process.poll() is None:
            held = 0
            for process in self.family():
                try:
                    memory = process.memory_info()
                    held += memory.rss - memory.shared
                except psutil.Error:
                    continue
            self.peak_bytes = max(self.peak_bytes, held)
            time.sleep(0.5)

    def end(self) -> None:
        """Kill the command and everything it has started."""
        family = self.family()
        for process in family:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(family, timeout=20)
        self.process.wait(20)

    def actors(self) -> list[psutil.Process]:
        """The Ray actors that it has running, in the order of their ids."""
        titled = {process: " ".join(process.cmdline()) for process in self.family()}
        return [process for process, title in titled.items() if title.startswith("ray::MapWorker")]

    def family(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.process.pid)
            return [*parent.children(recursive=True), parent]
        except psutil.Error:
            return []


def environment(**more: str) -> dict[str, str]:
    """The environment of a command: no cluster of anybody else, no hub, two threads."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2", "PYTHONPATH": str(REPOSITORY), "COLUMNS": "120"}
    return kept | quiet | more


@contextmanager
def start(*arguments: str, env: dict[str, str] | None = None) -> Iterator[Command]:
    """Start `python -m pipeline …`; whatever is left of it at the end is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env or environment(),
        start_new_session=True,
    )
    command = Command(process)
    try:
        yield command
    finally:
        command.end()


def run(*arguments: str, env: dict[str, str] | None = None) -> Finished:
    """Run `python -m pipeline …` to its end."""
    with start(*arguments, env=env) as command:
        watcher = threading.Thread(target=command.watch_memory)
        watcher.start()
        output, _ = command.process.communicate(timeout=SECONDS)
        watcher.join()
        return Finished(command.process.returncode, output, command.peak_bytes)


def free_port() -> int:
    """A port of loopback that nobody holds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """`webperson demo`, run once."""
    folder = tmp_path_factory.mktemp("demo")
    port, sockets = free_port(), folder / "sockets.log"
    watched = os.pathsep.join([str(Path(__file__).with_name("watch")), str(REPOSITORY)])
    env = environment(PYTHONPATH=watched, WATCH_SOCKETS=str(sockets))
    command = run("demo", "--out", str(folder / "out"), "--port", str(port), env=env)
    assert command.code == 0, command.output
    return Demo(command, folder / "out", port, sockets)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    """The short list, curated once in this process: nothing is killed, no worker is elsewhere."""
    folder = tmp_path_factory.mktemp("photographs")
    web = build_web(photographs(seed=0), seed=0, silence_s=10 * DEADLINE_S)
    recipe = load_recipe(CurateRecipe, "laptop", SETTINGS, others=TRAINING_SECTIONS)
    urls, out = folder / "urls.txt", folder / "out"
    phases = frozenset(str(phase) for phase in Phase)
    with serve(web, free_port()) as running:
        urls.write_text("".join(f"{url}\n" for url in running.urls))
        curation = Curation(recipe, trace(recipe), UrlList(urls), out, run_here, phases, lambda *_: None)
        publish_run(out, curation.run())
        return Photographs(web, int(running.base_url.rsplit(":")[-1]), urls, out)


@pytest.fixture
def photographs_web(undisturbed: Photographs) -> Iterator[RunningWeb]:
    """Its web again, at the same address, with its requests counted."""
    with serve(undisturbed.web, undisturbed.port) as running:
        yield running


def run_here(
    units: Sequence[Unit], source: Source, stages: Sequence[Placed], sink: Sink
) -> Iterator[UnitStatus]:
    """Units through stages without Ray: one after the other, in this process."""
    with ExitStack() as stack:
        processes = [stack.enter_context(placed.stage.open()) for placed in stages]
        for unit in units:
            rows = source.read(unit)
            for process in processes:
                rows = process(rows)
            yield UnitStatus(unit=unit.index, counts=sink.publish(unit, rows), error=None)
