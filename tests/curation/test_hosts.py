"""Turns, limits, further tries and hosts given up, by a clock that nobody waits for."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Condition, Event, Lock, Semaphore
from typing import Any

import pytest

from curation import hosts as hosts_module
from curation.addresses import WebError, parse_url
from curation.hosts import Clock, Hosts, HostSettings, Row
from pipeline.reasons import Reason

pytestmark = pytest.mark.timeout(30)

BROKEN = WebError(Reason.CONNECT_FAILED, "reset")


class NothingDueError(Exception):
    """Every row that is left waits for one that is under way."""


class FakeClock(Clock):
    """Waiting for a moment makes it that moment; waiting for a notice waits, or raises if none can come."""

    def __init__(self) -> None:
        self.time = 100.0
        self.alone = True
        self.guard = Lock()

    def now(self) -> float:
        return self.time

    def wait(self, condition: Condition, seconds: float | None) -> None:
        if seconds is None:
            if self.alone or not condition.wait(10):
                raise NothingDueError
            return
        with self.guard:
            self.time += seconds


class Asker:
    """One thread that takes rows and says what came of them."""

    def __init__(self, urls: Iterable[str], workers: int = 1, **settings: Any) -> None:
        self.clock = FakeClock()
        self.hosts = Hosts(HostSettings(**settings), workers, self.clock)
        self.begin(urls)

    def begin(self, urls: Iterable[str]) -> None:
        self.unit = self.hosts.begin(map(parse_url, urls))

    def take(self) -> Row:
        return self.hosts.take(self.unit)

    def take_at(self) -> tuple[str, float]:
        """The next row's URL and when it is due, in seconds since the beginning."""
        row = self.take()
        return row.target.url, round(self.clock.time - 100, 3)

    def fail(self, error: WebError) -> tuple[Row, bool]:
        row = self.take()
        assert row.refusal is None
        return row, self.hosts.failed(row, error)

    def give_up(self) -> WebError:
        """The refusal of the next row."""
        refusal = self.take().refusal
        assert refusal is not None
        return refusal


def pages(host: str, count: int) -> list[str]:
    return [f"http://{host}/{number}" for number in range(count)]


# turns


def test_hosts_take_turns_in_the_order_of_the_list() -> None:
    asker = Asker([*pages("a.example", 3), *pages("b.example", 2)], host_per_second=None)
    asker.hosts.answered(asker.take())
    asker.hosts.answered(asker.take())
    taken = [asker.take().target.url for _ in range(3)]
    assert taken == ["http://a.example/1", "http://b.example/1", "http://a.example/2"]


def test_a_host_that_has_not_answered_yet_is_asked_for_one_row_at_a_time() -> None:
    asker = Asker([*pages("a.example", 2), *pages("b.example", 1)], host_per_second=None)
    first, other = asker.take(), asker.take()
    assert [first.target.host, other.target.host] == ["a.example", "b.example"]
    with pytest.raises(NothingDueError):
        asker.take()
    asker.hosts.answered(first)
    assert asker.take().target.url == "http://a.example/1"


def test_a_host_is_asked_for_as_many_rows_at_once_as_its_limit() -> None:
    asker = Asker(pages("a.example", 9), host_per_second=None, host_concurrency=3)
    asker.hosts.answered(asker.take())
    rows = [asker.take() for _ in range(3)]
    with pytest.raises(NothingDueError):
        asker.take()
    asker.hosts.answered(rows[0])
    assert asker.take().target.url == "http://a.example/4"
    with pytest.raises(NothingDueError):
        asker.take()


def test_requests_to_a_host_are_so_far_apart_and_other_hosts_go_between_them() -> None:
    asker = Asker([*pages("a.example", 3), *pages("b.example", 1)], host_per_second=0.5)
    taken = []
    for _ in range(4):
        row = asker.take()
        taken.append((row.target.url, asker.clock.time - 100))
        asker.hosts.answered(row)
    assert taken == [
        ("http://a.example/0", 0.0),
        ("http://b.example/0", 0.0),
        ("http://a.example/1", 2.0),
        ("http://a.example/2", 4.0),
    ]


def test_the_rate_holds_from_one_unit_to_the_next() -> None:
    asker = Asker(pages("a.example", 1), host_per_second=0.5)
    asker.hosts.answered(asker.take())
    asker.begin(pages("a.example", 1))
    assert asker.take_at() == ("http://a.example/0", 2.0)


def test_workers_share_the_rate() -> None:
    asker = Asker(pages("a.example", 2), workers=10, host_per_second=5.0, host_concurrency=10)
    asker.hosts.answered(asker.take())
    assert asker.take_at() == ("http://a.example/1", 2.0)


