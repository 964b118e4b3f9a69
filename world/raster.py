"""Which triangle is seen at each pixel: a z-buffer in numpy that cuts triangles into rows, rows into pixels.

A triangle covers the pixels whose centres lie in it. Where an edge meets a centre exactly, the triangle to
the right of it, or below it, has the pixel: neighbours leave no hole and share no pixel.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from world.meshes import Floats, Ints

NEAR_M = 0.05
"""Triangles with a corner as near as this, or behind the camera, are dropped."""
FLAT_PX2 = 1e-9
"""Triangles of a smaller area (doubled) are dropped: their weights would be noise."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Hits:
    """What each pixel shows of a mesh."""

    face: Ints
    """[H, W]: index of the face, −1 where there is none."""
    weights: Floats
    """[H, W, 3]: of the face's corners at the pixel's centre; their sum is 1, without a face 0."""
    depth: Floats
    """[H, W]: metres along the view axis, infinite without a face."""


@dataclass(frozen=True, eq=False)
class _Triangles:
    face: Indices
    """[n]: their places among the mesh's faces, ascending."""
    x: Floats
    """[3, n] like y and depth: of their corners."""
    y: Floats
    depth: Floats


def rasterise(
    pixels: Floats,
    depth: Floats,
    faces: Ints,
    width_px: int,
    height_px: int,
    cull: bool = True,
    parallel: bool = False,
) -> Hits:
    """Draw faces [F, 3] between points at `pixels` [V, 2] (x, y; centres at +0.5), `depth` [V] metres away.

    The nearest face has the pixel, of equally near ones the first. `cull` drops faces that turn their back,
    which run clockwise in the picture. `parallel` is for pictures without perspective.
    """
    triangles = _facing(pixels, depth, faces, width_px, height_px, cull)
    triangle, row, column = _covered(triangles, width_px, height_px)
    weights = _weights(triangles, triangle, row, column)
    if parallel:
        at_pixel = _sum(weights, triangles.depth, triangle)
    else:  # 1 / depth is what runs evenly over a picture
        nearness: Floats = np.reciprocal(triangles.depth)
        at_pixel = np.reciprocal(_sum(weights, nearness, triangle))
        weights *= nearness[:, triangle] * at_pixel
    # Positive floats sort as their bits do; below them stands the order of the faces.
    key = at_pixel.view(np.uint32).astype(np.uint64) << np.uint64(32)
    key |= np.arange(len(key), dtype=np.uint64)
    nothing = np.iinfo(np.uint64).max
    nearest = np.full(height_px * width_px, nothing, dtype=np.uint64)
    np.minimum.at(nearest, row * width_px + column, key)
    hit = np.flatnonzero(nearest != nothing)
    winner = (nearest[hit] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    hits = Hits(
        face=np.full((height_px, width_px), -1, np.int32),
        weights=np.zeros((height_px, width_px, 3), np.float32),
        depth=np.full((height_px, width_px), np.inf, np.float32),
    )
    hits.face.ravel()[hit] = triangles.face[triangle[winner]]
    hits.weights.reshape(-1, 3)[hit] = weights[:, winner].T
    hits.depth.ravel()[hit] = at_pixel[winner]
    return hits


def _facing(
    pixels: Floats, depth: Floats, faces: Ints, width_px: int, height_px: int, cull: bool
) -> _Triangles:
    """The triangles that can cover a pixel centre."""
    corners = np.ascontiguousarray(faces.T)
    x, y, z = pixels[:, 0][corners], pixels[:, 1][corners], depth[corners]
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    seen = (area < -FLAT_PX2 if cull else abs(area) > FLAT_PX2) & (
        z.min(axis=0) > NEAR_M
    )  # y runs down: < 0 is counter-clockwise
    for values, size in ((x, width_px), (y, height_px)):
        first, stop = _centres(values.min(axis=0), values.max(axis=0), size)
        seen &= first < stop
    face = np.flatnonzero(seen)
    return _Triangles(face, x[:, face], y[:, face], z[:, face].astype(np.float32))


def _centres(low: Floats, high: Floats, size: int) -> tuple[Indices, Indices]:
    """First pixel with its centre ≥ low, and the first one with its centre ≥ high, in 0..size."""
    first, stop = (np.clip(np.ceil(edge - 0.5), 0, size).astype(np.int64) for edge in (low, high))
    return first, stop


def _covered(triangles: _Triangles, width_px: int, height_px: int) -> tuple[Indices, Indices, Indices]:
    """Triangle, row and column of each pixel of each triangle, triangles in order."""
    order = np.argsort(triangles.y, axis=0, kind="stable")
    x = np.take_along_axis(triangles.x, order, axis=0)
    y = np.take_along_axis(triangles.y, order, axis=0)
    triangle, row = _spread(*_centres(y[0], y[2], height_px))
    centre = (row + 0.5).astype(np.float32)

    def crossing(upper: int, lower: int) -> Floats:
        # From the upper corner for every triangle at this edge: they get the same number.
        rise = y[lower] - y[upper]
        slope = (x[lower] - x[upper]) / np.where(rise > 0, rise, 1)
        meets: Floats = x[upper][triangle] + (centre - y[upper][triangle]) * slope[triangle]
        return meets

    long = crossing(0, 2)
    short = np.where(centre < y[1][triangle], crossing(0, 1), crossing(1, 2))
    span, column = _spread(*_centres(np.minimum(long, short), np.maximum(long, short), width_px))
    return triangle[span], row[span], column


def _spread(first: Indices, stop: Indices) -> tuple[Indices, Indices]:
    """For each range its number, and each of its values: (0, 2), (5, 6) become 0 0 1 and 0 1 5."""
    count = np.maximum(stop - first, 0)
    of = np.repeat(np.arange(len(count)), count)
    start = first - (np.cumsum(count) - count)
    return of, np.arange(len(of)) + start[of]


def _weights(triangles: _Triangles, triangle: Indices, row: Indices, column: Indices) -> Floats:
    """Barycentric weights [3, n] in the picture, all ≥ 0."""
    x, y = triangles.x, triangles.y
    ax, ay, bx, by = x[1] - x[0], y[1] - y[0], x[2] - x[0], y[2] - y[0]
    area = ax * by - bx * ay
    dx = (column + 0.5).astype(np.float32) - x[0][triangle]
    dy = (row + 0.5).astype(np.float32) - y[0][triangle]
    weights = np.empty((3, len(triangle)), np.float32)
    np.clip(dx * (by / area)[triangle] - dy * (bx / area)[triangle], 0, 1, out=weights[1])
    np.clip(dy * (ax / area)[triangle] - dx * (ay / area)[triangle], 0, 1 - weights[1], out=weights[2])
    np.subtract(1, weights[1] + weights[2], out=weights[0])
    np.maximum(weights[0], 0, out=weights[0])
    return weights


def _sum(weights: Floats, values: Floats, triangle: Indices) -> Floats:
    first, second, third = (weights[k] * values[k][triangle] for k in range(3))
    total: Floats = first + second + third
    return total
