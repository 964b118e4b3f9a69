import pytest

from curation.patience import Patience


def patience(**changes: float) -> Patience:
    return Patience(**{"retries": 2, "backoff_s": 1.0, "rest_max_s": 30.0, "total_s": 100.0, **changes})  # type: ignore[arg-type]


def test_a_question_is_over_after_its_retries() -> None:
    question = patience(backoff_s=0.0)
    over = []
    for _ in range(3):
        question.failed(counts=True)
        over.append(question.over)
    assert over == [False, False, True]


def test_failures_that_do_not_count_use_up_time_only() -> None:
    question = patience()
    for _ in range(20):
        question.failed(counts=False)
    assert not question.failed_too_often
    assert question.spent_s > 0


def test_waits_are_drawn_below_a_limit_that_doubles() -> None:
    drawn = []
    for _ in range(200):
        question = patience(retries=9)
        waits = []
        for _ in range(3):
            question.failed(counts=True)
            waits.append(question.wait_s)
        drawn.append(waits)
    for place, limit in enumerate((1.0, 2.0, 4.0)):
        longest = max(waits[place] for waits in drawn)
        assert limit / 2 < longest <= limit


def test_waits_after_failures_count_as_time() -> None:
    question = patience(total_s=0.5, retries=1000)
    while not question.over:
        question.failed(counts=True)
    assert question.left_s <= 0
    assert not question.failed_too_often


def test_a_rest_is_no_failure() -> None:
    question = patience()
    for _ in range(50):
        question.rests_for(1.0)
    assert question.failures == 0


def test_a_rest_lasts_as_long_as_was_said_up_to_a_limit() -> None:
    assert patience().rests_for(7.0) == 7.0
    assert patience().rests_for(3600.0) == 30.0


@pytest.mark.parametrize("said_s", [0.0, 0.001])
def test_a_rest_of_unsaid_length_doubles_from_the_back_off_on(said_s: float) -> None:
    question = patience()
    first, second, third = (question.rests_for(said_s) for _ in range(3))
    assert 1 <= first <= 2 <= second <= 4 <= third <= 8


def test_a_rest_that_the_settings_do_not_grant_is_a_failure() -> None:
    question = patience(rest_max_s=0.0)
    for _ in range(3):
        question.rests_for(5.0)
    assert question.over


def test_any_number_of_retries_can_be_set() -> None:
    question = patience(retries=5000, backoff_s=0.0)
    for _ in range(3000):
        question.failed(counts=True)
    assert not question.over
