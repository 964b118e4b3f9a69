"""Garments of the made world: pieces of the base mesh's clothes helpers, cut by lines in the rest pose.

Coordinates here are those of the base mesh: decimetres, x to the body's left, y up with 0 at the hips, z to
the front. A region is a number per point, below 0 inside.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from world.bodies import BodyData
from world.cuts import Piece, cut, whole
from world.meshes import Floats, Ints, Reals

CROTCH, ANKLE = -0.6, -7.35
SKIRT_WAIST = 1.25
OVERLAP = 0.2
"""How far upper and lower garment reach under each other, decimetres."""


@dataclass(frozen=True)
class Upper:
    """An upper garment: how far it reaches, and how wide it is."""

    hem: float
    sleeve: float
    """Along the arm: 0 shoulder, 1 elbow, 2 wrist."""
    neck: tuple[float, float]
    """Half width and depth of the neckline."""
    push: float
    """How far it stands off the body, decimetres."""
    rounds: int
    """Of smoothing."""
    relief: float
    opening: bool = False
    """A dark line down the front."""
    tails: float | None = None
    """Down to where the skirt of a coat hangs."""


@dataclass(frozen=True)
class Lower:
    """A lower garment, of the tights or of the skirt helper."""

    hem: float
    skirt: bool
    push: float
    flare: float
    """More push at the hem."""
    rounds: int
    relief: float


UPPERS: Mapping[str, Upper] = {
    "tank top": Upper(hem=0.1, sleeve=0.0, neck=(0.85, 1.15), push=0.1, rounds=3, relief=0.5),
    "t-shirt": Upper(hem=-0.1, sleeve=0.72, neck=(0.72, 0.62), push=0.12, rounds=5, relief=0.8),
    "sweater": Upper(hem=-0.15, sleeve=1.93, neck=(0.62, 0.42), push=0.17, rounds=7, relief=1.0),
    "jacket": Upper(-0.35, 1.95, (0.6, 0.3), push=0.27, rounds=8, relief=0.8, opening=True),
    "coat": Upper(0.3, 1.95, (0.6, 0.3), push=0.29, rounds=8, relief=0.7, opening=True, tails=-3.6),
}
LOWERS: Mapping[str, Lower] = {
    "trousers": Lower(hem=ANKLE, skirt=False, push=0.05, flare=0.2, rounds=6, relief=0.8),
    "shorts": Lower(hem=-2.9, skirt=False, push=0.05, flare=0.22, rounds=5, relief=0.7),
    "skirt": Lower(hem=-3.3, skirt=True, push=0.12, flare=0.1, rounds=3, relief=0.7),
    "long skirt": Lower(hem=-6.7, skirt=True, push=0.12, flare=0.1, rounds=3, relief=0.9),
}


@dataclass(frozen=True, eq=False)
class Cloth:
    """A cut garment that fits every body."""

    piece: Piece
    material: Ints
    """[F]: 0 the cloth, 1 its trim."""
    push: Reals
    """[P], decimetres."""
    rounds: int
    relief: float


@lru_cache  # six of them; what is remembered of a piece (world/cuts.py) hangs on its being the same one
def group(data: BodyData, name: str) -> Piece:
    """All triangles of a group of the base mesh."""
    return whole(data.faces[name])


@lru_cache  # 20 combinations, the same for every picture of a process
def upper_cloth(data: BodyData, name: str, lower: str) -> tuple[Cloth, ...]:
    """The pieces of an upper garment; over a skirt it ends at the waist."""
    garment = UPPERS[name]
    if LOWERS[lower].skirt:
        garment = replace(garment, hem=SKIRT_WAIST - OVERLAP)
    tights = group(data, "helper-tights")
    piece = cut(tights, tights.of(upper_region(data, garment)))
    cloths = [_cloth(data, piece, garment, np.full(len(piece.vertices), garment.push))]
    if garment.tails is not None:
        skirt = group(data, "helper-skirt")
        y = skirt.of(data.points)[:, 1]
        skirt = cut(skirt, np.maximum(garment.tails - y, y - max(1.0, garment.hem + OVERLAP)))
        cloths.append(_cloth(data, skirt, garment, np.full(len(skirt.vertices), garment.push)))
    return tuple(cloths)


@lru_cache
def lower_cloth(data: BodyData, name: str, upper: str) -> Cloth:
    """The piece of a lower garment; under an upper one that hangs over it, it begins at that one's hem."""
    garment = LOWERS[name]
    piece = group(data, "helper-skirt" if garment.skirt else "helper-tights")
    piece = cut(piece, piece.of(lower_region(data, garment)))
    if not garment.skirt:
        piece = cut(piece, piece.of(data.points)[:, 1] - (UPPERS[upper].hem + OVERLAP))
    y = piece.of(data.points)[:, 1]
    down = np.clip((CROTCH - y) / (CROTCH - garment.hem), 0, 1)
    push = garment.push + garment.flare * down
    return Cloth(piece, np.zeros(len(piece.faces), np.int32), push, garment.rounds, garment.relief)


