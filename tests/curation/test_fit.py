import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops
from pydantic import ValidationError

from curation.fit import CropError, FitSettings, fit, fitted_size

SETTINGS = FitSettings(min_pixels=5000, max_pixels=100_000)


def jpeg(width: int, height: int, mode: str = "RGB", **changes: Any) -> bytes:
    """Red above, blue below."""
    picture = Image.new("RGB", (width, height), (200, 30, 40))
    picture.paste((30, 40, 200), (0, height // 2, width, height))
    sink = io.BytesIO()
    picture.convert(mode).save(sink, **{"format": "JPEG", "quality": 95, **changes})
    return sink.getvalue()


def opened(fitted: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(fitted))
    picture.load()
    assert picture.format == "JPEG"
    return picture


@pytest.mark.parametrize("size", [(100, 200), (50, 100), (28, 200), (200, 500)])
def test_a_picture_within_the_limits_is_left_alone(size: tuple[int, int]) -> None:
    data = jpeg(*size)
    assert fit(data, SETTINGS) == data


def test_only_the_header_of_such_a_picture_is_read() -> None:
    data = jpeg(100, 200)
    scan = data.index(b"\xff\xda") + 20
    broken = data[:scan] + b"\x00" * 40 + data[scan + 40 :]
    assert fit(broken, SETTINGS) == broken


def test_a_grey_picture_is_left_alone() -> None:
    data = jpeg(100, 200, mode="L")
    assert fit(data, SETTINGS) == data


def test_a_picture_with_too_many_pixels_is_reduced_and_keeps_its_shape() -> None:
    width, height = opened(fit(jpeg(500, 1000), SETTINGS)).size
    assert 0.95 * 100_000 < width * height <= 100_000
    assert width / height == pytest.approx(0.5, rel=0.02)


def test_a_picture_with_too_few_pixels_is_enlarged_and_keeps_its_shape() -> None:
    width, height = opened(fit(jpeg(30, 60), SETTINGS)).size
    assert 5000 <= width * height < 1.1 * 5000
    assert width / height == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("size", "expected"), [((20, 60), (41, 123)), ((100, 7), (400, 28)), ((1, 1), (71, 71))]
)
def test_no_side_stays_under_28_pixels(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert opened(fit(jpeg(*size), SETTINGS)).size == expected


def test_what_was_resized_shows_the_same() -> None:
    picture = opened(fit(jpeg(500, 1000), SETTINGS)).convert("RGB")
    for y, wanted in ((10, (200, 30, 40)), (picture.height - 10, (30, 40, 200))):
        got = picture.getpixel((picture.width // 2, y))
        assert isinstance(got, tuple)
        assert max(abs(a - b) for a, b in zip(got, wanted, strict=True)) <= 4


@pytest.mark.parametrize("size", [(40, 80), (250, 480), (500, 1000)])
def test_what_was_resized_has_the_pixels_of_pillows_bicubic(size: tuple[int, int]) -> None:
    noise = Image.effect_noise(size, 60)
    picture = Image.merge("RGB", [noise, noise.transpose(Image.Transpose.ROTATE_180), noise])
    sink = io.BytesIO()
    picture.save(sink, "PNG")
    fitted = opened(fit(sink.getvalue(), FitSettings(min_pixels=5000, max_pixels=100_000, quality=100)))
    wanted = picture.resize(fitted.size, Image.Resampling.BICUBIC)
    difference = ImageChops.difference(fitted, wanted)
    assert max(most for _, most in difference.getextrema()) <= 6  # type: ignore[misc]


def test_what_is_said_beside_the_pixels_is_left_out() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    fitted = fit(jpeg(100, 200, exif=exif.tobytes(), comment=b"taken at home"), SETTINGS)
    assert b"taken at home" not in fitted
    assert "exif" not in opened(fitted).info


def test_a_picture_turned_by_its_exif_comes_out_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture = opened(fit(jpeg(100, 200, exif=exif.tobytes()), SETTINGS)).convert("RGB")
    red, _, blue = picture.getpixel((50, 10))  # type: ignore[misc]
    assert blue > red


@pytest.mark.parametrize("changes", [{"mode": "CMYK"}, {"format": "PNG"}, {"format": "WEBP"}])
def test_other_pictures_come_out_as_rgb_jpeg(changes: dict[str, str]) -> None:
    assert opened(fit(jpeg(100, 200, **changes), SETTINGS)).mode == "RGB"


@pytest.mark.parametrize("size", [(100, 200), (500, 1000)])
def test_half_a_picture_is_an_error(size: tuple[int, int]) -> None:
    data = jpeg(*size)
    with pytest.raises(CropError, match=r"^crop: OSError: .*truncated.*$"):
        fit(data[: len(data) // 2], SETTINGS)


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff", b"GIF89a" + bytes(100)])
def test_what_is_no_picture_is_told_in_one_line(data: bytes) -> None:
    with pytest.raises(CropError, match=r"^crop: .*$"):
        fit(data, SETTINGS)


def test_a_picture_of_a_size_that_no_crop_has_is_refused_by_its_header() -> None:
    data = bytearray(jpeg(100, 200))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = (9000).to_bytes(2) + (9000).to_bytes(2)
    with pytest.raises(CropError, match="9000×9000 pixels"):
        fit(bytes(data), SETTINGS)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_every_size_ends_within_the_limits_and_stays_there(width: int, height: int) -> None:
    size = fitted_size(width, height, SETTINGS)
    assert min(size) >= 28
    assert size[0] * size[1] <= 100_000
    assert fitted_size(*size, SETTINGS) == size


@pytest.mark.parametrize(
    "changes",
    [{"min_side_px": 27}, {"max_pixels": 700, "min_pixels": 1}, {"min_pixels": 9000, "max_pixels": 8999}],
)
def test_limits_that_exclude_each_other_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        FitSettings.model_validate(changes)
