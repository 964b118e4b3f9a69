"""Counting different texts in a fixed amount of memory."""

import pytest

from curation.distinct import Distinct


def test_repetitions_do_not_count() -> None:
    found = Distinct()
    for text in ["a shirt", "a coat", "a shirt", "a shirt"]:
        found.add(text)
    assert found.count() == pytest.approx(2, abs=0.01)


def test_nothing_is_none() -> None:
    assert Distinct().count() == 0


@pytest.mark.parametrize("form", ["{}", "a red shirt number {} and blue jeans", "{0} {0}"])
def test_many_are_estimated_well_even_when_they_differ_in_little(form: str) -> None:
    found = Distinct(2**18)
    for number in range(100_000):
        found.add(form.format(number))
    assert found.count() == pytest.approx(100_000, rel=0.01)


def test_a_full_bitmap_is_no_error() -> None:
    found = Distinct(8)
    for number in range(1000):
        found.add(str(number))
    assert found.count() > 8
