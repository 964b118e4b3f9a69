"""The plan's arithmetic: intervals that cover what they say, and a text that adds up."""

import random

import pytest

from pipeline.funnel import Counts
from pipeline.plan import Sampled, _bytes, mean, plan_text, share

SAMPLED = Sampled(
    list_rows=1_000_000,
    urls=Counts(1000, 600, {"no_person": 250}, {"dns_failed": 100, "deadline_exceeded": 50}),
    kept_persons=[1] * 100 + [2] * 50 + [0] * 850,
    urls_per_s=(40.0, 50.0),
    fetched_bytes=120_000_000,
    stored_bytes=8_000_000,
)


def test_a_share_has_wilsons_interval() -> None:
    found = share(10, 100, 10**9)  # 0.0552 to 0.1744: Wilson's interval of 10 in 100
    assert (found.value, round(found.low, 4), round(found.high, 4)) == (0.1, 0.0552, 0.1744)


def test_a_reason_that_never_came_is_not_excluded() -> None:
    assert share(0, 1000, 10**9).high == pytest.approx(0.0038, abs=1e-4)


def test_a_sample_of_the_whole_list_is_certain() -> None:
    assert share(3, 10, 10) == share(3, 10, 10).times(1)
    assert (share(3, 10, 10).low, share(3, 10, 10).high) == (0.3, 0.3)
    found = mean([0, 1, 5], 3)
    assert (found.low, found.value, found.high) == (2.0, 2.0, 2.0)


def test_most_of_a_list_tells_more_than_as_many_rows_of_an_endless_one() -> None:
    most, few = share(30, 90, 100), share(30, 90, 10**9)
    assert few.low < most.low < most.high < few.high


def test_a_mean_is_not_below_none() -> None:
    assert mean([0] * 9 + [1], 10**9).low == 0.0


@pytest.mark.parametrize(("true", "rows"), [(0.02, 500), (0.5, 100), (0.3, 1000)])
def test_intervals_cover_the_truth_in_about_95_of_100_samples(true: float, rows: int) -> None:
    draws = random.Random(0)
    covered = 0
    for _ in range(400):
        found = share(sum(draws.random() < true for _ in range(rows)), rows, 10**9)
        covered += found.low <= true <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_a_mean_covers_the_truth_in_about_95_of_100_samples() -> None:
    draws = random.Random(1)
    covered = 0
    for _ in range(400):
        found = mean([draws.choice([0, 0, 0, 1, 2]) for _ in range(400)], 10**9)
        covered += found.low <= 0.6 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


@pytest.mark.parametrize(("true", "rows"), [(0.0067, 200), (0.0067, 1000), (0.01, 300)])
def test_the_mean_of_what_is_rare_is_covered_too(true: float, rows: int) -> None:
    """COYO yields 7 persons in 1,000 URLs: a quarter of the samples of 200 holds none."""
    draws = random.Random(2)
    covered = 0
    for _ in range(400):
        found = mean([draws.random() < true for _ in range(rows)], 10**9)
        covered += found.low <= true <= found.high
    assert covered / 400 >= 0.92


def test_a_sample_of_equals_leaves_room_for_others() -> None:
    assert mean([0] * 200, 10**9).high == pytest.approx(share(0, 200, 10**9).high)
    assert mean([2] * 200, 10**9).low == pytest.approx(2 * share(200, 200, 10**9).low)


@pytest.mark.parametrize(("count", "of", "population"), [(2, 1, 9), (0, 0, 9), (1, 10, 9), (-1, 5, 9)])
def test_impossible_counts_are_refused(count: int, of: int, population: int) -> None:
    with pytest.raises(ValueError, match="sampled rows"):
        share(count, of, population)


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 sampled rows"):
        mean([], 9)


def test_a_mean_of_more_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="3 sampled rows of 2"):
        mean([1, 2, 3], 2)


def test_the_text_scales_the_sample_to_the_list() -> None:
    text = plan_text(SAMPLED, captions=2)
    assert "From 1,000 of 1,000,000 URLs" in text
    assert "kept                60.0 %  (56.9 to 63.0 %)  about 600,000 URLs" in text
    assert "Persons kept: 200,000 (170,000 to 230,000)" in text
    assert "Captions to be written: at most 460,000, 2 a person" in text
    assert "Rate: 40.0 to 50.0 URLs/s with these pools here" in text
    assert "5 h 33 min to 6 h 57 min for the list" in text
    assert "Traffic of pictures: 120 kB a URL, 120 GB in all" in text
    assert "Storage of harvest: 8 kB a URL, 8 GB in all" in text


def test_three_digits_never_round_up_to_a_power() -> None:
    assert [_bytes(999.4), _bytes(999.7), _bytes(999.7e6)] == ["999 B", "1 kB", "1 GB"]


def test_kept_comes_first_and_reasons_by_their_number() -> None:
    lines = plan_text(SAMPLED, captions=2).splitlines()[1:5]
    assert [line.split()[0] for line in lines] == ["kept", "no_person", "dns_failed", "deadline_exceeded"]


def test_a_sample_too_short_for_a_rate_says_so() -> None:
    short = Sampled(10, Counts(1, 1), [0], None, 5, 5)
    text = plan_text(short, captions=2)
    assert "was harvested before, or has too few units to measure one; take a larger --sample" in text
    assert "or a smaller harvest.unit_rows" in text
