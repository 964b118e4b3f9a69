"""Measuring persons: a real detector on a real street, and what becomes of bad pictures and bad detectors."""

import dataclasses
import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from curation.detectors import Person, YoloPose
from curation.gates import GateLimits, person_gate
from curation.persons import (
    MEASURED_ROWS,
    MeasurePersons,
    PersonSettings,
    crop_person,
    encode_jpeg,
    measure_rows,
    pixels_sha256,
)
from pipeline.reasons import Reason
from tests.curation.photograph import photograph

Picture = NDArray[np.uint8]
STOOD = [1.0, 2.0, 0.9] * 17
GOOD = Person((10.0, 20.0, 110.0, 320.0), 0.95, tuple(STOOD))


@dataclasses.dataclass
class FakeDetector:
    """Finds what it is told in every picture; raises on pictures of a given width."""

    found: Sequence[Person] = (GOOD,)
    raises_at_width: int = -1
    model_id: str = "fake"
    calls: list[list[tuple[int, ...]]] = dataclasses.field(default_factory=list)

    def measure(self, pictures: Sequence[Picture]) -> list[list[Person]]:
        self.calls.append([picture.shape for picture in pictures])
        if any(picture.shape[1] == self.raises_at_width for picture in pictures):
            raise RuntimeError("CUDA error: out of memory")
        return [list(self.found) for _ in pictures]


@pytest.fixture(scope="module")
def detector() -> YoloPose:
    return YoloPose(PersonSettings(batch=4))


@pytest.fixture(scope="module")
def street(detector: YoloPose) -> list[Person]:
    """Who is on bus.jpg, measured alone."""
    (found,) = detector.measure([photograph()])
    return found


def encoded(picture: Picture, kind: str = "PNG") -> bytes:
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, kind)
    return sink.getvalue()


