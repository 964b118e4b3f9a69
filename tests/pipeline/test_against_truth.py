"""The chain against the truth: every number worked out by hand from small tables."""

import math
from collections import Counter
from typing import Any

import pytest

from curation.gates import GateLimits
from pipeline.cli.against_truth import (
    Duplicates,
    Share,
    detection,
    duplicates,
    gates,
    keypoint_error,
    truth_text,
    urls_text,
)
from pipeline.cli.matching import Pair, Shown
from pipeline.cli.said_words import Said
from pipeline.reasons import Reason
from tests.pipeline.made_people import EVERYWHERE, drawn, measured
from world.truth import Kind, Passes
from world.web import Entry

LIMITS = GateLimits()


def test_recall_counts_drawn_persons_who_are_half_visible_and_not_tiny() -> None:
    pairs = [
        Pair(drawn(), measured()),
        Pair(drawn(), measured(score=0.5)),
        Pair(drawn(), measured(score=0.49)),
        Pair(drawn(), None),
        Pair(drawn(visible_share=0.49), None),
        Pair(drawn(visible_share=0.49), measured()),
        Pair(drawn(box_xyxy_px=[0, 0, 19, 400]), None),
        Pair(drawn(box_xyxy_px=[0, 0, 400, 19]), measured()),
    ]
    assert detection(pairs)[0] == Share(2, 4)


def test_precision_counts_measured_persons_of_half_the_score_whoever_they_are() -> None:
    pairs = [
        Pair(drawn(), measured()),
        Pair(drawn(visible_share=0.1), measured(score=0.5)),
        Pair(None, measured(score=0.5)),
        Pair(None, measured(score=0.49)),
        Pair(drawn(), None),
    ]
    assert detection(pairs)[1] == Share(2, 3)


def points(*places: tuple[float, float, float]) -> list[float]:
    """These keypoints, and the rest where everything is."""
    return [number for place in places for number in place] + EVERYWHERE[3 * len(places) :]


def test_keypoints_are_as_wrong_as_they_lie_away_in_heights_of_the_box() -> None:
    """400 px high: 12 and 16 px make 20 px or 5 %, 40 px make 10 %; 15 points are right."""
    found = measured(keypoints=points((162, 56, 0.1), (150, 80, 0.9)))
    error = keypoint_error([Pair(drawn(), found)])
    assert error.mean == pytest.approx((0.05 + 0.10) / 17)
    assert error.near == Share(16, 17)


def test_only_visible_keypoints_of_persons_that_count_are_judged() -> None:
    hidden = drawn(keypoints=points((0, 0, 1), (0, 0, 0), (190, 40, 2)))
    pairs = [
        Pair(hidden, measured()),
        Pair(drawn(keypoints=points((0, 0, 2)), visible_share=0.4), measured()),
        Pair(drawn(keypoints=points((0, 0, 2))), measured(score=0.4)),
        Pair(drawn(), None),
        Pair(None, measured()),
    ]
    error = keypoint_error(pairs)
    assert error.mean == pytest.approx(0.10 / 15)
    assert error.near == Share(14, 15)


def test_without_any_keypoint_the_error_is_not_a_number() -> None:
    error = keypoint_error([Pair(drawn(), None)])
    assert math.isnan(error.mean)
    assert error.near == Share(0, 0)


def test_each_gate_is_held_against_what_the_truth_tells_of_it() -> None:
    """The measured person is 100 × 400 px with all keypoints: it passes everything at a score of 0.9."""
    tells = Passes(low_score=True, short_side=False, no_hip=True)
    pairs = [
        Pair(drawn(passes=tells), measured()),
        Pair(drawn(passes=tells), measured(score=0.3)),
        Pair(drawn(passes=Passes(no_hip=True)), measured(keypoints=[150.0, 40.0, 0.1] * 17)),
        Pair(drawn(passes=tells), None),
        Pair(None, measured()),
    ]
    found = gates(pairs, LIMITS)
    assert found[Reason.LOW_SCORE].agree == Share(1, 2)
    assert found[Reason.SHORT_SIDE].agree == Share(0, 2)
    assert found[Reason.NO_HIP].agree == Share(2, 3)
    assert found[Reason.NO_HEAD].agree == found[Reason.ASPECT_RATIO].agree == Share(0, 0)


def test_persons_made_to_fail_a_gate_fail_it_pass_it_or_are_not_found() -> None:
    far: dict[str, Any] = {"fails": Reason.SHORT_SIDE}
    small: dict[str, Any] = {"box_xyxy_px": (100.0, 0.0, 190.0, 300.0)}  # 90 px do not exceed 90 px
    pairs = [
        Pair(drawn(**far), measured(**small)),
        Pair(drawn(**far), measured(**small, score=0.2)),
        Pair(drawn(**far), measured()),
        Pair(drawn(**far), None),
        Pair(drawn(fails=Reason.NO_HEAD), measured()),
        Pair(drawn(), measured(**small)),
    ]
    found = gates(pairs, LIMITS)
    assert (found[Reason.SHORT_SIDE].failed, found[Reason.SHORT_SIDE].not_found) == (Share(2, 3), 1)
    assert (found[Reason.NO_HEAD].failed, found[Reason.NO_HEAD].not_found) == (Share(0, 1), 0)
    assert found[Reason.LOW_SCORE].failed == Share(0, 0)


