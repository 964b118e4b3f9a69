"""What a failure means: whether and when its row is tried again, and whether its host is given up."""

import random
from dataclasses import dataclass

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from curation.addresses import WebError
from pipeline.reasons import Reason
from pipeline.recipe import Section, operational

_UNANSWERED = frozenset(
    {
        Reason.DNS_FAILED,
        Reason.CONNECT_FAILED,
        Reason.TLS_FAILED,
        Reason.DEADLINE_EXCEEDED,
        Reason.RATE_LIMITED,
    }
)
"""What speaks of the host and not of the row."""
_HEALING = frozenset({Reason.CONNECT_FAILED, Reason.RATE_LIMITED, Reason.TRUNCATED_BODY})
_HEALING_STATUSES = (502, 503, 504)


class RetrySettings(Section):
    """How often a row is tried, and how long a host that does not answer is."""

    host_failures: PositiveInt = operational(10)
    """Failures in a row (no name, no connection, no answer in time, 429) after which a host is given up."""
    host_cool_down_s: PositiveFloat = operational(600.0)
    """Seconds for which rows of a host that is given up fail without being asked for."""
    retries: NonNegativeInt = operational(2)
    """Further tries after a failure that can heal."""
    backoff_s: PositiveFloat = operational(1.0)
    """Longest wait before the first of them; it doubles from one to the next."""
    retry_after_cap_s: NonNegativeFloat = operational(30.0)
    """Longest Retry-After that is waited for; a host that asks for more is given up for that time."""
    row_total_s: PositiveFloat = operational(120.0)
    """No try is begun later than this after a row's first one."""


@dataclass
class Standing:
    """What a host's answers and failures have come to; moments are seconds by the caller's clock."""

    free_at: float = 0.0
    """Nothing is asked before."""
    given_up_until: float = 0.0
    met: bool = False
    """Whether it answers; until then it is asked for one row at a time."""
    failures: int = 0
    """In a row."""

    def answered(self) -> None:
        """It gave what was asked for, or said why not."""
        self.met, self.failures = True, 0

    def failed(self, error: WebError, wait_s: float, now: float, settings: RetrySettings) -> float:
        """Seconds until the row of this error may be tried again: what the host asks for, or else `wait_s`.

        A host that limits us gets that pause for all of its rows.
        """
        if error.reason in _UNANSWERED:
            self._count_failure(now, settings)
        else:
            self.answered()
        asked_s = error.retry_after_s
        if asked_s is not None and asked_s > settings.retry_after_cap_s:
            self.given_up_until = max(self.given_up_until, now + asked_s)
            return asked_s
        wait_s = wait_s if asked_s is None else asked_s
        if asked_s is not None or error.reason is Reason.RATE_LIMITED:
            self.free_at = max(self.free_at, now + wait_s)
        return wait_s

    def _count_failure(self, now: float, settings: RetrySettings) -> None:
        self.failures += 1
        if self.failures >= settings.host_failures:
            self.given_up_until = max(self.given_up_until, now + settings.host_cool_down_s)
            self.failures -= 1  # one more after the cool-down is enough
            self.met = False


def heals(error: WebError) -> bool:
    """Whether the same request may do better in a while."""
    return error.transient or error.reason in _HEALING or error.status in _HEALING_STATUSES


def back_off_s(url: str, tries: int, first_s: float) -> float:
    """Seconds to wait after so many tries: doubled each time, and half of it by the URL's own dice.

    Rows that failed together do not come back together, and do the same at every run.
    """
    dice = random.Random(f"{tries} {url}").random()
    return float(first_s * 2 ** (tries - 1) * (0.5 + 0.5 * dice))
