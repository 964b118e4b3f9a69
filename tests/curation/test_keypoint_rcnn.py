"""The second family gives the same kind of numbers; no weights of it are here, so they are random."""

from pathlib import Path

import numpy as np
import pytest
import torch

from curation.detectors import DetectorSettings, open_detector
from curation.keypoint_rcnn import KeypointRcnn
from curation.weights import WeightsError, file_sha256
from tests.curation.photograph import photograph

RANDOM = DetectorSettings(family="keypoint-rcnn", weights="random", image_size_px=64, measure_floor=0.05)


@pytest.fixture(scope="module")
def detector() -> KeypointRcnn:
    return KeypointRcnn(RANDOM)


def test_persons_have_boxes_scores_and_keypoint_confidences_of_the_right_form(detector: KeypointRcnn) -> None:
    picture = photograph()[400:900, 50:250]
    small, tall = picture[::8, ::8], np.zeros((5000, 1, 3), np.uint8)
    found, nobody = detector.measure([small, tall])
    assert nobody == []
    assert found, "random weights are sure of nothing: every box has about the score 0.5"
    scores = [person.score for person in found]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0.05
    boxes = np.array([person.box_xyxy_px for person in found])
    assert boxes.min() >= 0
    assert boxes.max() <= max(small.shape)
    keypoints = np.array([person.keypoints for person in found]).reshape(-1, 17, 3)
    assert np.isfinite(keypoints).all()
    assert keypoints[..., 2].min() >= 0
    assert keypoints[..., 2].max() <= 1


def test_random_weights_say_so(detector: KeypointRcnn) -> None:
    assert detector.model_id == "keypoint-rcnn@random"


def test_weights_from_a_file_are_loaded_and_named_by_their_hash(
    detector: KeypointRcnn, tmp_path: Path
) -> None:
    path = tmp_path / "mine.pth"
    torch.save(detector._model.state_dict(), path)
    loaded = open_detector(RANDOM.model_copy(update={"weights": str(path)}))
    assert loaded.model_id == f"keypoint-rcnn@{file_sha256(path)[:12]}"
    picture = photograph()[400:900:8, 50:250:8]
    assert loaded.measure([picture]) == detector.measure([picture])


def test_a_file_of_another_form_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"layer": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"other\.pth: not weights of Keypoint R-CNN: ") as caught:
        KeypointRcnn(RANDOM.model_copy(update={"weights": str(path)}))
    assert "\n" not in str(caught.value)
