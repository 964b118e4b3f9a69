"""Bags hung on a figure, and what it wears on the head. Places are those of the base mesh, in decimetres."""

import numpy as np

from world.cuts import Piece
from world.hats import cap, woolly_hat
from world.meshes import Material, Reals
from world.people import CLOTH, Look
from world.things import backpack, band, handbag, shoulder_bag
from world.wardrobe import Wardrobe

ALONG = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], dtype=np.float32)
"""Turns a bag's long side along the walk."""
OFF_M = 0.035
"""How far straps lie off the body: over the widest coat."""
# Over a shoulder, from the ribs to the back.
SHOULDER_STRAP = np.array(
    [(1.3, 2.6, 0.7), (1.0, 3.9, 1.1), (0.95, 5.1, 0.85), (0.95, 5.7, 0.1), (0.9, 4.9, -0.7)]
)
# From the left shoulder across to the right hip and back.
CROSS_STRAP = np.array(
    [
        *[(0.95, 5.7, 0.1), (0.5, 4.6, 1.0), (-0.5, 3.0, 1.1), (-1.4, 1.4, 0.9)],
        *[(-1.8, 0.8, 0.2), (-1.3, 1.5, -0.6), (-0.3, 3.2, -0.6), (0.6, 4.8, -0.7), (0.9, 5.5, -0.4)],
    ]
)
MIRROR = np.array([-1, 1, 1])


def carry(wardrobe: Wardrobe, look: Look) -> None:
    """Hang the look's bag on the figure; it is no part of the person's box."""
    if look.bag_colour is None:
        return
    materials = _leather(look.bag_colour)
    {"backpack": _backpack, "handbag": _handbag, "shoulder bag": _shoulder_bag}[look.bag](wardrobe, materials)


def cover_head(wardrobe: Wardrobe, look: Look, scalp: Piece) -> None:
    """Put the look's headwear over the hair."""
    if look.headwear_colour is None:
        return
    hat = {"cap": cap, "woolly hat": woolly_hat}[look.headwear]
    head = wardrobe.bone("Head")
    points = scalp.of(wardrobe.body.points)
    out = points - wardrobe.body.heads[head]
    points = points + 0.012 * out / np.linalg.norm(out, axis=1, keepdims=True)
    mesh = hat(points, wardrobe.owner)
    wardrobe.attach(
        mesh, _leather(look.headwear_colour), wardrobe.posed.turns[head], wardrobe.posed.shifts[head]
    )


def _backpack(wardrobe: Wardrobe, materials: list[Material]) -> None:
    for places in (SHOULDER_STRAP, SHOULDER_STRAP * MIRROR):
        _strap(wardrobe, places, materials, width_m=0.055)
    (back,), _ = wardrobe.surface(np.array([(0, 3.7, -0.8)]))
    chest = wardrobe.bone("Spine1")
    wardrobe.attach(backpack(), materials, wardrobe.posed.turns[chest], back - [0, 0, OFF_M])


def _handbag(wardrobe: Wardrobe, materials: list[Material]) -> None:
    """In the hand that hangs lower."""
    hands = [wardrobe.bone(f"{side}Hand") for side in ("Left", "Right")]
    grips = [wardrobe.posed.place(hand, wardrobe.body.tails[hand]) for hand in hands]
    grip = min(grips, key=lambda place: float(place[1]))
    wardrobe.attach(handbag(), materials, ALONG, grip - [0, 0.03, 0])


def _shoulder_bag(wardrobe: Wardrobe, materials: list[Material]) -> None:
    _strap(wardrobe, CROSS_STRAP, materials, width_m=0.04, closed=True)
    (hip,), (out,) = wardrobe.surface(np.array([(-1.8, 0.8, 0.2)]))
    wardrobe.attach(shoulder_bag(), materials, ALONG, hip + out * (OFF_M + 0.05))


def _strap(
    wardrobe: Wardrobe, places: Reals, materials: list[Material], width_m: float, closed: bool = False
) -> None:
    points, normals = wardrobe.surface(places)
    strap = band(points + OFF_M * normals, normals, width_m, 0.012, closed=closed)
    wardrobe.attach(strap, materials, np.eye(3, dtype=np.float32), np.zeros(3, np.float32))


def _leather(colour: str) -> list[Material]:
    r, g, b = CLOTH[colour]
    return [Material((r, g, b)), Material((r * 6 // 10, g * 6 // 10, b * 6 // 10))]
