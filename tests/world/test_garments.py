"""Garments: every upper one over every lower one, hems where they belong, no skin between."""

import itertools

import numpy as np
import pytest

from world.bodies import load_bodies
from world.cuts import Piece
from world.garments import (
    LOWERS,
    OVERLAP,
    SKIRT_WAIST,
    UPPERS,
    Cloth,
    along_arms,
    lower_cloth,
    shoe_region,
    shoes,
    upper_cloth,
    upper_region,
)
from world.meshes import Floats
from world.people import ATTRIBUTES

DATA = load_bodies()
COMBINATIONS = list(itertools.product(UPPERS, LOWERS))
each_combination = pytest.mark.parametrize(("upper", "lower"), COMBINATIONS)
HAIR_BREADTH = 2e-3


def places(piece: Piece) -> Floats:
    return piece.of(DATA.points)


def heights(piece: Piece) -> tuple[float, float]:
    y = places(piece)[:, 1]
    return float(y.min()), float(y.max())


def longest_arm(piece: Piece) -> float:
    return float(piece.of(along_arms(DATA)).max())


def parts(upper: str, lower: str) -> list[Cloth]:
    return [*upper_cloth(DATA, upper, lower), lower_cloth(DATA, lower, upper), shoes(DATA)]


def test_every_garment_of_the_attributes_can_be_made() -> None:
    assert set(UPPERS) == set(ATTRIBUTES["upper"])
    assert set(LOWERS) == set(ATTRIBUTES["lower"])


@each_combination
def test_every_piece_has_faces_and_whole_numbers(upper: str, lower: str) -> None:
    for cloth in parts(upper, lower):
        assert len(cloth.piece.faces) > 100
        assert cloth.material.shape == (len(cloth.piece.faces),)
        assert cloth.push.shape == (len(cloth.piece.vertices),)
        assert set(np.unique(cloth.material)) <= {0, 1}
        assert cloth.piece.shares.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert (cloth.push > 0).all()


@each_combination
def test_pieces_are_symmetric(upper: str, lower: str) -> None:
    for cloth in parts(upper, lower):
        x = places(cloth.piece)[:, 0]
        assert x.min() == pytest.approx(-x.max(), abs=0.02)


@each_combination
def test_an_upper_garment_ends_at_its_hem_and_over_a_skirt_at_the_waist(upper: str, lower: str) -> None:
    hem = SKIRT_WAIST - OVERLAP if LOWERS[lower].skirt else UPPERS[upper].hem
    assert heights(upper_cloth(DATA, upper, lower)[0].piece)[0] == pytest.approx(hem, abs=HAIR_BREADTH)


@each_combination
def test_a_lower_garment_ends_at_its_hem(upper: str, lower: str) -> None:
    low, _ = heights(lower_cloth(DATA, lower, upper).piece)
    assert low == pytest.approx(LOWERS[lower].hem, abs=HAIR_BREADTH)


@each_combination
def test_sleeves_end_where_they_are_cut(upper: str, lower: str) -> None:
    sleeve = UPPERS[upper].sleeve
    arm = longest_arm(upper_cloth(DATA, upper, lower)[0].piece)
    assert arm == pytest.approx(sleeve, abs=HAIR_BREADTH) if sleeve else arm < 0.01


@each_combination
def test_legs_end_below_the_arms(upper: str, lower: str) -> None:
    assert longest_arm(lower_cloth(DATA, lower, upper).piece) < 0


@each_combination
def test_upper_and_lower_garment_reach_under_each_other(upper: str, lower: str) -> None:
    """In every direction around the waist the upper one ends below where the lower one begins."""

    def by_direction(piece: Piece) -> tuple[Floats, Floats]:
        x, y, z = places(piece).T
        sector = np.floor((np.arctan2(x, z) / (2 * np.pi) + 0.5) * 12).astype(int) % 12
        trunk = (np.abs(x) < 2.2) & (y < 3)
        chosen = [y[trunk & (sector == at)] for at in range(12)]
        return np.array([c.min() for c in chosen]), np.array([c.max() for c in chosen])

    ends = np.min([by_direction(c.piece)[0] for c in upper_cloth(DATA, upper, lower)], axis=0)
    begins = by_direction(lower_cloth(DATA, lower, upper).piece)[1]
    assert (begins - ends > 0.75 * OVERLAP).all()


