"""Pieces of the base mesh, cut along lines: what garments and hair are made of.

Whole faces would leave torn hems; here a triangle that crosses the line is cut at it. A piece knows its
points as weighted sums of base vertices, so one cut serves every body.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from world.meshes import Floats, Ints, Reals


@dataclass(frozen=True, eq=False)
class Piece:
    """Part of a mesh; P points, each the sum of K base vertices."""

    vertices: Ints
    """[P, K]: base vertices of each point."""
    shares: Floats
    """[P, K]: their shares; rows sum to 1."""
    faces: Ints
    """[F, 3]."""

    def of(self, values: Reals) -> Floats:
        """Values of base vertices [V, ...] at the points: [P, ...]."""
        return np.asarray(np.einsum("pk,pk...->p...", self.shares, values[self.vertices]), np.float32)


def whole(faces: Ints) -> Piece:
    """A piece of whole triangles [F, 3] of base vertices."""
    vertices, corners = np.unique(faces, return_inverse=True)
    points = vertices[:, None].astype(np.int32)
    return Piece(points, np.ones(points.shape, np.float32), corners.reshape(-1, 3).astype(np.int32))


def cut(piece: Piece, values: Reals) -> Piece:
    """What lies where `values` [P] are below 0; triangles that cross 0 are cut there."""
    values = np.where(values == 0, np.float32(1e-6), values)
    inside = values < 0
    count = inside[piece.faces].sum(axis=1)
    edges: dict[tuple[int, int], int] = {}
    faces = [piece.faces[count == 3]]
    for face in piece.faces[(count == 1) | (count == 2)]:
        # Turned so that the corner that is alone on its side stands first.
        alone = int(np.flatnonzero(inside[face] == (inside[face].sum() == 1))[0])
        a, b, c = (int(corner) for corner in np.roll(face, -alone))
        ab, ac = (edges.setdefault((min(a, x), max(a, x)), len(values) + len(edges)) for x in (b, c))
        faces.append(np.array([[a, ab, ac]] if inside[a] else [[ab, b, c], [ab, c, ac]]))
    ends = np.array(list(edges) or np.empty((0, 2)), dtype=np.int64)
    share = (values[ends[:, 0]] / (values[ends[:, 0]] - values[ends[:, 1]]))[:, None]
    first, second = (piece.vertices[ends[:, end]] for end in (0, 1))
    of_first, of_second = (1 - share) * piece.shares[ends[:, 0]], share * piece.shares[ends[:, 1]]
    padding = np.zeros_like(piece.vertices)
    vertices = np.concatenate([np.hstack([piece.vertices, padding]), np.hstack([first, second])])
    shares = np.concatenate([np.hstack([piece.shares, padding]), np.hstack([of_first, of_second])])
    if not len(ends):
        vertices, shares = piece.vertices, piece.shares
    kept, corners = np.unique(np.concatenate(faces), return_inverse=True)
    return Piece(
        vertices[kept].astype(np.int32),
        shares[kept].astype(np.float32),
        corners.reshape(-1, 3).astype(np.int32),
    )


def smooth(values: Floats, piece: Piece, rounds: int) -> Floats:
    """Values of a piece's points [P, 3] without finer bumps: each goes towards the mean of its neighbours.

    Every round shrinks and swells again (Taubin), so that sleeves stay as wide as they are. Points of a rim
    have the rim's points alone as neighbours.
    """
    a, b, count = _neighbours(piece)
    for step in (_SHRINK, _SWELL) * rounds:
        sums = [np.bincount(a, values[b, axis], len(values)) for axis in range(3)]
        values = (values + step * (np.stack(sums, axis=1) / count - values)).astype(np.float32)
    return values


_SHRINK, _SWELL = 0.5, -0.52


@lru_cache  # pieces live as long as the process
def _neighbours(piece: Piece) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Pairs of neighbours a, b [N], and how many each point has [P, 1]."""
    faces = piece.faces.astype(np.int64)
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges, uses = np.unique(edges, axis=0, return_counts=True)
    rim = np.zeros(len(piece.vertices), dtype=bool)
    rim[edges[uses == 1]] = True
    a, b = np.concatenate([edges, edges[:, ::-1]]).T
    counted = ~rim[a] | np.concatenate([uses == 1, uses == 1])
    a, b = a[counted], b[counted]
    count = np.maximum(np.bincount(a, minlength=len(piece.vertices)), 1)
    return a, b, count[:, None].astype(np.float32)