def test_workers_that_begin_together_do_not_ask_a_host_together() -> None:
    first: list[float] = []
    later: list[float] = []
    for number in range(100):
        clock = FakeClock()
        hosts = Hosts(HostSettings(host_per_second=10.0), 100, clock, phase=number / 100)
        for times, host in ((first, "a.example"), (later, "b.example")):
            unit = hosts.begin([parse_url(f"http://{host}/")])
            hosts.answered(hosts.take(unit))
            times.append(round(clock.time - 100, 3))
            clock.time = 120.0
    assert first == [number / 10 for number in range(100)]
    assert set(later) == {20.0}


def test_workers_share_what_is_asked_for_at_once() -> None:
    asker = Asker(pages("a.example", 9), workers=3, host_per_second=None, host_concurrency=8)
    asker.hosts.answered(asker.take())
    rows = [asker.take(), asker.take()]
    with pytest.raises(NothingDueError):
        asker.take()
    asker.hosts.answered(rows[0])
    assert asker.take().target.url == "http://a.example/3"


def test_a_share_of_less_than_one_at_once_is_one_and_a_rest() -> None:
    asker = Asker(pages("a.example", 2), workers=20, host_per_second=None, host_concurrency=5)
    row = asker.take()
    asker.clock.time += 2.0
    asker.hosts.answered(row)
    assert asker.take_at() == ("http://a.example/1", 2.0 + 3 * 2.0)


def test_a_rest_does_not_shorten_the_time_between_two_requests() -> None:
    asker = Asker(pages("a.example", 2), workers=20, host_per_second=1.0, host_concurrency=5)
    row = asker.take()
    asker.clock.time += 2.0
    asker.hosts.answered(row)
    assert asker.take_at() == ("http://a.example/1", 20.0)


def test_a_rest_has_an_end() -> None:
    asker = Asker(pages("a.example", 2), workers=1000, host_per_second=None, host_concurrency=1)
    row = asker.take()
    asker.clock.time += 15.0
    asker.hosts.answered(row)
    assert asker.take_at() == ("http://a.example/1", 15.0 + hosts_module.REST_CAP_S)


def test_a_crawl_delay_holds_for_all_workers_together() -> None:
    asker = Asker(pages("a.example", 3), workers=4, host_concurrency=4)
    row = asker.take()
    asker.hosts.crawl_delay(row, 2.0)
    asker.hosts.answered(row)
    assert asker.take_at()[1] == 8.0


def test_a_crawl_delay_has_a_cap_and_does_not_quicken() -> None:
    asker = Asker(pages("a.example", 3), host_per_second=0.1, crawl_delay_cap_s=30.0)
    row = asker.take()
    asker.hosts.crawl_delay(row, 0.001)
    asker.hosts.answered(row)
    row = asker.take()
    assert asker.clock.time == 110.0
    asker.hosts.crawl_delay(row, 86_400.0)
    asker.hosts.answered(row)
    assert asker.take_at()[1] == 40.0


def test_a_crawl_delay_told_while_the_next_row_waits_holds_for_it() -> None:
    asker = Asker(pages("a.example", 3), host_concurrency=2, host_per_second=None)
    asker.hosts.answered(asker.take())
    asker.hosts.crawl_delay(asker.take(), 5.0)
    assert asker.take_at() == ("http://a.example/2", 5.0)


def test_visits_without_a_row_take_turns_of_the_host_like_rows() -> None:
    asker = Asker(pages("a.example", 1), host_per_second=0.5)
    for seconds in (0.0, 2.0):
        asker.hosts.visit("a.example")
        assert asker.clock.time - 100 == seconds
    assert asker.take_at() == ("http://a.example/0", 4.0)


def test_a_host_that_is_given_up_gets_no_visit() -> None:
    asker = Asker(pages("a.example", 1), host_failures=1, retries=0)
    asker.fail(BROKEN)
    with pytest.raises(WebError) as caught:
        asker.hosts.visit("a.example")
    assert caught.value.reason is Reason.HOST_GIVEN_UP


def test_a_row_that_was_skipped_leaves_its_turn_to_the_next() -> None:
    asker = Asker(pages("a.example", 3), host_per_second=0.1)
    for _ in range(2):
        asker.hosts.skipped(asker.take())
    assert asker.take_at() == ("http://a.example/2", 0.0)


