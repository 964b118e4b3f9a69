"""Measuring persons: a real detector on a real street, and what becomes of bad pictures and bad detectors."""

import dataclasses
import hashlib
import io
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from curation.crops import pixels_sha256
from curation.decode import decode
from curation.detectors import DetectorError, Person
from curation.gates import GateLimits, person_gate
from curation.hashes import perceptual_hash
from curation.persons import MEASURED_ROWS, MeasurePersons, PersonSettings, measure_rows
from curation.takedown import Takedown
from curation.yolo import YoloPose
from pipeline.attempts import process_around
from pipeline.reasons import Reason
from pipeline.stage import WorkerError
from tests.curation.photograph import photograph

Picture = NDArray[np.uint8]
STOOD = [1.0, 2.0, 0.9] * 17
GOOD = Person((10.0, 20.0, 110.0, 320.0), 0.95, tuple(STOOD))


@dataclasses.dataclass
class FakeDetector:
    """Finds what it is told in every picture; raises on pictures of a given width, or on too many."""

    found: Sequence[Person] = (GOOD,)
    raises_at_width: int = -1
    memory: int = 1000
    """Pictures that it has memory for."""
    sticky: bool = False
    """Once it has raised, it raises on every picture, as CUDA does."""
    broken: bool = False
    model_id: str = "fake"
    calls: list[list[tuple[int, ...]]] = dataclasses.field(default_factory=list)

    def measure(self, pictures: Sequence[Picture]) -> list[list[Person]]:
        self.calls.append([picture.shape for picture in pictures])
        if self.broken or any(picture.shape[1] == self.raises_at_width for picture in pictures):
            self.broken = self.sticky
            raise RuntimeError("CUDA error:\nunspecified")
        if len(pictures) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory.")
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
    """As the runner does it: around rows that make the stage raise."""
    parsed = PersonSettings.model_validate(settings)
    table = process_around(lambda rows: measure_rows(rows, detector, parsed), downloaded(*images))
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
    assert rows[1]["error"] == "RuntimeError: CUDA error: unspecified"
    assert rows[1]["status"] == "failed"
    assert (rows[1]["persons"], rows[1]["measured"]) == (0, [])


def test_the_guilty_picture_is_found_by_halving() -> None:
    fake = FakeDetector(raises_at_width=77)
    measured([encoded(noise(width, 90)) for width in (77, *range(200, 207))], fake, batch=8)
    assert [len(call) for call in fake.calls] == [8, 4, 2, 1, 1, 2, 4]


def test_a_detector_that_is_broken_for_good_costs_no_row() -> None:
    images = [encoded(noise(width, 90)) for width in (200, 201, 77, 202)]
    with pytest.raises(RuntimeError, match="CUDA error"):
        measured(images, FakeDetector(raises_at_width=77, sticky=True))


def test_a_gpu_that_has_failed_is_the_end_of_its_worker() -> None:
    class Failed(FakeDetector):
        def measure(self, pictures: Sequence[Picture]) -> list[list[Person]]:
            raise torch.AcceleratorError("CUDA error: an illegal\nmemory access")

    with pytest.raises(WorkerError, match=r"^AcceleratorError: CUDA error: an illegal memory access$"):
        measured([encoded(noise(200, 90)), encoded(noise(201, 90))], Failed())


def test_where_memory_runs_out_calls_stay_smaller_and_nobody_is_lost() -> None:
    fake = FakeDetector(memory=3)
    rows = measured([encoded(noise(120 + n, 330)) for n in range(16)], fake, batch=8)
    assert [row["persons"] for row in rows] == [1] * 16
    assert [len(call) for call in fake.calls] == [8, 4, *[2] * 8]


def test_a_picture_too_large_for_the_memory_alone_costs_that_row_only() -> None:
    (row,) = measured([encoded(noise(120, 330))], FakeDetector(memory=0))
    assert (row["reason"], row["error"]) == ("crashed", "OutOfMemoryError: CUDA out of memory.")


