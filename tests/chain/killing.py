"""Waiting for a moment of a running command, and killing it then."""

import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from tests.chain.conftest import SECONDS, Command

END_S = 20.0


def wait_for(condition: Callable[[], bool], command: Command) -> None:
    """Look again and again, closely enough to see a file that is there for milliseconds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if command.process.poll() is not None:
            raise AssertionError(f"the command ended too early:\n{command.process.communicate()[0]}")
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.001)


def kill_driver(command: Command) -> None:
    """SIGKILL the command alone, and see its workers go with it.

    Ray's agents, which touch nothing of ours, would outlive them by a minute: they are ended here.
    """
    family = command.family()
    workers = [process for process in family if title(process).startswith("ray::Map")]
    command.process.kill()
    command.process.wait(END_S)
    _, left = psutil.wait_procs(workers, timeout=END_S)
    assert not left, "workers outlive their driver"
    for process in family:
        with suppress(psutil.Error):
            process.kill()


def title(process: psutil.Process) -> str:
    """What a process calls itself: Ray's workers say what they do. Empty once it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
