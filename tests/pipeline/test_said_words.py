"""Forms, colours and garments in captions, against what was worn."""

from collections.abc import Mapping

import numpy as np
import pytest

from curation.attributes import measure
from curation.colours import load_colour_terms
from pipeline.cli.matching import Pair, Shown
from pipeline.cli.said_words import Colours, Said, said_colours, said_garments, words, words_text
from pipeline.templates import Template, fill, load_library, make_template
from tests.pipeline.made_people import drawn, measured
from world.captions import fitting
from world.people import draw_identities
from world.truth import TruthPerson
from world.web import Entry
from world.words import attributes, phrases

LIBRARY = load_library("attributes").templates
VALUES = {
    "top color": "orange",
    "colored top": "an orange top",
    "bottom color": "blue",
    "colored bottom": "blue bottoms",
    "facing": "facing the camera",
    "framing": "visible from head to feet",
    "arms": "both arms raised",
}
BOTH = make_template("A person wears [colored top] and [colored bottom].")
UPPER = make_template("The upper clothing is [top color].")
NEITHER = make_template("A person is [facing].")


@pytest.mark.parametrize("template", LIBRARY, ids=lambda template: template.text)
def test_the_colours_are_read_out_of_every_template_of_the_stand_in(template: Template) -> None:
    upper = ("orange",) if {"top color", "colored top"} & set(template.placeholders) else ()
    lower = ("blue",) if {"bottom color", "colored bottom"} & set(template.placeholders) else ()
    assert said_colours(fill(template, VALUES), template) == Colours(upper, lower)


def test_what_the_made_world_says_of_its_people_is_read_out_of_every_form() -> None:
    """Every colour and garment: some identities wear patterns, coats or long skirts."""
    library, read = load_library("world"), set()
    for identity in draw_identities(60, seed=3):
        told = attributes(identity.look, "phone", "left side")
        said = phrases(told)
        for template in fitting(library, told):
            text = fill(
                template, {name: " ".join(w for w, _ in said[name]) for name in template.placeholders}
            )
            assert (said_colours(text, template), set(said_garments(text))) == _told(told, template), text
            read.add(template)
    assert read == set(library.templates)


def _told(told: Mapping[str, str], template: Template) -> tuple[Colours, set[str]]:
    """What a true caption of this form says."""
    places = set(template.placeholders)
    named_upper, named_lower = places & {"colored top", "colored outerwear"}, places & {"colored bottom"}
    upper = [told["upper_colour"]] if named_upper or "top color" in places else []
    if upper and told["pattern"] != "plain":
        upper.append(told["pattern_colour"])
    lower = [told["lower_colour"]] if named_lower or "bottom color" in places else []
    worn = {told["upper"] for _ in named_upper} | {told["lower"] for _ in named_lower}
    return Colours(tuple(upper), tuple(lower)), worn


def test_the_stand_in_writes_colours_as_they_are_read() -> None:
    """A red torso above green legs, as curation measures and writes it."""
    picture = np.full((300, 100, 3), (200, 20, 20), np.uint8)
    picture[150:] = (20, 120, 40)
    keypoints = np.zeros((17, 3))
    places = {5: (80, 50), 6: (20, 50), 11: (70, 150), 12: (30, 150), 13: (70, 215), 14: (30, 215)}
    for point, place in (places | {15: (70, 280), 16: (30, 280)}).items():
        keypoints[point] = (*place, 1.0)
    values = measure(picture, keypoints, load_colour_terms(), 0.5, 0.3)
    assert said_colours(fill(BOTH, values), BOTH) == Colours(("red",), ("green",))


@pytest.mark.parametrize("text", ["A red top.", "A person wears a red and blue bottoms.", ""])
def test_a_caption_of_another_form_says_nothing(text: str) -> None:
    assert said_colours(text, BOTH) is None
    said = words(*one(drawn(), (text, BOTH)), [BOTH])
    assert (said["form"], said["upper colour"], said["lower colour"]) == (WRONG, UNSAID, UNSAID)


def test_the_form_is_wrong_if_one_caption_of_two_is_out_of_form() -> None:
    captions = [("A person wears a red top and blue bottoms.", BOTH), ("Upper clothing, red.", UPPER)]
    said = words(*one(drawn(), *captions), [BOTH, UPPER])
    assert (said["form"], said["upper colour"]) == (WRONG, RIGHT)


def one(
    truth: TruthPerson, *captions: tuple[str, Template], kind: str = "picture"
) -> tuple[list[Shown], dict[str, list[tuple[str, str]]]]:
    """A picture of one person with captions."""
    entry = Entry(kind, "u", (None,), True, None, truth.picture)
    texts = [(text, template.id) for text, template in captions]
    return [Shown(entry, [Pair(truth, measured())])], {measured().key: texts}


