"""Detectors: what finds persons and their keypoints in pictures, behind one interface.

| family         | box and score                        | keypoints                                        |
|----------------|--------------------------------------|--------------------------------------------------|
| yolo-pose      | a YOLO pose model                    | the same model                                   |
| yolo-two-stage | a YOLO detector                      | a YOLO pose model on the box and its surroundings |
| keypoint-rcnn  | torchvision's Keypoint R-CNN (BSD)   | the same model                                   |

The paper took two models (docs/method.md, person filtering).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from curation.weights import weights_hash
from pipeline.recipe import Section

RANDOM = "random"
"""In the place of weights: none, for trying out where the real ones are missing (keypoint-rcnn)."""
Sha256 = Field(default=None, pattern="^[0-9a-f]{64}$")


class DetectorError(RuntimeError):
    """A detector that cannot be used here; the message is one line."""


class DetectorSettings(Section):
    """Which detector, and down to which confidence it reports."""

    family: Literal["yolo-pose", "yolo-two-stage", "keypoint-rcnn"] = "yolo-pose"
    """One pose model for boxes and keypoints, the paper's two models, or torchvision's Keypoint R-CNN."""
    weights: str = "yolo11n-pose.pt"
    """A local file, else the name of weights that a package carries or that Ultralytics or torchvision
    (`KeypointRCNN_ResNet50_FPN_Weights.COCO_V1`) downloads; `random` for trying out keypoint-rcnn."""
    weights_sha256: str | None = Sha256
    """What the file must be. Ultralytics' downloads need it: opening a .pt file may run code in it."""
    pose_weights: str | None = None
    """The second model of yolo-two-stage."""
    pose_weights_sha256: str | None = Sha256
    """What that file must be."""
    pose_pad_share: float = Field(default=0.2, ge=0, le=1)
    """What the second model sees around a box on each side, as a share of the box's side."""
    image_size_px: PositiveInt = 640
    """Side of the square that a picture is letterboxed into; for keypoint-rcnn its shorter side."""
    device: str = Field(default="cpu", pattern=r"^(cpu|mps|cuda(:\d+)?)$")
    """Torch device of the detector, such as cpu, cuda or cuda:1."""
    half: bool = False
    """Half precision; GPUs only."""
    measure_floor: float = Field(default=0.25, ge=0, le=1)
    """Least detector confidence of a person that is recorded at all."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.half and self.device == "cpu":
            raise ValueError("half: needs a GPU, device is cpu")
        if (self.family == "yolo-two-stage") != (self.pose_weights is not None):
            raise ValueError("pose_weights: needed by family yolo-two-stage, and by no other")
        if self.weights == RANDOM and self.family != "keypoint-rcnn":
            raise ValueError("weights: random is for family keypoint-rcnn only")
        return self

    def weights_hashes(self) -> list[str]:
        """What a phase's fingerprint holds of all weights: hashes of local files, whatever their names."""
        pose = (
            [] if self.pose_weights is None else [weights_hash(self.pose_weights, self.pose_weights_sha256)]
        )
        return [weights_hash(self.weights, self.weights_sha256), *pose]


@dataclass(frozen=True)
class Person:
    """One detected person, in pixels of the picture."""

    box_xyxy_px: tuple[float, ...]
    score: float
    keypoints: tuple[float, ...]
    """51 numbers: x, y, confidence for each of COCO's 17."""


class PersonDetector(Protocol):
    """What measures persons; replaceable."""

    model_id: str

    def measure(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Person]]:
        """RGB pictures [H, W, 3] to the persons of each, by falling score; the same in any company."""
        ...


def open_detector(settings: DetectorSettings) -> PersonDetector:
    """Load the detector that the settings name; raises WeightsError or DetectorError."""
    _try_device(settings.device)
    # Each family brings packages that the others do without.
    if settings.family == "keypoint-rcnn":
        from curation.keypoint_rcnn import KeypointRcnn

        return KeypointRcnn(settings)
    from curation.yolo import YoloPose, YoloTwoStage

    return YoloPose(settings) if settings.family == "yolo-pose" else YoloTwoStage(settings)


def _try_device(device: str) -> None:
    """Found out here, and not by every picture's failing."""
    import torch

    try:
        torch.empty(1, device=device)
    except Exception as error:  # torch raises three kinds, some of many lines
        raise DetectorError(f"device {device}: {str(error).splitlines()[0]}") from None


def by_score(persons: Sequence[Person]) -> list[Person]:
    """Persons by falling score, equal ones by their boxes: the order in which they are numbered."""
    return sorted(persons, key=lambda person: (-person.score, person.box_xyxy_px))


def without_near_boxes(persons: Sequence[Person], box_iou_max: float) -> list[Person]:
    """Persons, by falling score, without those whose box overlaps an earlier one's with that IoU or more."""
    kept: list[Person] = []
    for person in persons:
        if not any(box_iou(person.box_xyxy_px, other.box_xyxy_px) >= box_iou_max for other in kept):
            kept.append(person)
    return kept


def box_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes: x1, y1, x2, y2."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared) if shared else 0.0
