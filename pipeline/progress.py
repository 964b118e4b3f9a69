"""Progress of long jobs: how far, how fast, what was lost; bars on a terminal, plain lines elsewhere."""

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

from pipeline.funnel import Counts

SECONDS_BETWEEN_LINES = 10.0
RECENT_S = 300.0
"""Rates and the time left are those of the last minutes: what a run does now, not what it did days ago."""
REASONS_SHOWN = 5


class ShowProgress(Protocol):
    """Called with what is running, how much of it is done, how much there is, and what a unit has counted."""

    def __call__(
        self, name: str, done: int, total: int, counts: Mapping[str, Any] | None = None, /
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Where a phase stands; rows, reasons and bytes are those of the units done in this run."""

    phase: str
    at_s: float
    """When, by `time.monotonic`."""
    done: int
    """Units that are done, those of earlier runs included."""
    total: int
    rows: int
    kept: int
    reasons: Mapping[str, int]
    """Rows that were rejected or failed, the most frequent reason first."""
    bytes: int
    units_per_s: float
    rows_per_s: float
    bytes_per_s: float

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None while there is none."""
        return (self.total - self.done) / self.units_per_s if self.units_per_s > 0 else None

    def text(self, left_first: bool = False) -> str:
        """`30,720 rows, 812 rows/s, 61 % kept, 14.2 MB/s, 12 min left; no_person 9,210, dns_failed 12, …`.

        left_first: the time left leads, where the rest may be cut off.
        """
        parts = []
        if self.rows:
            parts += [f"{self.rows:,} rows", f"{self.rows_per_s:,.0f} rows/s"]
            parts.append(f"{100 * self.kept / self.rows:.0f} % kept")
        if self.bytes:
            parts.append(f"{self.bytes_per_s / 1e6:,.1f} MB/s")
        if self.seconds_left is not None and self.done < self.total:
            parts.insert(0 if left_first else len(parts), f"{duration(self.seconds_left)} left")
        shown = [f"{reason} {count:,}" for reason, count in list(self.reasons.items())[:REASONS_SHOWN]]
        more = ["…"] if len(self.reasons) > REASONS_SHOWN else []
        return ", ".join(parts) + ("; " if shown else "") + ", ".join([*shown, *more])


@dataclass
class Tally:
    """Adds up what the units of one phase have counted."""

    phase: str
    rows: int = 0
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    recent: deque[tuple[float, int, int, int]] = field(default_factory=deque)
    """Seconds, units, rows and bytes at moments of the last RECENT_S, and one before."""

    def add(self, done: int, total: int, counts: Mapping[str, Any] | None) -> Snapshot:
        """Take in one unit's counts, as its done-marker has them; None where none has ended.

        The first mapping with `rows_in` among the counts is that of the phase's rows; `bytes` is optional.
        """
        table = next((c for c in (counts or {}).values() if isinstance(c, Mapping) and "rows_in" in c), None)
        if counts and table:
            rows = Counts.from_json(table)
            self.rows += rows.rows_in
            self.kept += rows.kept
            self.reasons.update({**rows.rejected, **rows.failed})
        self.bytes += int((counts or {}).get("bytes", 0))
        return self._snapshot(done, total)

    def _snapshot(self, done: int, total: int) -> Snapshot:
        now = time.monotonic()
        self.recent.append((now, done, self.rows, self.bytes))
        while len(self.recent) > 2 and self.recent[1][0] <= now - RECENT_S:
            self.recent.popleft()
        since, units, rows, size = self.recent[0]
        seconds = now - since
        per_s = 1 / seconds if seconds > 0 else 0.0
        return Snapshot(
            phase=self.phase,
            at_s=now,
            done=done,
            total=total,
            rows=self.rows,
            kept=self.kept,
            reasons=dict(self.reasons.most_common()),
            bytes=self.bytes,
            units_per_s=(done - units) * per_s,
            rows_per_s=(self.rows - rows) * per_s,
            bytes_per_s=(self.bytes - size) * per_s,
        )


class Tallies:
    """A ShowProgress that keeps a tally for each name; `show` says what becomes of it."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def __call__(self, name: str, done: int, total: int, counts: Mapping[str, Any] | None = None, /) -> None:
        """Add a unit's counts, and show where its phase stands."""
        self.show(self._tallies.setdefault(name, Tally(name)).add(done, total, counts))

    def show(self, snapshot: Snapshot) -> None:
        """Show it."""
        raise NotImplementedError


def together(*observers: ShowProgress) -> ShowProgress:
    """One that tells all of them."""

    def tell(name: str, done: int, total: int, counts: Mapping[str, Any] | None = None, /) -> None:
        for observer in observers:
            observer(name, done, total, counts)

    return tell


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 20 min` or `2 d 5 h`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


@contextmanager
def show_progress(console: Console) -> Iterator[ShowProgress]:
    """Draw a bar for each name on a terminal; print a line now and then where there is none."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    rest = TextColumn("{task.fields[text]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
    columns = (TextColumn("{task.description:<10}"), BarColumn(bar_width=20), MofNCompleteColumn(), rest)
    with Progress(*columns, console=console, expand=True) as bars:
        yield _Bars(bars)


class _Bars(Tallies):
    def __init__(self, bars: Progress) -> None:
        super().__init__()
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def show(self, snapshot: Snapshot) -> None:
        name = snapshot.phase
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=snapshot.total, text="")
        self._bars.update(
            self._tasks[name],
            completed=snapshot.done,
            total=snapshot.total,
            text=snapshot.text(left_first=True),
        )


class _Lines(Tallies):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._printed: dict[str, float] = {}

    def show(self, snapshot: Snapshot) -> None:
        name = snapshot.phase
        waited = snapshot.at_s - self._printed.get(name, -SECONDS_BETWEEN_LINES)
        if snapshot.done != snapshot.total and waited < SECONDS_BETWEEN_LINES:
            return
        self._printed[name] = snapshot.at_s
        units, rest = (" units", f", {snapshot.text()}") if snapshot.rows else ("", "")
        line = f"{name}: {snapshot.done} of {snapshot.total}{units}{rest}"
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
