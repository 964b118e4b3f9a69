"""Dressed figures: every look draws, things hang where they belong, keypoints stand in COCO's order."""

import dataclasses
import itertools
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from tests.world.scenes import CLOSE, shown
from world.bodies import load_bodies, shape
from world.figures import Figure, figure
from world.garments import LOWERS, UPPERS
from world.meshes import Floats, Material
from world.people import ATTRIBUTES, CLOTH, HAIR, SKIN, Look, change, draw_identities
from world.poses import bend, draw_pose

DATA = load_bodies()
PLAIN = draw_identities(
    1,
    seed=0,
    fixed={
        **{"sex": "woman", "build": "average", "skin": "light", "hair_length": "short", "hair_colour": "red"},
        **{"upper": "sweater", "upper_colour": "green", "pattern": "plain"},
        **{"lower": "trousers", "lower_colour": "yellow", "shoe_colour": "blue"},
        **{"bag": "none", "headwear": "none"},
    },
)[0].look
OWNER = 3
NOSE, EYES, EARS, SHOULDERS, ELBOWS, WRISTS = 0, [1, 2], [3, 4], [5, 6], [7, 8], [9, 10]
HIPS, KNEES, ANKLES = [11, 12], [13, 14], [15, 16]


@cache
def dressed(look: Look, pose: str = "standing", seed: int = 0, height: float = 0.0) -> Figure:
    body = shape(DATA, look, height)
    posed = bend(DATA, body, draw_pose(pose, np.random.default_rng(seed)))
    return figure(DATA, body, look, posed, OWNER)


def having(**attributes: str) -> Look:
    look = PLAIN
    for name, value in attributes.items():
        look = change(look, name, value)
    return look


def corners(made: Figure, faces: npt.NDArray[np.bool_]) -> Floats:
    """Points [N, 3] of some faces."""
    return np.asarray(made.mesh.points[made.mesh.faces[faces]].reshape(-1, 3))


def painted(made: Figure, material: Material) -> Floats:
    """Points of the faces that are painted with a material."""
    indices = [index for index, each in enumerate(made.materials) if each == material]
    return corners(made, np.isin(made.mesh.material, indices))


def coloured(made: Figure, colour: str) -> Floats:
    """Points of the faces in a colour of cloth."""
    indices = [index for index, each in enumerate(made.materials) if each.colour == CLOTH[colour]]
    return corners(made, np.isin(made.mesh.material, indices))


def bag_of(made: Figure) -> Floats:
    return corners(made, made.mesh.owner == -1)


def hat_of(made: Figure) -> Floats:
    """Of a figure without a bag: what is put on last, in two materials."""
    return corners(made, made.mesh.material >= len(made.materials) - 2)


def check(made: Figure) -> None:
    """Whatever is worn: finite numbers, faces of known points and materials, standing at the origin."""
    mesh, used = made.mesh, np.unique(made.mesh.material)
    assert np.isfinite(mesh.points).all()
    assert np.isfinite(mesh.rest).all()
    assert np.linalg.norm(mesh.normals, axis=1).max() < 1.001
    assert len(mesh.points) == len(mesh.normals) == len(mesh.rest)
    assert mesh.faces.min() >= 0
    assert mesh.faces.max() < len(mesh.points)
    assert used[0] == 0
    assert used[-1] < len(made.materials)
    assert -0.03 < mesh.points[:, 1].min() < 0.01
    assert 1.5 < mesh.points[:, 1].max() < 2.05
    assert np.abs(mesh.points[:, [0, 2]]).max() < 1.0


@pytest.mark.parametrize(("upper", "lower"), [*itertools.product(UPPERS, LOWERS)])
def test_every_upper_garment_draws_over_every_lower_one(upper: str, lower: str) -> None:
    made = dressed(having(upper=upper, lower=lower))
    check(made)
    assert len(coloured(made, "green")) > 1000
    assert len(coloured(made, "yellow")) > 1000
    assert len(coloured(made, "blue")) > 1000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in ("sex", "build", "skin", "hair_length", "hair_colour", "pattern", "bag", "headwear")
        for value in ATTRIBUTES[name]
    ],
)
def test_every_value_of_the_other_attributes_draws(name: str, value: str) -> None:
    check(dressed(change(PLAIN, name, value)))


@pytest.mark.parametrize("number", range(8))
def test_drawn_people_draw_in_every_pose(number: int) -> None:
    look = draw_identities(8, seed=4)[number].look
    made = dressed(look, ("walking", "phone", "feet apart", "standing")[number % 4], number, number / 4 - 1)
    check(made)
    assert {CLOTH[look.upper_colour], CLOTH[look.lower_colour], CLOTH[look.shoe_colour]} <= {
        made.materials[index].colour for index in np.unique(made.mesh.material)
    }


