"""Metrics: lines of JSON that add up, appended here, in numbered parts where nothing can be appended to."""

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from pipeline import metrics, progress
from pipeline.metrics import metrics_log
from pipeline.objects import ObjectPath
from pipeline.storage import StorageError

COUNTS = {
    "urls": {"rows_in": 5, "kept": 2, "rejected": {"no_person": 2}, "failed": {"dns_failed": 1}},
    "bytes": 9,
}


def every(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    """A clock that a look at moves on by `step_s`."""
    clock = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock) * step_s)  # type: ignore[attr-defined]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_holds_what_is_done_and_what_became_of_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every(monkeypatch, 10)
    with metrics_log(tmp_path) as log:
        log("harvest", 3, 6)
        log("harvest", 4, 6, COUNTS)
    first, last = read(tmp_path / "metrics.jsonl")
    assert first.pop("time").endswith("Z")
    assert first == {
        "phase": "harvest",
        "units": 3,
        "units_total": 6,
        "rows": 0,
        "kept": 0,
        "reasons": {},
        "bytes": 0,
        "rows_per_s": 0,
        "bytes_per_s": 0,
        "seconds_left": None,
    }
    assert (last["units"], last["rows"], last["kept"], last["bytes"]) == (4, 5, 2, 9)
    assert last["reasons"] == {"no_person": 2, "dns_failed": 1}
    assert (last["rows_per_s"], last["bytes_per_s"], last["seconds_left"]) == (0.5, 1, 20)


def test_quick_units_share_a_line_and_the_last_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every(monkeypatch, 0.4 * metrics.SECONDS_BETWEEN_RECORDS)
    with metrics_log(tmp_path) as log:
        for done in range(8):
            log("harvest", done, 7, COUNTS)
    written = read(tmp_path / "metrics.jsonl")
    assert [(line["units"], line["rows"]) for line in written] == [(0, 5), (3, 20), (6, 35), (7, 40)]


def test_a_second_run_appends_to_the_first_even_if_it_was_killed_amid_a_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"phase": "harvest"}\n{"phase": "har')
    with metrics_log(tmp_path) as log:
        log("pack", 1, 1)
    whole, half, new = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert (whole, half) == ('{"phase": "harvest"}', '{"phase": "har')
    assert json.loads(new)["phase"] == "pack"


def test_on_an_object_store_lines_come_in_numbered_parts_the_rest_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored: dict[str, bytes] = {}
    monkeypatch.setattr(metrics, "publish", lambda path, data: stored.update({str(path): data}))
    every(monkeypatch, 0.4 * metrics.SECONDS_BETWEEN_PARTS)
    with metrics_log(ObjectPath("s3://bucket/run")) as log:
        for done in range(5):
            log("harvest", done, 9, COUNTS)
    starts, numbers = zip(*(name.split("-") for name in stored), strict=True)
    assert len(set(starts)) == 1
    assert starts[0].startswith("s3://bucket/run/metrics/2")
    assert numbers == tuple(f"{n:05d}.jsonl" for n in range(1, len(numbers) + 1))
    assert len(numbers) > 1
    lines = [json.loads(line) for data in stored.values() for line in data.splitlines()]
    assert [line["units"] for line in lines] == [0, 1, 2, 3, 4]


def test_metrics_that_cannot_be_written_are_warned_of_and_do_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with caplog.at_level(logging.WARNING), metrics_log(tmp_path) as log:
        log("harvest", 1, 1)
    assert "metrics are not written: [Errno 21] Is a directory" in caplog.text
    caplog.clear()

    def refuse(*_: object) -> None:
        raise StorageError("s3://bucket/run: Access Denied")

    monkeypatch.setattr(metrics, "publish", refuse)
    parts = metrics._Parts(tmp_path / "metrics")
    parts("harvest", 1, 1)
    parts.close()
    assert "metrics are not written: s3://bucket/run: Access Denied" in caplog.text
