"""Names looked up once, within bounds, by whatever the resolver does."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from curation.addresses import WebError
from curation.names import Names
from pipeline.reasons import Reason


def test_a_name_is_looked_up_once_and_kept() -> None:
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["8.8.8.8"]

    names = Names(resolve, max_lookups=2)
    assert [names.addresses(host, 10) for host in ("a", "b", "a", "a")] == [["8.8.8.8"]] * 4
    assert asked == ["a", "b"]


def test_a_name_is_kept_for_a_while_only() -> None:
    answers = iter(["8.8.8.8", "1.1.1.1"])
    names = Names(lambda host: [next(answers)], max_lookups=1, kept_s=0)
    assert names.addresses("a", 10) == ["8.8.8.8"]
    assert names.addresses("a", 10) == ["1.1.1.1"]


def test_only_so_many_names_are_kept() -> None:
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["8.8.8.8"]

    names = Names(resolve, max_lookups=1, max_kept=2)
    for host in ("a", "b", "c", "b", "c", "a"):
        names.addresses(host, 10)
    assert asked == ["a", "b", "c", "a"]


def test_a_failure_is_not_kept() -> None:
    answers: Iterator[list[str]] = iter([[], ["8.8.8.8"]])
    names = Names(lambda host: next(answers), max_lookups=1)
    with pytest.raises(WebError) as caught:
        names.addresses("a", 10)
    assert caught.value.reason is Reason.DNS_FAILED
    assert names.addresses("a", 10) == ["8.8.8.8"]


def test_many_threads_share_one_lookup_of_a_name() -> None:
    asked: list[str] = []
    released = Event()

    def resolve(host: str) -> list[str]:
        asked.append(host)
        assert released.wait(20)
        return ["8.8.8.8"]

    names = Names(resolve, max_lookups=8)
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(names.addresses, "a", 20) for _ in range(16)]
        time.sleep(0.05)
        released.set()
        assert {answer.result()[0] for answer in answers} == {"8.8.8.8"}
    assert asked == ["a"]


def test_dead_names_start_only_so_many_threads_and_end_by_their_deadline() -> None:
    released = Event()
    busy: list[str] = []

    def resolve(host: str) -> list[str]:
        busy.append(host)
        assert released.wait(20)
        return ["8.8.8.8"]

    def reason(number: int) -> Reason:
        with pytest.raises(WebError) as caught:
            names.addresses(f"dead-{number}.example", 0.1)
        return caught.value.reason

    names = Names(resolve, max_lookups=3)
    before = set(threading.enumerate())
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(reason, range(32))) == {Reason.DEADLINE_EXCEEDED}
    assert len(busy) == len(set(threading.enumerate()) - before) == 3
    released.set()
    assert names.addresses("alive.example", 10) == ["8.8.8.8"]


def test_a_thread_answers_one_name_after_the_other() -> None:
    threads: set[int] = set()

    def resolve(host: str) -> list[str]:
        threads.add(threading.get_ident())
        return ["8.8.8.8"]

    names = Names(resolve, max_lookups=4)
    for number in range(50):
        names.addresses(f"name-{number}.example", 10)
    assert len(threads) == 1


def test_idle_threads_end_and_later_names_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.names._IDLE_S", 0.01)
    threads: list[threading.Thread] = []

    def resolve(host: str) -> list[str]:
        threads.append(threading.current_thread())
        return ["8.8.8.8"]

    names = Names(resolve, max_lookups=4)
    for host in ("a", "b"):
        assert names.addresses(host, 10) == ["8.8.8.8"]
        threads[-1].join(10)
        assert not threads[-1].is_alive()


def test_no_thread_to_be_had_is_a_failure_of_the_name_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    names = Names(lambda host: ["8.8.8.8"], max_lookups=4)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(WebError) as caught:
            names.addresses("a", 10)
    assert caught.value.reason is Reason.DNS_FAILED
    assert names.addresses("b", 10) == ["8.8.8.8"]


@pytest.mark.parametrize("error", [OSError("x"), UnicodeError("x"), TimeoutError("x"), KeyError("x")])
def test_whatever_a_resolver_raises_is_a_failure_of_the_name_system(error: Exception) -> None:
    def resolve(host: str) -> list[str]:
        raise error

    with pytest.raises(WebError) as caught:
        Names(resolve, max_lookups=1).addresses("a", 10)
    assert caught.value.reason is Reason.DNS_FAILED


@pytest.mark.parametrize(("code", "expected"), [(socket.EAI_AGAIN, True), (socket.EAI_NONAME, False)])
def test_a_name_system_that_may_answer_soon_is_told_from_one_that_has_no_such_name(
    code: int, expected: bool
) -> None:
    def resolve(host: str) -> list[str]:
        raise socket.gaierror(code, "x")

    with pytest.raises(WebError) as caught:
        Names(resolve, max_lookups=1).addresses(f"{'a' * 60}." * 4, 10)
    assert caught.value.transient is expected
