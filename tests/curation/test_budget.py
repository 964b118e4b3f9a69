"""A budget of requests and tokens, kept to by whole units."""

import pytest

from curation.budget import Budget, BudgetSettings
from curation.known import Need
from pipeline.units import Unit

UNITS = [(Unit(n, n, 1), Need(verdicts=2, captions=4)) for n in range(5)]
"""Each costs 2 requests for verdicts, and 4 to 12 for captions with three attempts each."""


def chosen(requests: int | None = None, tokens: int | None = None, spent: tuple[int, int] = (0, 0)) -> int:
    settings = BudgetSettings(max_requests=requests, max_tokens=tokens)
    return len(Budget(settings, 3, *spent).affordable(UNITS))


def test_without_a_limit_every_unit_is_run() -> None:
    assert chosen() == 5


@pytest.mark.parametrize(("requests", "units"), [(13, 0), (14, 1), (41, 2), (42, 3), (1000, 5)])
def test_units_are_chosen_that_stay_within_even_if_every_attempt_is_needed(requests: int, units: int) -> None:
    assert chosen(requests) == units


def test_units_that_ask_nothing_wait_for_none_that_is_too_large() -> None:
    small, nothing = (Unit(7, 7, 1), Need(verdicts=1)), (Unit(8, 8, 1), Need())
    budget = Budget(BudgetSettings(max_requests=1), 3)
    assert budget.affordable([UNITS[0], small, nothing]) == [small[0], nothing[0]]


def test_captions_that_may_be_written_anew_count_like_missing_ones() -> None:
    units = [(Unit(0, 0, 1), Need(audits=4))]
    assert Budget(BudgetSettings(max_requests=11), 3).affordable(units) == []
    assert len(Budget(BudgetSettings(max_requests=12), 3).affordable(units)) == 1


def test_what_is_spent_counts() -> None:
    assert chosen(42, spent=(20, 0)) == 1


def test_with_a_limit_of_tokens_the_first_unit_shows_what_a_request_costs() -> None:
    assert chosen(tokens=1) == 1
    assert chosen(tokens=4000, spent=(10, 1000)) == 2


def test_counts_of_markers_are_taken_off() -> None:
    budget = Budget(BudgetSettings(max_requests=20), 3)
    budget.spend({"requests": 6, "tokens": 600})
    budget.spend({"requests": 1, "tokens": 5})
    assert str(budget) == "7 requests and 605 tokens spent"
    assert budget.affordable(UNITS) == []


def test_what_no_endpoint_is_asked_costs_nothing() -> None:
    free = Budget(BudgetSettings(max_requests=1), 0, verdicts=0)
    assert free.affordable([(Unit(0, 0, 1), Need(verdicts=9, captions=9))])
