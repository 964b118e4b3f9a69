"""Measure the persons of downloaded pictures, and cut them out; thresholds stand in gates.py."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, PositiveInt

from curation.decode import DecodeError, decode
from curation.detectors import DetectorSettings, Person, PersonDetector, YoloPose
from curation.gates import GateLimits, person_gate
from pipeline.reasons import Reason, status_of
from pipeline.records import PersonRow, UrlRow, arrow_schema
from pipeline.stage import Process

MEASURED_ROWS = pa.schema(
    [*arrow_schema(UrlRow), pa.field("measured", pa.list_(pa.struct(list(arrow_schema(PersonRow)))))]
)
"""A row of `urls` with its rows of `persons` inside."""


class PersonSettings(DetectorSettings):
    """How persons are measured, and whose pixels are stored."""

    batch: PositiveInt = 1
    """Pictures per call of the detector; each is letterboxed by itself, whatever its batch mates."""
    pixel_floor: GateLimits = GateLimits()
    """Persons below this are recorded without their pixels; gates may not be looser."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """Quality at which crops are encoded."""
    max_image_pixels: PositiveInt = 60_000_000
    """Pictures with more pixels are rejected before they are decoded."""


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
