"""A picture of the small web, and how one is varied on the spot by its light.

The web takes its pictures from any iterable of `Picture`s; where they come from (photographs, drawings) is
not its business. The functions here are pure: same input, same pixels.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels."""


@dataclass(frozen=True)
class Picture:
    """One JPEG picture; `name` is unique in its source and has no suffix."""

    name: str
    data: bytes
    people: bool | None
    """Whether a detector finds a person in it; None where detectors may well disagree."""


def encode_jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """An RGB picture as baseline JPEG bytes."""
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def relight(image: Image.Image, gain: Sequence[float], gamma: float, slope: float) -> Image.Image:
    """Another light: a `gain` per channel, a `gamma` over all, a `slope` of brightness from left to right.

    A slope of 0.2 darkens the left edge by 20 % and brightens the right edge as much.
    """
    levels = np.linspace(0, 1, 256) ** gamma
    pixels = np.asarray(image, dtype=np.uint8)
    ramp = 1 + slope * np.linspace(-1, 1, image.width, dtype=np.float32)
    lit = np.empty_like(pixels)
    for channel, factor in enumerate(gain):
        curve = (255 * factor * levels).astype(np.float32)
        lit[..., channel] = np.minimum(curve[pixels[..., channel]] * ramp, 255).astype(np.uint8)
    return Image.fromarray(lit)
