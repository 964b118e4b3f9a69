"""Bytes that the web sends: each gives pixels or a reason, in bounded memory, and never another error."""

import io
import resource
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation.decode import DecodeError, decode
from pipeline.reasons import Reason
from tests.curation.chunks import chunk, header, png

LIMIT = 10_000_000
KINDS = ("JPEG", "PNG", "WEBP", "GIF")
BAD, BROKEN, HUGE = Reason.NOT_AN_IMAGE, Reason.DECODE_FAILED, Reason.TOO_MANY_PIXELS
Outcome = Reason | tuple[int, ...]


def noise(width: int = 120, height: int = 90) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, kind, **options)
    return sink.getvalue()


WHOLE = {kind: encoded(noise(), kind) for kind in KINDS} | {
    "progressive JPEG": encoded(noise(), "JPEG", progressive=True),
    "CMYK JPEG": encoded(noise().convert("CMYK"), "JPEG"),
    "animated GIF": encoded(noise(), "GIF", save_all=True, append_images=[noise(120, 90).rotate(90)] * 2),
    "animated PNG": encoded(noise(), "PNG", save_all=True, append_images=[noise().rotate(180)] * 2),
    "animated WEBP": encoded(noise(), "WEBP", save_all=True, append_images=[noise().rotate(180)] * 2),
    "16-bit PNG": encoded(Image.fromarray(np.arange(10_800, dtype=np.uint16).reshape(90, 120)), "PNG"),
    "palette PNG": encoded(noise().quantize(64), "PNG", transparency=3),
    "1-bit PNG": encoded(noise().convert("1"), "PNG"),
    "LA PNG": encoded(noise().convert("LA"), "PNG"),
}


def outcome(data: bytes, max_pixels: int = LIMIT) -> Outcome:
    """The reason, or the shape of the pixels."""
    try:
        return decode(data, max_pixels).shape
    except DecodeError as error:
        return error.reason


# What is good stays good


@pytest.mark.parametrize("kind", WHOLE)
def test_an_unharmed_file_gives_its_pixels(kind: str) -> None:
    assert outcome(WHOLE[kind]) == (90, 120, 3)


# Harm


