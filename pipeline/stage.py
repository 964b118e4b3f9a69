"""The stage contract: settings in frozen fields, heavy things opened once per worker, rows to rows.

A phase reads a unit from its source, sends the rows through its stages and hands them to its sink:

    rows = source.read(unit)
    with stage.open() as process:
        rows = process(rows)
    counts = sink.publish(unit, rows)

None of the three knows Ray; this is how a test calls them.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from pipeline.units import Unit

Process = Callable[[pa.Table], pa.Table]
"""From the rows of one unit to rows, one for each and in their order.

A row that fails carries its `reason` and `error`; it is never dropped or raised. A row that comes in with a
`reason` (both columns may be missing) is left alone and goes out with it.
"""


class UnitError(RuntimeError):
    """Nothing can be done now and nothing is known of single rows (an endpoint is down); one line.

    The unit stays open for the next run.
    """


class WorkerError(UnitError):
    """Nor can this worker do anything more, such as one whose GPU has failed; one line.

    The worker ends, which counts like any death of a worker over the rows in work (pipeline/attempts.py).
    """


class Source(Protocol):
    """Where a phase's rows come from."""

    def read(self, unit: Unit) -> pa.Table:
        """The rows of a unit; the same at every call. Raises what stops the whole unit."""
        ...


class Sink(Protocol):
    """Where a phase's rows go."""

    def publish(self, unit: Unit, rows: pa.Table) -> Mapping[str, Any]:
        """Publish a unit's files, the done-marker last; return the marker's counts."""
        ...


class Stage(Protocol):
    """What a frozen dataclass must have to be a stage; its fields are its settings."""

    def open(self) -> AbstractContextManager[Process]:
        """Load models and connections, yield the function from rows to rows, release on exit."""
        ...


@dataclass(frozen=True, kw_only=True)
class Pool:
    """How many workers run a stage at once, and what each of them asks of the cluster.

    Stages whose pools are equal may share a process; the runner keeps unequal ones apart.
    """

    workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A stage and the pool that runs it."""

    stage: Stage
    pool: Pool