@lru_cache
def shoes(data: BodyData) -> Cloth:
    """Both shoes; the sole is their trim."""
    piece = group(data, "helper-tights")
    piece = cut(piece, piece.of(shoe_region(data)))
    sole = piece.of(data.points)[:, 1] + 7.98
    upper, lower = cut(piece, -sole), cut(piece, sole)
    both = _joined(data, upper, lower)
    material = np.repeat(np.array([0, 1], np.int32), [len(upper.faces), len(lower.faces)])
    return Cloth(both, material, np.full(len(both.vertices), 0.1), 2, 0.0)


def upper_region(data: BodyData, garment: Upper) -> Reals:
    """[V]: below 0 where the garment covers the base mesh."""
    x, y, z = data.points.T
    half_width, depth = garment.neck
    neck = 1 - np.hypot(x / half_width, (y - 6.25) / (depth + 0.35 * (z > 0.2)))
    arm = along_arms(data) - garment.sleeve
    if not garment.sleeve:  # the armholes of a tank top
        arm = np.where(y > 2.5, np.maximum(np.abs(x) - 1.42, y - 6.0), np.abs(x) - 3)
        arm = np.where(along_arms(data) > -1, np.maximum(arm, 0.05), arm)
    return np.asarray(np.maximum.reduce([garment.hem - y, arm, neck, y - 6.15]))


def lower_region(data: BodyData, garment: Lower) -> Reals:
    """[V]: below 0 where the garment covers the base mesh."""
    y = data.points[:, 1]
    return np.asarray(np.maximum.reduce([garment.hem - y, y - SKIRT_WAIST, along_arms(data)]))


def shoe_region(data: BodyData) -> Reals:
    """[V]: below 0 where a shoe covers the base mesh."""
    return np.asarray(data.points[:, 1] + 7.25)


@lru_cache
def along_arms(data: BodyData) -> Floats:
    """[V]: 0 at the shoulder, 1 at the elbow, 2 at the wrist; −1 off the arms."""
    names = [bone.name for bone in data.bones]
    along = np.full(len(data.points), -1.0)
    for side in ("Left", "Right"):
        arm = [
            names.index(f"{side}{part}") for part in ("Arm", "ForeArm", "Hand", "FingerBase", "HandFinger1")
        ]
        arm.append(names.index(f"{side[0]}Thumb"))
        joints = [data.points[data.bones[index].head].mean(axis=0) for index in arm[:3]]
        upper, fore = (_along(data.points, joints[i], joints[i + 1]) for i in (0, 1))
        on_arm = data.weights[:, arm].sum(axis=1) > 0.5
        along = np.where(on_arm, np.where(upper < 1, np.maximum(upper, 0), np.maximum(1 + fore, 1)), along)
    return along.astype(np.float32)


def _along(points: Floats, start: Floats, end: Floats) -> Floats:
    return np.asarray((points - start) @ (end - start) / ((end - start) @ (end - start)))


def _cloth(data: BodyData, piece: Piece, garment: Upper, push: Reals) -> Cloth:
    if not garment.opening:
        return Cloth(piece, np.zeros(len(piece.faces), np.int32), push, garment.rounds, garment.relief)
    x, _, z = piece.of(data.points).T
    line = np.where(z > 0, np.abs(x) - 0.07, 1.0)
    sides, middle = cut(piece, -line), cut(piece, line)
    both = _joined(data, sides, middle)
    material = np.repeat(np.array([0, 1], np.int32), [len(sides.faces), len(middle.faces)])
    return Cloth(both, material, np.full(len(both.vertices), push[0]), garment.rounds, garment.relief)


def _joined(data: BodyData, first: Piece, second: Piece) -> Piece:
    """Two pieces as one; points that are equal are shared, so that smoothing knows no seam."""
    width = max(first.vertices.shape[1], second.vertices.shape[1])
    pad = [(0, 0), (0, width)]
    vertices, shares = (
        np.concatenate([np.pad(getattr(p, name), pad)[:, :width] for p in (first, second)])
        for name in ("vertices", "shares")
    )
    faces = np.concatenate([first.faces, second.faces + len(first.vertices)])
    places = Piece(vertices, shares, faces).of(data.points)
    _, kept, same = np.unique(places.round(4), axis=0, return_index=True, return_inverse=True)
    return replace(
        first, vertices=vertices[kept], shares=shares[kept], faces=same.ravel()[faces].astype(np.int32)
    )
