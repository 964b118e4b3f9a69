"""Crops: where they are cut, what their hash knows, and JPEGs that are taken over without their secrets."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from curation.crops import crop_box, crop_person, encode_jpeg, original_jpeg, pixels_sha256
from curation.decode import decode
from tests.curation.photograph import photograph

Picture = NDArray[np.uint8]
SIDE = st.floats(-50, 150)
STREET = photograph()[400:600, 50:250]


def noise(width: int, height: int) -> Picture:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(picture: Picture | Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    sink = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(sink, kind, **options)
    return sink.getvalue()


def kept(data: bytes) -> bytes | None:
    return original_jpeg(data, decode(data, 10**6))


# Where


@given(
    box=st.tuples(SIDE, SIDE, SIDE, SIDE),
    width=st.integers(1, 100),
    height=st.integers(1, 100),
    pad_share=st.floats(0, 1),
)
def test_a_crop_lies_inside_the_picture_and_has_a_pixel(
    box: tuple[float, ...], width: int, height: int, pad_share: float
) -> None:
    left, top, right, bottom = crop_box(box, width, height, pad_share)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_a_crop_is_rounded_outwards() -> None:
    picture = noise(20, 30)
    assert np.array_equal(crop_person(picture, (2.9, 3.1, 10.1, 20.0)), picture[3:20, 2:11])
    assert np.array_equal(crop_person(picture, (-5, -5, 99, 99)), picture)


def test_padding_is_a_share_of_each_side() -> None:
    assert crop_box((40, 100, 60, 200), 1000, 1000, 0.25) == (35, 75, 65, 225)


# Hashes and encoding


def test_the_hash_of_pixels_knows_size_and_every_pixel() -> None:
    black = np.zeros((4, 6, 3), np.uint8)
    other = black.copy()
    other[3, 5, 2] = 1
    assert len({pixels_sha256(p) for p in (black, black.reshape(6, 4, 3), other)}) == 3
    assert pixels_sha256(black[:, ::-1]) == pixels_sha256(black)


def test_small_coloured_things_stay_sharp_in_the_jpeg() -> None:
    with Image.open(io.BytesIO(encode_jpeg(noise(40, 40), 95))) as image:
        sampling = {(layer[1], layer[2]) for layer in image.layer}  # type: ignore[attr-defined]
    assert sampling == {(1, 1)}


# Originals


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 2}, {"restart_marker_rows": 1}], ids=str
)
def test_a_jpeg_keeps_its_very_pixels(options: dict[str, Any]) -> None:
    data = encoded(STREET, **options)
    bare = kept(data)
    assert bare is not None
    assert len(bare) <= len(data)
    assert np.array_equal(decode(bare, 10**6), decode(data, 10**6))


def test_grey_jpegs_are_kept_too() -> None:
    assert kept(encoded(Image.fromarray(STREET).convert("L"))) is not None


def test_place_and_time_comments_profiles_and_what_follows_the_picture_are_left_out() -> None:
    exif = Image.Exif()
    exif[0x010F] = "SECRET-CAMERA"
    data = encoded(STREET, exif=exif, comment="SECRET-COMMENT", icc_profile=b"SECRET-PROFILE" * 9)
    hidden = data + b"PK\x03\x04SECRET-ARCHIVE"
    assert data.count(b"SECRET") >= 3
    bare = kept(hidden)
    assert bare is not None
    assert b"SECRET" not in bare
    assert bare.endswith(b"\xff\xd9")


def test_a_jpeg_that_its_exif_turns_is_encoded_anew() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    assert kept(encoded(STREET, exif=exif)) is None


@pytest.mark.parametrize(
    "data",
    [
        encoded(STREET, "PNG"),
        encoded(STREET, "WEBP"),
        encoded(Image.fromarray(STREET).convert("CMYK")),
        b"",
        b"\xff",
        b"\xff\xd8\xff\xda",
        encoded(STREET)[:-2],
        encoded(STREET)[:200],
    ],
    ids=["png", "webp", "cmyk", "empty", "byte", "bare scan", "without its end", "cut short"],
)
def test_what_is_no_upright_jpeg_in_plain_colours_is_encoded_anew(data: bytes) -> None:
    assert original_jpeg(data, STREET) is None


def test_a_jpeg_of_another_picture_is_not_taken_for_this_one() -> None:
    assert original_jpeg(encoded(STREET), STREET) is None


@given(st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4), st.floats(0, 1))
def test_any_bytes_give_these_pixels_or_nothing(edits: list[tuple[float, int]], part: float) -> None:
    data = bytearray(encoded(STREET[:16, :16]))
    picture = decode(bytes(data), 10**6)
    for place, value in edits:
        data[int(place * len(data))] = value
    bare = original_jpeg(bytes(data[: int(len(data) * (1 - part / 4))]), picture)
    assert bare is None or np.array_equal(decode(bare, 10**6), picture)