def test_a_row_whose_turn_would_come_too_late_is_refused_at_once() -> None:
    asker = Asker(pages("a.example", 5), host_per_second=0.1, host_patience_s=25.0)
    for _ in range(3):
        asker.hosts.answered(asker.take())
    assert asker.clock.time == 120.0
    assert [asker.give_up().reason for _ in range(2)] == [Reason.QUEUE_TOO_LONG] * 2
    assert asker.clock.time == 120.0


# further tries


def test_only_what_can_heal_is_tried_again() -> None:
    assert Asker(["http://a.example/"]).fail(BROKEN)[1]
    assert not Asker(["http://a.example/"]).fail(WebError(Reason.TOO_MANY_BYTES))[1]


def test_a_row_is_tried_so_often_and_no_more() -> None:
    asker = Asker(["http://a.example/"], retries=3)
    assert [asker.fail(BROKEN)[1] for _ in range(4)] == [True, True, True, False]


def test_a_redirected_row_has_all_its_tries_at_the_other_address() -> None:
    asker = Asker(["http://a.example/"], retries=1)
    assert asker.fail(BROKEN)[1]
    asker.hosts.redirected(asker.take(), parse_url("http://b.example/"))
    assert [asker.fail(BROKEN)[1] for _ in range(2)] == [True, False]


def test_other_rows_of_the_host_go_on_when_one_was_redirected_away() -> None:
    asker = Asker(pages("a.example", 2), host_per_second=None)
    asker.hosts.redirected(asker.take(), parse_url("http://b.example/"))
    assert sorted(asker.take().target.url for _ in range(2)) == ["http://a.example/1", "http://b.example/"]


def test_a_rows_seconds_are_those_of_all_its_tries() -> None:
    asker = Asker(["http://a.example/"])
    for error in (BROKEN, None):
        row = asker.take()
        asker.clock.time += 3.0
        if error:
            asker.hosts.failed(row, error)
        else:
            asker.hosts.answered(row)
    assert row.seconds == 6.0


def test_other_rows_of_the_host_go_on_while_one_waits_for_its_next_try() -> None:
    asker = Asker(pages("a.example", 2), host_per_second=None, backoff_s=8.0)
    row, again = asker.fail(WebError(Reason.TRUNCATED_BODY))
    assert again
    assert asker.take_at() == ("http://a.example/1", 0.0)
    assert asker.take() is row
    assert 4.0 <= asker.clock.time - 100 <= 8.0


def test_a_host_that_limits_us_gets_a_pause_for_all_of_its_rows() -> None:
    asker = Asker([*pages("a.example", 2), *pages("b.example", 1)], host_per_second=None)
    assert asker.fail(WebError(Reason.RATE_LIMITED, "HTTP 429", 20.0))[1]
    assert asker.take_at() == ("http://b.example/0", 0.0)
    assert asker.take_at()[1] == 20.0


def test_a_host_that_limits_us_without_saying_for_how_long_gets_the_back_off() -> None:
    asker = Asker(pages("a.example", 2), host_per_second=None, backoff_s=8.0)
    assert asker.fail(WebError(Reason.RATE_LIMITED, "HTTP 429"))[1]
    assert 4.0 <= asker.take_at()[1] <= 8.0


def test_a_retry_after_beyond_the_cap_is_final_and_gives_the_host_up_for_that_long() -> None:
    asker = Asker(pages("a.example", 2), retry_after_cap_s=30.0)
    again = asker.fail(WebError(Reason.HTTP_SERVER_ERROR, "HTTP 503", 3600.0))[1]
    assert not again
    assert asker.give_up().reason is Reason.HOST_GIVEN_UP
    asker.clock.time += 3600.0
    asker.begin(pages("a.example", 1))
    assert asker.take().refusal is None


def test_no_try_begins_after_the_rows_total_time() -> None:
    asker = Asker(["http://a.example/"], row_total_s=20.0, retries=9, backoff_s=16.0)
    assert asker.fail(BROKEN)[1]  # again after 8 to 16 s
    assert not asker.fail(BROKEN)[1]  # that would be after 24 to 48 s in all
    assert asker.clock.time <= 120.0


def test_the_total_time_of_a_row_counts_from_its_first_try() -> None:
    asker = Asker(["http://a.example/"], row_total_s=20.0, retries=9)
    limited = WebError(Reason.RATE_LIMITED, "HTTP 429", 8.0)
    assert [asker.fail(limited)[1] for _ in range(3)] == [True, True, False]


def test_a_row_that_waited_too_long_for_its_next_turn_ends_as_its_last_try_did() -> None:
    asker = Asker(pages("a.example", 2), row_total_s=30.0)
    row, again = asker.fail(BROKEN)
    assert again
    asker.hosts.answered(asker.take())
    asker.clock.time += 31.0
    assert asker.take() is row
    assert row.refusal is BROKEN


