"""Perceptual hashes: 64 bits of a picture's coarse light and shade; near pictures differ in few of them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE_PX, WAVES = 32, 8
"""A picture is shrunk to a square of 32 pixels; the 8×8 slowest of its cosine waves are looked at."""
LEAST_CONTRAST = 4.0
"""Standard deviation of the shrunk picture's grey, of 255 levels: below it, the bits tell of noise."""


def perceptual_hash(pixels: NDArray[np.uint8]) -> bytes | None:
    """The DCT hash of a picture: which of its slow waves are stronger than their median; 8 bytes.

    pixels: RGB [H, W, 3]. None for a picture of next to no contrast, which cannot be told from others. The
    bits are those of `imagehash.phash` (whose text is their hex digits) but for two now and then: the picture
    is shrunk in two steps, thrice as fast, and its waves are whole numbers, the same on every machine.
    """
    waves = slow_waves(pixels)
    return None if waves is None else np.packbits(waves > np.median(waves)).tobytes()


def slow_waves(pixels: NDArray[np.uint8]) -> NDArray[np.int64] | None:
    """The slowest waves of a picture [H, W, 3], down and across: [8, 8]; None without contrast."""
    grey = Image.fromarray(pixels).convert("L")
    small = np.asarray(grey.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=2.0))
    if small.std() < LEAST_CONTRAST:
        return None
    cosines = _cosines()
    waves: NDArray[np.int64] = cosines @ small.astype(np.int64) @ cosines.T
    return waves


def _cosines() -> NDArray[np.int64]:
    """The slowest cosine waves over the side, in steps of 2**-16: [WAVES, SIDE_PX]."""
    turns = np.outer(np.arange(WAVES), 2 * np.arange(SIDE_PX) + 1) / (2 * SIDE_PX)
    steps: NDArray[np.float64] = np.rint(2**16 * np.cos(np.pi * turns))
    return steps.astype(np.int64)
