"""What every detector shares: settings that fit together, an order, and boxes told apart."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curation.detectors import (
    DetectorError,
    DetectorSettings,
    Person,
    box_iou,
    by_score,
    open_detector,
    without_near_boxes,
)
from curation.weights import KNOWN_SHA256
from curation.yolo import YoloPose, YoloTwoStage
from tests.curation.photograph import photograph

KEYPOINTS = (0.0,) * 51
SIDE = st.floats(0, 100)
BOX = st.tuples(SIDE, SIDE, SIDE, SIDE)


def person(left: float, score: float) -> Person:
    return Person((left, 0.0, left + 100, 300.0), score, KEYPOINTS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"half": True}, "half: needs a GPU, device is cpu"),
        ({"family": "yolo-two-stage"}, "pose_weights: needed by family yolo-two-stage"),
        ({"pose_weights": "a.pt"}, "pose_weights: needed by family yolo-two-stage, and by no other"),
        ({"weights": "random"}, "random is for family keypoint-rcnn only"),
        ({"weights_sha256": "ABC"}, "should match pattern"),
        ({"family": "yolo-three-stage"}, "Input should be"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DetectorSettings.model_validate(settings)


def test_half_precision_is_for_gpus() -> None:
    assert DetectorSettings(half=True, device="cuda:1").half


def test_a_device_that_is_not_there_is_one_line_at_the_start() -> None:
    with pytest.raises(DetectorError, match=r"^device cuda:99: ") as caught:
        open_detector(DetectorSettings(device="cuda:99"))
    assert "\n" not in str(caught.value)


def test_a_device_that_there_is_no_kind_of_is_refused_by_the_recipe() -> None:
    with pytest.raises(ValidationError, match="device"):
        DetectorSettings(device="abacus")


def test_the_family_says_which_detector_is_opened() -> None:
    assert type(open_detector(DetectorSettings())) is YoloPose
    two = DetectorSettings(family="yolo-two-stage", pose_weights="yolo11n-pose.pt")
    assert type(open_detector(two)) is YoloTwoStage


def test_a_fingerprint_holds_the_hashes_of_all_weights() -> None:
    known = KNOWN_SHA256["yolo11n-pose.pt"]
    assert DetectorSettings().weights_hashes() == [known]
    two = DetectorSettings(family="yolo-two-stage", weights="yolo11x.pt", pose_weights="yolo11n-pose.pt")
    assert two.weights_hashes() == ["yolo11x.pt", known]


def test_equal_scores_are_ordered_by_their_boxes() -> None:
    people = [person(30, 0.5), person(20, 0.9), person(10, 0.5)]
    assert [p.box_xyxy_px[0] for p in by_score(people)] == [20, 10, 30]


def test_of_two_near_boxes_the_lower_score_is_dropped() -> None:
    people = [person(0, 0.9), person(5, 0.8), person(60, 0.7)]
    assert without_near_boxes(people, 0.7) == [people[0], people[2]]


def test_the_limit_itself_is_near() -> None:
    people = [person(0, 0.9), person(50, 0.8)]
    assert box_iou(people[0].box_xyxy_px, people[1].box_xyxy_px) == pytest.approx(1 / 3)
    assert len(without_near_boxes(people, 1 / 3)) == 1
    assert len(without_near_boxes(people, 0.34)) == 2


def test_a_box_near_to_one_that_was_dropped_stays() -> None:
    people = [person(0, 0.9), person(15, 0.8), person(30, 0.7)]
    assert without_near_boxes(people, 0.7) == [people[0], people[2]]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150),
        ((0, 0, 10, 10), (0, 5, 10, 25), 50 / 250),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (20, 20, 30, 30), 0.0),
        ((5, 5, 5, 5), (5, 5, 5, 5), 0.0),
    ],
)
def test_overlap_is_intersection_over_union(
    a: tuple[float, ...], b: tuple[float, ...], expected: float
) -> None:
    assert box_iou(a, b) == pytest.approx(expected)


@given(BOX, BOX)
def test_iou_is_symmetric_and_at_most_one(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    def ordered(box: tuple[float, ...]) -> list[float]:
        return [min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])]

    iou = box_iou(ordered(one), ordered(other))
    assert iou == box_iou(ordered(other), ordered(one))
    assert 0 <= iou <= 1 + 1e-9


def test_a_real_detectors_persons_are_not_near_each_other() -> None:
    (found,) = open_detector(DetectorSettings()).measure([photograph()])
    assert without_near_boxes(found, 0.7) == found
