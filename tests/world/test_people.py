"""Identities: drawn by a seed, all different, legible, twins one attribute apart."""

import dataclasses
from collections import Counter

import pytest

from world.people import ATTRIBUTES, CLOTH, WORN_WITH, Identity, Look, LookError, change, draw_identities

CROWD = draw_identities(500, seed=7)
BARE = draw_identities(1, seed=0, fixed={"pattern": "plain", "bag": "none", "headwear": "none"})[0].look


def apart(look: Look, other: Look) -> list[str]:
    return [name for name in ATTRIBUTES if getattr(look, name) != getattr(other, name)]


def test_the_fields_of_a_look_are_the_attributes() -> None:
    assert [field.name for field in dataclasses.fields(Look)] == list(ATTRIBUTES)


def test_the_same_seed_gives_the_same_identities() -> None:
    assert draw_identities(60, seed=7) == draw_identities(60, seed=7)


def test_another_seed_gives_others() -> None:
    assert draw_identities(5, seed=7) != draw_identities(5, seed=8)


def test_a_larger_crowd_begins_with_the_smaller_one() -> None:
    assert draw_identities(60, seed=7) == CROWD[:60]


def test_identities_are_numbered_from_zero() -> None:
    assert [identity.number for identity in CROWD] == list(range(500))


def test_no_two_identities_look_the_same() -> None:
    assert len({identity.look for identity in CROWD}) == len(CROWD)


def test_twins_differ_in_exactly_one_attribute() -> None:
    pairs = [(CROWD[twin.twin_of].look, twin.look) for twin in CROWD if twin.twin_of is not None]
    assert {len(apart(*pair)) for pair in pairs} == {1}


def test_twins_differ_in_every_attribute_that_a_caption_tells() -> None:
    differences = Counter(
        apart(CROWD[twin.twin_of].look, twin.look)[0] for twin in CROWD if twin.twin_of is not None
    )
    assert {"upper", "upper_colour", "lower", "lower_colour", "shoe_colour"} < differences.keys()
    assert {
        "hair_colour",
        "hair_length",
        "bag_colour",
        "pattern_colour",
        "headwear_colour",
    } < differences.keys()
    assert not {"sex", "build", "skin", "bag", "headwear", "pattern"} & differences.keys()


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.2, 60, 140), (1.0, 499, 499)])
def test_about_the_wanted_share_are_twins(share: float, low: int, high: int) -> None:
    twins = sum(identity.twin_of is not None for identity in draw_identities(500, 7, twin_share=share))
    assert low <= twins <= high


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_value_of_an_attribute_occurs(name: str) -> None:
    assert {getattr(identity.look, name) for identity in CROWD} - {None} == set(ATTRIBUTES[name])


@pytest.mark.parametrize("colour", WORN_WITH)
def test_a_colour_is_told_of_what_is_worn_and_of_nothing_else(colour: str) -> None:
    worn, none = WORN_WITH[colour]
    assert all(
        (getattr(identity.look, colour) is None) == (getattr(identity.look, worn) == none)
        for identity in CROWD
    )


def test_brown_cloth_is_never_worn_on_brown_skin() -> None:
    dark = [identity.look for identity in CROWD if identity.look.skin in ("brown", "dark")]
    assert len(dark) > 100
    assert not any("brown" in (look.upper_colour, look.lower_colour) for look in dark)


def test_a_pattern_has_another_colour_than_its_cloth() -> None:
    assert all(identity.look.pattern_colour != identity.look.upper_colour for identity in CROWD)


def test_no_coat_hides_what_is_worn_below() -> None:
    assert not any(i.look.upper == "coat" and i.look.lower in ("shorts", "skirt") for i in CROWD)


@pytest.mark.parametrize(
    "fixed",
    [
        {"upper": "coat", "build": "heavy"},
        {"upper_colour": "red"},
        {"bag": "backpack", "bag_colour": "red"},
        {"bag_colour": "red", "bag": "backpack"},
        {"headwear_colour": "green"},
        {"pattern_colour": "white"},
        {"pattern": "plain"},
    ],
    ids=str,
)
def test_everybody_has_the_fixed_attributes_and_stays_legible(fixed: dict[str, str]) -> None:
    crowd = [identity.look for identity in draw_identities(60, seed=3, fixed=fixed)]
    assert {tuple(getattr(look, name) for name in fixed) for look in crowd} == {tuple(fixed.values())}
    assert all(look.pattern_colour != look.upper_colour for look in crowd)
    assert not any(
        (getattr(look, colour) is None) != (getattr(look, worn) == none)
        for look in crowd
        for colour, (worn, none) in WORN_WITH.items()
    )


