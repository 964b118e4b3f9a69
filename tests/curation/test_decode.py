import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from curation.decode import MAX_SCANS, DecodeError, decode
from pipeline.reasons import Reason
from tests.curation.chunks import png

LIMIT = 1_000_000
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def blocks(width: int = 64, height: int = 48) -> Image.Image:
    """Left half red, right half blue, a green stripe on top."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    pixels[: height // 4] = (0, 255, 0)
    return Image.fromarray(pixels)


def noise(width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def reason_of(data: bytes, max_pixels: int = LIMIT) -> Reason:
    with pytest.raises(DecodeError) as caught:
        decode(data, max_pixels)
    return caught.value.reason


def near(pixel: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= 12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_comes_out_as_height_width_rgb(kind: str) -> None:
    pixels = decode(encoded(blocks(), kind), LIMIT)
    assert (pixels.shape, pixels.dtype.name) == ((48, 64, 3), "uint8")
    assert near(pixels[40, 5], RED)
    assert near(pixels[40, 60], BLUE)
    pixels[0] = 0  # and may be written to


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"<!DOCTYPE html><html></html>",
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%PDF-1.7",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        encoded(blocks(), "BMP"),
        encoded(blocks(), "TIFF"),
    ],
)
def test_other_contents_are_no_image(data: bytes) -> None:
    assert reason_of(data) is Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_pixels_are_capped(kind: str) -> None:
    data = encoded(blocks(), kind)
    assert decode(data, 64 * 48).shape == (48, 64, 3)
    assert reason_of(data, 64 * 48 - 1) is Reason.TOO_MANY_PIXELS


def test_pixels_are_counted_from_the_header_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(blocks(), "PNG")

    def load(self: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert reason_of(data, 100) is Reason.TOO_MANY_PIXELS
    assert reason_of(data) is Reason.DECODE_FAILED  # the trap does spring


def test_a_bomb_beyond_pillows_own_limit_has_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert reason_of(encoded(blocks(), "PNG")) is Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_a_truncated_picture_fails_instead_of_coming_out_grey(kind: str, part: float) -> None:
    data = encoded(noise(200, 150), kind)
    assert reason_of(data[: int(len(data) * part)]) is Reason.DECODE_FAILED


def test_truncation_fails_although_another_library_tolerates_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(noise(200, 150), "JPEG")
    assert reason_of(data[: len(data) // 2]) is Reason.DECODE_FAILED


UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = decode(encoded(noise(), kind), LIMIT)
    pixels = decode(encoded(noise(), kind, exif=exif), LIMIT)
    np.testing.assert_array_equal(pixels, UPRIGHT[orientation](stored))


def test_broken_exif_costs_the_orientation_only() -> None:
    data = encoded(blocks(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff\x00\x01")
    assert decode(data, LIMIT).shape == (48, 64, 3)


@pytest.mark.parametrize("marked", [True, False])
def test_cmyk_keeps_its_colours_with_and_without_adobes_marker(marked: bool) -> None:
    data = encoded(blocks().convert("CMYK"), "JPEG", quality=95)
    start = data.index(b"\xff\xee\x00\x0eAdobe")
    pixels = decode(data if marked else data[:start] + data[start + 16 :], LIMIT)
    assert near(pixels[40, 5], RED)
    assert near(pixels[40, 60], BLUE)


def test_ycck_keeps_its_colours() -> None:
    """Pillow writes no YCCK: its channels are written as if they were CMYK, and Adobe's mark is changed."""
    ink = Image.eval(
        blocks(), lambda value: 255 - value
    )  # YCCK's brightness is that of cyan, magenta, yellow
    luma, blue, red = ink.convert("YCbCr").split()
    key = Image.new("L", blocks().size, 255)  # as Adobe writes it: inverted, so no black at all
    inverted = [Image.eval(channel, lambda value: 255 - value) for channel in (luma, blue, red, key)]
    data = bytearray(encoded(Image.merge("CMYK", inverted), "JPEG", quality=95))
    transform = data.index(b"\xff\xee\x00\x0eAdobe") + 15
    assert data[transform] == 0
    data[transform] = 2
    pixels = decode(bytes(data), LIMIT)
    assert near(pixels[40, 5], RED)
    assert near(pixels[40, 60], BLUE)


