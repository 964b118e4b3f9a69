"""Attempts: rows that kill or raise are found and marked, others go on; deaths by chance blame nobody."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.attempts import (
    CUTS,
    MOST_STARTS,
    WHOLE_STARTS,
    Attempt,
    Attempts,
    cut,
    pass_on,
    process_around,
    with_reasons,
)
from pipeline.reasons import Reason
from pipeline.stage import Process, UnitError, WorkerError
from pipeline.storage import publish_json
from pipeline.units import Unit

UNIT = Unit(1234, 0, 100)


def numbers(count: int) -> pa.Table:
    return pa.table({"n": pa.array(range(count), pa.int64())})


def doubling(bad: Callable[[list[int]], None]) -> Process:
    """Doubles the numbers of rows without a reason, which `bad` sees first, and passes the others on."""

    def process(rows: pa.Table) -> pa.Table:
        fresh = pa.array([None] * rows.num_rows, pa.string())
        reasons = rows["reason"] if "reason" in rows.column_names else fresh
        errors = rows["error"] if "error" in rows.column_names else fresh
        pairs = list(zip(rows["n"].to_pylist(), reasons.to_pylist(), strict=True))
        bad([n for n, reason in pairs if reason is None])
        doubled = [2 * n if reason is None else None for n, reason in pairs]
        return pa.table({"n": rows["n"], "double": doubled, "reason": reasons, "error": errors})

    return process


def raising(*guilty: int) -> Callable[[list[int]], None]:
    def bad(seen: list[int]) -> None:
        if found := [n for n in seen if n in guilty]:
            raise ValueError(f"{found[0]} is not for us,\nit is odd")

    return bad


def killing(*guilty: int) -> Callable[[list[int]], None]:
    def bad(seen: list[int]) -> None:
        if any(n in guilty for n in seen):
            os.kill(os.getpid(), signal.SIGKILL)

    return bad


def breaking(*guilty: int) -> Callable[[list[int]], None]:
    def bad(seen: list[int]) -> None:
        if any(n in guilty for n in seen):
            raise WorkerError("the GPU has failed")

    return bad


def in_child(work: Callable[[], object]) -> bool:
    """Do it in a child of this process; whether it was killed. It may not raise."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, "the child raised"
    return os.WIFSIGNALED(status)


def in_children(attempts: Attempts, rows: pa.Table, process: Process, result: Path) -> tuple[pa.Table, int]:
    """Process in one child after the other until one lives; what it made, and how many died."""

    def work() -> None:
        out = attempts.process(UNIT, "stage-0", rows, process)
        with pa.ipc.new_file(str(result), out.schema) as file:
            file.write_table(out)

    for deaths in range(MOST_STARTS + 5):
        if not in_child(work):
            with pa.memory_map(str(result)) as file:
                return pa.ipc.open_file(file).read_all(), deaths
    raise AssertionError("no end of dying")


def quarantined(out: pa.Table) -> list[int]:
    return [n for n, r in zip(out["n"].to_pylist(), out["reason"].to_pylist(), strict=True) if r is not None]


