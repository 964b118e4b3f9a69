"""What the tests of closed meshes look at."""

from collections import Counter

import numpy as np

from world.meshes import Ints, Mesh, Reals, vertex_normals
from world.things import MAIN, TRIM


def check_solid(mesh: Mesh) -> None:
    """Each edge is shared by two faces in opposite directions, each part faces outwards, none is flat."""
    edges = Counter((int(f[i]), int(f[(i + 1) % 3])) for f in mesh.faces for i in range(3))
    assert set(edges.values()) == {1}
    assert all((b, a) in edges for a, b in edges)
    assert all(volume(mesh, faces) > 0 for faces in parts(mesh))
    a, b, c = (mesh.points[corner].astype(float) for corner in mesh.faces.T)
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 1e-9


def check_made(mesh: Mesh) -> None:
    """Its normals are of unit length and those of its faces, it rests where it is, of few faces."""
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(mesh.normals, vertex_normals(mesh.points, mesh.faces), atol=1e-5)
    assert np.array_equal(mesh.rest, mesh.points)
    assert len(mesh.faces) == len(mesh.material) == len(mesh.owner) <= 1500
    assert set(mesh.material.tolist()) <= {MAIN, TRIM}


def volume(mesh: Mesh, faces: Ints | None = None) -> float:
    a, b, c = (mesh.points[corner].astype(float) for corner in (mesh.faces if faces is None else faces).T)
    return float((a * np.cross(b, c)).sum() / 6)


def parts(mesh: Mesh) -> list[Ints]:
    """Faces of each connected part."""
    label = np.arange(len(mesh.points))
    while True:
        least = label[mesh.faces].min(axis=1)
        grown = label.copy()
        np.minimum.at(grown, mesh.faces, least[:, None])
        if (grown == label).all():
            return [mesh.faces[label[mesh.faces[:, 0]] == one] for one in np.unique(label)]
        label = grown


def main_points(mesh: Mesh) -> Reals:
    points: Reals = mesh.points[np.unique(mesh.faces[mesh.material == MAIN])]
    return points
