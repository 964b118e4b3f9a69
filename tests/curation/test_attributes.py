import pytest

from curation.attributes import measure
from curation.colours import load_colour_terms
from tests.curation.photograph import Floats, crop, crop_keypoints, drawn_keypoints, drawn_person

TERMS = load_colour_terms()
PICTURE = drawn_person((198, 28, 42), (40, 82, 172))


def values(keypoints: Floats) -> dict[str, str]:
    return measure(PICTURE, keypoints, TERMS, 0.5, 0.4)


def test_all_is_measured_of_a_person_in_full_view() -> None:
    assert values(drawn_keypoints()) == {
        "facing": "facing the camera",
        "framing": "visible from head to feet",
        "top color": "red",
        "colored top": "a red top",
        "bottom color": "blue",
        "colored bottom": "blue bottoms",
    }


def test_a_colour_without_majority_is_not_said() -> None:
    picture = PICTURE.copy()
    for column, paint in ((60, (242, 214, 48)), (85, (38, 132, 62))):
        picture[75:210, column : column + 25] = paint
    found = {share: measure(picture, drawn_keypoints(), TERMS, 0.5, share) for share in (0.3, 0.8)}
    assert "top color" in found[0.3]
    assert "top color" not in found[0.8]
    assert "colored top" not in found[0.8]


def test_a_back_is_seen_by_swapped_shoulders_and_no_face() -> None:
    keypoints = drawn_keypoints()
    keypoints[[5, 6]] = keypoints[[6, 5]]
    assert "facing" not in values(keypoints)
    keypoints[:3, 2] = 0.1
    assert values(keypoints)["facing"] == "seen from behind"


def test_a_half_hidden_face_is_not_said_to_face_the_camera() -> None:
    keypoints = drawn_keypoints()
    keypoints[1, 2] = 0.4
    assert "facing" not in values(keypoints)


@pytest.mark.parametrize(
    ("hidden", "words"),
    [
        ([15, 16], "visible down to the knees"),
        ([13, 14, 15, 16], "visible down to the hips"),
        ([15], None),
        ([0, 1, 2, 3, 4], None),
    ],
)
def test_framing_follows_the_lowest_visible_joints(hidden: list[int], words: str | None) -> None:
    keypoints = drawn_keypoints()
    keypoints[hidden, 2] = 0.1
    assert values(keypoints).get("framing") == words


@pytest.mark.parametrize(
    ("wrists", "words"), [([9], "one arm raised"), ([9, 10], "both arms raised"), ([], None)]
)
def test_a_wrist_above_its_shoulder_is_a_raised_arm(wrists: list[int], words: str | None) -> None:
    keypoints = drawn_keypoints()
    keypoints[wrists, 1] = 20
    assert values(keypoints).get("arms") == words


def test_an_invisible_wrist_raises_no_arm() -> None:
    keypoints = drawn_keypoints()
    keypoints[9] = [100, 20, 0.3]
    assert "arms" not in values(keypoints)


@pytest.mark.parametrize("person", [1, 2])
def test_two_men_of_the_photograph_face_the_camera_in_full_view(person: int) -> None:
    found = measure(crop(person), crop_keypoints(person), TERMS, 0.5, 0.4)
    assert (found["facing"], found["framing"]) == ("facing the camera", "visible from head to feet")


def test_of_the_one_at_the_edge_only_colours_are_said() -> None:
    assert set(measure(crop(0), crop_keypoints(0), TERMS, 0.5, 0.4)) == {
        "top color",
        "colored top",
        "bottom color",
        "colored bottom",
    }