def test_memory_is_given_another_chance_by_the_next_unit() -> None:
    fake = FakeDetector(memory=1)
    images = [encoded(noise(120, 330)) for _ in range(2)]
    measured(images, fake, batch=2)
    fake.memory = 2
    measured(images, fake, batch=2)
    assert [len(call) for call in fake.calls] == [2, 1, 1, 2]


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


def test_a_batch_ends_when_it_holds_as_many_pixels_as_one_picture_may() -> None:
    fake = FakeDetector()
    images = [encoded(noise(*size)) for size in ((50, 60), (20, 20), (50, 50), (50, 60), (10, 10))]
    measured(images, fake, batch=8, max_image_pixels=3000)
    assert [len(call) for call in fake.calls] == [1, 3, 1]


def test_the_pictures_of_a_batch_are_let_go_before_the_next_ones_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive: list[weakref.ref[Picture]] = []
    most = 0

    def watched(data: bytes, max_pixels: int) -> Picture:
        nonlocal most
        most = max(most, sum(ref() is not None for ref in alive))
        picture = decode(data, max_pixels)
        alive.append(weakref.ref(picture))
        return picture

    monkeypatch.setattr("curation.persons.decode", watched)
    measured([encoded(noise(120, 330)) for _ in range(8)], FakeDetector(), batch=2)
    assert len(alive) == 8
    assert most == 1


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


def test_carried_columns_pass_through_whatever_becomes_of_the_row() -> None:
    rows = downloaded(encoded(noise(200, 400)), Reason.DNS_FAILED, b"<html>")
    rows = rows.append_column("carried", pa.array(['{"id": 1}', '{"id": 2}', None], pa.string()))
    out = measure_rows(rows, FakeDetector(), PersonSettings())
    assert out["carried"].to_pylist() == ['{"id": 1}', '{"id": 2}', None]
    assert measured([b"<html>"], FakeDetector())[0]["carried"] is None


def test_a_row_without_a_picture_and_without_a_reason_is_no_image() -> None:
    rows = downloaded(b"")
    rows = rows.set_column(3, "image", pa.array([None], pa.large_binary()))
    (row,) = measure_rows(rows, FakeDetector(), PersonSettings()).to_pylist()
    assert row["reason"] == "not_an_image"


def test_a_reason_given_before_stays_although_there_is_a_picture() -> None:
    rows = downloaded(encoded(noise(200, 400)))
    rows = rows.set_column(4, "reason", pa.array(["taken_down"], pa.string()))
    fake = FakeDetector()
    (row,) = measure_rows(rows, fake, PersonSettings()).to_pylist()
    assert (row["reason"], row["status"], row["measured"], fake.calls) == ("taken_down", "rejected", [], [])


def test_a_device_that_is_not_there_stops_the_stage_at_its_start_instead_of_failing_every_row() -> None:
    with (
        pytest.raises(DetectorError, match=r"^device cuda:99: "),
        MeasurePersons(PersonSettings(device="cuda:99")).open(),
    ):
        pass


# Hashes


def test_a_picture_and_its_crops_carry_their_perceptual_hashes() -> None:
    street = photograph()
    (row,) = measured([encoded(street)], FakeDetector())
    assert row["image_phash"] == perceptual_hash(street)
    assert row["measured"][0]["crop_phash"] == perceptual_hash(street[20:320, 10:110])
    assert len(row["image_phash"]) == 8


def test_a_picture_without_persons_has_its_hash_all_the_same() -> None:
    rows = measured([encoded(photograph()), b"<html>", encoded(noise(9, 9) * 0)], FakeDetector(found=[]))
    assert [row["image_phash"] is None for row in rows] == [False, True, True]
    assert [row["reason"] for row in rows] == ["no_person", "not_an_image", "no_person"]


# Crops


