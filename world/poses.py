"""Poses: where the bones of a body point, and the body bent to it by linear blend skinning.

A pose names a wanted direction for some bones, in the body's own frame: x to its left, y up, z to its front.
Bones without one follow their parent.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from world.bodies import Body, BodyData
from world.meshes import Floats, Reals

POSES = ("standing", "walking", "phone", "feet apart")
Direction = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Posed:
    """A body in a pose, feet on the ground at y = 0, metres."""

    turns: Floats
    """[bones, 3, 3]: rotation of each bone from the rest pose."""
    shifts: Floats
    """[bones, 3]: with it, a rest point p of the bone goes to turn @ p + shift."""

    def points(self, rest: Floats, weights: Floats) -> Floats:
        """Rest points [P, 3] with their bone weights [P, bones], bent."""
        turn = (weights @ self.turns.reshape(len(self.turns), 9)).reshape(-1, 3, 3)
        bent: Floats = np.einsum("pij,pj->pi", turn, rest) + weights @ self.shifts
        return bent.astype(np.float32)

    def place(self, bone: int, point: Floats) -> Floats:
        """One rest point that goes with one bone."""
        return np.asarray(self.turns[bone] @ point + self.shifts[bone], dtype=np.float32)


def draw_pose(name: str, rng: np.random.Generator, stride: float = 1.0) -> dict[str, Direction]:
    """Wanted directions of a pose, a little different every time; `stride` scales the legs' swing.

    Raises ValueError for a name that is none of POSES.
    """
    if name not in POSES:
        raise ValueError(f"pose: {name!r} is none of {', '.join(POSES)}")
    swing = rng.uniform(13, 21) * stride if name == "walking" else rng.uniform(0, 3)
    swing *= rng.choice([-1, 1])
    apart = rng.uniform(9, 13) if name == "feet apart" else rng.uniform(1.5, 4)
    wanted: dict[str, Direction] = {}
    for side, out, forward in (("Left", 1, swing), ("Right", -1, -swing)):
        arm = -0.9 * forward if name == "walking" else rng.uniform(-4, 4)
        bend = rng.uniform(8, 18) + max(0.0, arm) * 0.6
        away = rng.uniform(9, 15)
        wanted[f"{side}Arm"] = _hanging(arm, away * out)
        wanted[f"{side}ForeArm"] = _hanging(arm + bend, away * out * 0.5)
        thigh, shin = (forward, forward * 0.5) if forward > 0 else (forward * 0.8, forward * 1.5)
        wanted[f"{side}UpLeg"] = _hanging(thigh, apart * out)
        wanted[f"{side}Leg"] = _hanging(shin, apart * out * 0.8)
        toes = rng.uniform(4, 14) * out
        heel = -0.41 if forward >= -4 else -0.85
        wanted[f"{side}Foot"] = (float(np.sin(np.radians(toes))), heel, 1.0)
    if name == "phone":
        side, out = (("Left", 1), ("Right", -1))[rng.integers(2)]
        wanted[f"{side}Arm"] = _hanging(rng.uniform(20, 40), rng.uniform(12, 20) * out)
        wanted[f"{side}ForeArm"] = (
            rng.uniform(-0.5, -0.2) * out,
            rng.uniform(0.5, 0.9),
            rng.uniform(0.5, 0.8),
        )
    wanted["Head"] = (rng.uniform(-0.05, 0.05), 1.0, rng.uniform(0.0, 0.25))
    return wanted


def bend(data: BodyData, body: Body, wanted: Mapping[str, Direction], look_aside_deg: float = 0.0) -> Posed:
    """Bend a body so that each named bone points where it is wanted; the head looks aside by an angle."""
    unknown = wanted.keys() - {bone.name for bone in data.bones}
    if unknown:
        raise ValueError(f"pose: the rig has no bone {sorted(unknown)[0]}")
    turns: list[Reals] = []
    starts: list[Reals] = []
    for index, bone in enumerate(data.bones):
        turn = np.eye(3) if bone.parent < 0 else turns[bone.parent]
        start = body.heads[index]
        if bone.parent >= 0:
            start = turn @ (start - body.heads[bone.parent]) + starts[bone.parent]
        rest = body.tails[index] - body.heads[index]
        if bone.name in wanted:
            turn = _between(turn @ rest, np.array(wanted[bone.name])) @ turn
        if bone.name == "Head":
            turn = _about_y(look_aside_deg) @ turn
        turns.append(turn)
        starts.append(start)
    turned = np.array(turns, dtype=np.float32)
    shifts = np.array(starts, dtype=np.float32) - np.einsum("bij,bj->bi", turned, body.heads)
    posed = Posed(turned, shifts.astype(np.float32))
    tights = np.unique(data.faces["helper-tights"])
    lowest = posed.points(body.points[tights], data.weights[tights])[:, 1].min()
    return Posed(turned, (shifts - [0, lowest, 0]).astype(np.float32))


def _hanging(forward_deg: float, out_deg: float) -> Direction:
    """Straight down, then swung forward and out to the left."""
    forward, out = np.radians([forward_deg, out_deg])
    return (float(np.sin(out)), float(-np.cos(out) * np.cos(forward)), float(np.cos(out) * np.sin(forward)))


def _between(a: Reals, b: Reals) -> Reals:
    """The smallest rotation that turns direction a into direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis, cosine = np.cross(a, b), float(a @ b)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.asarray(np.eye(3) + skew + skew @ skew / (1 + cosine))


def _about_y(angle_deg: float) -> Reals:
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
