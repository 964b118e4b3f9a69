"""A dressed figure: a look on a body in a pose, as one mesh with its materials and its keypoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from world.bodies import Body, BodyData
from world.carried import carry, cover_head
from world.cuts import Piece, cut, whole
from world.garments import (
    LOWERS,
    UPPERS,
    group,
    lower_cloth,
    lower_region,
    shoe_region,
    shoes,
    upper_cloth,
    upper_region,
)
from world.meshes import Floats, Material, Mesh, merge
from world.people import CLOTH, HAIR, SKIN, Look
from world.poses import Posed
from world.wardrobe import Wardrobe

Colour = tuple[int, int, int]
COVERED = -0.25
"""Skin this far inside a garment's region is not drawn, so that it cannot come through; decimetres."""
EYE_WHITE, IRIS, LIP = (225, 222, 216), (40, 30, 26), (120, 36, 40)
# COCO's order; head points are places on the base mesh, the others begin bones of the rig.
HEAD_POINTS = ((0, 6.98, 1.68), (0.31, 7.28, 1.36), (-0.31, 7.28, 1.36), (0.84, 7.1, 0.5), (-0.84, 7.1, 0.5))
JOINTS = tuple(
    f"{side}{bone}"
    for bone in ("Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot")
    for side in ("Left", "Right")
)


@dataclass(frozen=True, eq=False)
class Figure:
    """A person ready to be placed in a scene, facing z, between the feet at the origin."""

    mesh: Mesh
    materials: tuple[Material, ...]
    keypoints: Floats
    """[17, 3] of COCO's points, metres."""


def figure(data: BodyData, body: Body, look: Look, posed: Posed, owner: int = 0) -> Figure:
    """Dress a posed body; `owner` marks its faces in a scene."""
    wardrobe = Wardrobe(data, body, posed, owner)
    _skin(wardrobe, look)
    _face(wardrobe, look)
    _hair(wardrobe, look)
    lower = LOWERS[look.lower]
    wardrobe.cloth(
        lower_cloth(data, look.lower, look.upper), [Material(CLOTH[look.lower_colour], relief=lower.relief)]
    )
    shoe = CLOTH[look.shoe_colour]
    wardrobe.cloth(shoes(data), [Material(shoe), Material(_dark(shoe, 0.45))])
    upper = CLOTH[look.upper_colour]
    second = CLOTH[look.pattern_colour] if look.pattern_colour else None
    relief = UPPERS[look.upper].relief
    for cloth in upper_cloth(data, look.upper, look.lower):
        wardrobe.cloth(cloth, [Material(upper, look.pattern, second, relief), Material(_dark(upper, 0.35))])
    cover_head(wardrobe, look, _scalp_piece(data))
    carry(wardrobe, look)
    return Figure(merge(wardrobe.meshes), tuple(wardrobe.materials), _keypoints(data, body, posed))


def _skin(wardrobe: Wardrobe, look: Look) -> None:
    data, skin = wardrobe.data, SKIN[look.skin]
    piece = _bare(data, look.upper, look.lower)
    shaved = piece.of(_scalp(data))[piece.faces].max(axis=1) < 0
    index = shaved.astype(np.int32)
    scalp = _mixed(skin, HAIR[look.hair_colour], 0.55)
    wardrobe.wear(piece, [Material(skin), Material(scalp)], index, np.zeros(len(piece.vertices)), 0)


@lru_cache  # 20 combinations
def _bare(data: BodyData, upper: str, lower: str) -> Piece:
    """The faces of the body that no garment covers."""
    clothed = np.minimum.reduce(
        [upper_region(data, UPPERS[upper]), lower_region(data, LOWERS[lower]), shoe_region(data)]
    )
    faces = data.faces["body"]
    return whole(faces[clothed[faces].max(axis=1) > COVERED])


