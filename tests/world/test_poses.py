"""Poses: bones point where they are wanted, and feet stand on the ground."""

import numpy as np
import pytest

from world.bodies import load_bodies, shape
from world.meshes import Floats
from world.people import draw_identities
from world.poses import POSES, Posed, bend, draw_pose

DATA = load_bodies()
LOOKS = [identity.look for identity in draw_identities(4, seed=1)]
BODY = shape(DATA, LOOKS[0], 0.0)
NAMES = [bone.name for bone in DATA.bones]
DRAWS = [(name, seed) for name in POSES for seed in range(4)]
each_draw = pytest.mark.parametrize(("name", "seed"), DRAWS)


def drawn(name: str, seed: int, stride: float = 1.0) -> dict[str, tuple[float, float, float]]:
    return draw_pose(name, np.random.default_rng(seed), stride)


def start(posed: Posed, bone: str) -> Floats:
    at = NAMES.index(bone)
    return posed.place(at, BODY.heads[at])


def along(posed: Posed, bone: str) -> Floats:
    """Unit direction of a bone."""
    at = NAMES.index(bone)
    way = posed.place(at, BODY.tails[at]) - posed.place(at, BODY.heads[at])
    return np.asarray(way / np.linalg.norm(way))


def lowest(posed: Posed, side: str) -> float:
    """The lowest point of one foot, in socks."""
    tights = np.unique(DATA.faces["helper-tights"])
    tights = tights[DATA.points[tights, 0] * (1 if side == "Left" else -1) > 0]
    return float(posed.points(BODY.points[tights], DATA.weights[tights])[:, 1].min())


@each_draw
def test_named_bones_point_where_they_are_wanted(name: str, seed: int) -> None:
    wanted = drawn(name, seed)
    posed = bend(DATA, BODY, wanted)
    for bone, direction in wanted.items():
        unit = np.array(direction) / np.linalg.norm(direction)
        assert along(posed, bone) == pytest.approx(unit, abs=1e-4), bone


@each_draw
def test_bones_stay_joined(name: str, seed: int) -> None:
    posed = bend(DATA, BODY, drawn(name, seed))
    for index, bone in enumerate(DATA.bones):
        if bone.parent >= 0:
            with_parent = posed.place(bone.parent, BODY.heads[index])
            assert posed.place(index, BODY.heads[index]) == pytest.approx(with_parent, abs=1e-5)


@each_draw
def test_turns_are_rotations(name: str, seed: int) -> None:
    turns = bend(DATA, BODY, drawn(name, seed), look_aside_deg=15).turns.astype(float)
    assert turns @ turns.transpose(0, 2, 1) == pytest.approx(
        np.broadcast_to(np.eye(3), turns.shape), abs=1e-5
    )
    assert np.linalg.det(turns) == pytest.approx(1, abs=1e-5)


@each_draw
def test_somebody_stands_on_the_ground_and_not_in_it(name: str, seed: int) -> None:
    posed = bend(DATA, BODY, drawn(name, seed))
    assert min(lowest(posed, "Left"), lowest(posed, "Right")) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", ["standing", "phone", "feet apart"])
def test_who_does_not_walk_has_both_feet_on_the_ground(name: str) -> None:
    posed = bend(DATA, BODY, drawn(name, 0))
    assert max(lowest(posed, "Left"), lowest(posed, "Right")) < 0.03


@pytest.mark.parametrize("look", LOOKS[1:], ids=lambda look: f"{look.build} {look.sex}")
def test_every_body_stands_on_the_ground(look: object) -> None:
    body = shape(DATA, look, -0.7)  # type: ignore[arg-type]
    posed = bend(DATA, body, drawn("walking", 2))
    tights = np.unique(DATA.faces["helper-tights"])
    assert posed.points(body.points[tights], DATA.weights[tights])[:, 1].min() == pytest.approx(0, abs=1e-5)


def test_bones_without_a_wish_stay_as_they_are() -> None:
    posed = bend(DATA, BODY, {})
    assert posed.turns == pytest.approx(np.broadcast_to(np.eye(3), posed.turns.shape))


