"""Meshes: merged, moved, and their normals."""

import numpy as np
import pytest

from world.meshes import Floats, Ints, Mesh, merge, vertex_normals


def octahedron(scale: float = 1.0) -> tuple[Floats, Ints]:
    points = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float32)
    faces = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    return points * np.float32(scale), np.array(faces, np.int32)


def made(scale: float, material: int, owner: int) -> Mesh:
    points, faces = octahedron(scale)
    count = np.ones(len(faces), np.int32)
    return Mesh(points, vertex_normals(points, faces), points, faces, material * count, owner * count)


def test_normals_of_a_convex_body_point_outwards() -> None:
    points, faces = octahedron(3.0)
    assert vertex_normals(points, faces) == pytest.approx(points / 3)


def test_a_large_triangle_weighs_more_in_a_normal_than_a_small_one() -> None:
    points = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 1], [0, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 4, 3]], np.int32)  # areas 4.5 and 0.5: towards z and x
    expected = np.array([1, 0, 9]) / np.hypot(1, 9)
    assert vertex_normals(points, faces)[0] == pytest.approx(expected)


def test_a_point_without_area_has_no_normal_instead_of_none_at_all() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]], np.float32)
    assert (vertex_normals(points, np.array([[0, 1, 2]], np.int32)) == 0).all()


def test_merged_faces_keep_their_own_points() -> None:
    first, second = made(1.0, 0, 0), made(2.0, 3, 1)
    both = merge([first, second])
    assert both.points[both.faces[:8]] == pytest.approx(first.points[first.faces])
    assert both.points[both.faces[8:]] == pytest.approx(second.points[second.faces])
    assert both.faces.dtype == np.int32


def test_merged_faces_keep_material_and_owner() -> None:
    both = merge([made(1.0, 0, 0), made(2.0, 3, 1)])
    assert both.material.tolist() == [0] * 8 + [3] * 8
    assert both.owner.tolist() == [0] * 8 + [1] * 8


def test_a_moved_mesh_is_turned_before_it_is_shifted() -> None:
    quarter = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float32)  # x goes to −z
    mesh = made(1.0, 0, 0)
    moved = mesh.moved(quarter, np.array([2, 5, 0], np.float32))
    assert moved.points[0] == pytest.approx([2, 5, -1])
    assert moved.normals[0] == pytest.approx([0, 0, -1])
    assert moved.points.dtype == np.float32


def test_a_moved_mesh_keeps_its_pattern_in_place() -> None:
    mesh = made(1.0, 0, 0)
    assert mesh.moved(np.eye(3, dtype=np.float32), np.ones(3, np.float32)).rest is mesh.rest