def _face(wardrobe: Wardrobe, look: Look) -> None:
    """Eyes, brows and lips."""
    data, skin = wardrobe.data, SKIN[look.skin]
    for side in ("l", "r"):
        eye = group(data, f"helper-{side}-eye")
        z = eye.of(data.points)[:, 2]
        iris = (z[eye.faces].min(axis=1) > z.max() - 0.05).astype(np.int32)
        wardrobe.wear(eye, [Material(EYE_WHITE), Material(IRIS)], iris, np.zeros(len(z)), 0)
    brow = _dark(HAIR[look.hair_colour], 0.8)
    lips = _mixed(skin, LIP, 0.6)
    for piece, colour in ((_brows(data), brow), (_lips(data), lips)):
        flat = np.zeros(len(piece.faces), np.int32)
        wardrobe.wear(piece, [Material(colour)], flat, np.full(len(piece.vertices), 0.03), 0)


@lru_cache
def _brows(data: BodyData) -> Piece:
    x, y, z = data.points.T
    arch = 7.6 - 0.5 * (np.abs(x) - 0.36) ** 2
    inside = np.maximum.reduce([np.abs(np.abs(x) - 0.36) - 0.24, np.abs(y - arch) - 0.05, 1.0 - z])
    head = group(data, "body")
    return cut(head, head.of(inside))


@lru_cache
def _lips(data: BodyData) -> Piece:
    x, y, z = data.points.T
    inside = np.maximum(np.hypot(x / 0.27, (y - 6.62) / 0.1) - 1, 1.3 - z)
    head = group(data, "body")
    return cut(head, head.of(inside))


def _hair(wardrobe: Wardrobe, look: Look) -> None:
    if look.hair_length == "shaved":
        return
    hair = [Material(HAIR[look.hair_colour], relief=1.2)]
    scalp = _scalp_piece(wardrobe.data)
    wardrobe.wear(scalp, hair, np.zeros(len(scalp.faces), np.int32), np.full(len(scalp.vertices), 0.2), 2)
    if look.hair_length in FALLS:
        fall = _fall(wardrobe.data, look.hair_length)
        wardrobe.wear(fall, hair, np.zeros(len(fall.faces), np.int32), np.full(len(fall.vertices), 0.08), 2)


FALLS: Mapping[str, float] = {"bob": 6.25, "long": 4.3}
"""Hair that hangs, down to this height."""


@lru_cache
def _scalp_piece(data: BodyData) -> Piece:
    head = group(data, "body")
    return cut(head, head.of(_scalp(data)))


@lru_cache
def _scalp(data: BodyData) -> Floats:
    """[V]: below 0 above the hairline from the forehead over the ears to the nape."""
    _, y, z = data.points.T
    line = np.interp(z, [-0.5, -0.15, 0.35, 0.75, 0.9, 1.5], [6.5, 6.6, 7.3, 7.35, 7.75, 8.1])
    return np.asarray(line - y).astype(np.float32)


@lru_cache
def _fall(data: BodyData, length: str) -> Piece:
    """The hair helper down to a length, cut free of the face."""
    hair = group(data, "helper-hair")
    y, z = hair.of(data.points).T[1:]
    face = np.where(y < 8.0, z - 0.62, -1.0)
    return cut(hair, np.maximum(FALLS[length] - y, face).astype(np.float32))


def _keypoints(data: BodyData, body: Body, posed: Posed) -> Floats:
    names = [bone.name for bone in data.bones]
    head = names.index("Head")
    places = [
        posed.place(head, body.points[np.linalg.norm(data.points - place, axis=1).argmin()])
        for place in np.array(HEAD_POINTS, dtype=np.float32)
    ]
    places += [posed.place(names.index(joint), body.heads[names.index(joint)]) for joint in JOINTS]
    return np.array(places, dtype=np.float32)


def _mixed(a: Colour, b: Colour, share: float) -> Colour:
    """`share` of a, the rest of b."""
    red, green, blue = (round(share * x + (1 - share) * y) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _dark(colour: Colour, share: float) -> Colour:
    r, g, b = (round(share * level) for level in colour)
    return r, g, b
