"""The accounting: a row that is lost, doubled or dropped between phases is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.funnel import (
    AccountingError,
    Counts,
    Line,
    check_accounting,
    funnel_text,
    nothing_kept,
    over_budget,
)
from pipeline.reasons import Reason

REASONS = st.lists(st.one_of(st.none(), st.sampled_from([str(reason) for reason in Reason])))


def line(phase: str, counts: Counts, rows: str = "persons") -> Line:
    return Line(phase, rows, counts)


def test_rows_are_counted_by_their_reasons_and_statuses() -> None:
    counts = Counts.of(6, [None, "low_score", "dns_failed", None, "low_score", "no_person"])
    assert counts == Counts(6, 2, {"low_score": 2, "no_person": 1}, {"dns_failed": 1})
    assert counts.accounted == 6


def test_a_reason_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(ValueError, match="connection reset"):
        Counts.of(1, ["connection reset"])


@given(first=REASONS, second=REASONS)
def test_counts_of_units_add_up_to_the_counts_of_all(
    first: list[str | None], second: list[str | None]
) -> None:
    whole = Counts.of(len(first + second), first + second)
    parts = Counts.of(len(first), first) + Counts.of(len(second), second)
    assert parts == whole
    assert whole.accounted == whole.rows_in


@given(reasons=REASONS)
def test_counts_come_back_from_json(reasons: list[str | None]) -> None:
    counts = Counts.of(len(reasons), reasons)
    assert Counts.from_json(counts.to_json()) == counts


def test_a_whole_funnel_passes() -> None:
    check_accounting(
        [
            line("harvest", Counts(5, 3, {"no_person": 1}, {"dns_failed": 1}), "URLs"),
            line("decide", Counts(9, 4, {"low_score": 5})),
            line("annotate", Counts(4, 3, {}, {"caption_failed": 1})),
            line("pack", Counts(3, 3)),
        ]
    )
    check_accounting([])


def test_a_lost_row_is_noticed() -> None:
    with pytest.raises(AccountingError, match="decide: 9 persons came in, 8 are accounted for"):
        check_accounting([line("decide", Counts.of(9, [None] * 3 + ["no_hip"] * 5))])


def test_a_doubled_row_is_noticed() -> None:
    with pytest.raises(AccountingError, match="decide: 9 persons came in, 10 are accounted for"):
        check_accounting([line("decide", Counts.of(9, [None] * 10))])


@pytest.mark.parametrize("came_in", [3, 5])
def test_a_break_between_phases_is_noticed(came_in: int) -> None:
    lines = [line("decide", Counts(9, 4, {"no_hip": 5})), line("annotate", Counts(came_in, came_in))]
    with pytest.raises(AccountingError, match=f"annotate: {came_in} persons came in, decide kept 4"):
        check_accounting(lines)


def test_the_last_line_is_checked_too() -> None:
    lines = [line("harvest", Counts(2, 2), "URLs"), line("decide", Counts(4, 3))]
    with pytest.raises(AccountingError, match="decide"):
        check_accounting(lines)


def test_the_text_shows_each_phase_as_a_sum_with_its_reasons() -> None:
    lines = [
        line("harvest", Counts(6, 2, {"opted_out": 1, "no_person": 2}, {"dns_failed": 1}), "URLs"),
        line("pack", Counts(2, 2)),
    ]
    assert funnel_text(lines).splitlines() == [
        "harvest  6 URLs = 2 kept + 3 rejected (no_person 2, opted_out 1) + 1 failed (dns_failed 1)",
        "pack     2 persons = 2 kept + 0 rejected + 0 failed",
    ]


def test_a_phase_that_is_not_done_says_what_of_it_is_counted() -> None:
    lines = [Line("harvest", "URLs", Counts(4, 4), "1 of 3 units"), line("decide", Counts())]
    assert funnel_text(lines).splitlines() == [
        "harvest (unfinished, 1 of 3 units)  4 URLs = 4 kept + 0 rejected + 0 failed",
        "decide                              0 persons = 0 kept + 0 rejected + 0 failed",
    ]


def test_a_line_is_over_budget_when_more_of_its_rows_failed_than_its_phase_may_lose() -> None:
    harvest = line("harvest", Counts(10, 4, {"no_person": 3}, {"dns_failed": 2, "crashed": 1}), "URLs")
    annotate = line("annotate", Counts(4, 3, {}, {"caption_failed": 1}))
    assert over_budget([harvest, annotate], {"harvest": 0.29, "annotate": 0.25}) == [harvest]
    assert over_budget([harvest, annotate], {"harvest": 0.3, "annotate": 0.0}) == [annotate]


def test_a_phase_without_a_budget_may_lose_all_and_one_without_rows_loses_nothing() -> None:
    assert over_budget([line("harvest", Counts(3, 0, {}, {"dns_failed": 3}))], {}) == []
    assert over_budget([line("harvest", Counts())], {"harvest": 0.0}) == []
    assert Counts().failed_share == 0.0


def test_the_first_phase_that_kept_nothing_is_named_with_its_commonest_reason() -> None:
    lines = [line("harvest", Counts.of(3, ["dns_failed", "port_forbidden", "port_forbidden"]), "URLs")]
    assert nothing_kept(lines) == "harvest: none of 3 URLs is kept, 2 for port_forbidden"
    assert nothing_kept([line("harvest", Counts(4, 4), "URLs"), line("decide", Counts())]) is None
