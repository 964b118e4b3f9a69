"""Attempts: a row that kills its worker, or makes a stage raise, is found and left out; its unit goes on.

Before a worker touches a unit it marks the attempt on storage, and takes the mark away when it is through. A
mark that is found is therefore a death. The first three starts take the unit whole, since most deaths (a lost
node, memory taken by others) say nothing about its rows. From then on the range of rows that was in work at
the death is cut, until a row dies alone: it is quarantined. Marks of another run count for nothing, so that
killing the driver never quarantines anybody.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TypeVar

import pyarrow as pa

from pipeline.reasons import Reason
from pipeline.stage import Process, UnitError, WorkerError
from pipeline.storage import DamagedError, Place, publish_json, read_json, remove
from pipeline.units import UNITS_PER_PREFIX, Unit

WHOLE_STARTS = 3
"""Starts that take the whole unit; the next one works in ranges."""
CUTS = 16
"""Into how many ranges the one that died is cut."""
MOST_STARTS = 40
"""A unit whose worker died so often is given up: the stage is broken, not its rows."""

Range = tuple[int, int]
"""Rows from the first to before the last."""
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One start of a unit at one step, as its mark tells."""

    run: str
    """Names the run that started it."""
    start: int = 1
    """Counts the starts in this run."""
    ranges: tuple[Range, ...]
    """The unit's rows in order, as they are worked on one after the other."""
    working: int = 0
    """Which of them is in work."""
    quarantined: tuple[int, ...] = ()
    """Rows that died alone; each is a range of its own."""

    def after_death(self) -> "Attempt":
        """How to start again. Raises UnitError when no smaller range is left to blame, or after too many."""
        first, end = self.ranges[self.working]
        start = self.start + 1
        if start <= WHOLE_STARTS:
            return replace(self, start=start, working=0)
        if start > MOST_STARTS or end == first:
            raise UnitError(f"the worker died at each of {self.start} starts")
        if first in self.quarantined:
            raise UnitError(
                f"the worker died with row {first}, which carries a reason and is to be left alone"
            )
        if end - first == 1:
            return replace(self, start=start, working=0, quarantined=(*self.quarantined, first))
        before, after = self.ranges[: self.working], self.ranges[self.working + 1 :]
        return replace(self, start=start, working=0, ranges=(*before, *cut(first, end), *after))


