"""What people of the made world carry and wear on their heads: bags, straps and hats, as closed meshes.

Sizes are metres. Material 0 is the thing itself, 1 its trim (straps, zips, visor). Every part is closed and
faces outwards; parts of one thing may run into each other.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from world.meshes import Ints, Mesh, merge, vertex_normals

Reals = npt.NDArray[np.floating]

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
    owner: int = -1,
) -> Mesh:
    """A rounded box of `size_m` round `centre_m`: an ellipsoid at exponents (1, 1), a box towards 0.

    The first exponent shapes it from pole to pole (along y), the second around. `segments`: around, and from
    pole to pole. `taper` makes its top narrower than its bottom, along x, by this share. Raises ValueError
    for sizes or exponents not above 0, and for fewer than (3, 2) segments.
    """
    if min(size_m) <= 0 or min(exponents) <= 0:
        raise ValueError(f"superellipsoid: size {size_m} and exponents {exponents} must be above 0")
    around, along = segments
    if around < 3 or along < 2:
        raise ValueError(f"superellipsoid: {segments} segments are fewer than (3, 2)")
    longitude = np.arange(around) * (2 * np.pi / around)
    latitude = np.linspace(-np.pi / 2, np.pi / 2, along + 1)[1:-1, None]
    ring = _power(np.cos(latitude), exponents[0])
    height = np.broadcast_to(_power(np.sin(latitude), exponents[0]), (along - 1, around))
    unit = np.stack(
        [
            ring * _power(np.sin(longitude), exponents[1]),
            height,
            ring * _power(np.cos(longitude), exponents[1]),
        ],
        axis=2,
    )
    poles = np.array([[0, -1, 0], [0, 1, 0]])
    points = np.concatenate([unit.reshape(-1, 3), poles]) * (np.asarray(size_m) / 2)
    points[:, 0] *= 1 - taper * (0.5 + points[:, 1] / size_m[1])
    points[:, 0] *= size_m[0] / 2 / np.abs(points[:, 0]).max()
    return _mesh(points + np.asarray(centre_m), _globe(around, along - 1), material, owner)


def band(
    points: Reals,
    normals: Reals,
    width_m: float,
    thickness_m: float,
    *,
    closed: bool = False,
    material: int = TRIM,
    owner: int = -1,
) -> Mesh:
    """A flat strap along a curve through control points [N, 3], lying on them with its underside.

    `normals` [N, 3] point away from what it lies on (any length). `closed` joins the last point to the first.
    Raises ValueError for shapes that differ, fewer than 2 (closed: 3) points, points that repeat, widths not
    above 0, or a normal that runs along the strap.
    """
    if points.shape != normals.shape or points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"band: points {points.shape} and normals {normals.shape} must both be [N, 3]")
    if len(points) < (3 if closed else 2):
        raise ValueError(f"band: {len(points)} points are too few")
    if min(width_m, thickness_m) <= 0:
        raise ValueError(f"band: width {width_m} and thickness {thickness_m} must be above 0")
    curve, along, outward = _curve(points.astype(np.float64), normals.astype(np.float64), closed)
    outward -= along * (outward * along).sum(axis=1, keepdims=True)
    length = np.linalg.norm(outward, axis=1, keepdims=True)
    if length.min() < 1e-6:
        raise ValueError(f"band: a normal runs along the strap, near point {curve[length.argmin()].round(3)}")
    outward /= length
    aside = np.cross(along, outward) * (width_m / 2)
    top = curve + outward * thickness_m
    sections = np.stack([curve - aside, top - aside, top + aside, curve + aside], axis=1)
    return _sweep(sections, closed, material, owner)


def backpack() -> Mesh:
    """A backpack of BACKPACK_M without shoulder straps, which are `band`s over the shoulders it hangs from.

    The plane z = 0 lies against the back and the pack reaches to −z; x is to the wearer's left, y up. The
    origin is the middle of the side against the back: between the shoulder blades or a little lower.
    """
    width, height, depth = BACKPACK_M
    body, pocket = 0.74 * depth, 0.5 * depth
    zip_z = -0.42 * body
    return merge(
        [
            superellipsoid((width, height, body), (0.45, 0.4), centre_m=(0, 0, -body / 2)),
            superellipsoid(
                (0.74 * width, 0.46 * height, pocket),
                (0.45, 0.4),
                (16, 8),
                centre_m=(0, -0.2 * height, pocket / 2 - depth),
            ),
            # A piping that stands out all round, where the pack opens.
            superellipsoid(
                (width + 0.008, height + 0.008, 0.012),
                (0.45, 0.4),
                (20, 10),
                centre_m=(0, 0, zip_z),
                material=TRIM,
            ),
            _handle((0, height / 2 - 0.01, -0.25 * body), 0.07, 0.04, 0.02),
        ]
    )


def handbag() -> Mesh:
    """A handbag with a handle. The origin is the grip: the middle of the handle, held by the hand.

    It hangs towards −y, its body of HANDBAG_M beginning GRIP_M below; the long side is along x, the short one
    along z. A bag beside a leg has its long side along the walk: turn it by 90° about y.
    """
    width, height, depth = HANDBAG_M
    body = superellipsoid(HANDBAG_M, (0.35, 0.35), centre_m=(0, -GRIP_M - height / 2, 0), taper=0.3)
    zip_y = -GRIP_M - 0.2 * height
    there = body.points[body.points[:, 1] > zip_y]
    return merge(
        [
            body,
            superellipsoid(  # a flat belt that stands out a little
                (2 * float(there[:, 0].max()) + 0.01, 0.014, depth + 0.006),
                (0.3, 0.35),
                (20, 4),
                centre_m=(0, zip_y, 0),
                material=TRIM,
            ),
            _handle((0, -GRIP_M - 0.01, 0), 0.5 * width, GRIP_M + 0.01, 0.028),
        ]
    )


def shoulder_bag() -> Mesh:
    """A shoulder bag of SHOULDER_BAG_M without its strap, which is a `band` over the body it hangs from.

    The origin is the middle of its upper edge, it hangs towards −y; the long side is along x, the short one
    along z.
    """
    width, height, depth = SHOULDER_BAG_M
    flap_z = depth / 2 - 0.012
    return merge(
        [
            superellipsoid(SHOULDER_BAG_M, (0.35, 0.35), centre_m=(0, -height / 2, 0)),
            superellipsoid(
                (0.9 * width, 0.55 * height, 0.036),
                (0.3, 0.3),
                (16, 8),
                centre_m=(0, -0.33 * height, flap_z),
            ),
            superellipsoid(
                (0.05, 0.05, 0.02),
                (0.5, 0.5),
                (12, 6),
                centre_m=(0, -0.58 * height, depth / 2),
                material=TRIM,
            ),
        ]
    )


def cap(head: Reals, owner: int = -1, margin_m: float = 0.012) -> Mesh:
    """A cap with a visor over a head, in the head's own coordinates (y up, the face to +z).

    `head`: points [H, 3] of what it must cover, the skull or skull and short hair; those below its rim do not
    count. None of the others comes nearer to the outside than about `margin_m`. Raises ValueError for fewer
    than 4 points.
    """
    centre, half = _dome_size(head, 0.66, 0.9, margin_m)
    angle = np.linspace(-1.15, 1.15, 15)
    inner = np.stack([half[0] * np.sin(angle), 0 * angle, half[2] * np.cos(angle)], axis=1)
    reach = (0.42 * half[2] + 0.03) * np.cos(angle / 1.15 * np.pi / 2) + 0.004
    out = np.stack([0.45 * np.sin(angle), np.full_like(angle, -0.25), np.cos(angle) ** 0.5], axis=1)
    rim = np.array([0, 0.006, 0])
    # Begins inside the dome, so that no gap opens between the two.
    near, far = 0.94 * inner + rim, inner + rim + out * reach[:, None]
    low = np.array([0, -0.006, 0])
    visor = np.stack([near, far, far + low, near + low], axis=1) + centre
    button = superellipsoid(
        (0.02, 0.012, 0.02), (1, 1), (8, 4), centre_m=centre + half * [0, 1, 0], material=TRIM, owner=owner
    )
    return merge([_dome(centre, half, 0.9, owner), _sweep(visor, False, TRIM, owner), button])


def woolly_hat(head: Reals, owner: int = -1, margin_m: float = 0.014, *, pompom: bool = True) -> Mesh:
    """A knitted hat with a rolled brim, down to the ears; arguments and errors as for `cap`.

    The brim and the pompom are trim.
    """
    centre, half = _dome_size(head, 0.82, 0.8, margin_m)
    around = np.arange(28) * (2 * np.pi / 28)
    out = np.stack([np.sin(around), 0 * around, np.cos(around)], axis=1)[:, None]
    round_ = np.arange(8) * (2 * np.pi / 8)
    thick = np.array([0.011, 0.026])
    # A ring with an oval section; the dome's rim runs through its middle.
    section = (
        out * (thick[0] * np.cos(round_))[:, None]
        + np.array([0, -1, 0]) * (thick[1] * np.sin(round_))[:, None]
    )
    brim = _sweep(section + out * half * [1, 0, 1] + centre + [0, thick[1] * 0.6, 0], True, TRIM, owner)
    parts = [_dome(centre, half, 0.8, owner), brim]
    if pompom:
        top = centre + (half + 0.018) * [0, 1, 0]
        parts.append(
            superellipsoid((0.06, 0.055, 0.06), (1, 1), (14, 8), centre_m=top, material=TRIM, owner=owner)
        )
    return merge(parts)


def _power(values: Reals, exponent: float) -> Reals:
    signed: Reals = np.sign(values) * np.abs(values) ** exponent
    return signed


def _mesh(points: Reals, faces: Ints, material: int, owner: int) -> Mesh:
    points, faces = points.astype(np.float32), faces.astype(np.int32)
    return Mesh(
        points=points,
        normals=vertex_normals(points, faces),
        rest=points,
        faces=faces,
        material=np.full(len(faces), material, dtype=np.int32),
        owner=np.full(len(faces), owner, dtype=np.int32),
    )


def _tube(rings: int, around: int, closed: bool) -> Ints:
    """Faces [F, 3] between neighbouring rings of `around` points each; rings turn right-handed about the way
    from one to the next."""
    ring = np.arange(rings if closed else rings - 1)[:, None] * around
    after = (ring + around) % (rings * around)
    here = np.arange(around)
    there = (here + 1) % around
    corners = [ring + here, ring + there, after + there, ring + here, after + there, after + here]
    return np.stack(np.broadcast_arrays(*corners), axis=-1).reshape(-1, 3)


def _globe(around: int, rings: int) -> Ints:
    """Faces of rings from bottom to top, and of the two poles that follow them as points."""
    here = np.arange(around)
    there = (here + 1) % around
    south, north = rings * around, rings * around + 1
    last = (rings - 1) * around
    low = np.stack([np.full(around, south), there, here], axis=1)
    high = np.stack([np.full(around, north), last + here, last + there], axis=1)
    return np.concatenate([_tube(rings, around, closed=False), low, high])


def _sweep(sections: Reals, closed: bool, material: int, owner: int) -> Mesh:
    """A tube through outlines [N, K, 3] that turn right-handed about the way; open ends are capped."""
    rings, around = sections.shape[:2]
    faces = [_tube(rings, around, closed)]
    if not closed:
        fan = np.stack([np.zeros(around - 2), np.arange(1, around - 1), np.arange(2, around)], axis=1).astype(
            int
        )
        faces += [fan[:, ::-1], fan + (rings - 1) * around]
    return _mesh(sections.reshape(-1, 3), np.concatenate(faces), material, owner)


def _curve(points: Reals, normals: Reals, closed: bool, steps: int = 8) -> tuple[Reals, Reals, Reals]:
    """Centripetal Catmull-Rom through the points: places, unit tangents and normals between, each [M, 3]."""
    if closed:  # two neighbours more on either side, cut off again by the range of pieces
        points, normals = (np.concatenate([each[-1:], each, each[:2]]) for each in (points, normals))
    chords = np.diff(points, axis=0)
    knots = np.sqrt(np.linalg.norm(chords, axis=1))[:, None]
    if knots.min() < 1e-4:
        raise ValueError(f"band: point {int(knots.argmin())} repeats")
    slopes = chords / knots
    inner = (slopes[:-1] * knots[1:] + slopes[1:] * knots[:-1]) / (knots[:-1] + knots[1:])
    tangents = np.concatenate([slopes[:1], inner, slopes[-1:]])
    pieces = range(1, len(chords) - 1) if closed else range(len(chords))
    place, along, outward = [], [], []
    for piece in pieces:
        last = not closed and piece == len(chords) - 1
        t = (np.arange(steps + last) / steps)[:, None]
        start, end = points[piece], points[piece + 1]
        leave, arrive = tangents[piece] * knots[piece], tangents[piece + 1] * knots[piece]
        place.append(
            (1 + 2 * t) * (1 - t) ** 2 * start
            + t * (1 - t) ** 2 * leave
            + t**2 * (3 - 2 * t) * end
            + t**2 * (t - 1) * arrive
        )
        along.append(
            6 * t * (1 - t) * (end - start) + (1 - t) * (1 - 3 * t) * leave + t * (3 * t - 2) * arrive
        )
        outward.append((1 - t) * normals[piece] + t * normals[piece + 1])
    tangent = np.concatenate(along)
    return (
        np.concatenate(place),
        tangent / np.linalg.norm(tangent, axis=1, keepdims=True),
        np.concatenate(outward),
    )


def _handle(foot: Sequence[float], span_m: float, rise_m: float, width_m: float) -> Mesh:
    """An arch along x that rises from `foot` by `rise_m`: its upper side's middle is that far above."""
    thick = 0.012
    angle = np.linspace(-np.pi / 2, np.pi / 2, 5)
    outward = np.stack([np.sin(angle), np.cos(angle), 0 * angle], axis=1)
    points = outward * [span_m / 2, rise_m - thick, 0] + np.asarray(foot)
    return band(points.astype(np.float32), outward.astype(np.float32), width_m, thick)


