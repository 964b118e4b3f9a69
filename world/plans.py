"""What a made picture will show: its kind, its people, their poses and views; drawn by a seed.

A plan is small and says everything: the same plan gives the same picture, whoever draws it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from world.backgrounds import BACKGROUNDS
from world.people import Identity
from world.poses import POSES
from world.truth import Kind

SINGLE_PX, SCENE_PX = (256, 512), (640, 480)
"""Width and height of pictures of one person, and of wide ones."""
PROFILE_PX = (192, 512)
WIDE = (Kind.SCENE, Kind.FAR, Kind.VAGUE)
NEGATIVES = (
    Kind.FAR,
    Kind.CUT_OFF,
    Kind.HEAD_HIDDEN,
    Kind.HIPS_HIDDEN,
    Kind.MOSTLY_HIDDEN,
    Kind.PROFILE,
    Kind.VAGUE,
    Kind.BLURRED,
    Kind.DARK,
)
BLUR_PX = {Kind.BLURRED: (5, 7), Kind.VAGUE: (3.2, 4.2)}
BRIGHTNESS = {Kind.DARK: (0.03, 0.06)}
VIEWS: Mapping[str, tuple[float, float]] = {
    "front": (0, 25),
    "right three-quarter": (25, 65),
    "right side": (65, 115),
    "right back three-quarter": (115, 155),
    "back": (155, 205),
    "left back three-quarter": (205, 245),
    "left side": (245, 295),
    "left three-quarter": (295, 335),
}
"""Which side of the person the camera sees, by yaw in degrees; the rest of the circle is front."""


@dataclass(frozen=True)
class Shot:
    """One person in a picture."""

    identity: Identity
    pose: str
    stride: float
    """Factor on the swing of the legs."""
    yaw_deg: float
    """0 faces the camera, positive turns to the picture's right."""
    at_m: tuple[float, float] = (0.0, 0.0)
    """x and z of where it stands; z comes nearer."""


@dataclass(frozen=True)
class Plan:
    """One picture."""

    name: str
    kind: Kind
    width_px: int
    height_px: int
    background: str
    shots: tuple[Shot, ...]
    seed: tuple[int, ...]
    """Of everything else that is drawn: light, camera, noise."""
    blur_px: float = 0.0
    brightness: float = 1.0


def view_of(yaw_deg: float) -> str:
    """The name of a view, a key of VIEWS."""
    turn = yaw_deg % 360
    return next((name for name, (low, high) in VIEWS.items() if low <= turn < high), "front")


def plan_picture(kind: Kind, number: int, cast: Sequence[Identity], seed: int) -> Plan:
    """The picture `number` of a kind; `cast` are the people in it, one for most kinds, none for EMPTY."""
    key = (seed, list(Kind).index(kind), number)
    rng = np.random.default_rng(key)
    size = SCENE_PX if kind in WIDE or (kind is Kind.EMPTY and rng.random() < 0.5) else SINGLE_PX
    size = PROFILE_PX if kind is Kind.PROFILE else size
    shots = tuple(_shot(kind, person, rng) for person in cast)
    if kind is Kind.SCENE:
        shots = _spread(shots, rng)
    return Plan(
        name=f"{kind}-{number:05d}",
        kind=kind,
        width_px=size[0],
        height_px=size[1],
        background=str(rng.choice(BACKGROUNDS)),
        shots=shots,
        seed=key,
        blur_px=_between(BLUR_PX.get(kind, (0, 0)), rng),
        brightness=_between(BRIGHTNESS.get(kind, (1, 1)), rng),
    )


def plan_world(
    identities: Sequence[Identity], views: int, others: int, seed: int, varied_share: float = 0.1
) -> Iterator[Plan]:
    """`views` pictures of every identity by itself, then `others` pictures of every other kind.

    About `varied_share` of the single pictures are in any pose and view, the others curated. Raises
    ValueError for counts or shares that cannot be.
    """
    for name, count in (("views", views), ("others", others)):
        if count < 0:
            raise ValueError(f"{name}: {count} is below 0")
    if not 0 <= varied_share <= 1:
        raise ValueError(f"varied_share: {varied_share} is not between 0 and 1")
    rng = np.random.default_rng([seed, 0xAC])
    number = 0
    for identity in identities:
        for _ in range(views):
            kind = Kind.VARIED if rng.random() < varied_share else Kind.CURATED
            yield plan_picture(kind, number, [identity], seed)
            number += 1
    for kind in (Kind.SCENE, Kind.EMPTY, *NEGATIVES):
        for number in range(others if identities or kind is Kind.EMPTY else 0):
            count = {Kind.SCENE: 1 + number % 4, Kind.EMPTY: 0}.get(kind, 1)
            chosen = rng.permutation(len(identities))[:count]
            yield plan_picture(kind, number, [identities[at] for at in chosen], seed)


def _shot(kind: Kind, person: Identity, rng: np.random.Generator) -> Shot:
    if kind is Kind.VARIED:
        return Shot(person, str(rng.choice(POSES)), rng.uniform(0.6, 1.8), rng.uniform(-180, 180))
    if kind is Kind.PROFILE:
        return Shot(person, "standing", 0.0, float(rng.choice([-1, 1]) * rng.uniform(85, 95)))
    turn = 40 if kind is Kind.CUT_OFF else 62  # broad shoulders make a broad box
    yaw = rng.uniform(-turn, turn) if rng.random() < 0.75 else rng.uniform(168, 184)
    return Shot(person, str(rng.choice(POSES)), rng.uniform(0.5, 0.8), float(yaw))


def _between(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return float(rng.uniform(*limits))


def _spread(shots: Sequence[Shot], rng: np.random.Generator) -> tuple[Shot, ...]:
    """Side by side with room between, some nearer than others."""
    middle = (len(shots) - 1) / 2
    return tuple(
        Shot(
            shot.identity,
            shot.pose,
            shot.stride,
            shot.yaw_deg,
            ((at - middle) * 0.95 + rng.uniform(-0.12, 0.12), rng.uniform(-0.6, 0.6)),
        )
        for at, shot in enumerate(shots)
    )
