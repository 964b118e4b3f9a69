"""Which of a model's endpoints the next request goes to: the least busy one of those that work.

An endpoint that fails several times in a row is out: it gets nothing for a pause, then a single request as a
probe, and is back when that one is answered. One that asks for rest (HTTP 429) gets nothing for that long.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from curation.completions import UnreachableError, one_line


@dataclass(eq=False)
class Endpoint:
    """One address and how it does. Times are those of the clock, in seconds."""

    url: str
    busy: int = 0
    turn: int = 0
    failures_in_a_row: int = 0
    out: bool = False
    rests_until_s: float = float("-inf")
    answered_s: float = float("-inf")
    failure: str = ""


class Endpoints:
    """The books of one event loop; it sends nothing itself.

    Every `take` is followed by one of `answered`, `failed`, `asked_for_rest` and `left`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        concurrency: int,
        failures_until_out: int,
        pause_s: float,
        outage_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """concurrency: requests at one endpoint; outage_s: how long all may be out before `take` gives up."""
        self.all = tuple(Endpoint(url) for url in urls)
        self._concurrency = concurrency
        self._failures_until_out = failures_until_out
        self._pause_s = pause_s
        self._outage_s = outage_s
        self._clock = clock
        self._all_out_since_s: float | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._turns = itertools.count(1)

    async def take(self, avoid: Endpoint | None = None) -> Endpoint:
        """Wait for a free place; at `avoid` only if no other is free.

        Raises UnreachableError if all endpoints have been out for `outage_s` and none is to be probed yet.
        """
        while (chosen := self._choose(avoid)) is None:
            await self._wait()
        chosen.busy += 1
        chosen.turn = next(self._turns)
        return chosen

    def answered(self, endpoint: Endpoint) -> None:
        """The endpoint works, and the place is free again."""
        self.works(endpoint)
        self.left(endpoint)

    def works(self, endpoint: Endpoint) -> None:
        """The endpoint has answered: if it was out, it is back."""
        endpoint.answered_s = self._clock()
        endpoint.failures_in_a_row = 0
        if endpoint.out:
            endpoint.out, endpoint.rests_until_s = False, self._clock()
            self._all_out_since_s = None
            self._wake(self._concurrency)

    def failed(self, endpoint: Endpoint, failure: str) -> None:
        """The endpoint did not do its work; failure: one line."""
        endpoint.failures_in_a_row += 1
        endpoint.failure = failure
        if endpoint.out or endpoint.failures_in_a_row >= self._failures_until_out:
            self._goes_out(endpoint)
        self.left(endpoint)

    def asked_for_rest(self, endpoint: Endpoint, seconds: float) -> None:
        """The endpoint has too much to do; one that is out stays so until it answers."""
        endpoint.failures_in_a_row = 0
        self._rests(endpoint, max(seconds, self._pause_s) if endpoint.out else seconds)
        self.left(endpoint)

    def asked_in_vain(self, endpoint: Endpoint, failure: str) -> None:
        """Nobody got more than the request to rest from it, for as long as one waits: as good as gone."""
        endpoint.failure = failure
        self._goes_out(endpoint)

    def left(self, endpoint: Endpoint) -> None:
        """The place is free again, and nothing was learned."""
        endpoint.busy -= 1
        self._wake(1)

    def answered_since(self, then_s: float) -> bool:
        """Whether some endpoint has answered since a time of the clock."""
        return any(e.answered_s >= then_s for e in self.all)

    def _goes_out(self, endpoint: Endpoint) -> None:
        endpoint.out = True
        self._rests(endpoint, self._pause_s)
        if self._all_out_since_s is None and all(e.out for e in self.all):
            self._all_out_since_s = self._clock()

    def _rests(self, endpoint: Endpoint, seconds: float) -> None:
        endpoint.rests_until_s = max(endpoint.rests_until_s, self._clock() + seconds)
        self._wake(len(self._waiting))  # all must learn until when they wait

    def _choose(self, avoid: Endpoint | None) -> Endpoint | None:
        """Of equally busy ones that whose last turn is longest ago."""
        now = self._clock()
        free = [
            e for e in self.all if e.rests_until_s <= now and e.busy < (1 if e.out else self._concurrency)
        ]
        return min(free, key=lambda e: (e is avoid, e.busy, e.turn), default=None)

    async def _wait(self) -> None:
        """Until a place is free, a rest ends, or the outage has lasted too long."""
        now = self._clock()
        ends = [e.rests_until_s for e in self.all if e.rests_until_s > now]
        if self._all_out_since_s is not None:
            given_up = self._all_out_since_s + self._outage_s
            if now >= given_up:
                last = one_line("; ".join(f"{e.url}: {e.failure}" for e in self.all))
                raise UnreachableError(
                    f"no endpoint has answered for {now - self._all_out_since_s:.0f} s: {last}"
                )
            ends.append(given_up)
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(min(ends) - now if ends else None):
                await place
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if not place.cancelled():  # woken, but will not come: the place is the next one's
                self._wake(1)
            raise

    def _wake(self, count: int) -> None:
        while self._waiting and count > 0:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                count -= 1