def test_of_two_near_boxes_the_higher_score_is_recorded() -> None:
    shifted = dataclasses.replace(GOOD, score=0.9, box_xyxy_px=(15.0, 20.0, 115.0, 320.0))
    (row,) = measured([encoded(noise(300, 400))], FakeDetector(found=[GOOD, shifted]))
    assert [person["score"] for person in row["measured"]] == [pytest.approx(0.95)]
    assert row["persons"] == 1
    (row,) = measured([encoded(noise(300, 400))], FakeDetector(found=[GOOD, shifted]), box_iou_max=0.95)
    assert [person["person"] for person in row["measured"]] == [0, 1]


def test_padding_widens_the_crop_and_leaves_box_and_gates_alone() -> None:
    (row,) = measured([encoded(noise(300, 400))], FakeDetector(), pad_share=0.1)
    (person,) = row["measured"]
    assert person["box_xyxy_px"] == list(GOOD.box_xyxy_px)
    assert (person["crop_width_px"], person["crop_height_px"]) == (120, 350)
    assert person["crop_sha256"] == pixels_sha256(noise(300, 400)[0:350, 0:120])
    narrow = dataclasses.replace(GOOD, box_xyxy_px=(10.0, 20.0, 98.0, 320.0))  # 88 px: below the floor of 90
    (row,) = measured([encoded(noise(300, 400))], FakeDetector(found=[narrow]), pad_share=0.1)
    assert row["measured"][0]["crop"] is None


WHOLE = dataclasses.replace(GOOD, box_xyxy_px=(0.0, 0.0, 120.0, 330.0))


def test_a_crop_that_is_a_whole_jpeg_is_stored_as_it_came() -> None:
    jpeg = encoded(photograph()[400:730, 50:170], "JPEG")
    rows = measured([jpeg, encoded(photograph()[400:730, 50:170], "PNG")], FakeDetector(found=[WHOLE]))
    pixels = [np.asarray(Image.open(io.BytesIO(row["measured"][0]["crop"]))) for row in rows]
    assert np.array_equal(pixels[0], decode(jpeg, 10**6))
    assert rows[0]["measured"][0]["crop_sha256"] == pixels_sha256(pixels[0])
    assert rows[1]["measured"][0]["crop_sha256"] != pixels_sha256(pixels[1])  # encoded once, with loss


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
    low = dataclasses.replace(GOOD, score=0.85, box_xyxy_px=(190.0, 20.0, 290.0, 320.0))
    (row,) = measured([encoded(noise(300, 400))], FakeDetector(found=[GOOD, low]))
    assert [person["crop"] is None for person in row["measured"]] == [False, True]
    assert row["measured"][1]["score"] == pytest.approx(0.85)
    assert row["measured"][1]["crop_sha256"] == pixels_sha256(noise(300, 400)[20:320, 190:290])
    (row,) = measured([encoded(noise(300, 400))], FakeDetector(found=[low]), pixel_floor={"score_min": 0.8})
    assert row["measured"][0]["crop"] is not None


def test_the_crops_hash_is_of_pixels_whatever_the_encoding() -> None:
    jpeg = encoded(noise(300, 400), "JPEG")
    as_decoded = np.asarray(Image.open(io.BytesIO(jpeg)))
    rows = measured([jpeg, encoded(as_decoded, "PNG")], FakeDetector())
    hashes = [row["measured"][0]["crop_sha256"] for row in rows]
    assert hashes[0] == hashes[1] == pixels_sha256(as_decoded[20:320, 10:110])
    assert rows[0]["image_sha256"] != rows[1]["image_sha256"]


def test_a_picture_that_looks_like_one_taken_down_is_not_measured() -> None:
    picture = photograph()
    takedown, detector = Takedown(phashes=frozenset({perceptual_hash(picture) or b""})), FakeDetector()
    (row,) = measure_rows(downloaded(encoded(picture)), detector, PersonSettings(), takedown).to_pylist()
    assert (row["reason"], row["measured"], detector.calls) == (Reason.TAKEN_DOWN, [], [])
