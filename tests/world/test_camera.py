import numpy as np
import pytest

from world.camera import Camera
from world.meshes import Floats


def camera(pitch_deg: float = 0.0, centre_px: tuple[float, float] = (50.0, 40.0)) -> Camera:
    return Camera((1.0, 2.0, 5.0), pitch_deg, 100, 80, 200.0, centre_px)


def points(*rows: tuple[float, float, float]) -> Floats:
    return np.array(rows, dtype=np.float32)


def test_a_point_straight_ahead_is_at_the_principal_point() -> None:
    pixels, depth = camera(centre_px=(30.0, 70.0)).project(points((1, 2, 1)))
    assert pixels.tolist() == [[30, 70]]
    assert depth.tolist() == [4]


def test_right_in_the_world_is_right_and_up_is_up() -> None:
    pixels, _ = camera().project(points((1.5, 2, 1), (1, 2.5, 1)))
    assert pixels.tolist() == [[75, 40], [50, 15]]  # 0.5 m × 200 px ÷ 4 m


def test_twice_as_far_is_half_as_large() -> None:
    pixels, depth = camera().project(points((1.5, 2, -3)))
    assert pixels.tolist() == [[62.5, 40]]
    assert depth.tolist() == [8]


def test_positive_pitch_looks_down() -> None:
    # 45° down from 2 m above the ground: the view axis meets it 2 m ahead, √8 m away.
    pixels, depth = camera(pitch_deg=45).project(points((1, 0, 3), (1, 2, 3)))
    assert pixels[0] == pytest.approx([50, 40], abs=1e-4)
    assert depth == pytest.approx([np.sqrt(8), np.sqrt(2)], abs=1e-6)
    assert pixels[1] == pytest.approx([50, 40 - 200], abs=1e-3)  # level with the eye: 45° above the axis


def test_what_is_behind_has_a_negative_depth_and_finite_pixels() -> None:
    pixels, depth = camera().project(points((1.5, 2.5, 6), (1, 2, 5)))
    assert depth.tolist() == [-1, 0]
    assert np.isfinite(pixels).all()


def test_results_are_float32() -> None:
    pixels, depth = camera(10).project(points((0, 0, 0)))
    assert {pixels.dtype, depth.dtype, camera(10).rays().dtype} == {np.dtype(np.float32)}


def test_rays_are_unit_vectors_that_project_to_the_pixel_centres() -> None:
    seen = camera(pitch_deg=12, centre_px=(37.0, 90.0))
    rays = seen.rays()
    assert rays.shape == (80, 100, 3)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=2), 1, atol=1e-6)
    pixels, _ = seen.project(np.asarray(seen.position_m, np.float32) + 3 * rays.reshape(-1, 3))
    row, column = np.mgrid[:80, :100]
    np.testing.assert_allclose(pixels, np.stack([column, row], 2).reshape(-1, 2) + 0.5, atol=1e-3)


def test_a_scaled_camera_sees_the_same_at_so_many_times_the_pixels() -> None:
    seen = camera(7, (41.0, 33.0))
    large = seen.scaled(3)
    at = points((0.7, 1.8, 1.0), (1.2, 0.3, -2.0))
    assert (large.width_px, large.height_px) == (300, 240)
    np.testing.assert_allclose(large.project(at)[0], 3 * seen.project(at)[0], rtol=1e-6)
    np.testing.assert_array_equal(large.project(at)[1], seen.project(at)[1])
