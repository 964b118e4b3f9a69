"""Agreement of two judgements: shares with intervals, kappa, weights."""

import pytest

from curation.agreement import Pair, Share, agree_on, caught, kappa, share


def pairs(text: str, weight: float = 1.0) -> list[Pair]:
    """From `AA AB`: what is judged and what is labelled, a person each."""
    return [Pair(two[0], two[1], weight) for two in text.split()]


def hit(pair: Pair) -> bool:
    return pair.judged == pair.labelled


def test_the_interval_is_wilsons() -> None:
    found = share(pairs("AA " * 8 + "AB " * 2), hit)
    assert isinstance(found, Share)
    assert (found.value, found.persons) == (0.8, 10)
    assert [found.low, found.high] == pytest.approx([0.4902, 0.9433], abs=1e-4)


@pytest.mark.parametrize(("text", "low", "high"), [("AA " * 5, 0.5655, 1.0), ("AB " * 5, 0.0, 0.4345)])
def test_the_interval_of_all_or_none_stays_in_bounds(text: str, low: float, high: float) -> None:
    found = share(pairs(text), hit)
    assert found is not None
    assert [found.low, found.high] == pytest.approx([low, high], abs=1e-4)


def test_a_person_counts_as_many_as_it_stands_for() -> None:
    found = share([*pairs("AA", 9.0), *pairs("AB", 1.0)], hit)
    assert found is not None
    assert found.value == pytest.approx(0.9)


def test_equal_weights_change_nothing_and_unequal_ones_widen_the_interval() -> None:
    plain, equal = share(pairs("AA AA AB AB"), hit), share(pairs("AA AA AB AB", 7.0), hit)
    unequal = share([*pairs("AA AB", 9.0), *pairs("AA AB", 1.0)], hit)
    assert plain is not None and equal is not None and unequal is not None  # noqa: PT018
    assert [equal.low, equal.high] == pytest.approx([plain.low, plain.high])
    assert unequal.value == plain.value
    assert unequal.low < plain.low < plain.high < unequal.high


def test_recall_knows_how_little_is_known_of_those_who_were_missed() -> None:
    """Forty are caught and stand for one each; none of 100 others is missed, but they stand for 90 each."""
    found = caught([*pairs("AA " * 40), *pairs("BB " * 100, 90.0)], "A".__eq__)
    assert found is not None
    assert (found.value, found.high, found.persons) == (1.0, 1.0, 40)
    # Of 9,000 others Wilson's interval allows 3.7 % to be missed: 333 beside the 40.
    assert found.low == pytest.approx(40 / (40 + 9000 * 0.037), abs=0.01)


def test_recall_is_the_weighted_share_of_those_who_are() -> None:
    found = caught([*pairs("AA AA AB"), *pairs("BA BB BB", 4.0)], "A".__eq__)
    assert found is not None
    assert found.value == pytest.approx(2 / 6)
    assert 0 < found.low < found.value < found.high < 1


def test_an_interval_of_recall_never_leaves_0_and_1() -> None:
    found = caught([*pairs("AA " + "AB " * 5), *pairs("BA " + "BB " * 5, 5.0)], "A".__eq__)
    assert found is not None
    assert 0 == found.low < found.value < found.high <= 1


def test_there_is_no_share_of_nobody() -> None:
    assert share([], hit) is None


def test_kappa_is_cohens() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: 0.7 agree, 0.5 by chance.
    assert kappa(pairs("AA " * 20 + "AB " * 5 + "BA " * 10 + "BB " * 15)) == pytest.approx(0.4)


def test_kappa_of_chance_is_zero_and_of_one_outcome_unknown() -> None:
    assert kappa(pairs("AA AB BA BB")) == pytest.approx(0.0)
    assert kappa(pairs("AA AA")) is None
    assert kappa([]) is None


def test_an_outcome_is_held_against_all_others() -> None:
    found = agree_on("B", "B".__eq__, pairs("BB BB BB BA AB CB AA CC"))
    assert (found.judged, found.labelled) == (4, 5)
    assert found.precision is not None and found.recall is not None  # noqa: PT018
    assert (found.precision.value, found.recall.value) == (0.75, 0.6)
    assert found.kappa == pytest.approx(0.25)


def test_an_outcome_that_nobody_has_has_no_precision_and_no_recall() -> None:
    found = agree_on("B", "B".__eq__, pairs("AA AC"))
    assert (found.precision, found.recall, found.kappa) == (None, None, None)