def test_bones_without_a_wish_follow_their_parent() -> None:
    posed = bend(DATA, BODY, {"LeftArm": (0.2, -1, 0.3)})
    assert posed.turns[NAMES.index("LeftHand")] == pytest.approx(posed.turns[NAMES.index("LeftArm")])
    assert posed.turns[NAMES.index("RightHand")] == pytest.approx(np.eye(3))


def test_a_point_of_one_bone_goes_with_it() -> None:
    posed = bend(DATA, BODY, drawn("walking", 0))
    hand = NAMES.index("LeftHand")
    weights = np.eye(len(NAMES), dtype=np.float32)[[hand]]
    point = BODY.tails[hand]
    assert posed.points(point[None], weights)[0] == pytest.approx(posed.place(hand, point), abs=1e-5)


def test_a_head_that_looks_aside_turns_towards_the_left() -> None:
    head = NAMES.index("Head")
    nose = BODY.heads[head] + np.array([0, 0.05, 0.12], np.float32)
    ahead, aside = (bend(DATA, BODY, {}, angle).place(head, nose) for angle in (0.0, 15.0))
    assert aside[0] - ahead[0] == pytest.approx(0.12 * np.sin(np.radians(15)), abs=0.005)


@pytest.mark.parametrize("seed", range(12))
def test_on_the_phone_one_wrist_is_above_its_elbow_and_one_hangs(seed: int) -> None:
    posed = bend(DATA, BODY, drawn("phone", seed))
    raised = [start(posed, f"{s}Hand")[1] > start(posed, f"{s}ForeArm")[1] for s in ("Left", "Right")]
    assert sorted(raised) == [False, True]


def test_either_hand_can_hold_the_phone() -> None:
    raised = {drawn("phone", seed)["LeftForeArm"][1] > 0 for seed in range(12)}
    assert raised == {False, True}


@pytest.mark.parametrize("name", ["standing", "walking", "feet apart"])
def test_otherwise_both_arms_hang(name: str) -> None:
    posed = bend(DATA, BODY, drawn(name, 0))
    for side in ("Left", "Right"):
        heights = [start(posed, f"{side}{part}")[1] for part in ("Arm", "ForeArm", "Hand")]
        assert heights == sorted(heights, reverse=True)


def test_who_walks_steps_out_further_with_a_longer_stride() -> None:
    def step(stride: float) -> float:
        posed = bend(DATA, BODY, drawn("walking", 3, stride))
        return abs(float(start(posed, "LeftFoot")[2] - start(posed, "RightFoot")[2]))

    assert step(0) < 0.05 < step(0.6) < step(1.2)


def test_arms_swing_against_the_legs() -> None:
    wanted = drawn("walking", 0)
    for side in ("Left", "Right"):
        assert wanted[f"{side}Arm"][2] * wanted[f"{side}UpLeg"][2] < 0


def test_feet_apart_stand_further_apart_than_feet_do() -> None:
    def between(name: str) -> float:
        posed = bend(DATA, BODY, drawn(name, 0))
        return float(start(posed, "LeftFoot")[0] - start(posed, "RightFoot")[0])

    assert between("feet apart") > between("standing") + 0.1


def test_a_pose_is_a_little_different_every_time() -> None:
    rng = np.random.default_rng(0)
    assert draw_pose("standing", rng) != draw_pose("standing", rng)


def test_the_same_draw_gives_the_same_pose() -> None:
    assert drawn("phone", 5) == drawn("phone", 5)


def test_an_unknown_pose_is_named() -> None:
    with pytest.raises(ValueError, match=r"^pose: 'flying' is none of standing, walking, phone, feet apart$"):
        drawn("flying", 0)


def test_an_unknown_bone_is_named() -> None:
    with pytest.raises(ValueError, match=r"^pose: the rig has no bone Tail$"):
        bend(DATA, BODY, {"Tail": (0, 1, 0)})
