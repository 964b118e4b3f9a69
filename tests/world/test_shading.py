from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from tests.world.scenes import CAMERA, CLOSE, GREY, HEIGHT, WIDTH, at, light, shown, sphere, wall
from world.meshes import Floats, Material, merge
from world.shading import BAND_M, decode, encode, finish


def test_a_sphere_is_brighter_towards_the_sun() -> None:
    ball = sphere((0, 1, 0), 0.6)
    left, right = (-0.4, 1.0, 0.4), (0.4, 1.0, 0.4)
    assert (
        at(shown(ball, lit=light(1, 0.8, 0.3)), right).mean()
        > at(shown(ball, lit=light(1, 0.8, 0.3)), left).mean() + 40
    )
    assert (
        at(shown(ball, lit=light(-1, 0.8, 0.3)), left).mean()
        > at(shown(ball, lit=light(-1, 0.8, 0.3)), right).mean() + 40
    )


def test_without_sun_what_faces_the_sky_is_brighter_than_what_faces_the_ground() -> None:
    drawing = shown(sphere((0, 1, 0), 0.6), lit=light(sun=0.0, sky=0.8))
    assert at(drawing, (0, 1.5, 0.3)).mean() > at(drawing, (0, 0.5, 0.3)).mean() + 20 > 40


def test_a_wall_has_the_light_that_can_be_worked_out() -> None:
    lit = light(0, 0.6, 0.8, sun=0.5, sky=0.4)
    drawing = shown(wall(-1, 0, 1, 2), Material((200, 100, 50)), lit=lit)
    expected = encode(decode([200, 100, 50]) * np.float32(0.5 * 0.8 + 0.4 * 0.75))  # sideways: ¾ of the sky
    assert at(drawing, (0.0, 1.0, 0.0)) == pytest.approx(expected, abs=0.1)


def test_the_tint_colours_the_sunlight_only() -> None:
    lit = replace(light(0, 0.6, 0.8, sun=0.5, sky=0.4), tint=(1.0, 0.5, 0.0))
    linear = decode(at(shown(wall(-1, 0, 1, 2), lit=lit), (0.0, 1.0, 0.0))) / decode(128)
    assert linear == pytest.approx([0.4 + 0.3, 0.2 + 0.3, 0.3], abs=2e-3)


def test_the_backdrop_shows_where_there_is_neither_thing_nor_shadow() -> None:
    drawing = shown(sphere((0, 1, 0), 0.2))
    assert (drawing.pixels[:20] == 150).all()
    assert (drawing.owner[:20] == -1).all()
    assert np.isinf(drawing.depth[:20]).all()


def test_stripes_alternate_where_they_must() -> None:
    cloth = Material((220, 220, 220), "striped", (10, 10, 10))
    drawing = shown(wall(-1, 0, 1, 2), cloth, camera=CLOSE)
    middles = [at(drawing, (0.3, (band + 0.5) * BAND_M, 0.0), CLOSE).mean() for band in range(14, 30)]
    assert min(middles[0::2]) > 150  # even bands, counted from the ground of the rest pose
    assert max(middles[1::2]) < 20


def test_stripes_stick_to_the_rest_pose() -> None:
    cloth = Material((220, 220, 220), "striped", (10, 10, 10))
    here = wall(-1, 0, 1, 2)
    worn = replace(here, rest=here.rest + np.array([0, BAND_M, 0], np.float32))
    spot = (0.3, 20.5 * BAND_M, 0.0)
    assert at(shown(here, cloth, camera=CLOSE), spot, CLOSE).mean() > 150
    assert at(shown(worn, cloth, camera=CLOSE), spot, CLOSE).mean() < 20


def test_bands_below_a_pixel_fade_to_their_mean() -> None:
    cloth = Material((220, 220, 220), "striped", (10, 10, 10))
    far = replace(CAMERA, focal_px=CAMERA.focal_px / 20)  # a pixel is 0.67 m
    lit = light(sun=0.0, sky=1.0)
    level = decode(shown(wall(-2, -1, 2, 3), cloth, lit=lit, camera=far).pixels[40, 48, 0])
    assert level == pytest.approx(0.75 * (decode(220) + decode(10)) / 2, rel=0.07)


@pytest.mark.parametrize("turn_deg", [0, 90, 180])
def test_checks_have_three_tones_from_front_side_and_back(turn_deg: int) -> None:
    turn = np.radians(turn_deg)
    matrix = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    ball = sphere((0, 1, 0), 0.6).moved(matrix.astype(np.float32), np.zeros(3, np.float32))
    cloth = Material((220, 220, 220), "checked", (10, 10, 10))
    drawing = shown(ball, cloth, lit=light(sun=0.0, sky=1.0), camera=CLOSE)
    window = drawing.pixels[144:176, 176:208, 0]  # in the middle, over several bands
    for tone in decode(220), decode(10), (decode(220) + decode(10)) / 2:
        assert (np.abs(decode(window) - tone * 0.75) < 0.03).mean() > 0.1


