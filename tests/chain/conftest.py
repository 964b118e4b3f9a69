"""The chain as its users run it: commands in processes of their own, on the small web."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from pipeline.cli.demo import Size, made_pictures, small_web
from world.web import RunningWeb, SmallWeb, serve

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 500
"""Longest that a command may take before its test ends it."""


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
class Command:
    """A running command, in a session of its own so that all it started can be found and ended."""

    process: subprocess.Popen[str]
    seen: set[int] = field(default_factory=set)
    peak_bytes: int = 0

    def watch_memory(self) -> None:
        """Sample what the command and all its children hold for themselves, until it ends."""
        while self.process.poll() is None:
            held = 0
            for process in self._family():
                try:
                    memory = process.memory_info()
                    held += memory.rss - memory.shared
                except psutil.Error:
                    continue
            self.peak_bytes = max(self.peak_bytes, held)
            time.sleep(0.5)

    def end(self) -> None:
        """Kill the command and everything it has started."""
        family = self._family()
        for process in family:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(family, timeout=20)
        self.process.wait(20)

    def _family(self) -> list[psutil.Process]:
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


@pytest.fixture
def demo_web(demo: Demo) -> Iterator[RunningWeb]:
    """The demo's web again, at the same address, with its requests counted."""
    with serve(demo.web(), demo.port) as running:
        yield running
