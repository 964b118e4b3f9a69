"""What is said of a look, by placeholder."""

from itertools import product

import pytest

from pipeline.templates import PLACEHOLDERS
from tests.world.reader import PLAIN, SEEN, STRIPED
from world import poses
from world.people import ATTRIBUTES, Look, change, draw_identities
from world.words import ACTIONS, FACINGS, attributes, phrases


def describe(look: Look, pose: str, view: str) -> dict[str, str]:
    said = phrases(attributes(look, pose, view))
    return {name: " ".join(word for word, _ in phrase) for name, phrase in said.items()}


def test_values_say_what_the_look_has() -> None:
    look = change(change(STRIPED, "bag_colour", "orange"), "bag", "backpack")
    look = change(change(look, "headwear_colour", "green"), "headwear", "cap")
    look = change(change(look, "build", "heavy"), "upper", "coat")
    assert describe(look, "phone", "left side") == {
        "person": "woman",
        "he/she": "she",
        "his/her": "her",
        "him/her": "her",
        "build": "heavyset",
        "hair color": "black",
        "hairstyle": "long black hair",
        "top color": "red and white",
        "colored top": "a red and white striped coat",
        "colored outerwear": "a red and white striped coat",
        "bottom color": "blue",
        "colored bottom": "blue trousers",
        "shoe color": "white",
        "colored shoes": "white shoes",
        "bag color": "orange",
        "colored bag": "an orange backpack",
        "colored headwear": "a green cap",
        "action": "raising one hand",
        "arms": "one hand raised",
        "facing": "seen from the left side",
    }


def test_what_the_look_does_not_have_has_no_value() -> None:
    look = change(change(PLAIN, "hair_length", "shaved"), "sex", "man")
    values = describe(look, "feet apart", "back")
    assert set(values) == {
        *("person", "he/she", "his/her", "him/her", "hairstyle", "top color", "colored top"),
        *("bottom color", "colored bottom", "shoe color", "colored shoes", "action", "facing"),
    }
    assert (values["person"], values["he/she"], values["his/her"], values["him/her"]) == (
        *("man", "he", "his", "him"),
    )
    assert values["hairstyle"] == "a shaved head"
    assert values["action"] == "standing with feet apart"


@pytest.mark.parametrize(
    ("attribute", "value", "placeholder", "wording"),
    [
        ("lower", "long skirt", "colored bottom", "a long blue skirt"),
        ("lower", "shorts", "colored bottom", "blue shorts"),
        ("upper", "tank top", "colored top", "a red tank top"),
        ("upper_colour", "orange", "colored top", "an orange sweater"),
        ("hair_length", "bob", "hairstyle", "a black bob"),
        ("hair_length", "short", "hairstyle", "short black hair"),
        ("build", "slim", "build", "slim"),
    ],
)
def test_an_attribute_is_worded(attribute: str, value: str, placeholder: str, wording: str) -> None:
    assert describe(change(PLAIN, attribute, value), "walking", "front")[placeholder] == wording


def test_every_value_of_every_attribute_has_a_wording_of_its_own() -> None:
    look = change(change(STRIPED, "bag", "backpack"), "headwear", "cap")
    for name, values in ATTRIBUTES.items():
        if name == "skin":  # nothing is said of it
            continue
        said = [describe(change(look, name, value), "walking", "front") for value in values]
        assert len({tuple(sorted(each.items())) for each in said}) == len(values), name


def test_every_pose_and_view_has_a_wording_of_its_own() -> None:
    for table, values in ((ACTIONS, poses.POSES), (FACINGS, SEEN)):
        assert sorted(table) == sorted(values)
        assert len(set(table.values())) == len(table)


def test_every_value_is_for_a_placeholder_of_the_vocabulary() -> None:
    looks = [identity.look for identity in draw_identities(40, seed=3)]
    for look, (pose, view) in product(looks, product(ACTIONS, FACINGS)):
        values = describe(look, pose, view)
        assert set(values) <= set(PLACEHOLDERS)
        assert all(value and "*" not in value for value in values.values())
