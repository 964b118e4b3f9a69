"""Plans: what is drawn in which kind of picture; the same seed, the same plans."""

from collections import Counter

import numpy as np
import pytest

from world.backgrounds import BACKGROUNDS
from world.people import draw_identities
from world.plans import (
    NEGATIVES,
    PROFILE_PX,
    SCENE_PX,
    SINGLE_PX,
    VIEWS,
    WIDE,
    Plan,
    plan_picture,
    plan_world,
    view_of,
)
from world.poses import POSES
from world.truth import Kind

PEOPLE = draw_identities(10, seed=0)


def some(kind: Kind, count: int = 60) -> list[Plan]:
    return [plan_picture(kind, number, PEOPLE[:1], seed=5) for number in range(count)]


def world(views: int = 3, others: int = 4, varied_share: float = 0.1, seed: int = 0) -> list[Plan]:
    return list(plan_world(PEOPLE, views, others, seed, varied_share))


def test_the_same_seed_gives_the_same_plans() -> None:
    assert world() == world()


def test_another_seed_gives_others() -> None:
    assert world(seed=1) != world(seed=0)


def test_names_are_unique() -> None:
    names = [plan.name for plan in world(varied_share=0.5)]
    assert len(set(names)) == len(names)


def test_seeds_are_unique() -> None:
    seeds = [plan.seed for plan in world(varied_share=0.5)]
    assert len(set(seeds)) == len(seeds)


def test_every_identity_has_its_views_by_itself() -> None:
    single = [plan for plan in world() if plan.kind in (Kind.CURATED, Kind.VARIED)]
    assert Counter(shot.identity.number for plan in single for shot in plan.shots) == dict.fromkeys(
        range(10), 3
    )


def test_every_other_kind_has_its_pictures() -> None:
    kinds = Counter(plan.kind for plan in world(varied_share=0))
    assert kinds == {Kind.CURATED: 30} | dict.fromkeys((Kind.SCENE, Kind.EMPTY, *NEGATIVES), 4)


def test_all_kinds_are_planned() -> None:
    assert {plan.kind for plan in world(varied_share=0.5)} == set(Kind)


@pytest.mark.parametrize(("share", "low", "high"), [(0, 0, 0), (0.3, 50, 130), (1, 300, 300)])
def test_about_the_wanted_share_is_varied(share: float, low: int, high: int) -> None:
    kinds = Counter(plan.kind for plan in world(views=30, others=0, varied_share=share))
    assert low <= kinds[Kind.VARIED] <= high


def test_scenes_show_one_to_four_different_people() -> None:
    casts = [
        [shot.identity.number for shot in plan.shots] for plan in world(others=8) if plan.kind is Kind.SCENE
    ]
    assert [len(cast) for cast in casts] == [1, 2, 3, 4] * 2
    assert all(len(set(cast)) == len(cast) for cast in casts)


def test_people_of_a_scene_stand_apart() -> None:
    for number in range(20):
        places = [shot.at_m[0] for shot in plan_picture(Kind.SCENE, number, PEOPLE[:4], 0).shots]
        assert np.diff(places).min() > 0.6


def test_empty_pictures_show_nobody_and_all_others_somebody() -> None:
    assert {len(plan.shots) for plan in world() if plan.kind is Kind.EMPTY} == {0}
    assert {len(plan.shots) for plan in world() if plan.kind not in (Kind.EMPTY, Kind.SCENE)} == {1}


def test_without_people_there_are_only_empty_pictures() -> None:
    assert {plan.kind for plan in plan_world([], 3, 4, 0)} == {Kind.EMPTY}


def test_few_people_make_small_scenes() -> None:
    casts = [len(plan.shots) for plan in plan_world(PEOPLE[:2], 0, 4, 0) if plan.kind is Kind.SCENE]
    assert casts == [1, 2, 2, 2]


@pytest.mark.parametrize("kind", Kind)
def test_pictures_have_the_size_of_their_kind(kind: Kind) -> None:
    sizes = {(plan.width_px, plan.height_px) for plan in some(kind)}
    expected = {SCENE_PX} if kind in WIDE else {PROFILE_PX} if kind is Kind.PROFILE else {SINGLE_PX}
    assert sizes == ({SCENE_PX, SINGLE_PX} if kind is Kind.EMPTY else expected)


def test_blurred_and_vague_pictures_alone_are_blurred() -> None:
    blurred = {kind for kind in Kind for plan in some(kind, 5) if plan.blur_px}
    assert blurred == {Kind.BLURRED, Kind.VAGUE}
    assert all(5 <= plan.blur_px <= 7 for plan in some(Kind.BLURRED))


def test_dark_pictures_alone_have_hardly_any_light() -> None:
    dark = {kind for kind in Kind for plan in some(kind, 5) if plan.brightness != 1}
    assert dark == {Kind.DARK}
    assert all(plan.brightness < 0.1 for plan in some(Kind.DARK))


def test_every_pose_and_background_is_drawn() -> None:
    plans = some(Kind.CURATED, 200)
    assert {plan.shots[0].pose for plan in plans} == set(POSES)
    assert {plan.background for plan in plans} == set(BACKGROUNDS)


def test_curated_views_are_those_that_a_detector_takes() -> None:
    turns = [plan.shots[0].yaw_deg for plan in some(Kind.CURATED, 200)]
    assert all(abs(turn) <= 70 or 165 <= turn <= 195 for turn in turns)
    assert {view_of(turn) for turn in turns} >= {"front", "back", "left three-quarter", "right three-quarter"}


def test_varied_pictures_are_seen_from_everywhere() -> None:
    assert {view_of(plan.shots[0].yaw_deg) for plan in some(Kind.VARIED, 200)} == set(VIEWS)


def test_a_profile_is_seen_from_either_side_standing() -> None:
    shots = [plan.shots[0] for plan in some(Kind.PROFILE)]
    assert {view_of(shot.yaw_deg) for shot in shots} == {"left side", "right side"}
    assert {(shot.pose, shot.stride) for shot in shots} == {("standing", 0.0)}


@pytest.mark.parametrize(
    ("yaw", "view"),
    [
        *[
            (0, "front"),
            (-20, "front"),
            (340, "front"),
            (45, "right three-quarter"),
            (-45, "left three-quarter"),
        ],
        *[(90, "right side"), (-90, "left side"), (180, "back"), (-170, "back"), (540, "back")],
        *[(135, "right back three-quarter"), (-135, "left back three-quarter"), (25, "right three-quarter")],
    ],
)
def test_a_view_is_named_by_the_side_that_is_seen(yaw: float, view: str) -> None:
    assert view_of(yaw) == view


def test_views_cover_the_whole_circle_once() -> None:
    named = {view_of(turn) for turn in range(360)}
    assert named == set(VIEWS)
    assert sum(high - low for low, high in VIEWS.values()) == 335  # and 25 more of the front


@pytest.mark.parametrize(
    ("views", "others", "share", "message"),
    [
        (-1, 0, 0.1, r"^views: -1 is below 0$"),
        (0, -2, 0.1, r"^others: -2 is below 0$"),
        (0, 0, 1.1, r"^varied_share: 1\.1 is not between 0 and 1$"),
    ],
)
def test_counts_and_shares_that_cannot_be_are_named(
    views: int, others: int, share: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        world(views, others, share)
