"""Meshes of bags and straps: closed, facing outwards, of the promised sizes and origins."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.world.solids import check_made, check_solid, main_points, volume
from world.meshes import Mesh
from world.things import (
    BACKPACK_M,
    GRIP_M,
    HANDBAG_M,
    MAIN,
    SHOULDER_BAG_M,
    backpack,
    band,
    handbag,
    shoulder_bag,
    superellipsoid,
)


def arch(count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Points over a shoulder of radius 0.1 m, and what points away from it."""
    angle = np.linspace(0.2, np.pi - 0.2, count)
    out = np.stack([0 * angle, np.sin(angle), np.cos(angle)], axis=1)
    return 0.1 * out, out


def loop() -> Mesh:
    angle = np.arange(8) * np.pi / 4
    out = np.stack([np.sin(angle), 0.4 * np.cos(angle), np.cos(angle)], axis=1)
    return band(0.15 * out, out, 0.04, 0.012, closed=True)


THINGS: dict[str, Callable[[], Mesh]] = {
    "superellipsoid": lambda: superellipsoid((0.3, 0.2, 0.1), taper=0.2),
    "strap": lambda: band(*arch(), 0.05, 0.012),
    "loop": loop,
    "backpack": backpack,
    "handbag": handbag,
    "shoulder bag": shoulder_bag,
}
each_thing = pytest.mark.parametrize("make", THINGS.values(), ids=THINGS.keys())


def size(mesh: Mesh, material: int) -> np.ndarray:
    extent: np.ndarray = np.ptp(mesh.points[mesh.faces[mesh.material == material].ravel()], axis=0)
    return extent


@each_thing
def test_it_is_closed_and_faces_outwards(make: Callable[[], Mesh]) -> None:
    check_solid(make())


@each_thing
def test_its_normals_are_those_of_its_few_faces(make: Callable[[], Mesh]) -> None:
    check_made(make())


@pytest.mark.parametrize("make", [backpack, handbag, shoulder_bag])
def test_bags_are_no_part_of_a_person(make: Callable[[], Mesh]) -> None:
    assert set(make().owner.tolist()) == {-1}


def test_exponents_one_make_an_ellipsoid() -> None:
    mesh = superellipsoid((0.2, 0.4, 0.6), (1, 1), (64, 48))
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.1 * 0.2 * 0.3, rel=0.01)
    np.testing.assert_allclose(((mesh.points / [0.1, 0.2, 0.3]) ** 2).sum(axis=1), 1, atol=1e-5)


def test_small_exponents_come_near_a_box() -> None:
    assert volume(superellipsoid((0.2, 0.4, 0.6), (0.1, 0.1), (64, 48))) > 0.93 * 0.2 * 0.4 * 0.6


def test_a_taper_narrows_the_top_and_keeps_the_size() -> None:
    mesh = superellipsoid((0.3, 0.2, 0.1), (0.3, 0.3), taper=0.3)
    high, low = (mesh.points[np.abs(mesh.points[:, 1] - y) < 0.03] for y in (0.08, -0.08))
    assert np.ptp(high[:, 0]) < 0.8 * np.ptp(low[:, 0])
    np.testing.assert_allclose(np.ptp(mesh.points, axis=0), (0.3, 0.2, 0.1), atol=1e-5)


def test_a_backpack_lies_against_the_back_and_is_centred_there() -> None:
    mesh = backpack()
    np.testing.assert_allclose(size(mesh, MAIN), BACKPACK_M, atol=0.002)
    points = main_points(mesh)
    assert mesh.points[:, 2].max() == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose((points.max(axis=0) + points.min(axis=0))[:2], 0, atol=1e-4)


def test_a_handbag_hangs_from_the_grip() -> None:
    mesh = handbag()
    np.testing.assert_allclose(size(mesh, MAIN), HANDBAG_M, atol=0.002)
    assert mesh.points[:, 1].max() == pytest.approx(0, abs=1e-4)
    assert np.abs(mesh.points - [0, 0, 0]).sum(axis=1).min() < 0.02  # the handle runs through the hand
    assert main_points(mesh)[:, 1].max() == pytest.approx(-GRIP_M, abs=1e-4)


def test_a_shoulder_bag_hangs_from_its_upper_edge() -> None:
    mesh = shoulder_bag()
    points = main_points(mesh)
    np.testing.assert_allclose(np.ptp(points[:, :2], axis=0), SHOULDER_BAG_M[:2], atol=0.002)
    assert np.ptp(points[:, 2]) < SHOULDER_BAG_M[2] + 0.02
    assert mesh.points[:, 1].max() == pytest.approx(0, abs=1e-5)
    assert abs(points[:, 0].max() + points[:, 0].min()) < 1e-4


def test_a_band_lies_on_its_points_with_its_width_and_thickness() -> None:
    points, out = arch()
    sections = band(points, out, 0.05, 0.012).points.reshape(-1, 4, 3)
    under = (sections[:, 0] + sections[:, 3]) / 2
    assert all(np.linalg.norm(under - point, axis=1).min() < 1e-6 for point in points)
    np.testing.assert_allclose(np.linalg.norm(sections[:, 0] - sections[:, 3], axis=1), 0.05, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(sections[:, 0] - sections[:, 1], axis=1), 0.012, atol=1e-6)
    # Between its points it follows the shoulder: it neither cuts in nor stands off.
    assert np.abs(np.linalg.norm(under, axis=1) - 0.1).max() < 0.004
    assert (np.linalg.norm(sections[:, 1], axis=1) > np.linalg.norm(sections[:, 0], axis=1)).all()


def test_a_closed_band_comes_round_without_a_step() -> None:
    under = loop().points.reshape(-1, 4, 3)[:, 0]
    steps = np.linalg.norm(np.diff(np.concatenate([under, under[:1]]), axis=0), axis=1)
    assert steps.max() < 2 * np.median(steps)