# hosts that are given up


@pytest.mark.parametrize(
    "reason",
    [
        Reason.DNS_FAILED,
        Reason.CONNECT_FAILED,
        Reason.TLS_FAILED,
        Reason.DEADLINE_EXCEEDED,
        Reason.RATE_LIMITED,
    ],
)
def test_a_host_that_keeps_failing_is_given_up_at_once_for_all_of_its_rows(reason: Reason) -> None:
    asker = Asker(pages("a.example", 9), host_failures=3, retries=0)
    for _ in range(3):
        asker.fail(WebError(reason))
    before = asker.clock.time
    assert [asker.give_up().reason for _ in range(6)] == [Reason.HOST_GIVEN_UP] * 6
    assert asker.clock.time == before


def test_the_failure_that_gives_a_host_up_is_its_rows_last() -> None:
    assert not Asker(["http://a.example/"], host_failures=1).fail(BROKEN)[1]


def test_an_answer_between_failures_keeps_a_host() -> None:
    asker = Asker(pages("a.example", 9), host_failures=3, retries=0)
    for error in (BROKEN, BROKEN, WebError(Reason.HTTP_CLIENT_ERROR), BROKEN, BROKEN):
        asker.fail(error)
    assert asker.take().refusal is None


def test_errors_of_single_rows_give_no_host_up() -> None:
    asker = Asker(pages("a.example", 9), host_failures=2, retries=0)
    for reason in (Reason.HTTP_SERVER_ERROR, Reason.TRUNCATED_BODY, Reason.TOO_MANY_BYTES) * 2:
        asker.fail(WebError(reason))
    assert asker.take().refusal is None


def test_other_hosts_are_not_given_up_with_one() -> None:
    asker = Asker([*pages("a.example", 2), *pages("b.example", 1)], host_failures=1, retries=0)
    asker.fail(BROKEN)
    taken = [asker.take(), asker.take()]
    assert {row.target.host: row.refusal is None for row in taken} == {"a.example": False, "b.example": True}


def test_a_host_given_up_gets_one_more_chance_after_the_cool_down() -> None:
    asker = Asker(pages("a.example", 3), host_failures=3, retries=0, host_cool_down_s=60.0)
    for _ in range(3):
        asker.fail(BROKEN)
    asker.clock.time += 61.0
    asker.begin(pages("a.example", 3))
    asker.fail(BROKEN)
    assert asker.give_up().reason is Reason.HOST_GIVEN_UP


def test_a_row_that_waits_for_another_try_of_a_host_given_up_keeps_its_own_reason() -> None:
    asker = Asker(pages("a.example", 2), host_failures=2, host_per_second=None)
    row, again = asker.fail(BROKEN)
    assert again
    assert not asker.fail(WebError(Reason.DEADLINE_EXCEEDED))[1]
    assert asker.take() is row
    assert row.refusal is BROKEN


# units


def test_a_thread_of_a_unit_before_is_sent_away() -> None:
    asker = Asker(pages("a.example", 2))
    asker.begin(pages("b.example", 1))
    with pytest.raises(WebError) as caught:
        asker.hosts.take(asker.unit - 1)
    assert caught.value.reason is Reason.CRASHED
    assert asker.take().target.host == "b.example"


def test_a_row_of_a_unit_before_gets_no_other_try_in_the_next() -> None:
    asker = Asker(["http://a.example/"])
    row = asker.take()
    asker.begin(pages("b.example", 1))
    assert not asker.hosts.failed(row, BROKEN)


def test_a_row_of_a_unit_before_is_not_followed_to_where_it_was_redirected() -> None:
    asker = Asker(["http://a.example/"])
    row = asker.take()
    asker.begin(["http://b.example/"])
    asker.hosts.redirected(row, parse_url("http://c.example/"))
    asker.hosts.answered(asker.take())
    with pytest.raises(NothingDueError):
        asker.take()


def test_rows_of_a_unit_before_are_not_handed_out_in_the_next() -> None:
    asker = Asker(pages("a.example", 2))
    asker.begin(["http://a.example/next"])
    row = asker.take()
    assert row.url == "http://a.example/next"
    asker.hosts.answered(row)
    with pytest.raises(NothingDueError):
        asker.take()


def test_a_thread_that_waits_is_sent_away_when_its_unit_is_over() -> None:
    clock = ToldClock()
    hosts = Hosts(HostSettings(), clock=clock)
    unit = hosts.begin([])
    with ThreadPoolExecutor(1) as threads:
        taken = threads.submit(hosts.take, unit)
        assert clock.waits.acquire(timeout=5)
        hosts.begin([])
        with pytest.raises(WebError):
            taken.result(5)