RIGHT, WRONG, UNSAID = Said(1, 0, 0), Said(0, 1, 0), Said(0, 0, 1)


@pytest.mark.parametrize(
    ("captions", "upper", "lower"),
    [
        ([("A person wears a red top and blue bottoms.", BOTH)], RIGHT, RIGHT),
        ([("A person wears a pink top and blue bottoms.", BOTH)], WRONG, RIGHT),
        ([("A person wears a blue top and red bottoms.", BOTH)], WRONG, WRONG),
        ([("The upper clothing is red.", UPPER)], RIGHT, UNSAID),
        ([("A person is facing the camera.", NEITHER)], UNSAID, UNSAID),
        ([("A person is red.", NEITHER), ("The upper clothing is red.", UPPER)], RIGHT, UNSAID),
        ([("The upper clothing is red.", UPPER), ("The upper clothing is pink.", UPPER)], WRONG, UNSAID),
    ],
)
def test_colours_are_right_wrong_or_unsaid(
    captions: list[tuple[str, Template]], upper: Said, lower: Said
) -> None:
    """The person wears a red jacket and a long blue skirt."""
    said = words(*one(drawn(), *captions), [BOTH, UPPER, NEITHER])
    assert said == {"form": RIGHT, "upper colour": upper, "lower colour": lower, "garments": UNSAID}


@pytest.mark.parametrize(("colour", "expected"), [("red", RIGHT), ("white", RIGHT), ("black", WRONG)])
def test_of_a_pattern_either_colour_is_right(colour: str, expected: Said) -> None:
    striped = drawn(pattern="striped", pattern_colour="white")
    caption = (f"The upper clothing is {colour}.", UPPER)
    assert words(*one(striped, caption), [UPPER])["upper colour"] == expected


@pytest.mark.parametrize(
    ("colours", "expected"), [("white and red", RIGHT), ("red and black", WRONG), ("black and white", WRONG)]
)
def test_of_two_colours_that_are_said_none_may_be_wrong(colours: str, expected: Said) -> None:
    striped = drawn(pattern="striped", pattern_colour="white")
    caption = (f"A person wears a {colours} striped jacket and blue trousers.", BOTH)
    assert words(*one(striped, caption), [BOTH])["upper colour"] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A person in a long skirt is facing the camera.", RIGHT),
        ("A person in a Jacket is facing the camera.", RIGHT),
        ("A person in a long red skirt is facing the camera.", RIGHT),
        ("A person in a red skirt is facing the camera.", WRONG),
        ("A person in a skirt is facing the camera.", WRONG),
        ("A person in a jacket and shorts is facing the camera.", WRONG),
        ("A person with jackets is facing the camera.", UNSAID),
        ("A person in an overcoat is facing the camera.", UNSAID),
    ],
)
def test_garments_are_known_by_the_words_of_the_world(text: str, expected: Said) -> None:
    template = make_template("A person [action] is [facing].")
    assert words(*one(drawn(), (text, template)), [template])["garments"] == expected


def test_who_has_no_caption_and_who_lost_the_colours_is_not_judged() -> None:
    nothing = dict.fromkeys(("form", "upper colour", "lower colour", "garments"), Said())
    shown, _ = one(drawn())
    assert words(shown, {}, [UPPER]) == nothing
    grey = one(drawn(), ("The upper clothing is red.", UPPER), kind="jpeg_grey")
    assert words(*grey, [UPPER]) == nothing


def test_who_was_not_drawn_is_not_judged() -> None:
    shown, captions = one(drawn(), ("The upper clothing is red.", UPPER))
    strangers = [Shown(shown[0].entry, [Pair(None, measured())])]
    assert words(strangers, captions, [UPPER])["upper colour"] == Said()


def test_captioners_stand_one_below_the_other_for_each_attribute() -> None:
    names = ("form", "upper colour", "lower colour", "garments")
    said = {"stand-in": dict.fromkeys(names, Said(3, 2, 1)), "b": dict.fromkeys(names, Said(5, 0, 0))}
    lines = words_text(said)
    assert lines[2:4] == [
        "upper colour  stand-in  right 3, wrong 2, unsaid 1",
        "              b         right 5, wrong 0, unsaid 0",
    ]
    assert len(lines) == 8
    assert words_text({"b": said["b"]})[0] == "form          right 5, wrong 0, unsaid 0"
    assert words_text({}) == []
