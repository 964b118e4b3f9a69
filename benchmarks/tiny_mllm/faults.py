"""What a judge should refuse, made from pictures of one person each: the letters A to G (curation/judge.py).

H, I and J are never made: the instrument is not to learn them, nor could it.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

Rng = np.random.Generator
Fault = Callable[[Image.Image, Image.Image, Rng], Image.Image]
"""A picture, another person's picture and chance give the faulty picture, of any size."""


def fit(picture: Image.Image, _other: Image.Image, _rng: Rng) -> Image.Image:
    """No fault at all."""
    return picture


def depiction(picture: Image.Image, _other: Image.Image, rng: Rng) -> Image.Image:
    """A drawing or print of a person: few colours or none, outlines, often in a frame."""
    flat = ImageOps.posterize(picture.filter(ImageFilter.MedianFilter(5)), int(rng.integers(1, 3)))
    if rng.random() < 0.4:
        edges = ImageOps.invert(picture.convert("L").filter(ImageFilter.FIND_EDGES))
        flat = ImageOps.autocontrast(edges).convert("RGB")
    if rng.random() < 0.5:
        flat = ImageOps.expand(flat, int(rng.integers(8, 20)), _colour(rng))
    return flat


def crowd(picture: Image.Image, other: Image.Image, rng: Rng) -> Image.Image:
    """Two people side by side, both as prominent."""
    width, height = picture.size
    inset = int(rng.uniform(0.18, 0.28) * width)
    sides = (picture, other.resize(picture.size))
    halves = [side.crop((inset, 0, width - inset, height)) for side in sides]
    return _beside(halves)


def cut_off(picture: Image.Image, _other: Image.Image, rng: Rng) -> Image.Image:
    """Only head and shoulders, or only legs."""
    width, height = picture.size
    if rng.random() < 0.5:
        return picture.crop((0, 0, width, int(rng.uniform(0.26, 0.4) * height)))
    return picture.crop((0, int(rng.uniform(0.5, 0.65) * height), width, height))


def hidden(picture: Image.Image, _other: Image.Image, rng: Rng) -> Image.Image:
    """A board in front of most of the body."""
    width, height = picture.size
    top = int(rng.uniform(0.2, 0.5) * height)
    bottom = min(height, top + int(rng.uniform(0.45, 0.7) * height))
    left, right = (int(share * width) for share in (rng.uniform(0, 0.12), rng.uniform(0.88, 1)))
    covered = picture.copy()
    ImageDraw.Draw(covered).rectangle((left, top, right, bottom), _colour(rng))
    return covered


def unclear(picture: Image.Image, _other: Image.Image, rng: Rng) -> Image.Image:
    """Out of focus, or hardly any light."""
    if rng.random() < 0.5:
        return picture.filter(ImageFilter.GaussianBlur(picture.width * rng.uniform(0.05, 0.09)))
    return ImageEnhance.Brightness(picture).enhance(rng.uniform(0.03, 0.12))


def overlaid(picture: Image.Image, other: Image.Image, rng: Rng) -> Image.Image:
    """Lines of writing across the person, or four pictures in one."""
    if rng.random() < 0.4:
        other = other.resize(picture.size)
        rows = [_beside([picture, other]), _beside([other, picture])]
        joined = Image.new("RGB", (rows[0].width, 2 * rows[0].height))
        for number, row in enumerate(rows):
            joined.paste(row, (0, number * row.height))
        return joined
    written = picture.copy()
    draw, colour = ImageDraw.Draw(written), _colour(rng)
    for y in range(int(0.1 * picture.height), int(0.9 * picture.height), picture.height // 9):
        draw.text((int(rng.integers(0, 6)), y), _writing(rng), colour, font_size=picture.height // 12)
    return written


FAULTS: Mapping[str, Fault] = {
    "A": fit,
    "B": depiction,
    "C": crowd,
    "D": cut_off,
    "E": hidden,
    "F": unclear,
    "G": overlaid,
}
"""By the judge's letter."""


def _beside(pictures: Sequence[Image.Image]) -> Image.Image:
    joined = Image.new("RGB", (sum(picture.width for picture in pictures), pictures[0].height))
    left = 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width
    return joined


def _writing(rng: Rng) -> str:
    return "".join(chr(rng.integers(65, 91)) if rng.random() < 0.85 else " " for _ in range(16))


def _colour(rng: Rng) -> tuple[int, int, int]:
    red, green, blue = (int(level) for level in rng.integers(0, 256, 3))
    return red, green, blue
