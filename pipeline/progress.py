"""Progress of long jobs: bars on a terminal, log lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

ShowProgress = Callable[[str, int, int], None]
"""Called with what is running, how much of it is done and how much there is."""

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def show_progress(console: Console) -> Iterator[ShowProgress]:
    """Draw a bar for each name on a terminal; print a line now and then where there is none."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done, total=total)

        yield show


class _Lines:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.printed: dict[str, float] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self.printed.get(name, -SECONDS_BETWEEN_LINES) >= SECONDS_BETWEEN_LINES:
            self.printed[name] = now
            self.console.print(f"{name}: {done} of {total}", highlight=False)
