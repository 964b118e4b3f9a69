"""The gates at their boundaries, in both readings of the paper, and what is looser than what."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curation.gates import GateLimits, gate_outcomes, looser_than, person_gate
from pipeline.reasons import Reason

TEXT, FIGURE = GateLimits(), GateLimits(boundary="figure")
BODY = (5, 6, 7, 8, 9, 10, 13, 14, 15, 16)
"""Keypoints that are neither head nor hip."""


@dataclass(frozen=True)
class Made:
    """A person by the numbers that the gates look at; by default far from every boundary."""

    width: float = 100.0
    height: float = 300.0
    score: float = 0.95
    head: int = 5
    hips: int = 2
    body: int = 10
    confidence: float = 0.9

    def numbers(self) -> tuple[list[float], float, list[float]]:
        visible = {*range(self.head), *(11, 12)[: self.hips], *BODY[: self.body]}
        points = [(1.0, 2.0, self.confidence if point in visible else 0.1) for point in range(17)]
        return [7.0, 9.0, 7.0 + self.width, 9.0 + self.height], self.score, [n for p in points for n in p]


def passes(made: Made, limits: GateLimits, reason: Reason) -> bool:
    return gate_outcomes(*made.numbers(), limits)[reason]


def with_keypoints(count: int) -> Made:
    return Made(head=3, hips=2, body=count - 5)


BOUNDARIES: list[tuple[Reason, Callable[[float], Made], float, bool, float, bool]] = [
    # the reading of the text: the last value that fails (or passes), then its neighbour
    (Reason.LOW_SCORE, lambda x: Made(score=x), 0.85, False, 0.8500001, True),
    (Reason.SHORT_SIDE, lambda x: Made(width=x), 90, False, 90.01, True),
    (Reason.SHORT_SIDE, lambda x: Made(width=400, height=x), 90, False, 90.01, True),
    (Reason.ASPECT_RATIO, lambda x: Made(width=x, height=400), 100, True, 99.99, False),
    (Reason.ASPECT_RATIO, lambda x: Made(width=x, height=400), 200, True, 200.01, False),
    (Reason.FEW_KEYPOINTS, lambda x: with_keypoints(int(x)), 8, True, 7, False),
    (Reason.NO_HIP, lambda x: Made(hips=int(x)), 1, True, 0, False),
    (Reason.NO_HEAD, lambda x: Made(head=int(x)), 2, True, 1, False),
]
FIGURE_BOUNDARIES: list[tuple[Reason, Callable[[float], Made], float, bool, float, bool]] = [
    (Reason.LOW_SCORE, lambda x: Made(score=x), 0.85, False, 0.8500001, True),
    (Reason.SHORT_SIDE, lambda x: Made(width=x), 90, False, 90.01, True),
    (Reason.SHORT_SIDE, lambda x: Made(width=400, height=x), 90, True, 10, True),  # the width alone
    (Reason.ASPECT_RATIO, lambda x: Made(width=x, height=400), 100, False, 100.01, True),
    (Reason.ASPECT_RATIO, lambda x: Made(width=x, height=400), 200, False, 199.99, True),
    (Reason.FEW_KEYPOINTS, lambda x: with_keypoints(int(x)), 8, False, 9, True),
    (Reason.NO_HIP, lambda x: Made(hips=int(x)), 1, False, 2, True),
    (Reason.NO_HEAD, lambda x: Made(head=int(x)), 2, False, 3, True),
]


@pytest.mark.parametrize(("reason", "made", "at", "at_passes", "beside", "beside_passes"), BOUNDARIES)
def test_a_gate_at_its_boundary_in_the_texts_reading(
    reason: Reason,
    made: Callable[[float], Made],
    at: float,
    at_passes: bool,
    beside: float,
    beside_passes: bool,
) -> None:
    found = (passes(made(at), TEXT, reason), passes(made(beside), TEXT, reason))
    assert found == (at_passes, beside_passes)


@pytest.mark.parametrize(("reason", "made", "at", "at_passes", "beside", "beside_passes"), FIGURE_BOUNDARIES)
def test_a_gate_at_its_boundary_in_the_figures_reading(
    reason: Reason,
    made: Callable[[float], Made],
    at: float,
    at_passes: bool,
    beside: float,
    beside_passes: bool,
) -> None:
    found = (passes(made(at), FIGURE, reason), passes(made(beside), FIGURE, reason))
    assert found == (at_passes, beside_passes)


@pytest.mark.parametrize("limits", [TEXT, FIGURE], ids=["text", "figure"])
@pytest.mark.parametrize(
    ("reason", "made"),
    [
        (Reason.LOW_SCORE, Made(score=0.5)),
        (Reason.SHORT_SIDE, Made(width=60, height=180)),
        (Reason.ASPECT_RATIO, Made(width=300)),
        (Reason.FEW_KEYPOINTS, Made(body=0, head=3)),
        (Reason.NO_HIP, Made(hips=0)),
        (Reason.NO_HEAD, Made(head=0)),
    ],
)
def test_each_gate_fails_alone(reason: Reason, made: Made, limits: GateLimits) -> None:
    outcomes = gate_outcomes(*made.numbers(), limits)
    assert [gate for gate, passed in outcomes.items() if not passed] == [reason]
    assert person_gate(*made.numbers(), limits) is reason


def test_a_person_who_passes_every_gate_has_no_reason() -> None:
    assert person_gate(*Made().numbers(), TEXT) is person_gate(*Made().numbers(), FIGURE) is None


def test_the_first_gate_that_fails_is_the_reason() -> None:
    steps: list[tuple[dict[str, Any], Reason]] = [
        ({"score": 0.1}, Reason.LOW_SCORE),
        ({"width": 30.0, "height": 30.0}, Reason.SHORT_SIDE),
        ({"width": 100.0, "height": 100.0}, Reason.ASPECT_RATIO),
        ({"body": 2}, Reason.FEW_KEYPOINTS),
        ({"hips": 0}, Reason.NO_HIP),
        ({"head": 1}, Reason.NO_HEAD),
    ]
    bad = Made(score=0.1, width=30, height=30, body=2, hips=0, head=1)
    good: dict[str, Any] = {"score": 0.95, "width": 100.0, "height": 300.0, "body": 10, "hips": 2}
    for change, reason in steps:
        bad = dataclasses.replace(bad, **change)
        assert person_gate(*bad.numbers(), TEXT) is reason
        bad = dataclasses.replace(bad, **{name: good[name] for name in change if name in good})


def test_a_keypoint_is_visible_from_its_confidence_on() -> None:
    limits = GateLimits(keypoint_confidence=0.9)
    assert passes(Made(confidence=0.9), limits, Reason.NO_HIP)
    assert not passes(Made(confidence=0.89), limits, Reason.NO_HIP)


@pytest.mark.parametrize("point", range(17))
def test_nose_eyes_and_ears_are_the_head_and_both_hips_the_hips(point: int) -> None:
    keypoints = [0.0] * 51
    keypoints[3 * point + 2] = 0.9
    outcomes = gate_outcomes([0, 0, 100, 300], 0.9, keypoints, changed(head_min=1))
    assert outcomes[Reason.NO_HEAD] == (point in (0, 1, 2, 3, 4))
    assert outcomes[Reason.NO_HIP] == (point in (11, 12))


@pytest.mark.parametrize("box", [[5.0, 5.0, 105.0, 5.0], [5.0, 5.0, 5.0, 5.0], [9.0, 9.0, 5.0, 5.0]], ids=str)
def test_a_box_without_height_passes_nothing_of_its_size(box: list[float]) -> None:
    _, score, keypoints = Made().numbers()
    outcomes = gate_outcomes(box, score, keypoints, TEXT)
    assert not outcomes[Reason.ASPECT_RATIO]
    assert not outcomes[Reason.SHORT_SIDE]


def test_numbers_that_are_none_pass_no_gate() -> None:
    nan = float("nan")
    assert not any(gate_outcomes([nan] * 4, nan, [nan] * 51, TEXT).values())


NEAR = st.floats(80, 420)
MADE = st.builds(
    Made,
    width=NEAR,
    height=NEAR,
    score=st.floats(0.8, 0.95),
    head=st.integers(1, 5),
    hips=st.integers(0, 2),
    body=st.integers(2, 10),
    confidence=st.sampled_from([0.5, 0.96]),
)


def limits_of(boundary: st.SearchStrategy[Literal["text", "figure"]]) -> st.SearchStrategy[GateLimits]:
    return st.builds(
        GateLimits,
        score_min=st.sampled_from([0.0, 0.82, 0.85, 0.88]),
        short_side_min_px=st.sampled_from([0.0, 90.0, 100.0, 200.0]),
        aspect_min=st.sampled_from([0.0, 0.25]),
        aspect_max=st.sampled_from([0.4, 0.5, 1.0, 2.0, 1000.0]),
        keypoints_min=st.integers(0, 12),
        hips_min=st.integers(0, 2),
        head_min=st.integers(0, 4),
        keypoint_confidence=st.sampled_from([0.0, 0.5, 0.95]),
        boundary=boundary,
    )


@given(made=MADE)
def test_the_texts_reading_lets_through_whoever_the_figures_does(made: Made) -> None:
    if person_gate(*made.numbers(), FIGURE) is None:
        assert person_gate(*made.numbers(), TEXT) is None


READINGS: st.SearchStrategy[Literal["text", "figure"]] = st.sampled_from(["text", "figure"])
FIELDS = st.sets(st.sampled_from(sorted(GateLimits.model_fields)), min_size=1, max_size=3)


@settings(max_examples=400)
@given(made=MADE, other=limits_of(READINGS), floor=limits_of(READINGS), differ=FIELDS)
def test_limits_that_are_not_looser_let_nobody_through_whom_the_floor_stops(
    made: Made, other: GateLimits, floor: GateLimits, differ: set[str]
) -> None:
    limits = floor.model_copy(update={name: getattr(other, name) for name in differ})
    if looser_than(limits, floor) is None and person_gate(*made.numbers(), limits) is None:
        assert person_gate(*made.numbers(), floor) is None


@pytest.mark.parametrize(
    ("name", "looser", "tighter"),
    [
        ("score_min", 0.84, 0.9),
        ("short_side_min_px", 89.0, 91.0),
        ("aspect_min", 0.24, 0.3),
        ("aspect_max", 0.51, 0.4),
        ("keypoints_min", 7, 9),
        ("hips_min", 0, 2),
        ("head_min", 1, 3),
        ("keypoint_confidence", 0.4, 0.6),
    ],
)
def test_each_limit_can_be_looser_than_a_floor(name: str, looser: float, tighter: float) -> None:
    assert looser_than(changed(**{name: looser}), TEXT) == name
    assert looser_than(changed(**{name: tighter}), TEXT) is None


def test_every_limit_is_compared() -> None:
    compared = {"score_min", "short_side_min_px", "aspect_min", "aspect_max", "keypoints_min", "hips_min"}
    assert set(GateLimits.model_fields) == compared | {"head_min", "keypoint_confidence", "boundary"}


def test_equal_limits_are_not_looser() -> None:
    assert looser_than(TEXT, TEXT) is looser_than(FIGURE, FIGURE) is None


def test_the_texts_reading_is_looser_than_the_figures() -> None:
    assert looser_than(TEXT, FIGURE) == "boundary"
    assert looser_than(FIGURE, TEXT) is None


def test_the_figures_width_is_looser_than_the_texts_shorter_side_where_people_may_lie() -> None:
    lying = {"aspect_max": 2.0, "aspect_min": 0.0}
    figure, text = changed(**lying, boundary="figure"), changed(**lying)
    made = Made(width=100, height=60)
    assert person_gate(*made.numbers(), figure) is None
    assert person_gate(*made.numbers(), text) is Reason.SHORT_SIDE
    assert looser_than(figure, text) == "short_side_min_px"


def changed(**values: Any) -> GateLimits:
    return GateLimits.model_validate(values)


@pytest.mark.parametrize(
    "limits",
    [
        {"score_min": math.nan},
        {"score_min": 2},
        {"hips_min": 3},
        {"aspect_min": 0.6},
        {"aspect_max": math.inf},
    ],
    ids=str,
)
def test_limits_that_nobody_or_nothing_can_meet_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        GateLimits.model_validate(limits)
