"""torchvision's Keypoint R-CNN as detector: the same numbers from a model of another family, BSD-licensed."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import KeypointRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from curation.detectors import RANDOM, DetectorSettings, Person, by_score
from curation.weights import WeightsError, file_sha256, resolve_weights

HALF_SEEN = 2.0
"""Score of a keypoint that becomes the confidence 0.5; Detectron draws keypoints from this score on."""
LONGER_SIDE = 2
"""The longer side of a picture may be this many times `image_size_px`; else both are scaled down."""
_BACKGROUND_AND_PERSON, _KEYPOINTS, _PERSON = 2, 17, 1


class KeypointRcnn:
    """Boxes and keypoints from Keypoint R-CNN with ResNet-50 and FPN, in the form of torchvision's COCO_V1.

    torchvision scores a keypoint by the highest value of its heat map: a logit without bounds. The confidence
    here is the logistic function of score − 2. It keeps the order of scores; it is no calibrated probability,
    so `gates.keypoint_confidence` means something else than for YOLO.
    """

    def __init__(self, settings: DetectorSettings) -> None:
        """Load it; raises WeightsError. Random weights are the same in every process."""
        self._settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._model = _model(settings)
        self.model_id = f"keypoint-rcnn@{RANDOM}"
        if settings.weights != RANDOM:
            self.model_id = f"keypoint-rcnn@{self._load(settings)[:12]}"
        self._model.eval().to(settings.device)

    def measure(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Person]]:
        """RGB pictures [H, W, 3] to the persons of each, by falling score.

        One after the other: torchvision pads the pictures of a batch to the largest, and its results would
        depend on the mates.
        """
        return [self._measure(picture) for picture in pictures]

    def _measure(self, picture: NDArray[np.uint8]) -> list[Person]:
        short, long = sorted(picture.shape[:2])
        if short * LONGER_SIDE * self._settings.image_size_px < long:
            return []  # a line: scaled down, nothing would be left of it
        device = torch.device(self._settings.device)
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).to(device).permute(2, 0, 1).float() / 255
        with torch.inference_mode(), torch.autocast(device.type, enabled=self._settings.half):
            (found,) = self._model([pixels])
        found = {name: values.float().cpu() for name, values in found.items()}
        confidence = torch.sigmoid(found["keypoints_scores"] - HALF_SEEN)
        keypoints = torch.cat([found["keypoints"][..., :2], confidence[..., None]], dim=2).flatten(1)
        rows = zip(
            *(found[name].tolist() for name in ("boxes", "scores", "labels")), keypoints.tolist(), strict=True
        )
        return by_score(
            [
                Person(tuple(box), score, tuple(points))
                for box, score, label, points in rows
                if label == _PERSON
            ]
        )

    def _load(self, settings: DetectorSettings) -> str:
        path = resolve_weights(settings.weights, settings.weights_sha256)
        try:
            self._model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # what a file of another form raises is anything
            raise WeightsError(
                f"{path}: not weights of Keypoint R-CNN: {str(error).splitlines()[0]}"
            ) from None
        return file_sha256(path)


def _model(settings: DetectorSettings) -> KeypointRCNN:
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=0)
    model = KeypointRCNN(
        backbone,
        num_classes=_BACKGROUND_AND_PERSON,
        num_keypoints=_KEYPOINTS,
        min_size=settings.image_size_px,
        max_size=LONGER_SIDE * settings.image_size_px,
        box_score_thresh=settings.measure_floor,
    )
    for layer in model.modules():
        if isinstance(layer, FrozenBatchNorm2d):
            layer.eps = 0.0  # COCO_V1 was trained so
    return model
