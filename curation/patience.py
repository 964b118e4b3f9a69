"""How long one question goes on: so many failures, so many seconds, and how long to wait in between."""

import random
from dataclasses import dataclass

MOST_DOUBLINGS = 16


@dataclass
class Patience:
    """The limits of one question, what it has used of them, and how long it waits before it is sent again.

    wait_s: after a failure. rest_s: that an endpoint has asked for; another one may be free meanwhile.
    """

    retries: int
    backoff_s: float
    rest_max_s: float
    total_s: float
    requests: int = 0
    failures: int = 0
    rests: int = 0
    spent_s: float = 0.0
    wait_s: float = 0.0
    rest_s: float = 0.0

    @property
    def left_s(self) -> float:
        """Seconds that may still be spent."""
        return self.total_s - self.spent_s

    @property
    def failed_too_often(self) -> bool:
        """Whether no retry is left."""
        return self.failures > self.retries

    @property
    def over(self) -> bool:
        """Whether the question is given up."""
        return self.failed_too_often or self.left_s <= 0

    def failed(self, counts: bool) -> None:
        """After a failure: the wait is drawn, up to a limit that doubles. counts: it uses up a retry."""
        self.failures += counts
        self.wait_s, self.rest_s = random.uniform(0, self._backoff_s(self.failures)), 0.0
        self.spent_s += self.wait_s

    def rests_for(self, said_s: float) -> float:
        """After a request to rest: how long, as it was said, but no less than a wait that doubles.

        Who says nothing, or too little, would otherwise be asked again at once.
        """
        self.rests += 1
        least = self._backoff_s(self.rests)
        self.wait_s = 0.0
        self.rest_s = min(max(said_s, random.uniform(least, 2 * least)), self.rest_max_s)
        self.failures += self.rest_s == 0  # the settings grant none, and for ever is too often
        return self.rest_s

    def _backoff_s(self, count: int) -> float:
        return self.backoff_s * 2.0 ** min(max(0, count - 1), MOST_DOUBLINGS)