def _dome_size(head: Reals, depth: float, shape: float, margin_m: float) -> tuple[Reals, Reals]:
    """Centre [3] and half axes [3] of half a superellipsoid over a head, `depth` head widths deep.

    `shape` is its exponent from pole to pole.
    """
    if head.ndim != 2 or head.shape[1] != 3 or len(head) < 4:
        raise ValueError(f"head: points of shape {head.shape} are not [H, 3] with at least 4")
    top = head[:, 1].max()
    # Measured above the ears, so that neither they nor a neck count.
    rim = top - depth * np.ptp(head[head[:, 1] > top - 0.1, 0])
    covered = head[head[:, 1] >= rim].astype(np.float64)
    low, high = covered.min(axis=0), covered.max(axis=0)
    centre = np.array([(low[0] + high[0]) / 2, rim, (low[2] + high[2]) / 2])
    half = np.array([(high[0] - low[0]) / 2, top - rim, (high[2] - low[2]) / 2])
    # The extents alone leave what is between the axes outside: it grows until all is within.
    x, y, z = ((covered - centre) / half).T
    level = (x**2 + z**2) ** (1 / shape) + np.abs(y) ** (2 / shape)
    return centre, half * level.max() ** (shape / 2) + margin_m


def _dome(centre: Reals, half: Reals, shape: float, owner: int) -> Mesh:
    """The upper half of a superellipsoid, closed below and a little drawn in at its hem."""
    around, rings = 28, 8
    longitude = np.arange(around) * (2 * np.pi / around)
    latitude = np.linspace(0, np.pi / 2, rings + 1)[:-1]
    radius = np.concatenate([[0.96], np.cos(latitude) ** shape])[:, None]
    height = np.concatenate([[-0.03], np.sin(latitude) ** shape])[:, None]
    ring = np.stack(
        np.broadcast_arrays(radius * np.sin(longitude), height, radius * np.cos(longitude)), axis=2
    )
    points = np.concatenate([ring.reshape(-1, 3), [[0, -0.03, 0], [0, 1, 0]]]) * half + centre
    return _mesh(points, _globe(around, rings + 1), MAIN, owner)
