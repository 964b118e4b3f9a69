import numpy as np
import pytest

from tests.world.scenes import CLOSE, at, light, shown, sphere, wall
from world.meshes import merge
from world.shading import decode, encode


@pytest.mark.parametrize("side", [-1, 1])
def test_the_shadow_on_the_ground_falls_away_from_the_sun(side: int) -> None:
    drawing = shown(sphere((0, 0.5, 0), 0.3), lit=light(side * 1.0, 1, 0))
    assert at(drawing, (-0.5 * side, 0.0, 0.0)).mean() < 130  # 45°: it lies as far off as the ball is high
    assert at(drawing, (0.5 * side, 0.0, 0.0)).mean() == 150


def test_ground_in_full_shadow_has_the_light_of_the_sky_alone() -> None:
    drawing = shown(sphere((0, 0.5, 0), 0.3), lit=light(1, 1, 0, sun=0.7, sky=0.3))
    share = 0.3 / (0.3 + 0.7 * np.sqrt(0.5))
    assert at(drawing, (-0.5, 0.0, 0.0)) == pytest.approx(
        encode(decode([150] * 3) * np.float32(share)), abs=1
    )


def test_the_ground_shadow_fades_over_some_texels_of_its_map() -> None:
    far = wall(
        -9.3, 0, -9.2, 1
    )  # not in the picture, but in the map: a texel is about 4 cm, √2 of it on the ground
    drawing = shown(merge([sphere((0, 0.5, 0), 0.3), far]), lit=light(1, 1, 0), camera=CLOSE)
    (pixel,), _ = CLOSE.project(np.array([(-0.5, 0.0, 0.0)], np.float32))
    dark = 150 - drawing.pixels[int(pixel[1]), : int(pixel[0]), 0]
    fading = (dark > 0.1 * dark.max()) & (dark < 0.9 * dark.max())
    assert 12 <= fading.sum() <= 30


def test_a_thing_in_another_ones_shadow_gets_the_sky_only() -> None:
    lit = light(0, 0.6, 0.8, sun=0.7, sky=0.3)
    behind = wall(-1, 0, 1, 2, z=-1)
    screen = wall(-0.5, 1.6, 0.5, 3.0, z=1.0)  # its shadow lies 1.5 m lower, 2 m further back
    spot = (0.0, 0.7, -1.0)
    assert at(shown(merge([behind, screen]), lit=lit), spot) == pytest.approx(
        encode(decode([128] * 3) * np.float32(0.3 * 0.75)), abs=0.5
    )
    assert (
        at(shown(behind, lit=lit), spot).mean()
        > at(shown(merge([behind, screen]), lit=lit), spot).mean() + 40
    )


def test_a_surface_in_the_sun_does_not_shadow_itself() -> None:
    lit = light(0.6, 0.8, 0.5)
    drawing = shown(sphere((0, 1, 0), 0.6), lit=lit, camera=CLOSE)
    row, column = np.nonzero(np.isfinite(drawing.depth))
    rays = CLOSE.rays()[row, column]
    points = np.array(CLOSE.position_m) + rays * (drawing.depth[row, column] / -rays[:, 2])[:, None]
    normals = (points - (0, 1, 0)) / 0.6
    facing = normals @ np.array(lit.direction)
    inner = (facing > 0.25) & (normals[:, 2] > 0.4)  # away from the terminator and the outline
    level = decode(drawing.pixels[row[inner], column[inner], 0]) / decode(128)
    expected = 0.7 * facing[inner] + 0.3 * (0.75 + 0.25 * normals[inner, 1])
    assert inner.sum() > 5000
    assert np.abs(level - expected).max() < 0.03
