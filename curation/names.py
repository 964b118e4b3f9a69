"""Names resolved within bounds, for many threads at once."""

import math
import queue
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Lock, Semaphore, Thread

from curation.addresses import WebError
from pipeline.reasons import Reason

_IDLE_S = 10.0


@dataclass
class _Lookup:
    """A question to the name system; whoever asks before `until` (monotonic seconds) shares its answer."""

    host: str
    answer: Future[list[str]] = field(default_factory=Future)
    until: float = math.inf


class Names:
    """Host names to addresses, for many threads at once, within bounds that the system's resolver lacks.

    A lookup cannot be stopped, only left behind in its thread: at most `max_lookups` are under way, those
    included, and whoever asks for a name that is being looked up waits for the same answer. Answers are kept
    for `kept_s`, failures are not. What is kept is checked and connected to by number, like what is fresh.
    """

    def __init__(
        self,
        resolve: Callable[[str], list[str]],
        max_lookups: int,
        kept_s: float = 60.0,
        max_kept: int = 10_000,
    ) -> None:
        self._resolve = resolve
        self._kept_s = kept_s
        self._max_kept = max_kept
        self._lookups: dict[str, _Lookup] = {}
        self._lock = Lock()
        self._questions: queue.SimpleQueue[_Lookup] = queue.SimpleQueue()
        self._free = BoundedSemaphore(max_lookups)
        self._idle = Semaphore(0)

    def addresses(self, host: str, timeout_s: float) -> list[str]:
        """At least one address, as the resolver spells it. Raises WebError: dns_failed, deadline_exceeded."""
        end = time.monotonic() + timeout_s
        answer = self._shared(host) or self._asked(host, timeout_s)
        try:
            failure = answer.exception(max(end - time.monotonic(), 0.0))
        except TimeoutError:
            raise WebError(Reason.DEADLINE_EXCEEDED, f"resolving {host}") from None
        if failure or not answer.result():
            transient = isinstance(failure, OSError) and failure.errno == socket.EAI_AGAIN
            raise WebError(Reason.DNS_FAILED, f"{host}: {failure or 'no address'}", transient=transient)
        return answer.result()

    def _shared(self, host: str) -> Future[list[str]] | None:
        lookup = self._lookups.get(host)
        return lookup.answer if lookup and time.monotonic() < lookup.until else None

    def _asked(self, host: str, timeout_s: float) -> Future[list[str]]:
        if not self._free.acquire(timeout=timeout_s):
            detail = f"resolving {host}: too many lookups under way"
            raise WebError(Reason.DEADLINE_EXCEEDED, detail, transient=True)
        with self._lock:
            if answer := self._shared(host):  # somebody asked while we waited
                self._free.release()
                return answer
            self._lookups.pop(host, None)  # so that it comes last
            lookup = self._lookups[host] = _Lookup(host)
            if len(self._lookups) > self._max_kept:
                del self._lookups[next(iter(self._lookups))]
        self._questions.put(lookup)
        if not self._idle.acquire(blocking=False):
            self._start_thread()
        return lookup.answer

    def _start_thread(self) -> None:
        try:
            Thread(target=self._answer_questions, name="names", daemon=True).start()
        except RuntimeError as error:  # no more threads to be had; whoever gets one answers this question too
            raise WebError(Reason.DNS_FAILED, error) from None

    def _answer_questions(self) -> None:
        while True:
            try:
                self._answer(self._questions.get(timeout=_IDLE_S))
            except queue.Empty:
                if self._idle.acquire(blocking=False):  # else a question is coming
                    return

    def _answer(self, lookup: _Lookup) -> None:
        found: list[str] = []
        failure: Exception | None = None
        try:
            found = self._resolve(lookup.host)
        except Exception as error:
            failure = error
        lookup.until = time.monotonic() + self._kept_s if found else -math.inf
        self._idle.release()
        self._free.release()
        if failure:
            lookup.answer.set_exception(failure)
        else:
            lookup.answer.set_result(found)