def test_twins_of_people_with_a_fixed_attribute_are_one_attribute_apart_too() -> None:
    crowd = draw_identities(80, seed=3, twin_share=0.5, fixed={"bag": "handbag", "upper_colour": "blue"})
    pairs = [(crowd[twin.twin_of].look, twin.look) for twin in crowd if twin.twin_of is not None]
    assert len(pairs) > 10
    assert {len(apart(*pair)) for pair in pairs} == {1}


def test_nobody_can_be_drawn() -> None:
    assert draw_identities(0, seed=0) == []


@pytest.mark.parametrize(
    ("count", "share", "fixed", "message"),
    [
        (-1, 0.2, {}, r"^people: -1 is below 0$"),
        (1, 1.5, {}, r"^twin_share: 1\.5 is not between 0 and 1$"),
        (1, -0.1, {}, r"^twin_share: -0\.1 is not between 0 and 1$"),
        (1, 0.2, {"colour": "red"}, r"^colour: no such attribute; there are sex, build, "),
        (1, 0.2, {"upper_colour": "plaid"}, r"^upper_colour: 'plaid' is none of black, grey, "),
        (1, 0.2, {"bag_colour": "plaid"}, r"^bag_colour: 'plaid' is none of black, grey, "),
        (
            1,
            0.2,
            {"skin": "dark", "upper_colour": "brown"},
            r"^people, skin=dark, upper_colour=brown: only 0 ",
        ),
        (
            1,
            0.2,
            {"bag": "none", "bag_colour": "red"},
            r"^people, bag=none, bag_colour=red: only 0 .*, not 1$",
        ),
        (
            1,
            0.2,
            {"bag_colour": "red", "bag": "none"},
            r"^people, bag_colour=red, bag=none: only 0 .*, not 1$",
        ),
    ],
)
def test_what_cannot_be_drawn_is_named(count: int, share: float, fixed: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_identities(count, 0, share, fixed)


def test_more_people_than_there_are_looks_is_an_error() -> None:
    narrow = {name: values[-1] for name, values in ATTRIBUTES.items() if name not in ("shoe_colour", "skin")}
    narrow |= {"pattern_colour": "blue", "lower": "trousers", "upper": "sweater", "upper_colour": "red"}
    with pytest.raises(ValueError, match=r"^people, sex=man, .*: only \d+ different looks that .*, not 45$"):
        draw_identities(45, 0, fixed=narrow | {"lower_colour": "green"})


def test_a_change_touches_nothing_else() -> None:
    assert apart(change(BARE, "build", "heavy"), change(BARE, "build", "slim")) == ["build"]


@pytest.mark.parametrize(("colour", "value"), [("bag_colour", "backpack"), ("headwear_colour", "cap")])
def test_a_thing_put_on_brings_a_colour_and_takes_it_along_when_it_goes(colour: str, value: str) -> None:
    worn, none = WORN_WITH[colour]
    dressed = change(BARE, worn, value)
    assert getattr(dressed, colour) in CLOTH
    assert change(dressed, worn, none) == BARE


def test_a_pattern_put_on_can_be_told_from_its_cloth() -> None:
    looks = [change(change(BARE, "upper_colour", colour), "pattern", "striped") for colour in CLOTH]
    assert all(look.pattern_colour not in (None, look.upper_colour) for look in looks)


def test_a_thing_exchanged_keeps_its_colour() -> None:
    look = change(change(BARE, "bag", "backpack"), "bag_colour", "pink")
    assert change(look, "bag", "handbag").bag_colour == "pink"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("colour", "red", r"^colour: no such attribute; there are sex, "),
        ("upper", "cape", r"^upper: 'cape' is none of tank top, t-shirt, "),
    ],
)
def test_an_unknown_change_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(LookError, match=message):
        change(BARE, name, value)


def test_a_look_refuses_a_colour_that_is_missing() -> None:
    with pytest.raises(LookError, match=r"^bag_colour: None is none of black"):
        dataclasses.replace(BARE, bag="backpack")


def test_a_first_person_is_nobodys_twin() -> None:
    assert draw_identities(1, 7, twin_share=1.0) == [Identity(0, CROWD[0].look)]
