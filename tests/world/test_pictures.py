"""Light and encoding, on a drawing whose pixels are known."""

import io

import numpy as np
import pytest
from PIL import Image

from world.pictures import encode_jpeg, relight


def drawing() -> Image.Image:
    """A blue square on grey."""
    pixels = np.full((80, 80, 3), 128, np.uint8)
    pixels[20:61, 20:61] = (60, 90, 190)
    return Image.fromarray(pixels)


def test_neutral_light_changes_no_pixel_by_more_than_a_level() -> None:
    lit = np.asarray(relight(drawing(), (1, 1, 1), gamma=1, slope=0)).astype(int)
    assert np.abs(lit - np.asarray(drawing())).max() <= 1


def test_a_slope_darkens_the_left_and_brightens_the_right() -> None:
    lit = np.asarray(relight(drawing(), (1, 1, 1), gamma=1, slope=0.2))
    assert lit[5, 0, 0] == pytest.approx(0.8 * 128, abs=1)
    assert lit[5, -1, 0] == pytest.approx(1.2 * 128, abs=1)


def test_gain_and_gamma_work_by_channel() -> None:
    lit = np.asarray(relight(drawing(), (1, 0.5, 2), gamma=2, slope=0))
    grey = 255 * (128 / 255) ** 2
    assert lit[5, 5].tolist() == pytest.approx([grey, grey / 2, 2 * grey], abs=1)


def test_encoded_pictures_are_baseline_jpeg() -> None:
    image = Image.open(io.BytesIO(encode_jpeg(drawing())))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (80, 80))
    assert not image.info.get("progressive")
