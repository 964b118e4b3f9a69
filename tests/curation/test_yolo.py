"""YOLO behind the interface: real numbers on a real street, from one model and from two."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from curation.detectors import DetectorSettings, Person, box_iou
from curation.gates import GateLimits, gate_outcomes, person_gate
from curation.weights import KNOWN_SHA256, WeightsError, import_ultralytics
from curation.yolo import NO_KEYPOINTS, YoloPose, YoloTwoStage
from tests.curation.photograph import BOXES, photograph

Picture = NDArray[np.uint8]
TWO_STAGE = DetectorSettings(family="yolo-two-stage", pose_weights="yolo11n-pose.pt")
"""One file in both places: as a detector, its only class is the person."""


@pytest.fixture(scope="module")
def detector() -> YoloPose:
    return YoloPose(DetectorSettings())


@pytest.fixture(scope="module")
def two_stage() -> YoloTwoStage:
    return YoloTwoStage(TWO_STAGE)


@pytest.fixture(scope="module")
def street(detector: YoloPose) -> list[Person]:
    """Who is on bus.jpg, measured alone."""
    (found,) = detector.measure([photograph()])
    return found


def noise(width: int, height: int) -> Picture:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def assert_near(persons: list[Person], expected: list[Person]) -> None:
    """The same but for the last digits, and the same before every gate."""
    for person, other in zip(persons, expected, strict=True):
        assert person.score == pytest.approx(other.score, abs=1e-3)
        np.testing.assert_allclose(person.box_xyxy_px, other.box_xyxy_px, atol=1e-3 * 1080)
        np.testing.assert_allclose(person.keypoints[2::3], other.keypoints[2::3], atol=1e-3)
        outcomes = [gate_outcomes(p.box_xyxy_px, p.score, p.keypoints, GateLimits()) for p in (person, other)]
        assert outcomes[0] == outcomes[1]


# One model


def test_persons_come_by_falling_score_with_seventeen_keypoints_inside_the_picture(
    street: list[Person],
) -> None:
    scores = [person.score for person in street]
    assert scores == sorted(scores, reverse=True)
    for person in street:
        assert len(person.keypoints) == 51
        x1, y1, x2, y2 = person.box_xyxy_px
        assert 0 <= x1 < x2 <= 810
        assert 0 <= y1 < y2 <= 1080


def test_the_numbers_are_those_of_the_photograph_that_other_tests_use(street: list[Person]) -> None:
    kept = [p for p in street if person_gate(p.box_xyxy_px, p.score, p.keypoints, GateLimits()) is None]
    lefts = sorted(person.box_xyxy_px[0] for person in kept)
    assert lefts == pytest.approx([48.3, 221.6], abs=0.5)


@pytest.mark.parametrize(
    "mates", [[(64, 48)], [(1000, 50), (50, 1000)], [(300, 300), (1280, 720), (90, 400)]]
)
def test_a_picture_is_measured_the_same_alone_and_beside_batch_mates_of_other_sizes(
    mates: list[tuple[int, int]], detector: YoloPose, street: list[Person]
) -> None:
    *_, beside = detector.measure([*(noise(width, height) for width, height in mates), photograph()])
    assert_near(beside, street)


def test_a_low_score_is_measured_down_to_the_floor_only(street: list[Person]) -> None:
    assert min(person.score for person in street) >= 0.25
    (strict,) = YoloPose(DetectorSettings(measure_floor=0.6)).measure([photograph()])
    assert [person.score for person in strict] == [p.score for p in street if p.score >= 0.6]


def test_a_slow_machine_loses_nobody(
    detector: YoloPose, street: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=10)
    monkeypatch.setattr("ultralytics.utils.nms.time.time", lambda: next(clock))
    found = detector.measure([photograph(), photograph()])
    assert [len(persons) for persons in found] == [len(street)] * 2


@pytest.mark.parametrize("shape", [(1, 1, 3), (5000, 1, 3), (1, 5000, 3)])
def test_a_picture_without_room_for_anybody_has_nobody(shape: tuple[int, ...], detector: YoloPose) -> None:
    assert detector.measure([np.zeros(shape, np.uint8)]) == [[]]


def test_the_model_is_named_by_its_file_and_hash(detector: YoloPose) -> None:
    assert detector.model_id == f"yolo11n-pose@{KNOWN_SHA256['yolo11n-pose.pt'][:12]}"


def test_the_detector_leaves_the_opening_of_pictures_alone(tmp_path: Path, detector: YoloPose) -> None:
    (tmp_path / "page.jpg").write_bytes(b"<html>")
    with pytest.raises(UnidentifiedImageError):
        Image.open(tmp_path / "page.jpg")


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "page.pt"
    path.write_bytes(b"<html>")
    with pytest.raises(WeightsError, match=r"page\.pt: cannot be opened: ") as caught:
        YoloPose(DetectorSettings(weights=str(path)))
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def boxes_only(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of random weights for boxes of 80 classes, no keypoints."""
    path = tmp_path_factory.mktemp("weights") / "boxes.pt"
    import_ultralytics().YOLO("yolo11n.yaml").save(path)
    return str(path)