@pytest.mark.parametrize("lower", LOWERS)
def test_the_tails_of_a_coat_overlap_its_body_and_end_at_their_line(lower: str) -> None:
    body, tails = (heights(cloth.piece) for cloth in upper_cloth(DATA, "coat", lower))
    assert UPPERS["coat"].tails is not None
    assert tails[0] == pytest.approx(UPPERS["coat"].tails, abs=HAIR_BREADTH)
    assert tails[1] - body[0] > 0.75 * OVERLAP


@pytest.mark.parametrize(
    ("first", "second"), [*itertools.pairwise(("tank top", "t-shirt", "sweater", "jacket"))]
)
def test_sleeves_are_told_apart_and_warmer_garments_are_wider(first: str, second: str) -> None:
    assert UPPERS[first].sleeve < UPPERS[second].sleeve
    assert UPPERS[first].push < UPPERS[second].push


@pytest.mark.parametrize("upper", UPPERS)
def test_an_opening_is_a_line_down_the_front(upper: str) -> None:
    for cloth in upper_cloth(DATA, upper, "trousers"):
        trim = places(cloth.piece)[np.unique(cloth.piece.faces[cloth.material == 1])]
        if not UPPERS[upper].opening:
            assert len(trim) == 0
            continue
        assert np.abs(trim[:, 0]).max() < 0.12
        assert trim[:, 2].min() > -0.1
        low, high = heights(cloth.piece)
        assert trim[:, 1].min() == pytest.approx(low, abs=0.1)
        assert trim[:, 1].max() > high - 0.7  # the neckline lies lower in front


@pytest.mark.parametrize("upper", ["jacket", "coat"])
def test_cloth_and_opening_share_their_seam(upper: str) -> None:
    for cloth in upper_cloth(DATA, upper, "trousers"):
        sides, line = (set(cloth.piece.faces[cloth.material == index].ravel()) for index in (0, 1))
        assert len(sides & line) > 10
        assert len(np.unique(places(cloth.piece).round(3), axis=0)) > 0.99 * len(cloth.piece.vertices)


def test_no_upper_garment_covers_the_face_or_the_hands() -> None:
    head = DATA.points[:, 1] > 6.6
    hands = along_arms(DATA) > 2.05
    for garment in UPPERS.values():
        region = upper_region(DATA, garment)
        assert (region[head] > 0).all()
        assert (region[hands] > 0).all()


def test_a_tank_top_leaves_the_shoulders_bare_and_a_t_shirt_does_not() -> None:
    shoulder = (np.abs(DATA.points[:, 0]) > 1.6) & (DATA.points[:, 1] > 5) & (along_arms(DATA) < 0.5)
    shoulder &= np.isin(np.arange(len(DATA.points)), DATA.faces["helper-tights"])
    assert shoulder.sum() > 20
    assert (upper_region(DATA, UPPERS["tank top"])[shoulder] > 0).all()
    assert (upper_region(DATA, UPPERS["t-shirt"])[shoulder] < 0).mean() > 0.9


def test_along_the_arms_it_is_half_way_at_the_elbow() -> None:
    names = [bone.name for bone in DATA.bones]
    along = along_arms(DATA)
    for side in ("Left", "Right"):
        for joint, expected in (("ForeArm", 1.0), ("Hand", 2.0)):
            place = DATA.points[DATA.bones[names.index(f"{side}{joint}")].head].mean(axis=0)
            near = np.linalg.norm(DATA.points - place, axis=1) < 0.4
            near &= along >= 0
            assert along[near].mean() == pytest.approx(expected, abs=0.15)


def test_nothing_off_the_arms_is_on_them() -> None:
    trunk = np.abs(DATA.points[:, 0]) < 1.0
    assert (along_arms(DATA)[trunk] == -1).all()


def test_shoes_have_soles_below_and_reach_the_ankle() -> None:
    pair = shoes(DATA)
    sole, upper = (places(pair.piece)[np.unique(pair.piece.faces[pair.material == i])] for i in (1, 0))
    assert sole[:, 1].max() == pytest.approx(upper[:, 1].min(), abs=HAIR_BREADTH)
    assert sole[:, 1].min() == pytest.approx(DATA.points[DATA.faces["helper-tights"]][..., 1].min())
    assert pair.piece.of(shoe_region(DATA)).max() < HAIR_BREADTH
    assert heights(pair.piece)[1] > LOWERS["trousers"].hem  # trousers hang over them
