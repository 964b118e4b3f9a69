"""Triangle meshes of the made world, and the materials that they are painted with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Reals = npt.NDArray[np.floating]
"""Whatever precision."""
Pixels = npt.NDArray[np.uint8]
"""RGB, [height, width, 3]."""


@dataclass(frozen=True)
class Material:
    """How a surface looks; colours in sRGB, 0 to 255."""

    colour: tuple[int, int, int]
    pattern: str = "plain"
    """plain, striped or checked (in the mesh's rest coordinates)."""
    pattern_colour: tuple[int, int, int] | None = None
    relief: float = 0.0
    """How much its surface waves, as cloth does: 0 is smooth."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in metres: x to a body's left, y up with the ground at y = 0, z to its front."""

    points: Floats
    """[V, 3]."""
    normals: Floats
    """[V, 3], unit length, outwards."""
    rest: Floats
    """[V, 3]: where each point is in the body's rest pose, metres. Patterns and relief stick to it."""
    faces: Ints
    """[F, 3], counter-clockwise seen from outside."""
    material: Ints
    """[F]: index into a list of materials."""
    owner: Ints
    """[F]: number of the person in its scene; −1 for things that are no part of a person's box."""

    def moved(self, turn: Floats, shift: Floats) -> "Mesh":
        """Turned by a rotation matrix [3, 3], then shifted by [3] metres."""
        return replace(
            self, points=(self.points @ turn.T + shift).astype(np.float32), normals=self.normals @ turn.T
        )


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several; materials are indexed in one common list already."""
    starts = np.cumsum([0, *(len(mesh.points) for mesh in meshes)])[:-1]
    return Mesh(
        points=np.concatenate([mesh.points for mesh in meshes]),
        normals=np.concatenate([mesh.normals for mesh in meshes]),
        rest=np.concatenate([mesh.rest for mesh in meshes]),
        faces=np.concatenate([m.faces + start for m, start in zip(meshes, starts, strict=True)]).astype(
            np.int32
        ),
        material=np.concatenate([mesh.material for mesh in meshes]),
        owner=np.concatenate([mesh.owner for mesh in meshes]),
    )


def vertex_normals(points: Floats, faces: Ints) -> Floats:
    """Unit normals [V, 3], each the mean of its triangles' weighted by area."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    flat = np.cross(b - a, c - a)
    normals = np.stack(
        [
            sum(np.bincount(faces[:, corner], flat[:, axis], len(points)) for corner in range(3))
            for axis in range(3)
        ],
        axis=1,
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    unit: Floats = (normals / np.maximum(length, 1e-12)).astype(np.float32)
    return unit