def test_relief_tilts_the_light_and_0_is_smooth() -> None:
    flat = wall(-1, 0, 1, 2)
    inside = np.s_[20:60, 30:66]
    smooth = shown(flat, GREY).pixels[inside]
    assert smooth.std(axis=(0, 1)).max() < 0.01
    spread = [shown(flat, replace(GREY, relief=relief)).pixels[inside].std() for relief in (0.5, 1.0)]
    assert 1 < spread[0] < spread[1] < 25


def test_wrinkles_are_those_of_the_seed() -> None:
    flat, cloth = wall(-1, 0, 1, 2), replace(GREY, relief=1.0)
    first, again, other = (shown(flat, cloth, seed=seed).pixels for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 1


def test_owner_and_depth_tell_what_is_in_front() -> None:
    scene = merge(
        [wall(-1, 0, 1, 2, z=-1, owner=0), wall(0, 0, 1, 2, z=1, owner=1), wall(-2, 0, -1.2, 2, owner=-1)]
    )
    drawing = shown(scene)
    assert drawing.owner[40, 30] == 0
    assert drawing.depth[40, 30] == pytest.approx(6)
    assert drawing.owner[40, 60] == 1
    assert drawing.depth[40, 60] == pytest.approx(4)
    assert drawing.owner[40, 5] == -1  # no person, but something
    assert np.isfinite(drawing.depth[40, 5])


def test_supersampling_keeps_the_size_and_mixes_the_outline() -> None:
    once, twice = (shown(wall(-1, 0, 0.0125, 2), Material((0, 0, 0)), supersample=n) for n in (1, 2))
    assert once.pixels.shape == twice.pixels.shape == (HEIGHT, WIDTH, 3)
    assert twice.depth.shape == twice.owner.shape == (HEIGHT, WIDTH)
    # The wall covers 0.375 px of column 48: one of the two samples across.
    assert twice.pixels[30, 48] == pytest.approx(encode(decode([150] * 3) * np.float32(0.5)), abs=0.1)


def test_outlines_without_supersampling_are_blended() -> None:
    row = shown(wall(-1, 0, 0.0, 2), Material((0, 0, 0))).pixels[30, :, 0]
    assert row[46] == 0
    assert row[49] == 150
    assert 0 < row[47] < row[48] < 150


def test_the_picture_is_the_same_again() -> None:
    ball = sphere((0, 0.6, 0), 0.5)
    first, again = (shown(ball, replace(GREY, relief=1.0), seed=3, supersample=2) for _ in range(2))
    np.testing.assert_array_equal(first.pixels, again.pixels)


def test_decoding_and_encoding_cancel_out() -> None:
    levels = np.arange(256, dtype=np.float32)
    np.testing.assert_allclose(encode(decode(levels)), levels, atol=0.01)
    assert decode([0, 188, 255]) == pytest.approx([0, 0.5029, 1], abs=1e-4)


def finished(
    pixels: Floats, noise: float = 0.0, blur_px: float = 0.0, brightness: float = 1.0
) -> npt.NDArray[np.uint8]:
    return finish(pixels, noise, blur_px, brightness, np.random.default_rng(0))


def test_finishing_without_any_change_only_rounds_and_clips() -> None:
    pixels = np.array([[[-3.0, 1.4, 1.6], [254.7, 255.4, 300.0]]], np.float32)
    assert finished(pixels).tolist() == [[[0, 1, 2], [255, 255, 255]]]


def test_noise_has_the_wanted_deviation_and_comes_from_the_generator() -> None:
    grey = np.full((100, 100, 3), 128, np.float32)
    assert finished(grey, noise=3.0).std() == pytest.approx(3.0, abs=0.1)
    np.testing.assert_array_equal(finished(grey, noise=3.0), finished(grey, noise=3.0))


def test_brightness_is_a_factor_on_linear_light() -> None:
    half = finished(np.full((2, 2, 3), 255, np.float32), brightness=0.5)
    assert half.ravel().tolist() == [188] * 12


def test_blur_spreads_an_edge_by_its_width() -> None:
    edge = np.zeros((20, 40, 3), np.float32)
    edge[:, 20:] = 200
    row = finished(edge, blur_px=2.0)[10, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    # One standard deviation from the edge a Gaussian leaves 16 and 84 %.
    assert (row[17] + row[18]) / 2 == pytest.approx(0.16 * 200, abs=8)
    assert (row[21] + row[22]) / 2 == pytest.approx(0.84 * 200, abs=8)
