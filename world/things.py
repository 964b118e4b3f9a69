"""Straps and bags of the made world, and the closed meshes that they are made of.

Sizes are metres. Material 0 is the thing itself, 1 its trim (straps, zips). Every part is closed and faces
outwards; parts of one thing may run into each other. Things are no part of a person: their owner is −1.
"""

from collections.abc import Sequence

import numpy as np

from world.meshes import Mesh, Reals, merge, vertex_normals

MAIN, TRIM = 0, 1
Size = tuple[float, float, float]
"""Along x, y and z, in metres."""

BACKPACK_M: Size = (0.30, 0.42, 0.16)
HANDBAG_M: Size = (0.30, 0.22, 0.12)
"""Without its handle."""
SHOULDER_BAG_M: Size = (0.32, 0.26, 0.09)
GRIP_M = 0.11
"""How far a handbag's body hangs below the hand."""


def superellipsoid(
    size_m: Size,
    exponents: tuple[float, float] = (0.4, 0.4),
    segments: tuple[int, int] = (20, 10),
    *,
    centre_m: Reals | Sequence[float] = (0, 0, 0),
    taper: float = 0.0,
    material: int = MAIN,
) -> Mesh:
    """A rounded box of `size_m` round `centre_m`: an ellipsoid at exponents (1, 1), a box towards 0.

    The first exponent shapes it from pole to pole (along y), the second around. `segments`: around, and from
    pole to pole. `taper` makes its top narrower than its bottom, along x, by this share.
    """
    around, along = segments
    longitude = np.arange(around) * (2 * np.pi / around)
    latitude = np.linspace(-np.pi / 2, np.pi / 2, along + 1)[1:-1, None]
    ring = _power(np.cos(latitude), exponents[0])
    x, z = (ring * _power(turn(longitude), exponents[1]) for turn in (np.sin, np.cos))
    y = np.broadcast_to(_power(np.sin(latitude), exponents[0]), x.shape)
    poles = [[0, -1, 0], [0, 1, 0]]
    points = np.concatenate([np.stack([x, y, z], axis=2).reshape(-1, 3), poles]) * (np.asarray(size_m) / 2)
    points[:, 0] *= 1 - taper * (0.5 + points[:, 1] / size_m[1])
    points[:, 0] *= size_m[0] / 2 / np.abs(points[:, 0]).max()
    points += centre_m
    return sweep(points[:-2].reshape(along - 1, around, 3), material, poles=points[-2:])


def band(points: Reals, normals: Reals, width_m: float, thickness_m: float, *, closed: bool = False) -> Mesh:
    """A flat strap along a curve through control points [N, 3], lying on them with its underside.

    `normals` [N, 3] point away from what it lies on (any length, never along the strap). `closed` joins the
    last point to the first.
    """
    curve, along, outward = _curve(points.astype(np.float64), normals.astype(np.float64), closed)
    along = _unit(along)
    outward = _unit(outward - along * (outward * along).sum(axis=1, keepdims=True))
    aside = np.cross(along, outward) * (width_m / 2)
    top = curve + outward * thickness_m
    sections = np.stack([curve - aside, top - aside, top + aside, curve + aside], axis=1)
    return sweep(sections, TRIM, closed=closed)


def sweep(rings: Reals, material: int, *, closed: bool = False, poles: Reals | None = None) -> Mesh:
    """A tube through rings [N, K, 3] that turn right-handed about the way.

    It is `closed` to a loop, or its ends meet `poles` [2, 3], or they are flat.
    """
    count, around = rings.shape[:2]
    here = np.arange(around)
    there = (here + 1) % around
    start = np.arange(count if closed else count - 1)[:, None] * around
    after, last = (start + around) % (count * around), (count - 1) * around
    corners = [start + here, start + there, after + there, start + here, after + there, after + here]
    faces = [np.stack(np.broadcast_arrays(*corners), axis=-1).reshape(-1, 3)]
    points = rings.reshape(-1, 3)
    if poles is not None:
        south, north = np.full(around, len(points)), np.full(around, len(points) + 1)
        points = np.concatenate([points, poles])
        faces += [
            np.stack([south, there, here], axis=1),
            np.stack([north, last + here, last + there], axis=1),
        ]
    elif not closed:
        fan = np.stack([0 * here, here, there], axis=1)[1:-1]
        faces += [fan[:, ::-1], fan + last]
    at, face = points.astype(np.float32), np.concatenate(faces).astype(np.int32)
    number, nobody = np.full(len(face), material, np.int32), np.full(len(face), -1, np.int32)
    return Mesh(at, vertex_normals(at, face), rest=at, faces=face, material=number, owner=nobody)


