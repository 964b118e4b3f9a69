"""Augmentation: what each operation does to pixels, and CLIP's scale."""

import numpy as np
import pytest
import torch
from PIL import Image

from training.augment import CLIP_MEAN, CLIP_STD, augment, normalise
from training.config import AugmentConfig

SIZE = (16, 32)  # width, height


def draws(key: int = 0) -> np.random.Generator:
    return np.random.default_rng(key)


def noise_picture() -> Image.Image:
    return Image.fromarray(draws(9).integers(1, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8))


def still(**changes: object) -> AugmentConfig:
    return AugmentConfig.model_validate({"flip": 0.0, "pad_px": 0, "erase": 0.0, **changes})


def test_without_augmentation_a_picture_is_only_brought_to_clips_scale() -> None:
    image = noise_picture()
    pixels = augment(image, still(), draws())
    assert pixels.shape == (3, 32, 16)
    back = pixels * torch.tensor(CLIP_STD)[:, None, None] + torch.tensor(CLIP_MEAN)[:, None, None]
    assert torch.allclose(back.permute(1, 2, 0) * 255, torch.from_numpy(np.array(image)).float(), atol=1e-3)


def test_a_flip_mirrors_left_and_right() -> None:
    image = noise_picture()
    assert torch.equal(augment(image, still(flip=1.0), draws()), normalise(image).flip(2))


def test_half_of_the_pictures_are_flipped() -> None:
    image, plain = noise_picture(), normalise(noise_picture())
    flipped = sum(not torch.equal(augment(image, still(flip=0.5), draws(key)), plain) for key in range(400))
    assert 160 < flipped < 240


def test_a_crop_shifts_the_picture_by_at_most_the_padding_and_fills_with_black() -> None:
    image = Image.new("RGB", SIZE, (255, 255, 255))
    black = normalise(Image.new("RGB", (1, 1)))[:, 0, 0]
    shifts = set()
    for key in range(300):
        pixels = augment(image, still(pad_px=2), draws(key))
        border = (pixels == black[:, None, None]).all(dim=0)
        rows, columns = border.all(dim=1), border.all(dim=0)
        top, bottom = int(rows[:16].sum()), int(rows[16:].sum())
        left, right = int(columns[:8].sum()), int(columns[8:].sum())
        assert int((~border).sum()) == (32 - top - bottom) * (16 - left - right)
        shifts.add((top - bottom, left - right))
    assert shifts == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


@pytest.mark.parametrize(("value", "colour"), [("mean", (0.0, 0.0, 0.0)), ("released", CLIP_MEAN)])
def test_erasing_fills_one_rectangle_of_the_right_size(value: str, colour: tuple[float, ...]) -> None:
    image, plain = Image.new("RGB", (64, 192)), normalise(Image.new("RGB", (64, 192)))
    for key in range(100):
        pixels = augment(image, still(erase=1.0, erase_value=value), draws(key))
        erased = (pixels == torch.tensor(colour)[:, None, None]).all(dim=0)
        assert torch.equal(pixels[:, ~erased], plain[:, ~erased])
        height, width = int(erased.any(dim=1).sum()), int(erased.any(dim=0).sum())
        assert int(erased.sum()) == height * width
        assert 0.018 < height * width / (64 * 192) < 0.41
        assert 0.27 < height / width < 3.6


def test_half_of_the_pictures_are_erased() -> None:
    image, plain = noise_picture(), normalise(noise_picture())
    erased = sum(not torch.equal(augment(image, still(erase=0.5), draws(key)), plain) for key in range(400))
    assert 160 < erased < 240