@pytest.mark.parametrize("length", [1, 2, 3, 7, 11, 20, 33, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_within_its_header_gives_a_reason(kind: str, length: int) -> None:
    assert outcome(WHOLE[kind][:length]) in (BAD, BROKEN)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_short_gives_a_reason_or_its_first_frame(kind: str, part: float) -> None:
    data = WHOLE[kind][: int(len(WHOLE[kind]) * part)]
    allowed: list[Outcome] = [BROKEN, *([(90, 120, 3)] if kind.startswith("animated") else [])]
    assert outcome(data) in allowed


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", WHOLE)
def test_flipped_bits_give_pixels_or_a_reason(kind: str, seed: int) -> None:
    draws, data = np.random.default_rng(seed), bytearray(WHOLE[kind])
    # Half of them in the header, where they do most.
    for place in [*draws.integers(0, 64, 2), *draws.integers(0, len(data), 2)]:
        data[place] ^= 1 << int(draws.integers(8))
    result = outcome(bytes(data), 100_000)
    assert result in (BAD, BROKEN, HUGE) or (isinstance(result, tuple) and result[2] == 3)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_with_another_one_behind_it_is_itself(kind: str) -> None:
    assert outcome(WHOLE[kind] + b"PK\x03\x04" + WHOLE["PNG"]) == (90, 120, 3)


# Other contents


OTHERS = {
    "nothing": b"",
    "zeros": bytes(1000),
    "HTML": b"<!DOCTYPE html><html><body>404</body></html>",
    "HTML after spaces": b"\n\n   <html></html>",
    "SVG": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "SVG without its head": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "ZIP": b"PK\x03\x04" + bytes(40),
    "gzip of a PNG": b"\x1f\x8b\x08" + bytes(40),
    "TIFF": encoded(noise(), "TIFF"),
    "BMP": encoded(noise(), "BMP"),
    "ICO": encoded(noise(32, 32), "ICO"),
    "AVIF": b"\x00\x00\x00\x20ftypavif" + bytes(40),
    "HEIC": b"\x00\x00\x00\x18ftypheic" + bytes(40),
    "MP4": b"\x00\x00\x00\x18ftypmp42" + bytes(40),
    "WAV": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40),
    "JSON": b'{"error": "gone"}',
    "JPEG behind a space": b" " + WHOLE["JPEG"],
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_content_is_no_image(name: str) -> None:
    assert outcome(OTHERS[name]) is BAD


STARTS = {
    "JPEG": b"\xff\xd8\xff\xe0",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "WEBP": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
    "GIF": b"GIF89a",
}


@pytest.mark.parametrize(
    "rest", [b"", bytes(500), b"\xff" * 500, b"<html>" * 80], ids=["end", "0", "255", "html"]
)
@pytest.mark.parametrize("kind", STARTS)
def test_a_good_start_and_nothing_behind_it_fails(kind: str, rest: bytes) -> None:
    assert outcome(STARTS[kind] + rest) in (BROKEN, HUGE)


# Sizes


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_speck_and_a_line_are_pictures(kind: str, size: tuple[int, int]) -> None:
    assert outcome(encoded(noise(*size), kind)) == (size[1], size[0], 3)


def gif(screen: tuple[int, int], frame: tuple[int, int], at: tuple[int, int] = (0, 0)) -> bytes:
    """A screen with one frame somewhere, its pixels those of a small file."""
    small = encoded(Image.new("L", (1, 1)), "GIF")
    pixels = small[small.index(b"\x2c") + 10 :]
    palette = b"\x00\x00\x00\xff\xff\xff"
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + palette
    return head + b"\x2c" + struct.pack("<HHHHB", *at, *frame, 0) + pixels


def riff(kind: bytes, content: bytes) -> bytes:
    content += bytes(len(content) % 2)
    part = kind + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(part) + 4) + b"WEBP" + part


def jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG whose frame header claims another size."""
    data = bytearray(WHOLE["JPEG"])
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


CLAIMS = {
    "PNG": png(header(50_000, 50_000), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")),
    "PNG of 2**31": png(header(2**31 - 1, 2**31 - 1), (b"IDAT", b""), (b"IEND", b"")),
    "JPEG": jpeg_of(50_000, 50_000),
    "GIF": gif((50_000, 50_000), (1, 1)),
    "GIF with a frame beyond its screen": gif((10, 10), (50_000, 50_000)),
    "GIF with a frame far from its screen": gif((10, 10), (1, 1), (60_000, 60_000)),
    "WEBP": riff(b"VP8X", struct.pack("<I", 0) + b"\xfe\x3f\x00" * 2),
    "lossless WEBP": riff(b"VP8L", b"\x2f" + struct.pack("<I", 0x3FFF | 0x3FFF << 14) + bytes(60)),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_small_file_that_claims_billions_of_pixels_costs_no_memory(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(CLAIMS[name]) in (HUGE, BROKEN)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_png_header_of_50000_by_50000_has_too_many_pixels() -> None:
    assert outcome(CLAIMS["PNG"]) is HUGE


def test_a_gif_whose_frame_is_larger_than_its_screen_is_as_large_as_its_frame() -> None:
    assert outcome(gif((10, 10), (4000, 4000)), 15_000_000) is HUGE
    assert outcome(gif((10, 10), (1, 1))) == (10, 10, 3)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)], ids=str)
def test_a_picture_without_pixels_fails(size: tuple[int, int]) -> None:
    assert outcome(png(header(*size), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))) is BROKEN


# Inside


def with_chunk(name: bytes, content: bytes) -> bytes:
    """The PNG with one more chunk before its pixels."""
    data = WHOLE["PNG"]
    place = data.index(b"IDAT") - 4
    return data[:place] + chunk((name, content)) + data[place:]


BOMB = zlib.compress(bytes(100_000_000), 9)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"zTXt", b"Comment\0\0" + BOMB),
        (b"iTXt", b"Comment\0\1\0\0\0" + BOMB),
        (b"iCCP", b"profile\0\0" + BOMB),
    ],
    ids=["zTXt", "iTXt", "iCCP"],
)
def test_a_bomb_in_a_chunk_beside_the_pixels_is_not_unpacked(name: bytes, content: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(with_chunk(name, content)) in ((90, 120, 3), BROKEN)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_bomb_in_the_pixels_is_unpacked_to_the_size_of_the_picture_only() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome(png(header(4, 4), (b"IDAT", BOMB), (b"IEND", b""))) in ((4, 4, 3), BROKEN)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize(
    "name", [b"eXIf", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"pHYs", b"acTL", b"tRNS"]
)
def test_garbage_in_a_chunk_gives_pixels_or_a_reason(name: bytes) -> None:
    garbage = np.random.default_rng(len(name)).bytes(37)
    assert outcome(with_chunk(name, garbage)) in ((90, 120, 3), BROKEN)


@pytest.mark.parametrize("name", [b"IHDR", b"IDAT", b"IEND"])
def test_a_wrong_check_sum_gives_pixels_or_a_reason(name: bytes) -> None:
    data = bytearray(WHOLE["PNG"])
    place = data.index(name)
    length = int.from_bytes(data[place - 4 : place], "big")
    data[place + 4 + length] ^= 0xFF
    expected: list[Outcome] = [BROKEN] if name == b"IHDR" else [BROKEN, (90, 120, 3)]
    assert outcome(bytes(data)) in expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(40),
        b"Exif\0\0" + np.random.default_rng(0).bytes(400),
        # an orientation of 77, and one that is a text
        b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x4d\0\0\0\0\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\2\0\0\0\4abc\0\0\0\0\0",
    ],
    ids=["none", "empty", "far away", "many tags", "random", "77", "text"],
)
def test_garbage_in_exif_costs_the_orientation_only(kind: str, exif: bytes) -> None:
    assert outcome(encoded(noise(), kind, exif=exif)) == (90, 120, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_garbage_for_a_colour_profile_costs_nothing(kind: str) -> None:
    data = encoded(noise(), kind, icc_profile=np.random.default_rng(0).bytes(3000))
    assert np.array_equal(decode(data, LIMIT), decode(WHOLE[kind], LIMIT))


def test_an_animated_picture_whose_later_frames_are_broken_gives_its_first() -> None:
    data = WHOLE["animated GIF"]
    assert outcome(data[: len(data) * 3 // 4] + b"\xff" * 200) == (90, 120, 3)
