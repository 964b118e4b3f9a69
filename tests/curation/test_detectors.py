"""The detector behind its interface: real numbers on a real street, and weights that are what they say."""

import importlib.util
import socket
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from curation import detectors
from curation.detectors import DetectorSettings, Person, WeightsError, YoloPose, resolve_weights
from curation.gates import GateLimits, gate_outcomes, person_gate
from tests.curation.photograph import photograph

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def detector() -> YoloPose:
    return YoloPose(DetectorSettings())


@pytest.fixture(scope="module")
def street(detector: YoloPose) -> list[Person]:
    """Who is on bus.jpg, measured alone."""
    (found,) = detector.measure([photograph()])
    return found


def noise(width: int, height: int) -> Picture:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


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
    assert len(beside) == len(street)
    for person, alone in zip(beside, street, strict=True):
        assert person.score == pytest.approx(alone.score, abs=1e-3)
        np.testing.assert_allclose(person.box_xyxy_px, alone.box_xyxy_px, atol=1e-3 * 1080)
        np.testing.assert_allclose(person.keypoints[2::3], alone.keypoints[2::3], atol=1e-3)
        args = (person.box_xyxy_px, person.score, person.keypoints, GateLimits())
        assert gate_outcomes(*args) == gate_outcomes(
            alone.box_xyxy_px, alone.score, alone.keypoints, GateLimits()
        )


def test_a_low_score_is_measured_down_to_the_floor_only(street: list[Person]) -> None:
    assert min(person.score for person in street) >= 0.25
    (strict,) = YoloPose(DetectorSettings(measure_floor=0.6)).measure([photograph()])
    assert [person.score for person in strict] == [p.score for p in street if p.score >= 0.6]


def test_the_model_is_named_by_its_file_and_hash(detector: YoloPose) -> None:
    assert detector.model_id == f"yolo11n-pose@{detectors.PACKAGED_SHA256['yolo11n-pose.pt'][:12]}"


def test_packaged_weights_other_than_the_pinned_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(detectors.PACKAGED_SHA256, "yolo11n-pose.pt", "0" * 64)
    with pytest.raises(WeightsError, match=r"yolo11n-pose\.pt: not the pinned weights \(sha256 differs\)"):
        YoloPose(DetectorSettings())


def test_a_local_file_is_taken_before_a_packaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "yolo11n-pose.pt").write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    assert resolve_weights("yolo11n-pose.pt") == str(tmp_path / "yolo11n-pose.pt")


@pytest.mark.parametrize("name", ["no/such.pt", "nonsense.pt", "https://example.invalid/yolo11n-pose.pt"])
def test_weights_that_do_not_exist_are_named_and_nothing_is_asked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(WeightsError, match=f"^{name}: no such weights file$"):
        YoloPose(DetectorSettings(weights=name))


def test_measuring_with_the_packaged_weights_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    YoloPose(DetectorSettings()).measure([noise(64, 64)])


def test_without_the_package_ultralytics_may_download_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert resolve_weights("yolo11n-pose.pt") == "yolo11n-pose.pt"


def test_the_detector_leaves_the_opening_of_pictures_alone(tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_bytes(b"<html>")
    YoloPose(DetectorSettings())
    with pytest.raises(UnidentifiedImageError):
        Image.open(tmp_path / "page.jpg")
