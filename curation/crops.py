"""Crops: a person's pixels cut out of a picture, hashed, and encoded once."""

import hashlib
import io
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.decode import DecodeError, decode

_STANDALONE = (0x01, *range(0xD0, 0xD8))
"""JPEG markers without a length; of these, the restarts stand amid a scan."""
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
_ADOBE = 0xEE
_SAID_BESIDE = (*range(0xE0, 0xF0), 0xFE)
"""Application data and comments: camera, place and time, previews, profiles, whole other files."""


def crop_box(
    box: Sequence[float], width: int, height: int, pad_share: float = 0.0
) -> tuple[int, int, int, int]:
    """A box, grown on each side and rounded outwards, inside the picture; at least one pixel.

    box: x1, y1, x2, y2 in pixels; pad_share: of its width to the left and the right, of its height above and
    below. Returns left, top, right, bottom.
    """
    across, down = pad_share * (box[2] - box[0]), pad_share * (box[3] - box[1])
    left = min(max(int(np.floor(box[0] - across)), 0), width - 1)
    top = min(max(int(np.floor(box[1] - down)), 0), height - 1)
    right = max(min(int(np.ceil(box[2] + across)), width), left + 1)
    bottom = max(min(int(np.ceil(box[3] + down)), height), top + 1)
    return left, top, right, bottom


def crop_person(
    picture: NDArray[np.uint8], box: Sequence[float], pad_share: float = 0.0
) -> NDArray[np.uint8]:
    """Cut a box out of a picture [H, W, 3], as `crop_box` says; in one piece, for all who read it."""
    height, width = picture.shape[:2]
    left, top, right, bottom = crop_box(box, width, height, pad_share)
    return np.ascontiguousarray(picture[top:bottom, left:right])


def pixels_sha256(picture: NDArray[np.uint8]) -> str:
    """Hash of a picture's size and pixels, the same for every encoding without loss."""
    digest = hashlib.sha256(np.array(picture.shape, dtype=np.int64).tobytes())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()


def encode_jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """An RGB picture as JPEG without chroma subsampling: small coloured things stay sharp."""
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "JPEG", quality=quality, subsampling=0)
    return sink.getvalue()


def original_jpeg(data: bytes, picture: NDArray[np.uint8]) -> bytes | None:
    """The JPEG itself, without what is said beside its pixels, if decoding it gives exactly the picture.

    data: the bytes that the picture [H, W, 3] was decoded from. None if they are no JPEG, if it is not
    upright without its EXIF, if it is not in grey or RGB, or if it cannot be taken apart.
    """
    try:
        bare = b"".join(_pixel_parts(data))
        with Image.open(io.BytesIO(bare), formats=["JPEG"]) as header:
            plain = header.mode in ("L", "RGB")
        same = plain and np.array_equal(decode(bare, picture.shape[0] * picture.shape[1]), picture)
    except (OSError, IndexError, ValueError, DecodeError):
        return None
    return bare if same else None


def _pixel_parts(data: bytes) -> Iterator[bytes]:
    """The segments of a JPEG that make its pixels, up to its end; IndexError or ValueError if it has none."""
    place = 0
    while True:
        marker = data[place + 1]
        if data[place] != 0xFF or (place == 0 and marker != _START_OF_IMAGE):
            raise IndexError
        end = _end(data, place)
        # Adobe's mark says in which colours the pixels are.
        if marker not in _SAID_BESIDE or marker == _ADOBE:
            yield data[place:end]
        if marker == _END_OF_IMAGE:
            return
        place = end


def _end(data: bytes, place: int) -> int:
    """Where the segment that begins at `place` ends; a scan's ends at the next marker that is none of its."""
    marker = data[place + 1]
    if marker in (*_STANDALONE, _START_OF_IMAGE, _END_OF_IMAGE):
        return place + 2
    end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    while marker == _START_OF_SCAN:
        end = data.index(0xFF, end)
        if data[end + 1] not in (0x00, *_STANDALONE):
            break
        end += 2
    return end