def test_a_host_that_is_forgotten_leaves_no_turn_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts_module, "HOSTS_KEPT", 1)
    asker = Asker(pages("a.example", 1))
    asker.begin(pages("b.example", 1))
    assert asker.take().target.host == "b.example"


def test_the_hosts_asked_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts_module, "HOSTS_KEPT", 2)
    asker = Asker(["http://a.example/", "http://b.example/"])
    for host in ("a.example", "c.example"):
        asker.begin(pages(host, 1))
    assert list(asker.hosts._hosts) == ["a.example", "c.example"]


def test_a_host_with_a_row_under_way_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts_module, "HOSTS_KEPT", 1)
    asker = Asker(pages("a.example", 1))
    asker.take()
    asker.begin(pages("b.example", 1))
    assert list(asker.hosts._hosts) == ["a.example", "b.example"]


def test_a_worker_remembers_so_many_hosts_and_those_of_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts_module, "HOSTS_KEPT", 5)
    asker = Asker([f"http://a{number}.example/" for number in range(8)])
    assert len(asker.hosts._hosts) == 8
    for _ in range(8):
        asker.hosts.answered(asker.take())
    asker.begin(["http://a7.example/", "http://b.example/"])
    assert list(asker.hosts._hosts) == [*(f"a{n}.example" for n in (4, 5, 6)), "a7.example", "b.example"]


def test_many_threads_take_every_row_once_and_none_waits_for_ever() -> None:
    urls = [url for n in range(20) for url in pages(f"h{n}.example", 20)]
    asker = Asker(urls, host_per_second=100.0, host_concurrency=2)
    asker.clock.alone = False

    def ask(number: int) -> list[str]:
        while True:
            row = asker.take()
            if row.tries == 1 and row.number % 7 == 0 and asker.hosts.failed(row, BROKEN):
                continue
            asker.hosts.answered(row)
            return [row.target.url]

    with ThreadPoolExecutor(16) as threads:
        taken = [url for found in threads.map(ask, range(len(urls)), timeout=20) for url in found]
    assert sorted(taken) == sorted(urls)


class LastComerFirst(Condition):
    """Notices go to whoever waits for the shortest time: `threading` promises no order."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Event] = []

    def wait(self, timeout: float | None = None) -> bool:
        told = Event()
        self.waiting.append(told)
        self.release()
        try:
            return told.wait(timeout)
        finally:
            self.acquire()

    def notify(self, n: int = 1) -> None:
        for _ in range(min(n, len(self.waiting))):
            self.waiting.pop().set()


class ToldClock(FakeClock):
    """Every wait lasts until somebody is told; `waits` counts those begun."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = Semaphore(0)

    def wait(self, condition: Condition, seconds: float | None) -> None:
        self.waits.release()
        if not condition.wait(5):
            raise NothingDueError


def test_a_thread_told_of_two_turns_takes_one_and_passes_the_other_on() -> None:
    clock, told = ToldClock(), LastComerFirst()
    hosts = Hosts(HostSettings(host_per_second=0.1), clock=clock)
    hosts._changed = told
    unit = hosts.begin(map(parse_url, [*pages("a.example", 2), *pages("b.example", 2)]))
    rows = [hosts.take(unit), hosts.take(unit)]
    with ThreadPoolExecutor(2) as threads:
        taken = []
        for _ in range(2):
            taken.append(threads.submit(hosts.take, unit))
            assert clock.waits.acquire(timeout=5)
        for row in rows:  # both notices go to the second thread, which waits anew for the first turn
            hosts.answered(row)
            assert clock.waits.acquire(timeout=5)
        with told:
            clock.time += 10
            told.notify()
        assert {row.result(5).target.url for row in taken} == {"http://a.example/1", "http://b.example/1"}


def test_hosts_where_nobody_answers_do_not_use_up_the_patience_for_one_that_does() -> None:
    dead = [f"http://dead{n}.example/" for n in range(100)]
    asker = Asker(
        [*dead, *(f"http://fast.example/{n}" for n in range(20))], host_per_second=10.0, host_patience_s=60.0
    )
    refused, asked = [], 0
    for _ in range(120):
        row = asker.take()
        if row.refusal:
            refused.append(row.refusal.reason)
        elif row.target.host == "fast.example":
            asker.hosts.answered(row)
            asked += 1
        else:
            asker.clock.time += 1.0
            asker.hosts.failed(row, WebError(Reason.DEADLINE_EXCEEDED))
    assert (asked, refused) == (20, [])
