"""A lease is one run's: refused while it lives, taken over when it is dead, lost when not renewed."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.lease import lease
from pipeline.objects import ObjectPath
from pipeline.storage import StorageError, run_lock
from tests.object_store import object_store

ROOT = Path(__file__).parents[2]
LIVE_S = 3.0
"""Time of a lease that is renewed: long enough for a busy machine."""
DEAD_S = 0.4
"""Time of a lease that nobody renews."""
HOLDER = """
import sys
from pipeline.objects import ObjectPath
from pipeline.storage import run_lock
with run_lock(ObjectPath(sys.argv[1]), lease_s=1.0):
    print("holding", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectPath]:
    with object_store("made-leases") as path:
        yield path


@pytest.fixture
def out(bucket: ObjectPath, request: pytest.FixtureRequest) -> ObjectPath:
    return bucket / str(request.node.name)


def said(out: ObjectPath) -> dict[str, Any]:
    """What the lease of a folder says."""
    content: dict[str, Any] = json.loads((out / "run.lock").read_bytes())
    return content


def left_by_the_dead(out: ObjectPath) -> None:
    content = {"holder": "process 7 on nowhere", "token": "dead", "lease_s": DEAD_S, "beat": 3}
    assert (out / "run.lock").create(json.dumps(content).encode())


def wait_for(condition: Callable[[], bool]) -> None:
    """Look every 20 ms, for 20 s at most."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("nothing came of it in 20 s")


def test_a_second_run_is_refused_by_the_name_of_the_first(out: ObjectPath) -> None:
    with run_lock(out, LIVE_S) as check:
        check()
        with (
            pytest.raises(
                StorageError,
                match=rf"^{out}: another run is writing here: process \d+ on \S+, started 2\d{{3}}",
            ),
            run_lock(out, LIVE_S),
        ):
            pass
        check()


def test_a_run_that_has_ended_keeps_nobody_waiting(out: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError), run_lock(out):
        raise ZeroDivisionError
    monkeypatch.setattr("pipeline.lease.time.sleep", lambda _: pytest.fail("it waited"))
    with run_lock(out) as check:
        check()
    assert said(out)["token"] is None


def test_a_dead_runs_lease_is_taken_over_not_before_its_time(out: ObjectPath) -> None:
    left_by_the_dead(out)
    began = time.monotonic()
    with run_lock(out, LIVE_S) as check:
        assert time.monotonic() - began >= DEAD_S
        check()
        assert said(out)["token"] != "dead"


def test_a_lease_that_cannot_be_read_is_taken_over_after_the_newcomers_own_time(out: ObjectPath) -> None:
    (out / "run.lock").write_bytes(b"\xff garbage")
    began = time.monotonic()
    with run_lock(out, DEAD_S):
        assert time.monotonic() - began >= DEAD_S


def test_of_many_newcomers_one_takes_the_dead_ones_place(out: ObjectPath) -> None:
    left_by_the_dead(out)
    held, refused, end = [], [], threading.Event()

    def come() -> None:
        try:
            with lease(out / "run.lock", "somebody", LIVE_S):
                held.append(1)
                end.wait(20)
        except BlockingIOError:
            refused.append(1)

    newcomers = [threading.Thread(target=come) for _ in range(4)]
    for newcomer in newcomers:
        newcomer.start()
    wait_for(lambda: len(refused) == 3)
    end.set()
    for newcomer in newcomers:
        newcomer.join(20)
    assert len(held) == 1


def test_a_killed_run_is_followed_by_the_next(out: ObjectPath) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(out)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "holding\n"
    process.kill()
    process.communicate(timeout=20)
    assert said(out)["token"]
    with run_lock(out, LIVE_S) as check:
        check()


def test_a_holder_that_another_run_has_taken_over_stops_and_leaves_it_alone(out: ObjectPath) -> None:
    usurper = b'{"holder": "another", "token": "another", "lease_s": 60, "beat": 0}'
    with run_lock(out, LIVE_S) as check:
        (out / "run.lock").write_bytes(usurper)
        with pytest.raises(StorageError, match=rf"^{out}: the lease was lost, another run may write here"):
            wait_for(lambda: check() is not None)
    assert (out / "run.lock").read_bytes() == usurper


def test_a_holder_that_is_cut_off_from_the_store_for_its_time_has_lost_it(
    out: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "the store does not answer")

    with lease(out / "run.lock", "somebody", DEAD_S) as is_held, monkeypatch.context() as patch:
        patch.setattr(ObjectPath, "update", fail)
        wait_for(lambda: not is_held())


def test_a_renewal_whose_answer_was_lost_loses_nothing(
    out: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, calls = ObjectPath.update, []

    def lose_the_first_answer(path: ObjectPath, data: bytes, version: str) -> str | None:
        calls.append(version)
        written = update(path, data, version)
        if len(calls) == 1:
            raise OSError(5, "the answer was lost")
        return written

    monkeypatch.setattr(ObjectPath, "update", lose_the_first_answer)
    with lease(out / "run.lock", "somebody", LIVE_S) as is_held:
        wait_for(lambda: len(calls) >= 4)
        assert is_held()
    assert said(out)["token"] is None


def test_a_store_that_cannot_be_written_is_one_line(bucket: ObjectPath) -> None:
    with (
        pytest.raises(
            StorageError, match=r"^s3://no-such-bucket/out: cannot be an output folder: The specified bucket"
        ),
        run_lock(ObjectPath("s3://no-such-bucket/out")),
    ):
        pass
