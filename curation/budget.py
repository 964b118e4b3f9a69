"""A budget of requests and tokens: a run that has spent it ends in good order, whole units done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import PositiveInt

from curation.known import Need
from pipeline.recipe import Section, operational
from pipeline.units import Unit


class BudgetSettings(Section):
    """What one run may ask of models; the same command with a new budget goes on where it ended."""

    max_requests: PositiveInt | None = operational(None)
    """Requests. A unit is begun where even all attempts at its captions fit in; what is repeated after an
    endpoint's fault counts as it comes."""
    max_tokens: PositiveInt | None = operational(None)
    """Tokens in and out, as the endpoints count them; kept to by the mean of what was seen so far."""

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.max_requests is not None or self.max_tokens is not None


@dataclass
class Budget:
    """What is left of it. attempts, verdicts: how often an endpoint may be asked for one."""

    settings: BudgetSettings
    attempts: int
    requests: int = 0
    tokens: int = 0
    verdicts: int = 1

    def spend(self, counts: Mapping[str, Any]) -> None:
        """Take off what a unit has cost, from the counts of its done-marker."""
        self.requests += counts["requests"]
        self.tokens += counts["tokens"]

    @property
    def blind(self) -> bool:
        """Whether there is a limit of tokens, and answers that do not count them."""
        return self.settings.max_tokens is not None and self.requests > 0 and self.tokens == 0

    def affordable(self, units: Sequence[tuple[Unit, Need]]) -> list[Unit]:
        """The units that can be run now without going beyond, even if each caption needs all attempts.

        One that asks nothing always can; one that is too large does not stop those behind it. What a request
        costs in tokens shows after the first unit, which is therefore run alone.
        """
        if not self.settings.limited:
            return [unit for unit, _ in units]
        chosen, requests = [], self.requests
        alone = self.settings.max_tokens is not None and not self.requests
        for unit, need in units:
            most = self.most_requests(need)
            if most and (not self._within(requests + most) or (alone and requests > self.requests)):
                continue
            requests += most
            chosen.append(unit)
        return chosen

    def most_requests(self, need: Need) -> int:
        """What is asked at most, faults of endpoints aside."""
        return need.verdicts * self.verdicts + (need.captions + need.audits) * self.attempts

    def _within(self, requests: int) -> bool:
        most_requests, most_tokens = self.settings.max_requests, self.settings.max_tokens
        if most_requests is not None and requests > most_requests:
            return False
        per_request = self.tokens / self.requests if self.requests else 0.0
        return most_tokens is None or requests * per_request <= most_tokens

    def __str__(self) -> str:
        return f"{self.requests} requests and {self.tokens} tokens spent"