def test_the_limits_of_the_run_decide() -> None:
    pairs = [Pair(drawn(passes=Passes(low_score=True)), measured(score=0.8))]
    assert gates(pairs, LIMITS)[Reason.LOW_SCORE].agree == Share(0, 1)
    assert gates(pairs, GateLimits(score_min=0.7))[Reason.LOW_SCORE].agree == Share(1, 1)


SAID = {
    "stand-in": {
        "form": Said(6, 0, 0),
        "upper colour": Said(3, 2, 1),
        "lower colour": Said(2, 2, 2),
        "garments": Said(0, 0, 6),
    }
}


def page(address: str, same_as: str | None = None) -> Entry:
    return Entry("picture", address, (None,), True, same_as, "a")


def test_each_person_that_passes_is_planted_once_for_each_copy() -> None:
    """Two persons at three addresses: four duplicates are due."""
    entries = {"u1": page("u1"), "u2": page("u2", "u1"), "u3": page("u3", "u1"), "u4": page("u4")}
    kept, dropped = None, Reason.EXACT_DUPLICATE
    people = [
        *(measured(url="u1", reason=reason) for reason in (kept, dropped, Reason.NO_HIP)),
        *(measured(url="u2", reason=reason) for reason in (dropped, kept, Reason.NO_HIP)),
        *(measured(url="u3", reason=reason) for reason in (dropped, dropped, Reason.NO_HIP)),
        measured(url="u4", reason=kept),
    ]
    assert duplicates(entries, people) == Duplicates(Share(4, 4), others=0)


def test_a_copy_that_was_kept_is_missed_and_a_lone_person_that_was_dropped_is_told() -> None:
    entries = {"u1": page("u1"), "u2": page("u2", "u1"), "u3": page("u3")}
    people = [
        measured(url="u1"),
        measured(url="u2"),
        measured(url="u3", reason=Reason.EXACT_DUPLICATE),
    ]
    assert duplicates(entries, people) == Duplicates(Share(0, 1), others=1)


def test_near_duplicates_are_told_apart() -> None:
    people = [measured(url="u1"), measured(url="u2", reason=Reason.NEAR_DUPLICATE)]
    entries = {"u1": page("u1"), "u2": page("u2")}
    assert duplicates(entries, people) == Duplicates(Share(0, 0), others=0, near=1)


def test_addresses_that_brought_nobody_have_no_duplicates() -> None:
    entries = {"u1": page("u1"), "u2": page("u2", "u1")}
    assert duplicates(entries, []) == Duplicates(Share(0, 0), others=0)


def test_urls_that_became_something_else_are_told_by_kind() -> None:
    entries = [page("u1"), page("u2"), Entry("http_404", "u3", (Reason.HTTP_CLIENT_ERROR,))]
    assert urls_text(entries, [None, Reason.NO_PERSON, None]).split("\n") == [
        "URLs that became what they must: 1 of 3",
        "  1 × http_404 became kept",
        "  1 × picture became no_person",
    ]


def test_a_share_without_anything_to_count_is_no_number() -> None:
    assert str(Share(1, 8)) == "12.5 % of 8"
    assert str(Share(0, 0)) == "none to count"


def test_the_text_has_every_number_and_counts_no_copy_twice() -> None:
    told = drawn(passes=Passes(low_score=True), fails=Reason.NO_HEAD)
    shown = [
        Shown(page("u1"), [Pair(told, measured()), Pair(None, measured()), Pair(drawn(), None)]),
        Shown(page("u2", same_as="u1"), [Pair(drawn(), None)]),
    ]
    text = truth_text(shown, LIMITS, SAID, Duplicates(Share(4, 5), 1, 2))
    for line in (
        "recall 50.0 % of 2 drawn persons",
        "precision 50.0 % of 2 measured persons",
        "off by 0.0 % of the box height on average, 100.0 % of 17 within 5 %",
        "low_score      agrees in 100.0 % of 1\n",
        "no_head        agrees in none to count; of those made to fail, 0 of 1 found do\n",
        "words in the captions of 6 made persons:",
        "upper colour  right 3, wrong 2, unsaid 1",
        "garments      right 0, wrong 0, unsaid 6",
        "duplicates found: 80.0 % of 5 planted; 1 others, 2 near ones dropped",
    ):
        assert line in text


def test_several_captioners_are_told_one_below_the_other() -> None:
    text = truth_text([], LIMITS, SAID | {"tiny": SAID["stand-in"]}, Duplicates(Share(0, 0), 0))
    assert "words in the captions of made persons, by captioner:\n" in text
    assert "upper colour  stand-in  right 3, wrong 2, unsaid 1\n" in text
    assert "              tiny      right 3, wrong 2, unsaid 1\n" in text


def test_a_judge_has_its_letters_told_and_without_one_nothing_is_said_of_letters() -> None:
    letters = {Kind.CURATED: Counter("AAB"), Kind.DARK: Counter("F")}
    text = truth_text([], LIMITS, SAID, Duplicates(Share(0, 0), 0), letters)
    assert "letters, by what a picture was made for; as due in 75.0 % of 4:\n" in text
    assert "curated        due A     A 2, B 1\n" in text
    assert "letters" not in truth_text([], LIMITS, SAID, Duplicates(Share(0, 0), 0))
