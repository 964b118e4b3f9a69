"""`webperson plan`: what it prints, with the harvest of the sample left out."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.plan import plan
from pipeline.funnel import Counts
from pipeline.plan import Sampled

PLAN = import_module("pipeline.cli.plan")
SAMPLED = Sampled(1000, Counts(10, 10), [1] * 10, None, 5, 5)


def test_every_line_is_one_line_however_narrow_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(*_: Any) -> tuple[Any, ...]:
        return ()

    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(PLAN, "problems", nothing)
    monkeypatch.setattr(PLAN, "no_space", nothing)
    monkeypatch.setattr(PLAN, "run_curation", lambda *_: (None, None))
    monkeypatch.setattr(PLAN, "_sampled", lambda *_: SAMPLED)
    (tmp_path / "urls.txt").write_text("http://a.example/\n")
    plan("laptop", str(tmp_path / "urls.txt"), str(tmp_path / "out"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(
        "ready: the output folder, weights, devices and hosts' names are as the recipe"
    )
    assert lines[-4].endswith("take a larger --sample or a smaller harvest.unit_rows")


def test_the_rate_stands_between_those_with_and_without_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 120.0, 121.0, 125.0])
    monkeypatch.setattr(PLAN.time, "monotonic", lambda: next(times))
    clock = PLAN._Clock(lambda *_: None)
    for done in (2, 3, 4):
        clock("harvest", done, 12)
        clock("decide", 0, 1)
    assert clock.units_per_s() is None
    clock("harvest", 12, 12)
    assert clock.units_per_s() == ((12 - 2) / 25, (12 - 3) / 5)
