"""Progress: bars on a terminal; elsewhere a line now and then, and always the last one."""

import io

import pytest
from rich.console import Console

from pipeline import progress
from pipeline.progress import show_progress


def lines(calls: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch, step_s: float) -> list[str]:
    """What is printed where there is no terminal, a call every `step_s` seconds."""
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock) * step_s)  # type: ignore[attr-defined]
    sink = io.StringIO()
    with show_progress(Console(file=sink, force_terminal=False)) as show:
        for call in calls:
            show(*call)
    return sink.getvalue().splitlines()


def test_without_a_terminal_quick_work_prints_its_begin_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [("harvest", done, 100) for done in range(101)]
    assert lines(calls, monkeypatch, 0.01) == ["harvest: 0 of 100", "harvest: 100 of 100"]


def test_without_a_terminal_slow_work_prints_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [("harvest", done, 9) for done in range(9)]
    printed = lines(calls, monkeypatch, 0.4 * progress.SECONDS_BETWEEN_LINES)
    assert printed == ["harvest: 0 of 9", "harvest: 3 of 9", "harvest: 6 of 9"]


def test_without_a_terminal_each_name_has_its_own_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [("harvest", 0, 5), ("annotate", 0, 7), ("harvest", 1, 5)]
    assert lines(calls, monkeypatch, 0.01) == ["harvest: 0 of 5", "annotate: 0 of 7"]


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
