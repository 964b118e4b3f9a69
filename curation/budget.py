"""A budget of requests and tokens: a run that has spent it ends in good order, whole units done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import PositiveInt

from curation.tables import Need
from pipeline.recipe import Section, operational
from pipeline.units import Unit


class BudgetSettings(Section):
    """What one run may ask of models; the same command with a new budget goes on where it ended."""

    max_requests: PositiveInt | None = operational(None)
    """Requests, further attempts at a caption included; not those that a failed connection repeats."""
    max_tokens: PositiveInt | None = operational(None)
    """Tokens in and out, as the endpoints count them; kept to by the mean of what was seen so far."""

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.max_requests is not None or self.max_tokens is not None


@dataclass
class Budget:
    """What is left of it. attempts: how often a caption may be asked for."""

    settings: BudgetSettings
    attempts: int
    requests: int = 0
    tokens: int = 0

    def spend(self, counts: Mapping[str, Any]) -> None:
        """Take off what a unit has cost, from the counts of its done-marker."""
        self.requests += counts["requests"]
        self.tokens += counts["tokens"]

    def affordable(self, units: Sequence[tuple[Unit, Need]]) -> list[Unit]:
        """The first units that can be run now without going beyond, even if each caption needs all attempts.

        Requests are never exceeded. What a request costs in tokens shows after the first unit, which is
        therefore run alone.
        """
        if not self.settings.limited:
            return [unit for unit, _ in units]
        if self.settings.max_tokens is not None and not self.requests:
            units = units[:1]
        chosen, requests = [], self.requests
        for unit, need in units:
            requests += need.verdicts + need.captions * self.attempts
            if not self._within(requests):
                break
            chosen.append(unit)
        return chosen

    def _within(self, requests: int) -> bool:
        most_requests, most_tokens = self.settings.max_requests, self.settings.max_tokens
        if most_requests is not None and requests > most_requests:
            return False
        per_request = self.tokens / self.requests if self.requests else 0.0
        return most_tokens is None or requests * per_request <= most_tokens

    def __str__(self) -> str:
        return f"{self.requests} requests and {self.tokens} tokens spent"
