"""Hats: closed meshes that cover a head and belong to whoever wears them."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.world.solids import check_made, check_solid, main_points, parts, volume
from world.hats import cap, woolly_hat
from world.meshes import Mesh, Reals
from world.things import TRIM

Hat = Callable[[Reals, int], Mesh]
each_hat = pytest.mark.parametrize("make", [cap, woolly_hat])


def skull(power: float = 1.0) -> Reals:
    """Points of a head with ears: the face is to +z; the lower the power, the squarer."""
    rng = np.random.default_rng(0)
    unit = rng.standard_normal((600, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    ball = np.sign(unit) * abs(unit) ** power * [0.077, 0.11, 0.095] + [0.01, 1.62, 0.02]
    ears = np.array([[-0.085, 1.6, 0.0], [0.105, 1.6, 0.0]])
    return np.concatenate([ball, ears])


@each_hat
def test_it_is_closed_and_faces_outwards(make: Hat) -> None:
    check_solid(make(skull(), 3))


@each_hat
def test_its_normals_are_those_of_its_few_faces(make: Hat) -> None:
    check_made(make(skull(), 3))


@each_hat
def test_hats_belong_to_who_wears_them(make: Hat) -> None:
    assert set(make(skull(), 3).owner.tolist()) == {3}


@each_hat
@pytest.mark.parametrize("power", [1.0, 0.6])
def test_no_part_of_the_head_pokes_through_a_hat(make: Hat, power: float) -> None:
    head = skull(power)
    mesh = make(head, 3)
    dome = max(parts(mesh), key=lambda faces: volume(mesh, faces))
    a, b, c = (mesh.points[corner].astype(float) for corner in dome.T)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    # Convex: inside means behind every face. The points below the hem do not count.
    covered = head[head[:, 1] > a[:, 1].min() + 0.01]
    assert len(covered) > 50
    assert (((covered[:, None] - a) * normal).sum(axis=2) < 0).all()


@each_hat
def test_a_hat_stands_off_the_head_by_little(make: Hat) -> None:
    mesh, head = make(skull(), 3), skull()
    points, ball = main_points(mesh), head[:-2]
    assert points[:, 1].max() - head[:, 1].max() < 0.03
    assert np.ptp(points[:, 0]) - np.ptp(ball[:, 0]) < 0.06


def test_the_visor_is_in_front_alone() -> None:
    mesh = cap(skull(), 3)
    visor = mesh.points[np.unique(mesh.faces[mesh.material == TRIM])]
    dome = main_points(mesh)
    assert visor[:, 2].max() > dome[:, 2].max() + 0.04
    assert visor[:, 2].min() > dome[:, 2].min() + 0.05


def test_a_woolly_hat_comes_lower_than_a_cap() -> None:
    assert main_points(woolly_hat(skull(), 3))[:, 1].min() < main_points(cap(skull(), 3))[:, 1].min() - 0.01


def test_only_the_pompom_stands_above_the_dome() -> None:
    mesh = woolly_hat(skull(), 3)
    assert mesh.points[:, 1].max() > main_points(mesh)[:, 1].max() + 0.03
