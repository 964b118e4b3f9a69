"""The work of a phase: which of its units are left, running them through stages, what came of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.funnel import Counts, Line
from pipeline.progress import ShowProgress
from pipeline.stage import Placed, Sink, Source
from pipeline.units import PhaseFolder, Unit

RunUnits = Callable[[Sequence[Unit], Source, Sequence[Placed], Sink], Iterator[Any]]
"""What runs units and yields a status for each as it ends: `pipeline.runner.Cluster`, or a test's loop."""


class PhaseError(RuntimeError):
    """A phase that did not finish; the message says which unit failed first and why."""


@dataclass(frozen=True)
class PhaseReport:
    """What a phase did in this run."""

    phase: str
    folder: PhaseFolder
    units: int
    done_before: int
    line: Line
    note: str = ""
    left: int = 0
    """Units that the budget did not reach; later phases wait for them."""
    totals: Mapping[str, Any] = field(default_factory=dict)
    """The counts of all its units, added up."""
    content: str = ""
    """Hash of what its units hold."""


@dataclass(frozen=True)
class Work:
    """How the phases of a run do their work."""

    run_units: RunUnits
    phases: frozenset[str]
    """Phases that may do work; the others must be done."""
    progress: ShowProgress
    began: Callable[[str, PhaseFolder, int], None]
    unready: Callable[[], Iterable[str]]
    """What harvest would stumble over."""

    def run(
        self,
        phase: str,
        folder: PhaseFolder,
        units: Sequence[Unit],
        source: Source,
        stages: Sequence[Placed],
        sink: Sink,
        shown: str = "",
    ) -> int:
        """Run the units that are not done; returns how many were done before.

        shown: what progress calls it, if it is not the whole of its phase.
        """
        todo = self.todo(phase, folder, units)
        done = len(units) - len(todo)
        self.begin(phase, folder, len(units), done, shown)
        for _ in self.each(shown or phase, todo, done, len(units), source, stages, sink):
            pass
        return done

    def todo(self, phase: str, folder: PhaseFolder, units: Sequence[Unit]) -> list[Unit]:
        """The units that are not done. Raises PhaseError if there are any and the phase may do no work."""
        finished = set(folder.finished())
        todo = [unit for unit in units if unit.index not in finished]
        if todo and phase not in self.phases:
            raise PhaseError(
                f"{phase}: {len(todo)} of {len(units)} units of this list and recipe are not done; "
                f"run --phase {phase} first"
            )
        if todo and phase == "harvest":
            for problem in self.unready():
                raise PhaseError(problem)
        return todo

    def begin(self, phase: str, folder: PhaseFolder, units: int, done: int, shown: str = "") -> None:
        """Write down and say that a phase is begun."""
        folder.begin()
        self.began(phase, folder, units)
        self.progress(shown or phase, done, units)

    def each(
        self,
        shown: str,
        todo: Sequence[Unit],
        done: int,
        total: int,
        source: Source,
        stages: Sequence[Placed],
        sink: Sink,
    ) -> Iterator[Mapping[str, Any]]:
        """Run units; yield the counts of each that ends well. Raises PhaseError at the end if some failed."""
        failed, first = 0, ""
        for number, status in enumerate(self.run_units(todo, source, stages, sink) if todo else (), start=1):
            if status.error:
                failed, first = failed + 1, first or f"unit {status.unit}: {status.error.strip()}"
            self.progress(shown, done + number - failed, total, status.counts or None)
            if not status.error:
                yield status.counts
        if failed:
            error = PhaseError(f"{shown}: {failed} of {total} units failed, first {first.splitlines()[-1]}")
            error.add_note(first)
            raise error


def counts_of(totals: Mapping[str, Any], table: str) -> Counts:
    """What some units' totals say of a table; nothing where there are no units."""
    return Counts.from_json(totals[table]) if totals else Counts()
