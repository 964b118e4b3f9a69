"""Meshes of bags, straps and hats: closed, facing outwards, of the promised sizes and origins."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from world.meshes import Mesh, vertex_normals
from world.things import (
    BACKPACK_M,
    GRIP_M,
    HANDBAG_M,
    MAIN,
    SHOULDER_BAG_M,
    TRIM,
    backpack,
    band,
    cap,
    handbag,
    shoulder_bag,
    superellipsoid,
    woolly_hat,
)


def skull() -> np.ndarray:
    """Points of a head with ears and a neck: 1.7 m above the ground, the face to +z."""
    rng = np.random.default_rng(0)
    unit = rng.standard_normal((600, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    ball = unit * [0.077, 0.11, 0.095] + [0.01, 1.62, 0.02]
    ears = np.array([[-0.085, 1.6, 0.0], [0.105, 1.6, 0.0]])
    return np.concatenate([ball, ears])


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
    "cap": lambda: cap(skull(), 3),
    "woolly hat": lambda: woolly_hat(skull(), 3),
    "hat without pompom": lambda: woolly_hat(skull(), 3, pompom=False),
}
each_thing = pytest.mark.parametrize("make", THINGS.values(), ids=THINGS.keys())


def volume(mesh: Mesh, faces: np.ndarray | None = None) -> float:
    a, b, c = (mesh.points[corner].astype(float) for corner in (mesh.faces if faces is None else faces).T)
    return float((a * np.cross(b, c)).sum() / 6)


def parts(mesh: Mesh) -> list[np.ndarray]:
    """Faces of each connected part."""
    label = np.arange(len(mesh.points))
    while True:
        least = label[mesh.faces].min(axis=1)
        grown = label.copy()
        np.minimum.at(grown, mesh.faces, least[:, None])
        if (grown == label).all():
            return [mesh.faces[label[mesh.faces[:, 0]] == one] for one in np.unique(label)]
        label = grown


def size(mesh: Mesh, material: int) -> np.ndarray:
    extent: np.ndarray = np.ptp(mesh.points[mesh.faces[mesh.material == material].ravel()], axis=0)
    return extent


def main_points(mesh: Mesh) -> np.ndarray:
    points: np.ndarray = mesh.points[np.unique(mesh.faces[mesh.material == MAIN])]
    return points


@each_thing
def test_each_edge_is_shared_by_two_faces_in_opposite_directions(make: Callable[[], Mesh]) -> None:
    faces = make().faces
    edges = Counter((int(f[i]), int(f[(i + 1) % 3])) for f in faces for i in range(3))
    assert set(edges.values()) == {1}
    assert all((b, a) in edges for a, b in edges)


@each_thing
def test_every_part_faces_outwards(make: Callable[[], Mesh]) -> None:
    mesh = make()
    assert all(volume(mesh, faces) > 0 for faces in parts(mesh))


@each_thing
def test_no_triangle_is_without_area(make: Callable[[], Mesh]) -> None:
    mesh = make()
    a, b, c = (mesh.points[corner].astype(float) for corner in mesh.faces.T)
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 1e-9


@each_thing
def test_normals_are_those_of_the_faces_and_of_unit_length(make: Callable[[], Mesh]) -> None:
    mesh = make()
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(mesh.normals, vertex_normals(mesh.points, mesh.faces), atol=1e-5)


@each_thing
def test_it_rests_where_it_is_made_and_is_made_of_few_triangles(make: Callable[[], Mesh]) -> None:
    mesh = make()
    assert np.array_equal(mesh.rest, mesh.points)
    assert len(mesh.faces) == len(mesh.material) == len(mesh.owner) <= 1500
    assert set(mesh.material.tolist()) <= {MAIN, TRIM}


@pytest.mark.parametrize("make", [backpack, handbag, shoulder_bag])
def test_bags_are_no_part_of_a_person(make: Callable[[], Mesh]) -> None:
    assert set(make().owner.tolist()) == {-1}


@pytest.mark.parametrize("make", [cap, woolly_hat])
def test_hats_belong_to_who_wears_them(make: Callable[[np.ndarray, int], Mesh]) -> None:
    assert set(make(skull(), 3).owner.tolist()) == {3}


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0, 1, 1),), "above 0"),
        (((1, 1, 1), (0, 1)), "above 0"),
        (((1, 1, 1), (1, 1), (2, 8)), "segments"),
    ],
)
def test_an_impossible_superellipsoid_is_refused(arguments: tuple, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        superellipsoid(*arguments)


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


@pytest.mark.parametrize(
    ("points", "normals", "message"),
    [
        ([[0, 0, 0]], [[0, 1, 0]], "too few"),
        ([[0, 0, 0], [1, 0, 0]], [[0, 1, 0]], "must both be"),
        ([[0, 0, 0], [0, 0, 0], [1, 0, 0]], [[0, 1, 0]] * 3, "repeats"),
        ([[0, 0, 0], [1, 0, 0]], [[1, 0, 0], [1, 0, 0]], "runs along"),
    ],
)
def test_an_impossible_band_is_refused(
    points: list[list[float]], normals: list[list[float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        band(np.array(points), np.array(normals), 0.05, 0.01)


def test_a_band_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        band(*arch(), 0, 0.01)


@pytest.mark.parametrize("make", [cap, woolly_hat])
def test_no_part_of_the_head_pokes_through_a_hat(make: Callable[[np.ndarray], Mesh]) -> None:
    mesh, head = make(skull()), skull()
    dome = max(parts(mesh), key=lambda faces: volume(mesh, faces))
    a, b, c = (mesh.points[corner].astype(float) for corner in dome.T)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    # Convex: inside means behind every face. The points below the hem do not count.
    covered = head[head[:, 1] > a[:, 1].min() + 0.01]
    assert len(covered) > 50
    assert (((covered[:, None] - a) * normal).sum(axis=2) < 0).all()


@pytest.mark.parametrize("make", [cap, woolly_hat])
def test_a_hat_stands_off_the_head_by_little(make: Callable[[np.ndarray], Mesh]) -> None:
    mesh, head = make(skull()), skull()
    points, ball = main_points(mesh), head[:-2]
    assert points[:, 1].max() - head[:, 1].max() < 0.03
    assert np.ptp(points[:, 0]) - np.ptp(ball[:, 0]) < 0.06


def test_the_visor_is_in_front_alone() -> None:
    mesh = cap(skull())
    visor = mesh.points[np.unique(mesh.faces[mesh.material == TRIM])]
    dome = main_points(mesh)
    assert visor[:, 2].max() > dome[:, 2].max() + 0.04
    assert visor[:, 2].min() > dome[:, 2].min() + 0.05


def test_a_woolly_hat_comes_lower_than_a_cap() -> None:
    assert main_points(woolly_hat(skull()))[:, 1].min() < main_points(cap(skull()))[:, 1].min() - 0.01


def test_only_a_pompom_stands_above_the_dome() -> None:
    with_it, without = woolly_hat(skull()), woolly_hat(skull(), pompom=False)
    assert with_it.points[:, 1].max() > main_points(with_it)[:, 1].max() + 0.03
    assert without.points[:, 1].max() == main_points(without)[:, 1].max()


def test_a_head_of_too_few_points_is_refused() -> None:
    with pytest.raises(ValueError, match="head: points"):
        cap(np.zeros((3, 3)))