def backpack() -> Mesh:
    """A backpack of BACKPACK_M without shoulder straps, which are `band`s over the shoulders it hangs from.

    The plane z = 0 lies against the back and the pack reaches to −z; x is to the wearer's left, y up. The
    origin is the middle of the side against the back: between the shoulder blades or a little lower.
    """
    width, height, depth = BACKPACK_M
    body, pocket = 0.74 * depth, 0.5 * depth
    round_ = (0.45, 0.4)
    low = (0, -0.2 * height, pocket / 2 - depth)
    # A piping that stands out all round, where the pack opens.
    piping = (width + 0.008, height + 0.008, 0.012)
    parts = [
        superellipsoid((width, height, body), round_, centre_m=(0, 0, -body / 2)),
        superellipsoid((0.74 * width, 0.46 * height, pocket), round_, (16, 8), centre_m=low),
        superellipsoid(piping, round_, centre_m=(0, 0, -0.42 * body), material=TRIM),
        _handle((0, height / 2 - 0.01, -0.25 * body), 0.07, 0.04, 0.02),
    ]
    return merge(parts)


def handbag() -> Mesh:
    """A handbag with a handle. The origin is the grip: the middle of the handle, held by the hand.

    It hangs towards −y, its body of HANDBAG_M beginning GRIP_M below; the long side is along x, the short one
    along z. A bag beside a leg has its long side along the walk: turn it by 90° about y.
    """
    width, height, depth = HANDBAG_M
    body = superellipsoid(HANDBAG_M, (0.35, 0.35), centre_m=(0, -GRIP_M - height / 2, 0), taper=0.3)
    zip_y = -GRIP_M - 0.2 * height
    there = float(body.points[body.points[:, 1] > zip_y, 0].max())
    belt = (2 * there + 0.01, 0.014, depth + 0.006)  # stands out a little
    parts = [
        body,
        superellipsoid(belt, (0.3, 0.35), (20, 4), centre_m=(0, zip_y, 0), material=TRIM),
        _handle((0, -GRIP_M - 0.01, 0), 0.5 * width, GRIP_M + 0.01, 0.028),
    ]
    return merge(parts)


def shoulder_bag() -> Mesh:
    """A shoulder bag of SHOULDER_BAG_M without its strap, which is a `band` over the body it hangs from.

    The origin is the middle of its upper edge, it hangs towards −y; the long side is along x, the short one
    along z.
    """
    width, height, depth = SHOULDER_BAG_M
    flap, button = (0.9 * width, 0.55 * height, 0.036), (0.05, 0.05, 0.02)
    over, on = (0, -0.33 * height, depth / 2 - 0.012), (0, -0.58 * height, depth / 2)
    parts = [
        superellipsoid(SHOULDER_BAG_M, (0.35, 0.35), centre_m=(0, -height / 2, 0)),
        superellipsoid(flap, (0.3, 0.3), (16, 8), centre_m=over),
        superellipsoid(button, (0.5, 0.5), (12, 6), centre_m=on, material=TRIM),
    ]
    return merge(parts)


def _handle(foot: Sequence[float], span_m: float, rise_m: float, width_m: float) -> Mesh:
    """An arch along x that rises from `foot` by `rise_m`: its upper side's middle is that far above."""
    thick = 0.012
    angle = np.linspace(-np.pi / 2, np.pi / 2, 5)
    outward = np.stack([np.sin(angle), np.cos(angle), 0 * angle], axis=1)
    points = outward * [span_m / 2, rise_m - thick, 0] + np.asarray(foot)
    return band(points.astype(np.float32), outward.astype(np.float32), width_m, thick)


def _curve(points: Reals, normals: Reals, closed: bool) -> tuple[Reals, Reals, Reals]:
    """Centripetal Catmull-Rom through the points: places, tangents and normals between, each [M, 3]."""
    if closed:  # neighbours more on either side, cut off again
        points, normals = (np.concatenate([each[-1:], each, each[:2]]) for each in (points, normals))
    pieces = slice(1, -1) if closed else slice(None)
    knots = np.sqrt(np.linalg.norm(np.diff(points, axis=0), axis=1))[:, None]
    slopes = np.diff(points, axis=0) / knots
    inner = (slopes[:-1] * knots[1:] + slopes[1:] * knots[:-1]) / (knots[:-1] + knots[1:])
    tangents = np.concatenate([slopes[:1], inner, slopes[-1:]])
    start, end = points[:-1][pieces, None], points[1:][pieces, None]
    leave, arrive = (tangents[:-1] * knots)[pieces, None], (tangents[1:] * knots)[pieces, None]
    t = np.linspace(0, 1, 9)[:, None]
    place = (1 + 2 * t) * (1 - t) ** 2 * start + t * (1 - t) ** 2 * leave
    place = place + t**2 * (3 - 2 * t) * end + t**2 * (t - 1) * arrive
    along = 6 * t * (1 - t) * (end - start) + (1 - t) * (1 - 3 * t) * leave + t * (3 * t - 2) * arrive
    outward = (1 - t) * normals[:-1][pieces, None] + t * normals[1:][pieces, None]

    def joined(each: Reals) -> Reals:
        """A piece begins where the one before ends; that place counts once."""
        rows = each[:, :-1].reshape(-1, 3)
        return rows if closed else np.concatenate([rows, each[-1, -1:]])

    return joined(place), joined(along), joined(outward)


def _power(values: Reals, exponent: float) -> Reals:
    signed: Reals = np.sign(values) * np.abs(values) ** exponent
    return signed


def _unit(vectors: Reals) -> Reals:
    unit: Reals = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
