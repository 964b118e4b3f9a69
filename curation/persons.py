"""Measure the persons of downloaded pictures, and cut them out; thresholds stand in gates.py."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from curation.crops import crop_box, crop_person, encode_jpeg, original_jpeg, pixels_sha256
from curation.decode import PILLOW_MAX_PIXELS, DecodeError, decode
from curation.detectors import (
    DetectorSettings,
    Person,
    PersonDetector,
    open_detector,
    without_near_boxes,
)
from curation.gates import GateLimits, person_gate
from curation.hashes import perceptual_hash
from curation.takedown import Takedown
from pipeline.reasons import Reason, status_of
from pipeline.recipe import operational
from pipeline.records import PersonRow, UrlRow, arrow_schema
from pipeline.stage import Process, WorkerError

MEASURED_ROWS = pa.schema(
    [*arrow_schema(UrlRow), pa.field("measured", pa.list_(pa.struct(list(arrow_schema(PersonRow)))))]
)
"""A row of `urls` with its rows of `persons` inside."""
_TAKEN_OVER = ("unit", "row", "url", "error", "image_sha256", "image_bytes", "carried", "seconds")
Picture = NDArray[np.uint8]


class PersonSettings(DetectorSettings):
    """How persons are measured, and whose pixels are stored."""

    batch: int = operational(1, gt=0)
    """Pictures per call of the detector; each is letterboxed by itself, whatever its batch mates. Where the
    GPU's memory is too small for as many, fewer are taken."""
    box_iou_max: float = Field(default=0.7, gt=0, le=1)
    """Of two persons of a picture whose boxes overlap by this IoU or more, the one of lower score is not
    recorded. The default is what Ultralytics' models are used with."""
    pixel_floor: GateLimits = GateLimits()
    """Persons below this are recorded without their pixels; gates may not be looser."""
    pad_share: float = Field(default=0.0, ge=0, le=1)
    """What a crop shows around the box on each side, as a share of the box's side; gates do not see it."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """Quality at which crops are encoded. A crop that is a whole JPEG is stored as it came."""
    max_image_pixels: int = Field(default=60_000_000, gt=0, le=PILLOW_MAX_PIXELS)
    """Pictures with more pixels are rejected before they are decoded."""


@dataclass(frozen=True)
class MeasurePersons:
    """Stage: downloaded rows to rows of `urls` with their rows of `persons` inside."""

    settings: PersonSettings
    takedown: Takedown = field(default_factory=Takedown)
    """Pictures that look like one of these are not measured."""

    @contextmanager
    def open(self) -> Iterator[Process]:
        """Load the detector once; raises WeightsError or DetectorError."""
        detector = open_detector(self.settings)
        yield lambda rows: measure_rows(rows, detector, self.settings, self.takedown)


def measure_rows(
    rows: pa.Table,
    detector: PersonDetector,
    settings: PersonSettings,
    takedown: Takedown = Takedown(),  # noqa: B008 - frozen and empty
) -> pa.Table:
    """Measure the persons of downloaded rows; one that is no picture carries its reason.

    Raises what detector or crop raise (pipeline/attempts.py finds out whether it is the row), and WorkerError
    if the GPU does nothing more for this process.

    rows: unit, row, url, image, reason, error, seconds, image_sha256, image_bytes and, where the list has it,
    carried. Rows that have a reason keep it.
    """
    calls = _Calls(detector, settings.batch)
    tables = [MEASURED_ROWS.empty_table()]
    for batch in _batches(rows, settings, takedown):
        tables.append(pa.Table.from_pylist(_measure(batch, calls, settings), schema=MEASURED_ROWS))
        del batch  # its pictures, before the next ones are decoded
    return pa.concat_tables(tables)


@dataclass
class _Looked:
    """A row, and its picture if it has one."""

    row: dict[str, Any]
    picture: Picture | None = None


def _batches(rows: pa.Table, settings: PersonSettings, takedown: Takedown) -> Iterator[list[_Looked]]:
    """Decode row by row; a batch ends with its last picture, or once it has as many pixels as one may."""
    batch: list[_Looked] = []
    pictures, pixels = 0, 0
    for index in range(rows.num_rows):
        (row,) = rows.slice(index, 1).to_pylist()
        looked = _look(row, settings.max_image_pixels, takedown)
        batch.append(looked)
        if looked.picture is not None:
            pictures, pixels = pictures + 1, pixels + looked.picture.size // 3
        if pictures == settings.batch or pixels >= settings.max_image_pixels:
            yield batch
            batch, pictures, pixels = [], 0, 0
    if batch:
        yield batch


def _look(row: dict[str, Any], max_pixels: int, takedown: Takedown) -> _Looked:
    """What is known of the picture before any model sees it: the place to reject it for its looks."""
    if row["reason"] is not None:
        return _Looked(row)
    try:
        picture = decode(row["image"] or b"", max_pixels)
    except DecodeError as error:
        return _Looked(row | {"reason": error.reason, "error": str(error)})
    row |= {"image_phash": perceptual_hash(picture)}
    if takedown.picture(row["image_phash"]):
        return _Looked(row | {"reason": Reason.TAKEN_DOWN, "error": "looks like a picture of the list"})
    return _Looked(row, picture)


def _measure(batch: list[_Looked], calls: "_Calls", settings: PersonSettings) -> list[dict[str, Any]]:
    found = iter(calls.measure([looked.picture for looked in batch if looked.picture is not None]))
    out = []
    for row, picture in ((looked.row, looked.picture) for looked in batch):
        persons: list[dict[str, Any]] = []
        if picture is not None:
            persons = [
                _person_row(row, number, person, picture, calls.detector.model_id, settings)
                for number, person in enumerate(without_near_boxes(next(found), settings.box_iou_max))
            ]
        out.append(_measured_row(row, picture, persons))
    return out


@dataclass
class _Calls:
    """Calls of a detector that fit into its memory: one that does not is halved."""

    detector: PersonDetector
    per_call: int
    """Pictures per call; fewer once memory ran out."""

    def measure(self, pictures: Sequence[Picture]) -> list[list[Person]]:
        """Persons of each picture."""
        if not pictures:
            return []
        if len(pictures) <= self.per_call:
            try:
                return self.detector.measure(pictures)
            except Exception as error:
                if _is_broken_device(error):
                    raise WorkerError(" ".join(f"{type(error).__name__}: {error}".split())) from error
                if len(pictures) == 1 or not _is_out_of_memory(error):
                    raise
                self.per_call = len(pictures) // 2
        # Outside of `except`: the error holds on to the tensors of the call that failed.
        middle = len(pictures) // 2
        return [*self.measure(pictures[:middle]), *self.measure(pictures[middle:])]


def _is_out_of_memory(error: Exception) -> bool:
    import torch  # seconds; where it is not loaded already, no error is of its kind

    return isinstance(error, torch.OutOfMemoryError)


def _is_broken_device(error: Exception) -> bool:
    """Whether a GPU will do nothing more for this process, as CUDA does after a failed kernel."""
    import torch

    return isinstance(error, torch.AcceleratorError)


def _measured_row(
    row: dict[str, Any], picture: Picture | None, persons: list[dict[str, Any]]
) -> dict[str, Any]:
    reason = Reason(row["reason"]) if row["reason"] else None if persons else Reason.NO_PERSON
    height, width = picture.shape[:2] if picture is not None else (None, None)
    return {
        **{name: row.get(name) for name in _TAKEN_OVER},
        "url": row["url"] or "",
        "status": status_of(reason),
        "reason": reason,
        "image_phash": row.get("image_phash"),
        "width_px": width,
        "height_px": height,
        "persons": len(persons),
        "measured": persons,
    }


def _person_row(
    row: dict[str, Any],
    number: int,
    person: Person,
    picture: Picture,
    model_id: str,
    settings: PersonSettings,
) -> dict[str, Any]:
    crop = crop_person(picture, person.box_xyxy_px, settings.pad_share)
    left, top, *_ = crop_box(person.box_xyxy_px, picture.shape[1], picture.shape[0], settings.pad_share)
    stored = person_gate(person.box_xyxy_px, person.score, person.keypoints, settings.pixel_floor) is None
    return vars(
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
            crop_phash=perceptual_hash(crop),
            crop_left_px=left,
            crop_top_px=top,
            crop_width_px=crop.shape[1],
            crop_height_px=crop.shape[0],
            crop=_encoded(crop, picture, row["image"], settings.jpeg_quality) if stored else None,
            model_id=model_id,
        )
    )


def _encoded(crop: Picture, picture: Picture, image: bytes, quality: int) -> bytes:
    """The crop as JPEG: encoded once, or not at all where it is a whole JPEG already."""
    whole = original_jpeg(image, picture) if crop.shape == picture.shape else None
    return encode_jpeg(crop, quality) if whole is None else whole
