"""The truth about persons: tight boxes, what hides a keypoint, what the gates should say."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.reasons import Reason
from tests.world.scenes import FRONT, wall
from world import marks
from world.bodies import load_bodies, shape
from world.camera import Camera
from world.figures import Figure, figure
from world.marks import FAILS, Seen, expected, mark_persons
from world.meshes import Material, Mesh, merge
from world.people import Identity, draw_identities
from world.plans import NEGATIVES, Plan, Shot
from world.poses import bend
from world.shading import Drawing, draw
from world.truth import Kind, Passes, TruthPerson

PERSON = Identity(
    5,
    draw_identities(
        1,
        seed=0,
        fixed={
            "bag": "none",
            "headwear": "none",
            "hair_length": "short",
            "upper": "t-shirt",
            "build": "average",
        },
    )[0].look,
)
CAMERA = Camera((0.0, 1.2, 6.0), 0.0, 240, 400, 1000.0, (120.0, 190.0))
LEFT_WRIST, RIGHT_WRIST, SHOULDERS, HIPS, KNEES, ANKLES = 9, 10, [5, 6], [11, 12], [13, 14], [15, 16]
HEAD = [0, 1, 2, 3, 4]
V, T, C, OUT = Seen.VISIBLE, Seen.TURNED_AWAY, Seen.COVERED, Seen.OUTSIDE


def placed(owner: int = 0, yaw_deg: float = 0.0, x: float = 0.0, z: float = 0.0) -> Figure:
    """A person with hanging arms, turned and moved."""
    data = load_bodies()
    body = shape(data, PERSON.look, 0.0)
    arms = {"LeftArm": (0.25, -1.0, 0.0), "RightArm": (-0.25, -1.0, 0.0)}
    arms |= {"LeftForeArm": (0.25, -1.0, 0.1), "RightForeArm": (-0.25, -1.0, 0.1)}
    made = figure(data, body, PERSON.look, bend(data, body, arms), owner)
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32)
    shift = np.array([x, 0, z], np.float32)
    points = (made.keypoints @ turn.T + shift).astype(np.float32)
    return replace(made, mesh=made.mesh.moved(turn, shift), keypoints=points)


@dataclass(frozen=True)
class Marked:
    persons: list[TruthPerson]
    seen: list[npt.NDArray[np.int_]]
    """What hides each keypoint, person by person."""
    drawing: Drawing

    def points(self) -> npt.NDArray[np.float64]:
        """[17, 3] of the only person."""
        (person,) = self.persons
        return np.array(person.keypoints).reshape(17, 3)


def mark(
    *figures: Figure, boards: Sequence[Mesh] = (), camera: Camera = CAMERA, kind: Kind = Kind.CURATED
) -> Marked:
    """Draw people and boards, and note what is made of the keypoints on the way to the gates."""
    meshes, materials = [], [Material((120, 120, 120))]
    for board in boards:
        meshes.append(replace(board, owner=np.full_like(board.owner, -1)))
    for each in figures:
        meshes.append(replace(each.mesh, material=(each.mesh.material + len(materials)).astype(np.int32)))
        materials += each.materials
    backdrop = np.full((camera.height_px, camera.width_px, 3), 200, np.uint8)
    drawing = draw(merge(meshes), materials, camera, FRONT, backdrop, 0)
    shots = tuple(Shot(PERSON, "standing", 0.0, 0.0) for _ in figures)
    plan = Plan("some-picture", kind, camera.width_px, camera.height_px, "brick", shots, (0,))
    noted: list[npt.NDArray[np.int_]] = []

    def noting(box: Sequence[float], seen: npt.NDArray[np.int_], kind: Kind) -> Passes:
        noted.append(seen)
        return expected(box, seen, kind)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marks, "expected", noting)
        persons = mark_persons(plan, figures, camera, drawing)
    return Marked(persons, noted, drawing)


@pytest.fixture(scope="module")
def free() -> Marked:
    """Somebody with nothing in the way."""
    return mark(placed())


def points(**hidden: Seen) -> npt.NDArray[np.int_]:
    """Seventeen visible keypoints but for the named ones."""
    seen = np.full(17, V)
    for name, what in hidden.items():
        places = {"head": HEAD, "hips": HIPS, "one_hip": HIPS[:1], "eyes": [1, 2], "ears": [3, 4]}
        seen[places.get(name, slice(5, 17))] = what
    return seen


FREE = Passes(
    low_score=True, short_side=True, aspect_ratio=True, few_keypoints=True, no_hip=True, no_head=True
)
GOOD_BOX = (10.0, 20.0, 160.0, 420.0)  # 150 × 400


def test_a_free_person_in_a_good_box_passes_every_gate() -> None:
    assert expected(GOOD_BOX, points(), Kind.CURATED) == FREE


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.CURATED])
def test_of_curated_pictures_alone_the_score_is_told(kind: Kind) -> None:
    assert expected(GOOD_BOX, points(), kind) == replace(FREE, low_score=None)


@pytest.mark.parametrize(
    ("width", "height", "short_side", "aspect_ratio"),
    [
        (150, 400, True, True),
        (60, 160, False, True),
        (80, 240, False, True),
        (82, 240, None, True),  # 9 % below 90 pixels
        (98, 280, None, True),
        (100, 280, True, True),
        (120, 600, True, False),  # ratio 0.2
        (120, 530, True, None),  # 0.226: 9 % below 0.25
        (120, 440, True, None),  # 0.273: 9 % above
        (120, 400, True, True),
        (200, 448, True, True),  # 0.446
        (200, 440, True, None),  # 0.455
        (200, 370, True, None),  # 0.54
        (200, 360, True, False),  # 0.556
        (400, 150, True, False),
    ],
)
def test_the_box_tells_side_and_ratio_but_not_near_a_limit(
    width: float, height: float, short_side: bool | None, aspect_ratio: bool | None
) -> None:
    told = expected((5, 7, 5 + width, 7 + height), points(), Kind.CURATED)
    assert (told.short_side, told.aspect_ratio) == (short_side, aspect_ratio)


@pytest.mark.parametrize(
    ("seen", "no_head"),
    [
        (points(ears=C), True),
        (points(ears=T), True),
        (points(head=C), False),
        (points(head=OUT), False),
        (points(head=T), None),
        (points(head=C, eyes=V), None),
        (points(head=C, eyes=T), None),
    ],
)
def test_a_head_needs_two_points_and_one_more_to_be_sure(
    seen: npt.NDArray[np.int_], no_head: bool | None
) -> None:
    assert expected(GOOD_BOX, seen, Kind.CURATED).no_head is no_head


def test_one_visible_point_makes_no_head() -> None:
    seen = points(head=C)
    seen[0] = V
    assert expected(GOOD_BOX, seen, Kind.CURATED).no_head is False
    seen[1] = T
    assert expected(GOOD_BOX, seen, Kind.CURATED).no_head is None


@pytest.mark.parametrize(
    ("seen", "no_hip"),
    [
        (points(one_hip=C), True),
        (points(hips=C), False),
        (points(hips=OUT), False),
        (points(hips=T), None),
        (points(hips=C, one_hip=T), None),
    ],
)
def test_a_person_needs_one_hip(seen: npt.NDArray[np.int_], no_hip: bool | None) -> None:
    assert expected(GOOD_BOX, seen, Kind.CURATED).no_hip is no_hip


@pytest.mark.parametrize(
    ("visible", "turned_away", "few_keypoints"),
    [
        (17, 0, True),
        (9, 0, True),
        (8, 0, None),
        (7, 0, False),
        (7, 1, None),
        (0, 8, None),
        (0, 7, False),
        (0, 0, False),
    ],
)
def test_eight_keypoints_are_enough_and_nine_are_surely(
    visible: int, turned_away: int, few_keypoints: bool | None
) -> None:
    seen = np.full(17, C)
    seen[:visible] = V
    seen[visible : visible + turned_away] = T
    assert expected(GOOD_BOX, seen, Kind.CURATED).few_keypoints is few_keypoints


def test_gates_are_looked_at_by_themselves() -> None:
    told = expected((0, 0, 30, 300), points(head=C, hips=C), Kind.CURATED)
    assert told == replace(FREE, short_side=False, aspect_ratio=False, no_hip=False, no_head=False)


def test_every_kind_of_negative_names_its_gate_but_cases_for_the_judge_do_not() -> None:
    assert set(NEGATIVES) - set(FAILS) == {Kind.BLURRED, Kind.DARK}
    assert set(FAILS) < set(NEGATIVES)
    assert set(FAILS.values()) == {Reason(name) for name in Passes.__dataclass_fields__}


def test_a_box_fits_closely_around_what_is_seen(free: Marked) -> None:
    (person,) = free.persons
    left, top, right, bottom = (int(corner) for corner in person.box_xyxy_px)
    mine = free.drawing.owner == 0
    assert mine[top:bottom, left:right].sum() == mine.sum()
    for edge in (mine[top, :], mine[bottom - 1, :], mine[:, left], mine[:, right - 1]):
        assert edge.any()


def test_a_row_tells_who_it_is_and_how(free: Marked) -> None:
    (person,) = free.persons
    assert (person.picture, person.person, person.identity) == ("some-picture", 0, 5)
    assert asdict(PERSON.look).items() <= asdict(person).items()
    assert (person.pose, person.view, person.yaw_deg) == ("standing", "front", 0.0)


def test_of_a_free_person_everything_is_visible(free: Marked) -> None:
    assert free.persons[0].visible_share == 1.0


def test_a_free_person_from_the_front_shows_shoulders_to_ankles_and_the_face(free: Marked) -> None:
    shown = free.points()[:, 2]
    assert (shown[[0, 1, 2, *SHOULDERS, *HIPS, *KNEES, *ANKLES, LEFT_WRIST, RIGHT_WRIST]] == 2).all()


def test_keypoints_are_where_the_camera_sees_the_joints(free: Marked) -> None:
    expected_px, _ = CAMERA.project(placed().keypoints)
    assert free.points()[:, :2] == pytest.approx(expected_px, abs=1e-3)
    x1, y1, x2, y2 = free.persons[0].box_xyxy_px
    assert ((free.points()[:, :2] > [x1, y1]) & (free.points()[:, :2] < [x2, y2])).all()


def test_what_a_board_hides_is_covered() -> None:
    low, high = 0.6, 1.05
    marked = mark(placed(), boards=[wall(-1, low, 1, high, z=0.6)])
    (seen,) = marked.seen
    assert (seen[HIPS] == C).all()
    assert (seen[[*SHOULDERS, *ANKLES, 0]] == V).all()
    assert (marked.points()[HIPS, 2] == 1).all()
    assert marked.persons[0].passes.no_hip is False


def test_a_board_behind_a_person_hides_nothing(free: Marked) -> None:
    marked = mark(placed(), boards=[wall(-1, 0, 1, 2, z=-0.6)])
    assert (marked.seen[0] == free.seen[0]).all()
    assert marked.persons[0].visible_share == 1.0


def test_from_behind_the_face_is_turned_away() -> None:
    (seen,) = mark(placed(yaw_deg=180)).seen
    assert (seen[[0, 1, 2]] == T).all()
    assert (seen[[*SHOULDERS, *ANKLES]] == V).all()


def test_from_the_side_the_other_arm_is_turned_away() -> None:
    (seen,) = mark(placed(yaw_deg=90)).seen  # turned to the picture's right: the right side is seen
    assert seen[RIGHT_WRIST] == V
    assert seen[LEFT_WRIST] == T


def test_what_lies_beyond_the_picture_is_outside() -> None:
    marked = mark(placed(), camera=replace(CAMERA, centre_px=(120.0, 300.0)))
    (seen,) = marked.seen
    assert (seen[[*KNEES, *ANKLES]] == OUT).all()
    assert (marked.points()[ANKLES, 2] == 0).all()
    assert (seen[SHOULDERS] == V).all()
    assert marked.persons[0].box_xyxy_px[3] == CAMERA.height_px


def test_half_a_person_behind_a_board_is_half_visible() -> None:
    marked = mark(placed(), boards=[wall(-1, -0.1, 1, 0.85, z=0.6)])
    assert 0.4 < marked.persons[0].visible_share < 0.65


def test_half_a_person_beyond_the_edge_is_half_visible() -> None:
    centre = CAMERA.project(placed().keypoints)[0][:, 0].mean()
    marked = mark(placed(), camera=replace(CAMERA, centre_px=(120.0 - float(centre), 190.0)))
    assert 0.4 < marked.persons[0].visible_share < 0.6


def test_a_person_hides_another_one() -> None:
    marked = mark(placed(0), placed(1, x=0.1, z=0.8), camera=replace(CAMERA, focal_px=800.0))
    behind, before = sorted(marked.persons, key=lambda person: person.visible_share)
    assert before.visible_share == 1.0
    assert behind.visible_share < 0.4
    assert C in marked.seen[0] or C in marked.seen[1]


def test_persons_are_told_from_left_to_right() -> None:
    wide = Camera((0.0, 1.2, 6.0), 0.0, 480, 400, 900.0, (240.0, 200.0))
    marked = mark(placed(0, x=0.9), placed(1, x=-0.9), placed(2), camera=wide)
    lefts = [person.box_xyxy_px[0] for person in marked.persons]
    assert lefts == sorted(lefts)
    assert [person.person for person in marked.persons] == [0, 1, 2]


def test_whoever_is_not_seen_at_all_is_not_told_of() -> None:
    assert mark(placed(), boards=[wall(-2, -0.1, 2, 3, z=0.6)]).persons == []


@pytest.mark.parametrize("kind", Kind)
def test_a_picture_tells_the_gate_that_it_was_made_to_fail(kind: Kind, free: Marked) -> None:
    shots = (Shot(PERSON, "standing", 0.0, 0.0),)
    plan = Plan("p", kind, CAMERA.width_px, CAMERA.height_px, "brick", shots, (0,))
    (person,) = mark_persons(plan, [placed()], CAMERA, free.drawing)
    assert person.fails == FAILS.get(kind)
