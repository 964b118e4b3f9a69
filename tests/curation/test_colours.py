import numpy as np
import pytest

from curation.colours import (
    MOST_PIXELS,
    load_colour_terms,
    lower_colour,
    region_lab,
    torso_polygon,
    upper_colour,
)
from tests.curation.photograph import crop, crop_keypoints, drawn_keypoints, drawn_person

TERMS = load_colour_terms()
# Seen as these terms by anybody; none of them is a reference colour.
PAINTS = {
    "black": (22, 20, 24),
    "white": (245, 243, 240),
    "grey": (125, 128, 127),
    "red": (198, 28, 42),
    "orange": (240, 125, 30),
    "yellow": (242, 214, 48),
    "green": (38, 132, 62),
    "blue": (40, 82, 172),
    "purple": (112, 48, 150),
    "pink": (245, 150, 182),
    "brown": (112, 68, 38),
}
DARK = {"blue": (22, 32, 78), "green": (18, 56, 34), "red": (96, 14, 24), "brown": (62, 36, 20)}


def test_the_file_holds_the_eleven_basic_terms_with_several_references_each() -> None:
    assert set(TERMS.names) == set(PAINTS)
    assert min(TERMS.names.count(term) for term in PAINTS) >= 5


def test_references_are_in_cielab() -> None:
    white = TERMS.lab[TERMS.names.index("white")]
    assert white == pytest.approx([100, 0, 0], abs=0.1)


@pytest.mark.parametrize(("term", "paint"), PAINTS.items())
def test_upper_clothing_is_named_through_shade_and_noise(term: str, paint: tuple[int, int, int]) -> None:
    found = upper_colour(drawn_person(paint, PAINTS["grey"]), drawn_keypoints(), TERMS, 0.5)
    assert found is not None
    assert found.name == term
    assert found.share > 0.6


@pytest.mark.parametrize(("term", "paint"), PAINTS.items())
def test_lower_clothing_is_named_through_shade_and_noise(term: str, paint: tuple[int, int, int]) -> None:
    found = lower_colour(drawn_person(PAINTS["red"], paint), drawn_keypoints(), TERMS, 0.5)
    assert found is not None
    assert found.name == term
    assert found.share > 0.6


@pytest.mark.parametrize(("term", "paint"), DARK.items())
def test_dark_colours_are_not_black(term: str, paint: tuple[int, int, int]) -> None:
    found = lower_colour(drawn_person(PAINTS["white"], paint), drawn_keypoints(), TERMS, 0.5)
    assert found is not None
    assert found.name == term


def test_a_cameras_tint_in_the_dark_is_black_unless_lit_parts_show_the_hue() -> None:
    person, keypoints = drawn_person((3, 5, 32), (3, 5, 32)), drawn_keypoints()
    unlit = upper_colour(person, keypoints, TERMS, 0.5)
    person[100:130] = (22, 32, 78)
    lit = upper_colour(person, keypoints, TERMS, 0.5)
    assert unlit is not None
    assert lit is not None
    assert (unlit.name, lit.name) == ("black", "blue")


def test_share_falls_with_a_second_colour() -> None:
    picture = drawn_person(PAINTS["red"], PAINTS["blue"])
    picture[75:210, 90:120] = PAINTS["white"]
    found = upper_colour(picture, drawn_keypoints(), TERMS, 0.5)
    assert found is not None
    assert found.name == "red"
    assert 0.5 < found.share < 0.8


def test_bare_shins_do_not_outvote_shorts() -> None:
    picture = drawn_person(PAINTS["white"], PAINTS["green"], shin=(212, 168, 144))
    found = lower_colour(picture, drawn_keypoints(), TERMS, 0.5)
    assert found is not None
    assert found.name == "green"
    assert found.share > 0.8


def test_nothing_is_said_of_an_invisible_region() -> None:
    picture, keypoints = drawn_person(PAINTS["red"], PAINTS["blue"]), drawn_keypoints()
    keypoints[11:, 2] = 0.1
    assert upper_colour(picture, keypoints, TERMS, 0.5) is None
    assert lower_colour(picture, keypoints, TERMS, 0.5) is None


def test_nothing_is_said_of_a_tiny_region() -> None:
    picture, keypoints = drawn_person(PAINTS["red"], PAINTS["blue"])[::20, ::20], drawn_keypoints()
    keypoints[:, :2] /= 20
    assert upper_colour(picture, keypoints, TERMS, 0.5) is None


def test_keypoints_outside_the_crop_are_no_error() -> None:
    keypoints = drawn_keypoints()
    keypoints[:, :2] -= 1000
    assert upper_colour(drawn_person(PAINTS["red"], PAINTS["blue"]), keypoints, TERMS, 0.5) is None


def test_a_person_seen_from_the_side_is_measured_in_a_strip() -> None:
    keypoints = drawn_keypoints()
    keypoints[[5, 11]] = [[82, 85, 0.9], [82, 200, 0.9]]
    keypoints[[6, 12], 2] = 0.1
    torso = torso_polygon(keypoints, 0.5)
    assert torso is not None
    assert np.ptp(torso[:, 0]) == pytest.approx(115 * 0.25)
    found = upper_colour(drawn_person(PAINTS["yellow"], PAINTS["blue"]), keypoints, TERMS, 0.5)
    assert found is not None
    assert found.name == "yellow"


def test_large_regions_are_thinned_out() -> None:
    picture = np.zeros((1000, 1000, 3), np.uint8)
    lab = region_lab(picture, [np.array([[0, 0], [999, 0], [999, 999], [0, 999]], dtype=np.float64)])
    assert MOST_PIXELS // 2 < len(lab) <= MOST_PIXELS


@pytest.mark.parametrize(
    ("person", "upper", "lower"),
    [(0, "black", "black"), (1, "black", "blue"), (2, "brown", "blue")],
)
def test_colours_of_a_real_photograph_are_those_that_people_see(person: int, upper: str, lower: str) -> None:
    top = upper_colour(crop(person), crop_keypoints(person), TERMS, 0.5)
    bottom = lower_colour(crop(person), crop_keypoints(person), TERMS, 0.5)
    assert top is not None
    assert bottom is not None
    assert (top.name, bottom.name) == (upper, lower)
    assert min(top.share, bottom.share) > 0.6