def marks(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.json"))


@pytest.mark.parametrize("ending", [killing, breaking])
@pytest.mark.parametrize("guilty", [(0,), (99,), (31, 32), (7, 50, 51)])
def test_rows_that_end_their_worker_are_quarantined_and_no_others(
    guilty: tuple[int, ...], ending: Callable[..., Callable[[list[int]], None]], tmp_path: Path
) -> None:
    attempts = Attempts(tmp_path / "marks", "run")
    out, deaths = in_children(attempts, numbers(100), doubling(ending(*guilty)), tmp_path / "out")
    assert out["n"].to_pylist() == list(range(100))
    assert out["double"].to_pylist() == [None if n in guilty else 2 * n for n in range(100)]
    assert out["reason"].to_pylist() == [Reason.QUARANTINED if n in guilty else None for n in range(100)]
    assert deaths <= WHOLE_STARTS + 2 * len(guilty)
    assert f"the worker died {deaths} times" in out["error"][guilty[0]].as_py()
    assert marks(tmp_path / "marks") == []


def test_rows_that_kill_only_in_company_are_worked_on_in_smaller_ranges(tmp_path: Path) -> None:
    def bad(seen: list[int]) -> None:
        if len(seen) > 20:
            os.kill(os.getpid(), signal.SIGKILL)

    out, deaths = in_children(Attempts(tmp_path, "run"), numbers(100), doubling(bad), tmp_path / "out")
    assert out["double"].to_pylist() == [2 * n for n in range(100)]
    assert (quarantined(out), deaths) == ([], WHOLE_STARTS)


def test_one_death_blames_nobody(tmp_path: Path) -> None:
    flag = tmp_path / "died"

    def bad(seen: list[int]) -> None:
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    out, deaths = in_children(
        Attempts(tmp_path / "marks", "run"), numbers(5), doubling(bad), tmp_path / "out"
    )
    assert (quarantined(out), deaths) == ([], 1)


def test_deaths_in_other_runs_blame_nobody(tmp_path: Path) -> None:
    for run in range(3 * WHOLE_STARTS):
        attempts = Attempts(tmp_path, f"run {run}")
        assert in_child(partial(attempts.process, UNIT, "stage-0", numbers(1), doubling(killing(0))))
    assert marks(tmp_path) == ["001/unit-001234-stage-0.json"]
    out = Attempts(tmp_path, "last").process(UNIT, "stage-0", numbers(1), doubling(raising()))
    assert out["double"].to_pylist() == [0]
    assert marks(tmp_path) == []


def test_a_mark_says_what_is_in_work_only_while_it_is(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    attempts = Attempts(tmp_path, "run")
    attempts.process(UNIT, "stage-1", numbers(2), doubling(lambda _: seen.append(marks(tmp_path))))
    attempts.once(UNIT, "read", lambda: seen.append(marks(tmp_path)))
    with pytest.raises(OSError, match="full"):
        attempts.once(UNIT, "publish", full_disk)
    assert seen == [["001/unit-001234-stage-1.json"], ["001/unit-001234-read.json"]]
    assert marks(tmp_path) == []


def full_disk() -> None:
    raise OSError("disk full")


def test_without_a_folder_a_broken_worker_is_an_error_of_its_unit() -> None:
    with pytest.raises(WorkerError, match="the GPU has failed"):
        Attempts(None, "run").process(UNIT, "stage-0", numbers(10), doubling(breaking(3)))


def test_without_a_folder_nothing_is_marked() -> None:
    attempts = Attempts(None, "run")
    assert attempts.process(UNIT, "stage-0", numbers(2), doubling(raising()))["double"].to_pylist() == [0, 2]
    assert attempts.once(UNIT, "read", lambda: 7) == 7


@pytest.mark.parametrize("content", [{}, {"run": "run"}, {"run": "run", "ranges": 3}, {"ranges": [[0]]}])
def test_a_mark_that_makes_no_sense_counts_for_nothing(content: dict[str, object], tmp_path: Path) -> None:
    publish_json(tmp_path / "001/unit-001234-stage-0.json", content)
    out = Attempts(tmp_path, "run").process(UNIT, "stage-0", numbers(3), doubling(raising()))
    assert out["double"].to_pylist() == [0, 2, 4]


def test_what_cannot_be_cut_is_given_up_after_three_deaths(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path, "run")
    for _ in range(WHOLE_STARTS):
        assert in_child(partial(attempts.once, UNIT, "read", lambda: os.kill(os.getpid(), signal.SIGKILL)))
    with pytest.raises(UnitError, match=f"the worker died at each of {WHOLE_STARTS} starts"):
        attempts.once(UNIT, "read", lambda: None)
    assert marks(tmp_path) == []


def test_a_stage_that_kills_with_every_row_is_given_up_and_not_its_rows() -> None:
    with pytest.raises(UnitError, match=f"died at each of {MOST_STARTS} starts"):
        die_in_turn(Attempt(run="run", ranges=((0, 256),)), 2 * MOST_STARTS)


def die_in_turn(attempt: Attempt, deaths: int) -> None:
    """A death in the first range that is not quarantined, again and again."""
    for _ in range(deaths):
        firsts = [first for first, _ in attempt.ranges]
        working = next(n for n, first in enumerate(firsts) if first not in attempt.quarantined)
        attempt = replace(attempt, working=working).after_death()


def test_a_quarantined_row_that_kills_again_is_an_error_of_its_unit() -> None:
    attempt = Attempt(run="run", start=9, ranges=((0, 3), (3, 4)), working=1, quarantined=(3,))
    with pytest.raises(UnitError, match="row 3, which carries a reason"):
        attempt.after_death()


@pytest.mark.parametrize("rows", [(0, 1), (0, CUTS - 1), (5, 5 + CUTS), (3, 1000)])
def test_a_cut_covers_its_rows_once_in_equal_ranges(rows: tuple[int, int]) -> None:
    ranges = cut(*rows)
    assert [n for first, end in ranges for n in range(first, end)] == list(range(*rows))
    sizes = [end - first for first, end in ranges]
    assert len(sizes) <= CUTS
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("guilty", [(3,), (0, 9), (4, 5, 6)])
def test_rows_that_raise_are_marked_and_the_others_go_on(guilty: tuple[int, ...]) -> None:
    out = process_around(doubling(raising(*guilty)), numbers(10))
    assert out["double"].to_pylist() == [None if n in guilty else 2 * n for n in range(10)]
    assert out["reason"].to_pylist() == [Reason.CRASHED if n in guilty else None for n in range(10)]
    assert out["error"][guilty[0]].as_py() == f"ValueError: {guilty[0]} is not for us, it is odd"


def test_a_stage_that_raises_for_every_row_fails_as_a_unit() -> None:
    with pytest.raises(ValueError, match="0 is not for us"):
        process_around(doubling(raising(0, 1, 2)), numbers(3))


def test_rows_with_a_reason_do_not_make_up_for_rows_that_all_raise() -> None:
    rows = with_reasons(numbers(3), {1: (Reason.DNS_FAILED, "no such host")})
    with pytest.raises(ValueError, match="is not for us"):
        process_around(doubling(raising(0, 2)), rows)


def test_of_two_rows_that_died_together_neither_is_blamed_yet() -> None:
    attempt = Attempt(run="a", start=3, ranges=((0, 2),)).after_death()
    assert (attempt.ranges, attempt.quarantined) == (((0, 1), (1, 2)), ())


def test_the_only_row_of_a_unit_is_held_guilty() -> None:
    assert quarantined(process_around(doubling(raising(0)), numbers(1))) == [0]


def test_a_unit_without_rows_that_raises_is_an_error_of_its_unit() -> None:
    def process(rows: pa.Table) -> pa.Table:
        raise ValueError("no rows, no schema")

    with pytest.raises(ValueError, match="no rows"):
        process_around(process, numbers(0))


def test_a_stage_that_cannot_work_now_is_not_asked_row_by_row() -> None:
    calls: list[int] = []

    def bad(seen: list[int]) -> None:
        calls.append(len(seen))
        raise UnitError("no endpoint answers")

    with pytest.raises(UnitError, match="no endpoint answers"):
        process_around(doubling(bad), numbers(64))
    assert calls == [64]


def test_a_stage_that_loses_a_reason_is_found_out() -> None:
    with pytest.raises(UnitError, match="does not leave rows alone"):
        pass_on(lambda rows: rows.select(["n"]), with_reasons(numbers(1), {0: (Reason.CRASHED, "why")}))
    with pytest.raises(UnitError, match="does not leave rows alone"):
        pass_on(lambda rows: rows.slice(1), with_reasons(numbers(1), {0: (Reason.CRASHED, "why")}))


def test_a_stage_that_raises_for_a_row_with_a_reason_is_an_error_of_its_unit() -> None:
    def process(rows: pa.Table) -> pa.Table:
        if "reason" in rows.column_names or 1 in rows["n"].to_pylist():
            raise KeyError("image")
        return rows

    with pytest.raises(KeyError, match="image"):
        process_around(process, numbers(3))


def test_reasons_that_stand_already_stay() -> None:
    rows = with_reasons(numbers(3), {0: (Reason.DNS_FAILED, "no such host")})
    both = with_reasons(rows, {2: (Reason.QUARANTINED, "died")})
    assert both["reason"].to_pylist() == ["dns_failed", None, "quarantined"]
    assert both["error"].to_pylist() == ["no such host", None, "died"]
