"""Hosts are asked politely: so many rows at once, so often, again only where that can help, and not for ever.

What the whole cluster may do to one host is divided by the number of workers, so that nobody need be asked
before a request. A row that waits for its host, or for another try, holds no thread: threads take whichever
row is due, and the hosts take turns.
"""

import heapq
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Condition

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from curation.addresses import Target, WebError
from curation.retries import RetrySettings, Standing, back_off_s, heals
from pipeline.reasons import Reason
from pipeline.recipe import operational

HOSTS_KEPT = 10_000
"""Hosts whose state a worker remembers from one unit to the next."""
REST_CAP_S = 60.0
"""Longest rest of a host between two requests of a worker whose share is less than one request at a time."""


class HostSettings(RetrySettings):
    """How hosts are treated: when rows are asked for, and how long one that does not answer is tried."""

    host_concurrency: PositiveInt = operational(8)
    """Requests to one host at once, by the whole cluster."""
    host_per_second: PositiveFloat | None = operational(10.0)
    """Requests to one host in a second, by the whole cluster; null: as many as come."""
    crawl_delay_cap_s: NonNegativeFloat = operational(30.0)
    """A longer Crawl-delay in a robots.txt counts as this."""
    host_patience_s: PositiveFloat = operational(900.0)
    """A row whose turn would come later than this after its unit was begun fails as queue_too_long."""


