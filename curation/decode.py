"""Bytes from the web to pixels: what they are is looked at, never believed."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from pipeline.reasons import Reason

PILLOW_MAX_PIXELS = 178_956_970
"""Pillow opens no picture with more, whatever our own limit says."""
MAX_SCANS = 200
"""A progressive JPEG has about ten scans; each costs a pass over all pixels, however few bytes it takes."""

_STARTS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF"}
_START_OF_SCAN = b"\xff\xda"
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class DecodeError(Exception):
    """Bytes that give no picture; `reason` is not_an_image, too_many_pixels or decode_failed."""

    def __init__(self, reason: Reason, detail: object = "") -> None:
        self.reason = reason
        super().__init__(" ".join(str(detail).split())[:200])


def decode(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG, WebP or GIF to RGB, uint8 [height, width, 3]; the first frame of an animated one.

    Upright by its EXIF orientation, transparency on white, 16 bits reduced to 8, CMYK read as Adobe writes it
    (inverted), colour profiles ignored. Pixels are counted from the header, before any is decoded. Raises
    DecodeError and nothing else.
    """
    kind = _kind(data)
    if kind is None:
        raise DecodeError(Reason.NOT_AN_IMAGE, f"starts with {data[:16]!r}")
    if kind == "JPEG" and data.count(_START_OF_SCAN) > MAX_SCANS:
        raise DecodeError(Reason.DECODE_FAILED, f"JPEG: more than {MAX_SCANS} scans")
    # Process-wide, and other libraries set it: half a picture would come out grey, without an error.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        # Pillow warns of every oddity that it gets over; on the web there is one in every few pictures.
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(data), formats=[kind]) as picture,
        ):
            if picture.width * picture.height > max_pixels:
                raise DecodeError(Reason.TOO_MANY_PIXELS, f"{picture.width}×{picture.height}")
            picture.load()
            return np.array(_rgb(_upright(picture)))
    except DecodeError:
        raise
    except Image.DecompressionBombError as error:
        raise DecodeError(Reason.TOO_MANY_PIXELS, error) from None
    except Exception as error:
        raise DecodeError(Reason.DECODE_FAILED, f"{kind}: {type(error).__name__}: {error}") from None


def _kind(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for start, kind in _STARTS.items() if data.startswith(start)), None)


def _upright(picture: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF raises anything; the pixels are good all the same
        return picture
    return picture if turn is None else picture.transpose(turn)


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        coloured = picture.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        picture = Image.alpha_composite(white, coloured)
    # `convert` copies a picture that is RGB already, which takes half as long as decoding it.
    return picture if picture.mode == "RGB" else picture.convert("RGB")
