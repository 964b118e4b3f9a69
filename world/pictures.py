"""A picture of the small web, and how one is varied on the spot: light, colours of garments.

The web takes its pictures from any iterable of `Picture`s; where they come from (photographs, drawings) is
not its business. The functions here are pure: same input, same pixels.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels."""
Outline = Sequence[tuple[int, int]]
"""A closed polygon of (x, y), in pixels."""
Pixels = npt.NDArray[np.uint8]
"""RGB, [height, width, 3]."""
Mask = npt.NDArray[np.float32]
"""[height, width], 0..1."""

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "black": (38, 38, 42),
    "grey": (128, 130, 132),
    "white": (226, 226, 222),
    "red": (178, 34, 38),
    "orange": (222, 122, 38),
    "yellow": (228, 196, 64),
    "green": (44, 112, 62),
    "blue": (38, 82, 170),
    "purple": (104, 58, 138),
    "pink": (222, 140, 166),
    "brown": (108, 70, 44),
    "beige": (208, 188, 152),
}
"""Garment colours by name: the sRGB value that the middle tone of the cloth takes."""


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


def cloth_mask(image: Image.Image, outline: Outline) -> Mask:
    """The cloth inside an outline, as a soft mask over the whole picture.

    Hands and other garments in front of it are left out by their hue, so the outline may run across them.
    """
    shape = Image.new("L", image.size)
    ImageDraw.Draw(shape).polygon(list(outline), fill=255)
    inside = np.asarray(shape.filter(ImageFilter.GaussianBlur(1.2)), dtype=np.float32) / 255
    hue = np.asarray(image.convert("YCbCr"), dtype=np.float32)[..., 1:]
    away = np.abs(hue - np.median(hue[inside > 0.5], axis=0)).max(axis=2)
    mask: Mask = inside * np.clip((_OTHER_HUE - away) / _HUE_FADE, 0, 1)
    return mask


def recolour(pixels: Pixels, mask: Mask, colour: tuple[int, int, int]) -> Pixels:
    """The cloth under a soft mask in another colour: its light and shade stay, its middle tone changes."""
    rows, columns = np.nonzero(mask > 1 / 64)
    if not len(rows):
        return pixels
    window = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    cloth, weight = pixels[window].astype(np.float32), mask[window]
    luma = cloth @ _LUMA
    shade = (luma + _SHADE_FLOOR) / (np.median(luma[weight > 0.5]) + _SHADE_FLOOR)
    dyed = np.asarray(colour, dtype=np.float32) * (np.clip(shade, 0.3, 2.5) ** 0.75)[..., None]
    changed = pixels.copy()
    changed[window] = np.clip(cloth + weight[..., None] * (dyed - cloth), 0, 255).astype(np.uint8)
    return changed


_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_SHADE_FLOOR = 40.0  # keeps the noise of black cloth from becoming blotches on white cloth
_OTHER_HUE, _HUE_FADE = 20, 6  # in levels of Cb and Cr; skin and the red jersey lie further away