def test_a_model_without_keypoints_is_refused(boxes_only: str) -> None:
    with pytest.raises(WeightsError, match=r"boxes\.pt: a model for detect, not for pose$"):
        YoloPose(DetectorSettings(weights=boxes_only))


# Two models


def test_boxes_and_scores_of_the_two_models_are_the_first_ones(
    two_stage: YoloTwoStage, street: list[Person]
) -> None:
    (found,) = two_stage.measure([photograph()])
    assert [(p.box_xyxy_px, p.score) for p in found] == [(p.box_xyxy_px, p.score) for p in street]


def test_keypoints_of_the_second_model_lie_where_the_whole_picture_shows_them(
    two_stage: YoloTwoStage, street: list[Person]
) -> None:
    (found,) = two_stage.measure([photograph()])
    for person, whole in zip(found, street, strict=True):
        crop, picture = (np.reshape(p.keypoints, (17, 3)) for p in (person, whole))
        sure = (crop[:, 2] > 0.8) & (picture[:, 2] > 0.8)
        height = person.box_xyxy_px[3] - person.box_xyxy_px[1]
        assert sure.sum() >= 14 or person.box_xyxy_px[0] > 600 or person.box_xyxy_px[2] < 100
        if sure.any():  # not of the one cut off by the picture's edge, of whom nothing is sure
            assert np.abs(crop - picture)[sure, :2].mean() < 0.02 * height


def test_who_passes_the_gates_by_one_model_passes_them_by_two(
    two_stage: YoloTwoStage, street: list[Person]
) -> None:
    (found,) = two_stage.measure([photograph()])
    one, two = (
        {p.box_xyxy_px for p in people if not person_gate(p.box_xyxy_px, p.score, p.keypoints, GateLimits())}
        for people in (street, found)
    )
    assert len(one) == 2
    assert one <= two  # and a third, whose joints are better seen close up


def test_the_first_of_two_models_needs_no_keypoints(
    two_stage: YoloTwoStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (expected,) = two_stage.measure([photograph()])
    results = two_stage._boxes.predict([photograph()])
    results[0].keypoints = None
    monkeypatch.setattr(two_stage._boxes, "predict", lambda _: results)
    assert two_stage.measure([photograph()]) == [expected]


def test_two_models_measure_a_picture_the_same_alone_and_in_a_batch(two_stage: YoloTwoStage) -> None:
    (alone,) = two_stage.measure([photograph()])
    nobody, beside, mirrored = two_stage.measure([noise(90, 400), photograph(), photograph()[:, ::-1]])
    assert nobody == []
    assert_near(beside, alone)
    assert len(mirrored) >= 3


def test_a_box_in_which_the_second_model_finds_nobody_has_keypoints_of_zeros(
    two_stage: YoloTwoStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    see = two_stage._poses.predict
    monkeypatch.setattr(two_stage._poses, "predict", lambda crops: see([crop * 0 for crop in crops]))
    (found,) = two_stage.measure([photograph()])
    assert len(found) == 4
    assert {person.keypoints for person in found} == {NO_KEYPOINTS}


def test_of_two_people_around_a_box_each_gets_their_own_keypoints() -> None:
    neighbours = photograph()[390:910, 40:350]
    (found,) = YoloTwoStage(TWO_STAGE.model_copy(update={"pose_pad_share": 1.0})).measure([neighbours])
    for box in BOXES[1:]:
        here = [c - origin for c, origin in zip(box, (40, 390, 40, 390), strict=True)]
        person = max(found, key=lambda p: box_iou(p.box_xyxy_px, here))
        assert here[0] < person.keypoints[0] < here[2]  # the nose


def test_both_models_are_named(two_stage: YoloTwoStage) -> None:
    one = f"yolo11n-pose@{KNOWN_SHA256['yolo11n-pose.pt'][:12]}"
    assert two_stage.model_id == f"{one}+{one}"