def noise(width: int, height: int) -> Picture:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def downloaded(*images: bytes | Reason) -> pa.Table:
    """Rows as the download stage hands them on: an image or a reason."""
    rows = [
        {
            "unit": 3,
            "row": number,
            "url": f"http://a/{number}",
            "image": image if isinstance(image, bytes) else None,
            "reason": image if isinstance(image, Reason) else None,
            "error": "gone" if isinstance(image, Reason) else None,
            "seconds": 0.5,
            "image_sha256": hashlib.sha256(image).hexdigest() if isinstance(image, bytes) else None,
            "image_bytes": len(image) if isinstance(image, bytes) else None,
        }
        for number, image in enumerate(images)
    ]
    schema = pa.schema(
        [
            ("unit", pa.int64()),
            ("row", pa.int32()),
            ("url", pa.string()),
            ("image", pa.large_binary()),
            ("reason", pa.string()),
            ("error", pa.string()),
            ("seconds", pa.float32()),
            ("image_sha256", pa.string()),
            ("image_bytes", pa.int64()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def measured(images: Sequence[bytes | Reason], detector: Any, **settings: Any) -> list[dict[str, Any]]:
    table = measure_rows(downloaded(*images), detector, PersonSettings.model_validate(settings))
    assert table.schema.equals(MEASURED_ROWS)
    rows: list[dict[str, Any]] = table.to_pylist()
    assert [row["row"] for row in rows] == list(range(len(images)))
    return rows


# The real detector


def test_on_the_street_four_people_are_measured_and_exactly_two_pass_the_papers_gates(
    street: list[Person],
) -> None:
    assert len([person for person in street if person.score >= 0.25]) == 4
    reasons = [person_gate(p.box_xyxy_px, p.score, p.keypoints, GateLimits()) for p in street]
    assert reasons.count(None) == 2


def test_a_corrupt_picture_gets_its_reason_and_its_neighbours_are_measured(detector: YoloPose) -> None:
    street = encoded(photograph(), "JPEG")
    images: list[bytes | Reason] = [
        street,
        street[:5000],
        Reason.DNS_FAILED,
        b"<html>",
        encoded(noise(64, 64)),
        street,
    ]
    rows = measured(images, detector, batch=4)
    assert [row["reason"] for row in rows] == [
        None,
        "decode_failed",
        "dns_failed",
        "not_an_image",
        "no_person",
        None,
    ]
    assert [row["status"] for row in rows] == ["kept", "failed", "failed", "rejected", "rejected", "kept"]
    assert rows[0]["persons"] == rows[5]["persons"] == len(rows[0]["measured"]) > 0
    assert rows[2]["error"] == "gone"
    assert (rows[1]["width_px"], rows[0]["width_px"], rows[0]["height_px"]) == (None, 810, 1080)
    scores = [[person["score"] for person in row["measured"]] for row in (rows[0], rows[5])]
    assert scores[0] == scores[1]


def test_the_stage_measures_as_the_function_does(detector: YoloPose) -> None:
    rows = downloaded(encoded(photograph(), "JPEG"))
    settings = PersonSettings()
    with MeasurePersons(settings).open() as process:
        assert process(rows).equals(measure_rows(rows, detector, settings))


# Detectors that misbehave


def test_a_detector_that_raises_on_one_picture_costs_that_row_only() -> None:
    fake = FakeDetector(raises_at_width=77)
    images = [encoded(noise(width, 400)) for width in (200, 77, 201, 202, 203)]
    rows = measured(images, fake, batch=4)
    assert [row["reason"] for row in rows] == [None, "crashed", None, None, None]
    assert rows[1]["error"] == "RuntimeError: CUDA error: out of memory"
    assert rows[1]["status"] == "failed"
    assert (rows[1]["persons"], rows[1]["measured"]) == (0, [])


@pytest.mark.parametrize("box", [(float("nan"),) * 4, (float("inf"),) * 4], ids=str)
def test_a_box_that_cannot_be_cut_costs_that_row_only(box: tuple[float, ...]) -> None:
    bad = dataclasses.replace(GOOD, box_xyxy_px=box)
    (row,) = measured([encoded(noise(200, 400))], FakeDetector(found=[bad]))
    assert (row["reason"], row["persons"], row["measured"]) == ("crashed", 0, [])
    assert "cannot convert float" in row["error"]


def test_pictures_go_to_the_detector_in_batches() -> None:
    fake = FakeDetector()
    measured([encoded(noise(50 + n, 60)) for n in range(5)], fake, batch=2)
    assert fake.calls == [[(60, 50, 3), (60, 51, 3)], [(60, 52, 3), (60, 53, 3)], [(60, 54, 3)]]


def test_rows_without_a_picture_do_not_reach_the_detector() -> None:
    fake = FakeDetector()
    rows = measured([Reason.OPTED_OUT, b"", Reason.TLS_FAILED], fake)
    assert fake.calls == []
    assert [row["reason"] for row in rows] == ["opted_out", "not_an_image", "tls_failed"]


def test_too_many_pixels_are_not_decoded() -> None:
    fake = FakeDetector()
    (row,) = measured([encoded(noise(50, 60))], fake, max_image_pixels=2999)
    assert (row["reason"], row["status"], fake.calls) == ("too_many_pixels", "rejected", [])


def test_no_rows_give_a_table_of_no_rows() -> None:
    assert measured([], FakeDetector()) == []


def test_a_url_that_is_null_in_the_list_is_a_row_all_the_same() -> None:
    rows = downloaded(Reason.URL_INVALID)
    rows = rows.set_column(2, "url", pa.array([None], pa.string()))
    (row,) = measure_rows(rows, FakeDetector(), PersonSettings()).to_pylist()
    assert (row["url"], row["reason"], row["status"]) == ("", "url_invalid", "rejected")


# Crops


def test_a_person_carries_its_measurements_and_its_pixels() -> None:
    picture = noise(300, 400)
    (row,) = measured([encoded(picture)], FakeDetector())
    (person,) = row["measured"]
    assert (person["unit"], person["row"], person["person"]) == (3, 0, 0)
    assert person["box_xyxy_px"] == list(GOOD.box_xyxy_px)
    assert (person["crop_width_px"], person["crop_height_px"]) == (100, 300)
    assert (person["image_width_px"], person["image_height_px"]) == (300, 400)
    assert person["image_sha256"] == row["image_sha256"]
    assert person["model_id"] == "fake"
    pixels = np.asarray(Image.open(io.BytesIO(person["crop"])))
    assert pixels.shape == (300, 100, 3)
    assert np.abs(pixels.astype(int) - picture[20:320, 10:110]).mean() < 12


def test_below_the_pixel_floor_there_are_numbers_but_no_pixels() -> None:
    low = dataclasses.replace(GOOD, score=0.85)
    (row,) = measured([encoded(noise(300, 400))], FakeDetector(found=[GOOD, low]))
    assert [person["crop"] is None for person in row["measured"]] == [False, True]
    assert row["measured"][1]["score"] == pytest.approx(0.85)
    assert row["measured"][1]["crop_sha256"] == row["measured"][0]["crop_sha256"]
    (row,) = measured([encoded(noise(300, 400))], FakeDetector(found=[low]), pixel_floor={"score_min": 0.8})
    assert row["measured"][0]["crop"] is not None


def test_the_crops_hash_is_of_pixels_whatever_the_encoding() -> None:
    jpeg = encoded(noise(300, 400), "JPEG")
    as_decoded = np.asarray(Image.open(io.BytesIO(jpeg)))
    rows = measured([jpeg, encoded(as_decoded, "PNG")], FakeDetector())
    hashes = [row["measured"][0]["crop_sha256"] for row in rows]
    assert hashes[0] == hashes[1] == pixels_sha256(as_decoded[20:320, 10:110])
    assert rows[0]["image_sha256"] != rows[1]["image_sha256"]


def test_the_hash_of_pixels_knows_size_and_every_pixel() -> None:
    black = np.zeros((4, 6, 3), np.uint8)
    other = black.copy()
    other[3, 5, 2] = 1
    assert len({pixels_sha256(p) for p in (black, black.reshape(6, 4, 3), other)}) == 3
    assert pixels_sha256(black[:, ::-1]) == pixels_sha256(black)


SIDE = st.floats(-50, 150)


@given(box=st.tuples(SIDE, SIDE, SIDE, SIDE), width=st.integers(1, 100), height=st.integers(1, 100))
def test_a_crop_lies_inside_the_picture_and_has_a_pixel(
    box: tuple[float, ...], width: int, height: int
) -> None:
    picture = np.arange(width * height, dtype=np.uint16).reshape(height, width, 1).repeat(3, axis=2)
    crop = crop_person(picture, box)  # type: ignore[arg-type]
    assert 1 <= crop.shape[0] <= height
    assert 1 <= crop.shape[1] <= width
    assert set(crop.ravel().tolist()) <= set(picture.ravel().tolist())


def test_a_crop_is_rounded_outwards() -> None:
    picture = noise(20, 30)
    assert np.array_equal(crop_person(picture, (2.9, 3.1, 10.1, 20.0)), picture[3:20, 2:11])
    assert np.array_equal(crop_person(picture, (-5, -5, 99, 99)), picture)


def test_small_coloured_things_stay_sharp_in_the_jpeg() -> None:
    with Image.open(io.BytesIO(encode_jpeg(noise(40, 40), 95))) as image:
        sampling = {(layer[1], layer[2]) for layer in image.layer}  # type: ignore[attr-defined]
    assert sampling == {(1, 1)}
