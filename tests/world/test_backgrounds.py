"""Backdrops: any size, any horizon, the same pixels by seed, muted, with a ground below."""

import importlib.util

import numpy as np
import pytest

from world.backgrounds import BACKGROUNDS, backdrop
from world.photographs import PhotographMissingError
from world.surfaces import draw_frame, photograph, texture

each_background = pytest.mark.parametrize("name", BACKGROUNDS)
OF_PHOTOGRAPHS = ("brick", "gravel", "grass", "wood", "rocket")


def drawn(name: str, seed: int = 0, width: int = 128, height: int = 256, horizon: float = 40) -> np.ndarray:
    return backdrop(name, width, height, horizon, np.random.default_rng(seed))


def test_there_are_ten_of_different_names_or_more() -> None:
    assert len(set(BACKGROUNDS)) == len(BACKGROUNDS) >= 10


@each_background
def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(name: str) -> None:
    first = drawn(name)
    assert np.array_equal(first, drawn(name))
    assert not np.array_equal(first, drawn(name, seed=1))


@each_background
@pytest.mark.parametrize(("width", "height"), [(256, 512), (640, 480), (33, 17), (1, 1)])
@pytest.mark.parametrize("horizon", [-2.0, -0.3, 0.0, 0.37, 0.97, 3.0])
def test_every_size_and_horizon_is_filled(name: str, width: int, height: int, horizon: float) -> None:
    pixels = drawn(name, width=width, height=height, horizon=horizon * height)
    assert pixels.shape == (height, width, 3)
    assert pixels.dtype == np.uint8


@each_background
def test_colours_are_muted_and_neither_black_nor_white(name: str) -> None:
    for seed in range(4):
        pixels = drawn(name, seed).astype(float)
        assert 60 < pixels.mean() < 215
        assert np.ptp(pixels.mean(axis=(0, 1))) < 70
        assert (np.ptp(pixels, axis=2) > 130).mean() < 0.01


@each_background
def test_two_draws_differ_in_more_than_brightness(name: str) -> None:
    one, other = (drawn(name, seed).astype(float).mean(axis=2).ravel() for seed in (0, 2))
    assert np.corrcoef(one, other)[0, 1] < 0.98


def test_the_ground_begins_where_the_frame_says() -> None:
    """The shade along the foot of a wall: the darkest row of a plain room stands just below it."""
    for seed in range(6):
        frame = draw_frame(128, 256, 40, False, np.random.default_rng(seed))
        rows = drawn("room", seed).astype(float).mean(axis=(1, 2))
        steps = np.abs(np.diff(rows))
        assert abs(int(steps[: frame.foot_px + 4].argmax()) + 1 - frame.foot_px) <= 3


def test_the_ground_of_an_open_place_begins_below_the_horizon_asked_for() -> None:
    for horizon in (60, 120, 180):
        pixels = drawn("grass", width=128, height=256, horizon=horizon).astype(float)
        blue_over_green = (pixels[..., 2] - pixels[..., 1]).mean(axis=1)
        assert (blue_over_green[: horizon - 40] > -12).all()
        assert (blue_over_green[horizon + 16 :] < -12).all()


@each_background
def test_without_scikit_image_only_backgrounds_of_photographs_fail(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "world.photographs.find_spec", lambda package: None if package == "skimage" else find_spec(package)
    )
    photograph.cache_clear()
    texture.cache_clear()
    if name in OF_PHOTOGRAPHS:
        with pytest.raises(PhotographMissingError, match="skimage: not installed"):
            drawn(name)
    else:
        drawn(name)