def cut(first: int, end: int) -> list[Range]:
    """Cut rows into at most CUTS ranges of nearly equal size."""
    count = min(CUTS, end - first)
    edges = [first + (end - first) * number // count for number in range(count + 1)]
    return list(pairwise(edges))


@dataclass(frozen=True)
class Attempts:
    """Where one run marks its attempts; without a folder nothing is marked and nobody is quarantined."""

    folder: Place | None
    run: str

    def process(self, unit: Unit, step: str, rows: pa.Table, process: Process) -> pa.Table:
        """Send a unit's rows through a stage, around those that raise or have killed a worker before.

        Raises UnitError, or what the stage raises for every row alike; a WorkerError is the worker's death.
        """
        parts = []
        try:
            attempt = self._start(unit, step, rows.num_rows)
            text = f"the worker died {attempt.start - 1} times over the unit, and with this row alone"
            rows = with_reasons(rows, dict.fromkeys(attempt.quarantined, (Reason.QUARANTINED, text)))
            for number, (first, end) in enumerate(attempt.ranges):
                self._mark(unit, step, replace(attempt, working=number))
                through = pass_on if first in attempt.quarantined else process_around
                parts.append(through(process, rows.slice(first, end - first)))
        except WorkerError as error:
            if self.folder:
                print(f"unit {unit.index}: {error}", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)  # at once: the mark has to stay
            raise
        finally:
            self._clear(unit, step)
        return _joined(parts)

    def once(self, unit: Unit, step: str, work: Callable[[], R]) -> R:
        """Do what cannot be cut, such as reading; raises UnitError if the worker always dies."""
        try:
            self._mark(unit, step, self._start(unit, step, 0))
            return work()
        finally:
            self._clear(unit, step)

    def _start(self, unit: Unit, step: str, rows: int) -> Attempt:
        last = self._last(unit, step)
        if last and last.ranges[-1][1] == rows:
            return last.after_death()
        return Attempt(run=self.run, ranges=((0, rows),))

    def _last(self, unit: Unit, step: str) -> Attempt | None:
        """The mark that a death in this run has left."""
        if not self.folder:
            return None
        try:
            tree = read_json(_path(self.folder, unit, step))
            ranges = tuple((first, end) for first, end in tree.pop("ranges"))
            attempt = Attempt(**{**tree, "ranges": ranges, "quarantined": tuple(tree["quarantined"])})
        except (DamagedError, LookupError, TypeError, ValueError):
            return None
        return attempt if attempt.run == self.run else None

    def _mark(self, unit: Unit, step: str, attempt: Attempt) -> None:
        if self.folder:
            publish_json(_path(self.folder, unit, step), asdict(attempt))

    def _clear(self, unit: Unit, step: str) -> None:
        if self.folder:
            remove(_path(self.folder, unit, step))


def _path(folder: Place, unit: Unit, step: str) -> Place:
    return folder / f"{unit.index // UNITS_PER_PREFIX:03d}" / f"{unit.name}-{step}.json"


def process_around(process: Process, rows: pa.Table) -> pa.Table:
    """Process rows; those that make the stage raise are found by halving and go on with Reason.CRASHED.

    Raises UnitError as it comes, and the first exception where every row raises: then it is not the rows.
    A row that is alone in its unit is held guilty, or a unit of one bad row would never end.
    """
    pieces = list(_halves(process, rows))
    crashes = [outcome for _, outcome in pieces if isinstance(outcome, Exception)]
    live = _column(rows, "reason").count(None) if crashes else 0
    if crashes and live != 1 and len(crashes) >= live:
        raise crashes[0]
    return _joined(
        [_crashed(process, piece, out) if isinstance(out, Exception) else out for piece, out in pieces]
    )


def pass_on(process: Process, rows: pa.Table) -> pa.Table:
    """Send rows that carry a reason through a stage; raises UnitError if it loses the reason."""
    out = process(rows)
    if out.num_rows != rows.num_rows or None in _column(out, "reason"):
        raise UnitError("the stage does not leave rows alone that carry a reason")
    return out


def with_reasons(rows: pa.Table, outcomes: Mapping[int, tuple[Reason, str]]) -> pa.Table:
    """The rows with `reason` and `error` set where `outcomes` (by row number) says so."""
    if not outcomes:
        return rows
    for part, name in enumerate(("reason", "error")):
        values = _column(rows, name)
        for row, outcome in outcomes.items():
            values[row] = str(outcome[part])
        if name in rows.column_names:
            number = rows.column_names.index(name)
            field = rows.schema.field(number)
            rows = rows.set_column(number, field, pa.array(values, field.type))
        else:
            rows = rows.append_column(name, pa.array(values, pa.string()))
    return rows


def _halves(process: Process, rows: pa.Table) -> Iterator[tuple[pa.Table, pa.Table | Exception]]:
    """Pieces of the rows in order, each with what came out or, for a row alone, what was raised."""
    try:
        out = process(rows)
    except UnitError:
        raise
    except Exception as error:
        if rows.num_rows <= 1:
            yield rows, error
        else:
            half = rows.num_rows // 2
            yield from _halves(process, rows.slice(0, half))
            yield from _halves(process, rows.slice(half))
    else:
        yield rows, out


def _crashed(process: Process, row: pa.Table, error: Exception) -> pa.Table:
    """One row, gone through the stage with its exception for a reason."""
    if _column(row, "reason") != [None]:
        raise UnitError(f"the stage does not leave rows alone that carry a reason: {error}") from error
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return pass_on(process, with_reasons(row, {0: (Reason.CRASHED, text)}))


def _column(rows: pa.Table, name: str) -> list[str | None]:
    return rows[name].to_pylist() if name in rows.column_names else [None] * rows.num_rows


def _joined(parts: list[pa.Table]) -> pa.Table:
    return parts[0] if len(parts) == 1 else pa.concat_tables(parts, promote_options="default")
