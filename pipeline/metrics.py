"""Metrics: what progress shows, as JSON lines beside the run's output, for whoever watches from elsewhere."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.progress import ShowProgress, Snapshot, Tallies
from pipeline.storage import Place, StorageError, publish

SECONDS_BETWEEN_RECORDS = 5.0
SECONDS_BETWEEN_PARTS = 60.0
"""On an object store, where nothing can be appended to, so many seconds of lines make a numbered part."""


@contextmanager
def metrics_log(folder: Place) -> Iterator[ShowProgress]:
    """Write a line for each phase every few seconds, and at its last unit, while inside.

    A line holds `time` (UTC), `phase`, `units` and `units_total`, then of the units done in this run `rows`,
    `kept`, `reasons`, `bytes`, and of the last minutes `rows_per_s`, `bytes_per_s`, `seconds_left`. Locally
    lines are appended to `metrics.jsonl`; on an object store they come as
    `metrics/20261124T210500Z-00001.jsonl`, named by the start of the run. What cannot be written is warned
    of and left out: a run does not end for the sake of its metrics.
    """
    log = _Appended(folder / "metrics.jsonl") if isinstance(folder, Path) else _Parts(folder / "metrics")
    try:
        yield log
    finally:
        log.close()


class _Log(Tallies):
    """Turns snapshots into lines."""

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[str, float] = {}

    def show(self, snapshot: Snapshot) -> None:
        waited = snapshot.at_s - self._written.get(snapshot.phase, -SECONDS_BETWEEN_RECORDS)
        if snapshot.done != snapshot.total and waited < SECONDS_BETWEEN_RECORDS:
            return
        self._written[snapshot.phase] = snapshot.at_s
        try:
            self.write(record(snapshot, time.time()))
        except (OSError, StorageError) as error:
            logging.getLogger(__name__).warning("metrics are not written: %s", error)

    def write(self, line: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held back."""


class _Appended(_Log):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def write(self, line: str) -> None:
        with self._path.open("ab+") as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read() != b"\n":  # a run was killed amid its line
                    line = f"\n{line}"
            file.write(line.encode())


class _Parts(_Log):
    def __init__(self, folder: Place) -> None:
        super().__init__()
        self._folder = folder
        self._start = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._number = 0
        self._lines: list[str] = []
        self._since = time.monotonic()

    def write(self, line: str) -> None:
        self._lines.append(line)
        if time.monotonic() - self._since >= SECONDS_BETWEEN_PARTS:
            self._publish()

    def close(self) -> None:
        try:
            self._publish()
        except StorageError as error:
            logging.getLogger(__name__).warning("metrics are not written: %s", error)

    def _publish(self) -> None:
        lines, self._lines, self._since = self._lines, [], time.monotonic()
        if lines:
            self._number += 1
            publish(self._folder / f"{self._start}-{self._number:05d}.jsonl", "".join(lines).encode())


def record(snapshot: Snapshot, at: float) -> str:
    """One line of JSON with its line end. at: seconds since 1970."""
    content = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        "phase": snapshot.phase,
        "units": snapshot.done,
        "units_total": snapshot.total,
        "rows": snapshot.rows,
        "kept": snapshot.kept,
        "reasons": dict(snapshot.reasons),
        "bytes": snapshot.bytes,
        "rows_per_s": round(snapshot.rows_per_s, 3),
        "bytes_per_s": round(snapshot.bytes_per_s),
        "seconds_left": None if snapshot.seconds_left is None else round(snapshot.seconds_left),
    }
    return json.dumps(content) + "\n"
