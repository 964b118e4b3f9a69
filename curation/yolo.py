"""Ultralytics' YOLO as detector: one pose model, or the paper's two models one after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.crops import crop_box
from curation.detectors import DetectorSettings, Person, box_iou, by_score
from curation.weights import WeightsError, file_sha256, import_ultralytics, resolve_weights

Picture = NDArray[np.uint8]
NO_KEYPOINTS = (0.0,) * 51
"""Of a person in whose box the pose model finds nobody."""


class YoloPose:
    """Boxes and keypoints from one pose model."""

    def __init__(self, settings: DetectorSettings) -> None:
        """Load it; raises WeightsError."""
        self._model = _Model(settings.weights, settings.weights_sha256, settings)
        self._model.require_pose()
        self.model_id = self._model.id

    def measure(self, pictures: Sequence[Picture]) -> list[list[Person]]:
        """RGB pictures [H, W, 3] to the persons of each, by falling score."""
        return [by_score(_persons(result)) for result in self._model.predict(pictures)]


class YoloTwoStage:
    """Boxes and scores from a detector, keypoints from a pose model that sees one box and its surroundings.

    docs/method.md, person filtering: the paper's yolo11x.pt and yolo11x-pose.pt. Of several persons around a
    box, the pose that overlaps it most is taken; a box without any has keypoints of zeros.
    """

    def __init__(self, settings: DetectorSettings) -> None:
        """Load both; raises WeightsError."""
        self._boxes = _Model(settings.weights, settings.weights_sha256, settings)
        self._poses = _Model(settings.pose_weights or "", settings.pose_weights_sha256, settings)
        self._poses.require_pose()
        self._pad_share = settings.pose_pad_share
        self.model_id = f"{self._boxes.id}+{self._poses.id}"

    def measure(self, pictures: Sequence[Picture]) -> list[list[Person]]:
        """RGB pictures [H, W, 3] to the persons of each, by falling score."""
        found = [by_score(_persons(result)) for result in self._boxes.predict(pictures)]
        places = [
            self._place(person, picture)
            for picture, persons in zip(pictures, found, strict=True)
            for person in persons
        ]
        keypoints = self._keypoints(places, len(pictures))
        return [
            [Person(person.box_xyxy_px, person.score, next(keypoints)) for person in persons]
            for persons in found
        ]

    def _place(self, person: Person, picture: Picture) -> "_Place":
        height, width = picture.shape[:2]
        left, top, right, bottom = crop_box(person.box_xyxy_px, width, height, self._pad_share)
        return _Place(person.box_xyxy_px, picture[top:bottom, left:right], (left, top))

    def _keypoints(self, places: Sequence["_Place"], per_call: int) -> Iterator[tuple[float, ...]]:
        """Of each place; per_call: as many as there were pictures, so that the caller bounds the memory."""
        for start in range(0, len(places), per_call):
            call = places[start : start + per_call]
            results = self._poses.predict([place.pixels for place in call])
            for place, result in zip(call, results, strict=True):
                yield place.nearest([_moved(pose, place.origin) for pose in _persons(result)])


@dataclass(frozen=True)
class _Place:
    """A person's box with what the pose model sees of the picture."""

    box_xyxy_px: tuple[float, ...]
    pixels: Picture
    origin: tuple[int, int]
    """Where in the picture the pixels begin: x, y."""

    def nearest(self, poses: Sequence[Person]) -> tuple[float, ...]:
        """The keypoints of the pose that overlaps the box most."""
        overlaps = [box_iou(self.box_xyxy_px, pose.box_xyxy_px) for pose in poses]
        best = max(overlaps, default=0.0)
        return poses[overlaps.index(best)].keypoints if best > 0 else NO_KEYPOINTS


def _moved(person: Person, origin: tuple[int, int]) -> Person:
    """A person of a crop, in pixels of the picture that it was cut from."""
    box = np.array(person.box_xyxy_px) + np.tile(origin, 2)
    keypoints = np.array(person.keypoints) + np.tile([*origin, 0], 17)
    return Person(tuple(box.tolist()), person.score, tuple(keypoints.tolist()))


class _Model:
    """One of Ultralytics' models with the settings of all calls."""

    def __init__(self, weights: str, sha256: str | None, settings: DetectorSettings) -> None:
        path = resolve_weights(weights, sha256)
        try:
            self._model = import_ultralytics().YOLO(path)
        except Exception as error:  # what a file that is no model raises is anything
            raise WeightsError(f"{path}: cannot be opened: {' '.join(str(error).split())[:200]}") from None
        self.id = f"{path.stem}@{file_sha256(path)[:12]}"
        self._path = path
        self._options = {
            "imgsz": settings.image_size_px,
            "conf": settings.measure_floor,
            "device": settings.device,
            "quantize": 16 if settings.half else None,
            "classes": [0],
            # Otherwise the letterbox, and with it the result, depends on the batch mates.
            "rect": False,
            "verbose": False,
        }

    def require_pose(self) -> None:
        """Raises WeightsError if the model finds no keypoints."""
        if self._model.task != "pose":
            raise WeightsError(f"{self._path}: a model for {self._model.task}, not for pose")

    def predict(self, pictures: Sequence[Picture]) -> list[Any]:
        """Ultralytics' results, one for each RGB picture [H, W, 3]."""
        import cv2  # Ultralytics brings it; its channel swap is twenty times as fast as numpy's

        swapped = [cv2.cvtColor(np.ascontiguousarray(p), cv2.COLOR_RGB2BGR) for p in pictures]
        return list(self._model.predict(swapped, **self._options))


def _persons(result: Any) -> list[Person]:
    """The persons of a result; with keypoints of zeros where the model finds none."""
    boxes, scores = result.boxes.xyxy.tolist(), result.boxes.conf.tolist()
    points = (
        [NO_KEYPOINTS] * len(boxes) if result.keypoints is None else result.keypoints.data.flatten(1).tolist()
    )
    return [
        Person(tuple(box), score, tuple(keypoints))
        for box, score, keypoints in zip(boxes, scores, points, strict=True)
    ]