def test_the_same_look_gives_the_same_figure() -> None:
    again = dressed.__wrapped__(PLAIN)
    assert (again.mesh.points == dressed(PLAIN).mesh.points).all()
    assert again.materials == dressed(PLAIN).materials


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_changes_the_figure(name: str) -> None:
    look = having(pattern="striped", bag="backpack", headwear="cap")
    plain = dressed(look)
    other = next(value for value in ATTRIBUTES[name] if value not in ("none", getattr(look, name)))
    made = dressed(change(look, name, other))
    same = made.materials == plain.materials and np.array_equal(made.mesh.points, plain.mesh.points)
    assert not same


@pytest.mark.parametrize("pose", ["standing", "walking", "feet apart"])
def test_keypoints_stand_in_the_order_of_coco(pose: str) -> None:
    points = dressed(PLAIN, pose).keypoints
    assert points.shape == (17, 3)
    y = points[:, 1]
    assert y[EYES].min() > y[NOSE] > y[SHOULDERS].max()
    assert y[SHOULDERS].min() > y[HIPS].max()
    assert y[HIPS].min() > y[KNEES].max()
    assert y[KNEES].min() > y[ANKLES].max()
    assert (y[SHOULDERS] > y[ELBOWS]).all()
    assert (y[ELBOWS] > y[WRISTS]).all()


@pytest.mark.parametrize("pair", [EYES, EARS, SHOULDERS, ELBOWS, WRISTS, HIPS, KNEES, ANKLES], ids=str)
def test_left_keypoints_come_first_and_lie_at_positive_x(pair: list[int]) -> None:
    left, right = dressed(PLAIN).keypoints[pair, 0]
    assert left > 0 > right


def test_the_nose_is_in_front_and_the_ears_are_not() -> None:
    z = dressed(PLAIN).keypoints[:, 2]
    assert z[NOSE] > z[EYES].max() > z[EARS].max()


@pytest.mark.parametrize("sex", ATTRIBUTES["sex"])
def test_keypoints_of_the_head_lie_on_the_skin(sex: str) -> None:
    look = having(sex=sex)
    made = dressed(look)
    surface = np.concatenate(
        [painted(made, Material(SKIN["light"])), painted(made, Material((225, 222, 216)))]
    )
    for point in (NOSE, *EYES, *EARS):
        assert np.linalg.norm(surface - made.keypoints[point], axis=1).min() < 0.02, point


def test_joints_lie_inside_the_clothes() -> None:
    made = dressed(PLAIN)
    for joint in (*SHOULDERS, *ELBOWS, *HIPS, *KNEES):
        away = made.mesh.points - made.keypoints[joint]
        near = away[np.linalg.norm(away, axis=1) < 0.25]
        assert (near[:, [0, 2]].min(axis=0) < 0).all(), joint
        assert (near[:, [0, 2]].max(axis=0) > 0).all(), joint


@pytest.mark.parametrize("bag", ["backpack", "handbag", "shoulder bag"])
def test_a_bag_is_no_part_of_the_persons_box(bag: str) -> None:
    made = dressed(having(bag=bag, bag_colour="pink"))
    pink = [index for index, each in enumerate(made.materials) if each.colour == CLOTH["pink"]]
    assert set(made.mesh.owner[np.isin(made.mesh.material, pink)]) == {-1}
    others = made.mesh.owner != -1
    assert set(made.mesh.owner[others]) == {OWNER}
    assert len(coloured(made, "pink")) > 100


def test_without_a_bag_everything_is_the_persons() -> None:
    assert set(dressed(PLAIN).mesh.owner) == {OWNER}


@pytest.mark.parametrize("hat", ["cap", "woolly hat"])
def test_a_hat_is_the_persons_and_sits_on_the_head(hat: str) -> None:
    made = dressed(having(headwear=hat, headwear_colour="pink"))
    assert set(made.mesh.owner) == {OWNER}
    points = hat_of(made)
    assert points[:, 1].max() == made.mesh.points[:, 1].max()
    assert points[:, 1].min() > made.keypoints[NOSE, 1] - 0.02
    middle = made.keypoints[EARS].mean(axis=0)
    assert np.linalg.norm(points[:, [0, 2]] - middle[[0, 2]], axis=1).max() < 0.3


@pytest.mark.parametrize("hat", ["cap", "woolly hat"])
@pytest.mark.parametrize("hair", ATTRIBUTES["hair_length"])
def test_a_hat_covers_the_crown_whatever_the_hair(hat: str, hair: str) -> None:
    made = dressed(having(headwear=hat, headwear_colour="pink", hair_length=hair))
    hatless = dressed(having(hair_length=hair)).mesh.points
    assert hat_of(made)[:, 1].max() > hatless[:, 1].max()