def test_sixteen_bit_colours_are_scaled_not_clipped() -> None:
    pixels = decode(sixteen_bit_png(0xFF00, 0x8000, 0x0100), LIMIT)
    np.testing.assert_array_equal(pixels, np.array([[[255, 128, 1]]], np.uint8))


def sixteen_bit_png(*colour: int) -> bytes:
    """One pixel in 16 bits a channel, which Pillow does not write."""
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">HHH", *colour)
    return png((b"IHDR", header), (b"IDAT", zlib.compress(row)), (b"IEND", b""))


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    pixels = decode(encoded(Image.fromarray(ramp), "PNG"), LIMIT)
    np.testing.assert_array_equal(pixels, np.repeat((ramp >> 8).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_becomes_three_equal_channels(mode: str) -> None:
    picture = Image.new("L", (4, 4), 255).convert(mode)
    assert (decode(encoded(picture, "PNG"), LIMIT) == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composed_on_white(mode: str) -> None:
    picture = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 2, 4))
    pixels = decode(encoded(picture.convert(mode), "PNG"), LIMIT)
    assert near(pixels[0, 0], (0, 0, 0))
    assert near(pixels[0, 3], WHITE)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_colour_is_white(kind: str) -> None:
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(1, (0, 0, 2, 4))
    pixels = decode(encoded(picture, kind, transparency=0), LIMIT)
    assert near(pixels[0, 0], BLUE)
    assert near(pixels[0, 3], WHITE)


def test_a_palette_of_shades_of_transparency_is_composed_on_white() -> None:
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([0, 0, 0, 0, 0, 255])
    picture.paste(1, (0, 0, 2, 4))
    pixels = decode(encoded(picture, "PNG", transparency=bytes([128, 255])), LIMIT)
    assert near(pixels[0, 0], BLUE)
    assert near(pixels[0, 3], (127, 127, 127))


def test_a_transparent_colour_of_a_true_colour_png_is_white() -> None:
    pixels = decode(encoded(blocks(), "PNG", transparency=RED), LIMIT)
    assert near(pixels[40, 5], WHITE)
    assert near(pixels[40, 60], BLUE)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animated_picture_counts(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert near(decode(data, LIMIT)[8, 8], RED)


def test_pillows_warnings_do_not_fill_the_logs(recwarn: pytest.WarningsRecorder) -> None:
    decode(encoded(blocks(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff\x00\x01"), LIMIT)
    assert list(recwarn) == []


def test_a_progressive_jpeg_of_countless_scans_is_refused() -> None:
    data = encoded(noise(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    assert decode(data[:-2] + scan * (MAX_SCANS // 2) + data[-2:], LIMIT).shape == (48, 64, 3)
    assert reason_of(data[:-2] + scan * MAX_SCANS + data[-2:]) is Reason.DECODE_FAILED


REASONS = (Reason.NOT_AN_IMAGE, Reason.TOO_MANY_PIXELS, Reason.DECODE_FAILED)
STARTS = [encoded(noise(16, 16), kind) for kind in ("JPEG", "PNG", "GIF", "WEBP")]


@given(
    st.sampled_from(STARTS),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
    st.binary(max_size=64),
)
def test_any_bytes_give_pixels_or_a_decode_error(
    start: bytes, edits: list[tuple[float, int]], part: float, tail: bytes
) -> None:
    data = bytearray(start[: int(len(start) * part)] + tail)
    for place, value in edits:
        if data:
            data[int(place * len(data))] = value
    try:
        pixels = decode(bytes(data), 10_000)
    except DecodeError as error:
        outcome: object = error.reason
    else:
        outcome = (pixels.ndim, pixels.shape[2], pixels.dtype.name)
    assert outcome in (*REASONS, (3, 3, "uint8"))
