"""Ground and wall in perspective, and what is laid on them."""

import numpy as np
import pytest

from world.surfaces import Frame, Plane, draw_frame, halvings, joints, textured


@pytest.mark.parametrize("open_air", [True, False])
@pytest.mark.parametrize("horizon", [-0.5, 0.0, 0.2, 0.37])
def test_the_feet_stand_on_ground_before_any_wall(horizon: float, open_air: bool) -> None:
    for seed in range(20):
        frame = draw_frame(256, 512, horizon * 512, open_air, np.random.default_rng(seed))
        assert horizon * 512 < frame.foot_px < 0.7 * 512
        assert open_air or frame.foot_px > 0.3 * 512


def test_slabs_grow_towards_the_camera() -> None:
    plane = Frame(256, 512, 100.0, 130).ground()
    assert plane.across.shape == (512 - 130, 256)
    assert (np.diff(plane.along[:, 0]) < 0).all()
    assert (np.diff(np.ptp(plane.across, axis=1)) < 0).all()


def test_someone_seven_metres_away_has_the_stated_height_in_metres_a_pixel() -> None:
    """1.7 m fill 0.88 of the height at row 0.93 · height."""
    plane = Frame(256, 512, 100.0, 130).ground()
    row = round(0.93 * 512) - 130
    assert plane.along[row, 0] == pytest.approx(7, rel=0.01)
    assert plane.pixel_m[row, 0] * 0.88 * 512 == pytest.approx(1.7, rel=0.01)


@pytest.mark.parametrize("plane", [Frame(256, 512, 100.0, 130).ground(), Frame(256, 512, 100.0, 130).wall()])
def test_a_pixel_is_as_wide_and_long_as_the_way_to_the_next(plane: Plane) -> None:
    step = np.diff(np.broadcast_to(plane.across, (len(plane.along), 256)), axis=1)
    np.testing.assert_allclose(step, np.broadcast_to(plane.pixel_m, step.shape), rtol=2e-3)
    steps = abs(np.diff(plane.along[:, 0]))
    np.testing.assert_allclose((steps[1:] + steps[:-1]) / 2, plane.pixel_along_m[1:-1, 0], rtol=2e-3)


def test_a_wall_has_the_scale_of_the_ground_at_its_foot() -> None:
    frame = Frame(256, 512, 100.0, 130)
    assert frame.wall().pixel_m[0, 0] == pytest.approx(frame.ground().pixel_m[0, 0], rel=1e-4)


def test_a_texture_repeats_mirrored_at_its_size() -> None:
    plane = Frame(256, 512, 100.0, 300).wall()
    tile = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    pixel = plane.pixel_m[0, 0]
    tile_m = 32 * pixel  # a texel is half a pixel: the first level but one is drawn
    covered = textured(plane, halvings(tile), float(tile_m), np.random.default_rng(0))
    assert np.corrcoef(covered[:, :-64].ravel(), covered[:, 64:].ravel())[0, 1] > 0.9
    assert abs(np.corrcoef(covered[:, :-32].ravel(), covered[:, 32:].ravel())[0, 1]) < 0.5


def test_a_texture_loses_its_grain_where_a_pixel_is_larger() -> None:
    plane = Frame(256, 512, 100.0, 130).ground()
    tile = np.random.default_rng(0).standard_normal((128, 128)).astype(np.float32)
    covered = textured(plane, halvings(tile), 0.6, np.random.default_rng(0))
    assert covered[:40].std() < 0.5 * covered[-40:].std()


def test_a_joint_is_drawn_at_each_slab_and_pales_where_a_pixel_is_wider() -> None:
    metres = np.arange(0, 3, 0.005)[:, None]
    near, far = (joints(metres, 0.5, 0.02, np.full_like(metres, pixel))[:, 0] for pixel in (0.005, 0.1))
    assert (near[100], far[100]) == pytest.approx((1, 0.2))
    assert near[150] == far[150] == 0
    assert far.mean() == pytest.approx(near.mean(), rel=0.02)