def test_a_backpack_hangs_on_the_back() -> None:
    made = dressed(having(bag="backpack", bag_colour="pink"))
    middle = bag_of(made).mean(axis=0)
    assert middle[2] < made.keypoints[SHOULDERS, 2].mean() - 0.05
    assert made.keypoints[HIPS, 1].mean() < middle[1] < made.keypoints[SHOULDERS, 1].mean()


@pytest.mark.parametrize("seed", range(4))
def test_a_handbag_hangs_from_the_lower_hand(seed: int) -> None:
    made = dressed(having(bag="handbag", bag_colour="pink"), "phone", seed)
    wrists = made.keypoints[WRISTS]
    hand = wrists[wrists[:, 1].argmin()]
    points = bag_of(made)
    assert np.linalg.norm(points - hand, axis=1).min() < 0.15
    assert points[:, 1].max() < hand[1] + 0.05
    assert points[:, 1].min() > 0.05


def test_a_shoulder_bag_hangs_at_the_hip_from_the_other_shoulder() -> None:
    made = dressed(having(bag="shoulder bag", bag_colour="pink"))
    points = bag_of(made)
    low, high = points[points[:, 1] < made.keypoints[HIPS, 1].mean()], points[points[:, 1].argmax()]
    assert low[:, 0].mean() < made.keypoints[12, 0]
    assert high[0] > 0
    assert high[1] > made.keypoints[SHOULDERS, 1].mean() - 0.05


@pytest.mark.parametrize("upper", UPPERS)
def test_the_strap_of_a_shoulder_bag_is_seen_all_the_way_down_the_back(upper: str) -> None:
    made = dressed(having(bag="shoulder bag", bag_colour="pink", upper=upper))
    about = np.diag([-1, 1, -1]).astype(np.float32)
    drawing = shown(made.mesh.moved(about, np.zeros(3, np.float32)), *made.materials, camera=CLOSE)
    strap = (drawing.owner == -1) & np.isfinite(drawing.depth)
    rows = np.flatnonzero(strap.any(axis=1))
    shoulder = CLOSE.project(made.keypoints[SHOULDERS] @ about)[0][:, 1].min()
    assert rows[0] < shoulder
    assert (np.diff(rows) == 1).all()


def test_long_hair_reaches_lower_than_a_bob_and_a_bob_lower_than_short_hair() -> None:
    ends = []
    for length in ("long", "bob", "short"):
        hair = Material(HAIR["red"], relief=1.2)
        ends.append(painted(dressed(having(hair_length=length)), hair)[:, 1].min())
    assert ends[0] < ends[1] - 0.1 < ends[2] - 0.1


def test_a_shaved_head_shows_the_colour_of_its_hair_under_the_skin() -> None:
    shaved = [dressed(having(hair_length="shaved", hair_colour=colour)) for colour in ("black", "blond")]
    crowns = []
    for made in shaved:
        top = made.mesh.points[made.mesh.faces][:, :, 1].mean(axis=1).argmax()
        crowns.append(np.array(made.materials[made.mesh.material[top]].colour))
    assert not (crowns[0] == crowns[1]).all()
    for crown, colour in zip(crowns, ("black", "blond"), strict=True):
        ends = np.sort([HAIR[colour], SKIN["light"]], axis=0)
        assert ((ends[0] < crown) & (crown < ends[1])).all()


def test_a_pattern_is_painted_on_the_upper_garment_alone() -> None:
    made = dressed(having(pattern="striped", pattern_colour="pink"))
    striped = [each for each in made.materials if each.pattern == "striped"]
    assert {(each.colour, each.pattern_colour) for each in striped} == {(CLOTH["green"], CLOTH["pink"])}


def test_a_sweater_lets_no_skin_through() -> None:
    """Seen from the middle of the chest outwards, no skin lies outside the cloth."""
    made = dressed(PLAIN)
    skin, cloth = painted(made, Material(SKIN["light"])), coloured(made, "green")
    low, high = made.keypoints[HIPS, 1].max() + 0.1, made.keypoints[SHOULDERS, 1].min() - 0.05
    skin = skin[(skin[:, 1] > low) & (skin[:, 1] < high) & (np.abs(skin[:, 0]) < 0.12)]
    cloth = cloth[(cloth[:, 1] > low) & (cloth[:, 1] < high)]
    assert len(cloth) > 300
    for point in skin:  # a few are left below the hem of the region
        beside = cloth[np.linalg.norm(cloth[:, :2] - point[:2], axis=1) < 0.05]
        assert np.abs(beside[:, 2]).max() >= abs(point[2]) - 0.01


def test_a_figures_materials_are_frozen_records() -> None:
    made = dressed(PLAIN)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.materials[0].colour = (0, 0, 0)  # type: ignore[misc]