class Clock:
    """The time, and waiting for it; tests put in one that does not sleep."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def wait(self, condition: Condition, seconds: float | None) -> None:
        """Wait to be notified, at most so long."""
        condition.wait(seconds)


@dataclass(order=True)
class Row:
    """One URL of a unit, and how far it has come."""

    due_at: float
    number: int
    target: Target = field(compare=False)
    """What is asked for next: the URL, or where it was redirected to."""
    unit: int = field(compare=False)
    url: str = field(compare=False)
    redirects: int = field(default=0, compare=False)
    tries: int = field(default=0, compare=False)
    """Of its target."""
    begun_at: float = field(default=0.0, compare=False)
    """When it was first asked for."""
    taken_at: float = field(default=0.0, compare=False)
    seconds: float = field(default=0.0, compare=False)
    """Spent on its tries so far, waiting for turns left out."""
    error: WebError | None = field(default=None, compare=False)
    """What its last try ended with."""
    refusal: WebError | None = field(default=None, compare=False)
    """Why it is not to be asked for, or not again."""


@dataclass
class _Host(Standing):
    interval_s: float = 0.0
    """Between the starts of two requests."""
    busy: int = 0
    rows: list[Row] = field(default_factory=list)
    """A heap: those for another try come when they are due."""
    entry: int = 0
    """The number of its valid entry in the heap of hosts."""


class Hosts:
    """The hosts that a worker meets, and its unit's rows, which wait for them; safe to use from threads."""

    def __init__(
        self, settings: HostSettings, workers: int = 1, clock: Clock | None = None, phase: float = 0.0
    ) -> None:
        """workers: among how many the limits are divided.

        phase: 0 to 1, another one in each worker: workers that begin together do not ask a host together.
        """
        self._settings = settings
        self._workers = workers
        self._clock = clock or Clock()
        share = settings.host_concurrency / workers
        self._at_once = max(1, int(share))
        self._rest = max(0.0, 1 / share - 1)
        self._interval_s = workers / settings.host_per_second if settings.host_per_second else 0.0
        self._phase_s = phase * self._interval_s
        self._first_at = 0.0
        """No host is asked before."""
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._turns: list[tuple[float, int, str]] = []
        """A heap of hosts by when they are due."""
        self._due: list[tuple[int, int, str]] = []
        """A heap of those that are: where most rows wait first."""
        self._entries = 0
        self._unit = 0
        self._until = 0.0
        self._changed = Condition()

    def begin(self, targets: Iterable[Target]) -> int:
        """Put a unit's URLs in the place of those before; returns a number for the unit."""
        with self._changed:
            for host in self._hosts.values():
                host.rows = []
            self._turns, self._due = [], []
            self._unit += 1
            if self._phase_s and self._unit == 1:
                self._first_at = self._clock.now() + self._phase_s
            self._until = self._clock.now() + self._settings.host_patience_s
            rows = [Row(0.0, n, target, self._unit, target.url) for n, target in enumerate(targets)]
            for row in rows:
                self._known(row.target.host).rows.append(row)
            for name in dict.fromkeys(row.target.host for row in rows):
                self._queue(name)
            self._trim()
            self._changed.notify_all()
            return self._unit

    def take(self, unit: int) -> Row:
        """Wait for the next row that is due. A `refusal` is final; else tell here what became of the row.

        Raises WebError (crashed) when the unit is over.
        """
        with self._changed:
            while unit == self._unit:
                wait_s = self._wait_s()
                if self._due:
                    return self._hand_out(self._due[0][2])
                self._clock.wait(self._changed, wait_s)
        raise WebError(Reason.CRASHED, "its unit is over")

    def crawl_delay(self, row: Row, seconds: float) -> None:
        """The host of a row wants so many seconds between two requests, whoever of us sends them."""
        interval_s = min(seconds, self._settings.crawl_delay_cap_s) * self._workers
        with self._changed:
            host = self._known(row.target.host)
            if interval_s > host.interval_s:
                host.interval_s = interval_s
                host.free_at = max(host.free_at, self._clock.now() + interval_s)

    def visit(self, name: str) -> None:
        """Wait for a turn at a host without a row, in the thread that asks.

        Raises WebError: host_given_up, queue_too_long.
        """
        with self._changed:
            host = self._known(name)
            due_at = max(host.free_at, self._clock.now())
            if refusal := self._refusal(host, due_at):
                raise refusal
            host.free_at = due_at + host.interval_s
        alone = Condition()  # nobody notifies it
        with alone:
            while (left_s := due_at - self._clock.now()) > 0:
                self._clock.wait(alone, left_s)

    def answered(self, row: Row) -> None:
        """The host has given what was asked for."""
        with self._changed:
            self._release(row).answered()
            self._queue(row.target.host)

    def redirected(self, row: Row, target: Target) -> None:
        """The host has named another address: there the row waits for its turn like any other."""
        with self._changed:
            self._release(row).answered()
            self._queue(row.target.host)
            row.target, row.redirects, row.tries, row.due_at = target, row.redirects + 1, 0, 0.0
            if row.unit == self._unit:
                heapq.heappush(self._known(target.host).rows, row)
                self._queue(target.host)

    def skipped(self, row: Row) -> None:
        """The row was refused before its host was asked: the turn is the next row's."""
        with self._changed:
            host = self._release(row)
            host.free_at -= host.interval_s
            self._queue(row.target.host)

    def failed(self, row: Row, error: WebError) -> bool:
        """The host answered with an error, or not at all. True if the row waits for another try."""
        with self._changed:
            host, now = self._release(row), self._clock.now()
            wait_s = back_off_s(row.target.url, row.tries, self._settings.backoff_s)
            row.error, row.due_at = error, now + host.failed(error, wait_s, now, self._settings)
            again = self._heals(row) and host.given_up_until <= now
            if again:
                heapq.heappush(host.rows, row)
            self._queue(row.target.host)
            return again

    def _wait_s(self) -> float | None:
        """Seconds until the first turn, 0 when a host is due; None if no row waits for its time alone.

        Hosts where nobody answers hold a thread until the deadline: were they asked in the order of their
        turns, a thousand of them would use up the patience for the rows of one that does.
        """
        now = self._clock.now()
        while self._due and not self._is_due(*self._due[0][1:], now):
            heapq.heappop(self._due)
        while self._turns and self._turns[0][0] <= now:
            _, entry, name = heapq.heappop(self._turns)
            if self._is_due(entry, name, now):
                heapq.heappush(self._due, (-len(self._hosts[name].rows), entry, name))
        if self._due:
            return 0.0
        return self._turns[0][0] - now if self._turns else None

    def _is_due(self, entry: int, name: str, now: float) -> bool:
        """Whether an entry's host may be asked now; one that is to wait longer is put back."""
        host = self._hosts[name]
        due_at = self._due_at(host) if host.entry == entry else None
        if due_at is not None and due_at > now:
            heapq.heappush(self._turns, (due_at, entry, name))
        return due_at is not None and due_at <= now

    @staticmethod
    def _turn_of(host: _Host) -> float:
        return max(host.free_at, host.rows[0].due_at)

    def _due_at(self, host: _Host) -> float | None:
        """When its next row may be handed out; None while it has none, or enough of them are under way."""
        if not host.rows or host.busy >= (self._at_once if host.met else 1):
            return None
        due_at = self._turn_of(host)
        return 0.0 if self._refusal(host, due_at) else due_at

    def _refusal(self, host: _Host, due_at: float) -> WebError | None:
        if host.given_up_until > self._clock.now():
            return WebError(Reason.HOST_GIVEN_UP, "after failures in a row, or as it asked for")
        if due_at > self._until:
            patience_s = self._settings.host_patience_s
            return WebError(Reason.QUEUE_TOO_LONG, f"no turn at its host within {patience_s:g} s")
        return None

    def _hand_out(self, name: str) -> Row:
        host, now = self._hosts[name], self._clock.now()
        refusal = self._refusal(host, self._turn_of(host))
        row = heapq.heappop(host.rows)
        if row.tries and (refusal or now - row.begun_at > self._settings.row_total_s):
            refusal = row.error
        row.refusal = refusal
        if not refusal:
            row.begun_at, row.taken_at = row.begun_at if row.tries else now, now
            row.tries += 1
            host.busy += 1
            host.free_at = max(host.free_at, now) + host.interval_s
        self._queue(name)
        self._changed.notify()  # the notice of the next turn may have gone to this thread
        return row

    def _queue(self, name: str) -> None:
        """Give a host its place among the turns; the entry that it had is void."""
        host = self._hosts[name]
        self._entries += 1
        host.entry = self._entries
        due_at = self._due_at(host)
        if due_at is not None:
            heapq.heappush(self._turns, (due_at, host.entry, name))
            self._changed.notify()

    def _release(self, row: Row) -> _Host:
        host, now = self._known(row.target.host), self._clock.now()
        host.busy -= 1
        row.seconds += now - row.taken_at
        if self._rest:
            rest_s = min((now - row.taken_at) * self._rest, REST_CAP_S)
            host.free_at = max(host.free_at, now + rest_s)
        return host

    def _heals(self, row: Row) -> bool:
        return (
            row.error is not None
            and heals(row.error)
            and row.unit == self._unit
            and row.tries <= self._settings.retries
            and row.due_at - row.begun_at <= self._settings.row_total_s
        )

    def _known(self, name: str) -> _Host:
        if name not in self._hosts:
            self._hosts[name] = _Host(free_at=self._first_at, interval_s=self._interval_s)
        self._hosts.move_to_end(name)
        return self._hosts[name]

    def _trim(self) -> None:
        """Forget the hosts that were met longest ago, those of this unit never."""
        while len(self._hosts) > HOSTS_KEPT:
            name, host = next(iter(self._hosts.items()))
            if host.rows or host.busy:
                return
            del self._hosts[name]
