"""Progress: bars on a terminal; elsewhere a line now and then, and always the last one; counts add up."""

import io
import itertools
from typing import Any

import pytest
from rich.console import Console

from pipeline import progress
from pipeline.funnel import Counts
from pipeline.progress import (
    RECENT_S,
    SECONDS_BETWEEN_LINES,
    Snapshot,
    Tally,
    duration,
    show_progress,
    together,
)

Call = tuple[str, int, int] | tuple[str, int, int, dict[str, Any]]


def every(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    """A clock that a look at moves on by `step_s`."""
    clock = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock) * step_s)  # type: ignore[attr-defined]


def lines(calls: list[Call], monkeypatch: pytest.MonkeyPatch, step_s: float) -> list[str]:
    """What is printed where there is no terminal, a call every `step_s` seconds."""
    every(monkeypatch, step_s)
    sink = io.StringIO()
    with show_progress(Console(file=sink, force_terminal=False)) as show:
        for call in calls:
            show(*call)
    return sink.getvalue().splitlines()


def unit(kept: int, size: int = 0, **reasons: int) -> dict[str, Any]:
    """The counts of a harvest unit."""
    names = [name for name, count in reasons.items() for _ in range(count)]
    table = Counts.of(kept + len(names), [*[None] * kept, *names])
    return {"urls": table.to_json(), "persons": 7, "bytes": size}


def test_without_a_terminal_quick_work_prints_its_begin_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Call] = [("harvest", done, 100) for done in range(101)]
    assert lines(calls, monkeypatch, 0.01) == ["harvest: 0 of 100", "harvest: 100 of 100"]


def test_without_a_terminal_slow_work_prints_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Call] = [("harvest", done, 9) for done in range(9)]
    printed = lines(calls, monkeypatch, 0.4 * SECONDS_BETWEEN_LINES)
    assert printed == ["harvest: 0 of 9", "harvest: 3 of 9", "harvest: 6 of 9"]


def test_without_a_terminal_each_name_has_its_own_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Call] = [("harvest", 0, 5), ("annotate", 0, 7), ("harvest", 1, 5)]
    assert lines(calls, monkeypatch, 0.01) == ["harvest: 0 of 5", "annotate: 0 of 7"]


def test_a_line_tells_rates_success_time_left_and_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = unit(610, 142_000_000, no_person=300, dns_failed=90)
    calls: list[Call] = [("harvest", 5, 26), ("harvest", 6, 26, counts), ("harvest", 7, 26, counts)]
    assert lines(calls, monkeypatch, SECONDS_BETWEEN_LINES) == [
        "harvest: 5 of 26",
        "harvest: 6 of 26 units, 1,000 rows, 100 rows/s, 61 % kept, 14.2 MB/s, 3 min left;"
        " no_person 300, dns_failed 90",
        "harvest: 7 of 26 units, 2,000 rows, 100 rows/s, 61 % kept, 14.2 MB/s, 3 min left;"
        " no_person 600, dns_failed 180",
    ]


def test_the_rarest_reasons_are_left_out_of_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = unit(0, no_person=9, low_score=2, empty_body=3, no_hip=1, no_head=4, dns_failed=5)
    (_, last) = lines([("harvest", 0, 1), ("harvest", 1, 1, counts)], monkeypatch, 1)
    assert last == (
        "harvest: 1 of 1 units, 24 rows, 24 rows/s, 0 % kept;"
        " no_person 9, dns_failed 5, no_head 4, empty_body 3, low_score 2, …"
    )


def test_on_a_terminal_each_name_has_a_bar() -> None:
    sink = io.StringIO()
    with show_progress(Console(file=sink, force_terminal=True, width=80)) as show:
        show("harvest", 3, 9)
        show("train", 5, 5)
        show("harvest", 9, 9)
    text = sink.getvalue()
    assert "harvest" in text
    assert "9/9" in text
    assert "5/5" in text


def test_on_a_terminal_a_bar_tells_what_the_units_counted() -> None:
    sink = io.StringIO()
    with show_progress(Console(file=sink, force_terminal=True, width=160)) as show:
        show("harvest", 8, 9)
        show("harvest", 9, 9, unit(3, dns_failed=1))
    assert "75 % kept; dns_failed 1" in sink.getvalue()


def test_on_a_narrow_terminal_the_time_left_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = io.StringIO()
    with show_progress(Console(file=sink, force_terminal=True, width=80)) as show:
        every(monkeypatch, 60)
        show("harvest", 0, 750)
        show("harvest", 50, 750, unit(99_000, 10**9, dns_failed=1000))
        monkeypatch.undo()
    assert "14 min left, 100,000 rows" in sink.getvalue()


def test_rates_are_those_of_the_last_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    every(monkeypatch, RECENT_S / 10)
    tally = Tally("harvest")
    for done in range(100):
        tally.add(done, 1000, unit(10))
    for done in range(100, 120):
        fast = tally.add(done, 1000, unit(300))
    assert fast.rows == 1000 + 20 * 300
    assert fast.rows_per_s == pytest.approx(300 / (RECENT_S / 10))
    assert fast.seconds_left == pytest.approx((1000 - 119) * RECENT_S / 10)
    assert len(tally.recent) <= 12, "memory stays flat"


def test_without_time_or_units_there_are_no_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    every(monkeypatch, 0)
    snapshot = Tally("harvest").add(3, 9, None)
    assert (snapshot.units_per_s, snapshot.rows_per_s, snapshot.bytes_per_s) == (0, 0, 0)
    assert snapshot.seconds_left is None
    assert snapshot.text() == ""


def test_counts_without_rows_are_progress_all_the_same() -> None:
    snapshot = Tally("pack").add(1, 2, {"rows": 7, "splits": {"train": 7}})
    assert (snapshot.done, snapshot.rows, snapshot.reasons) == (1, 0, {})


def test_all_observers_are_told_the_same() -> None:
    told: list[tuple[object, ...]] = []
    tell = together(lambda *call: told.append(("a", *call)), lambda *call: told.append(("b", *call)))
    tell("harvest", 1, 2, {"bytes": 3})
    tell("train", 1, 2)
    assert told == [
        ("a", "harvest", 1, 2, {"bytes": 3}),
        ("b", "harvest", 1, 2, {"bytes": 3}),
        ("a", "train", 1, 2, None),
        ("b", "train", 1, 2, None),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (99, "99 s"), (720, "12 min"), (12000, "3 h 20 min"), (190800, "2 d 5 h")],
)
def test_durations_are_told_in_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_snapshot_counts_no_time_when_all_is_done() -> None:
    snapshot = Snapshot(
        phase="harvest",
        at_s=0,
        done=4,
        total=4,
        rows=4,
        kept=1,
        reasons={},
        bytes=0,
        units_per_s=2,
        rows_per_s=2,
        bytes_per_s=0,
    )
    assert snapshot.text() == "4 rows, 2 rows/s, 25 % kept"
