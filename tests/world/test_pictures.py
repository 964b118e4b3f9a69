"""Variations of a picture, on drawings whose pixels are known."""

import io

import numpy as np
import pytest
from PIL import Image

from world.pictures import COLOURS, cloth_mask, encode_jpeg, recolour, relight

SQUARE = ((20, 20), (60, 20), (60, 60), (20, 60))


def drawing() -> Image.Image:
    """A blue square with a darker right half on grey, and a skin-coloured hand in its middle."""
    pixels = np.full((80, 80, 3), 128, np.uint8)
    pixels[20:61, 20:61] = (60, 90, 190)
    pixels[20:61, 45:61] = (50, 75, 158)
    pixels[36:44, 30:40] = (220, 170, 140)
    return Image.fromarray(pixels)


def test_a_mask_covers_the_cloth_but_neither_the_hand_on_it_nor_the_rest() -> None:
    mask = cloth_mask(drawing(), SQUARE)
    assert mask[50, 30] == pytest.approx(1)
    assert mask[50, 55] == pytest.approx(1)  # the shaded half
    assert mask[40, 35] == 0
    assert mask[5, 5] == 0


@pytest.mark.parametrize("name", list(COLOURS))
def test_recoloured_cloth_takes_the_named_colour_in_its_middle_tone(name: str) -> None:
    image = drawing()
    changed = recolour(np.asarray(image), cloth_mask(image, SQUARE), COLOURS[name])
    assert np.abs(changed[50, 30].astype(int) - COLOURS[name]).max() <= 3


def test_recolouring_keeps_shade_and_leaves_the_rest_alone() -> None:
    image = drawing()
    before = np.asarray(image)
    changed = recolour(before, cloth_mask(image, SQUARE), COLOURS["red"])
    assert changed[50, 55].sum() < changed[50, 30].sum()
    assert np.array_equal(changed[36:44, 32:38], before[36:44, 32:38])
    assert np.array_equal(changed[:15], before[:15])


def test_recolouring_does_not_write_into_its_input() -> None:
    image = drawing()
    before = np.asarray(image).copy()
    recolour(before, cloth_mask(image, SQUARE), COLOURS["red"])
    assert np.array_equal(before, np.asarray(image))


def test_an_empty_mask_changes_nothing() -> None:
    before = np.asarray(drawing())
    assert np.array_equal(recolour(before, np.zeros((80, 80), np.float32), COLOURS["red"]), before)


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
