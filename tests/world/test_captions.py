import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import product

import pytest

from pipeline.templates import Template, TemplateLibrary, load_library, make_template
from tests.world.reader import COLOUR, GARMENT, NEARLY_THE_SAME, PLAIN, SILENT, STRIPED, Reading, read
from world.captions import SLOTS, fitting, write_caption
from world.people import ATTRIBUTES, Look, change, draw_identities
from world.truth import Label, Lie, TruthCaption
from world.words import ACTIONS, FACINGS, attributes

LIBRARY = load_library("world")
LOOKS = [identity.look for identity in draw_identities(240, seed=3)]
SIGHTS = list(product(ACTIONS, FACINGS))
WHOLE = TemplateLibrary(
    "one", (make_template("[hairstyle], [colored top], [colored bottom], [colored shoes] here."),)
)
ONLY_TOP = TemplateLibrary("one", (make_template("Somebody has [colored top] on."),))


@dataclass(frozen=True)
class Case:
    look: Look
    pose: str
    view: str
    caption: TruthCaption
    readings: tuple[Reading, ...]


@cache
def cases(lie_rate: float) -> tuple[Case, ...]:
    """Captions of all looks, each in two of the poses and views, three slots."""
    made = []
    for number, look in enumerate(LOOKS):
        for turn in (0, 1):
            pose, view = SIGHTS[(2 * number + 17 * turn) % len(SIGHTS)]
            for slot in range(3):
                caption = write_caption(f"p{number}", turn, slot, look, pose, view, LIBRARY, 0, lie_rate)
                made.append(Case(look, pose, view, caption, tuple(read(caption.text, look, pose, view))))
    return tuple(made)


def told_wrongly(caption: TruthCaption) -> Counter[tuple[str, Lie | None]]:
    return Counter(
        (caption.text[word.start : word.end].lower(), word.lie)
        for word in caption.words
        if word.label == Label.FALSE
    )


@pytest.mark.parametrize("lie_rate", [0.0, 0.3, 1.0])
def test_every_word_is_labelled_as_a_reader_who_knows_the_look_would(lie_rate: float) -> None:
    assert {(case.pose, case.view) for case in cases(lie_rate)} == set(SIGHTS)
    for case in cases(lie_rate):
        labelled = {
            word.start: word.label == Label.TRUE
            for word in case.caption.words
            if word.label != Label.NEUTRAL and word.lie not in (Lie.ACCESSORY, Lie.BACKGROUND)
        }
        expected: dict[int, bool] = {}
        for reading in case.readings:
            expected |= reading.right
        assert labelled == expected, case.caption.text


def test_everybody_can_be_given_as_many_captions_as_are_promised() -> None:
    numbers = [len(fitting(LIBRARY, attributes(look, "walking", "front"))) for look in LOOKS]
    assert min(numbers) == SLOTS


def test_at_rate_zero_nothing_is_false() -> None:
    assert all(not told_wrongly(case.caption) for case in cases(0.0))


def test_at_rate_one_every_claim_has_one_wrong_attribute() -> None:
    for case in cases(1.0):
        lies = {word.start: word.lie for word in case.caption.words}
        for reading in case.readings:
            wrong = [start for start, right in reading.right.items() if not right]
            assert bool(wrong) == reading.claim, case.caption.text
            kinds = {lies[start] for start in wrong}
            assert kinds <= {Lie.GARMENT} or (kinds == {Lie.COLOUR} and len(wrong) == 1)


def test_colours_and_garments_are_both_told_wrongly() -> None:
    kinds = Counter(lie for case in cases(1.0) for _, lie in told_wrongly(case.caption))
    assert set(kinds) == set(Lie)
    assert min(kinds.values()) > 300


def test_at_rate_one_every_caption_ends_with_an_accessory_and_background_chatter() -> None:
    for case in cases(1.0):
        kinds = [word.lie for word in case.caption.words if word.label == Label.FALSE]
        assert {Lie.ACCESSORY, Lie.BACKGROUND} <= set(kinds)
        assert kinds[-1] == Lie.BACKGROUND
        assert case.caption.text.count(".") >= 1
        assert case.caption.text.endswith(".")


@pytest.mark.parametrize("lie_rate", [0.1, 0.3])
def test_claims_and_additions_are_wrong_as_often_as_chosen(lie_rate: float) -> None:
    claims = [not all(r.right.values()) for case in cases(lie_rate) for r in case.readings if r.claim]
    assert sum(claims) / len(claims) == pytest.approx(lie_rate, abs=0.02)
    for lie in (Lie.ACCESSORY, Lie.BACKGROUND):
        having = [lie in {word.lie for word in case.caption.words} for case in cases(lie_rate)]
        assert sum(having) / len(having) == pytest.approx(lie_rate, abs=0.04)


def test_each_claim_is_drawn_by_itself() -> None:
    wrong = [[not all(r.right.values()) for r in case.readings if r.claim] for case in cases(0.3)]
    pairs = [claims[:2] for claims in wrong if len(claims) > 1]
    assert sum(all(pair) for pair in pairs) / len(pairs) == pytest.approx(0.09, abs=0.025)


@pytest.mark.parametrize("changed", [{"picture": "q"}, {"person": 1}, {"seed": 1}])
def test_lies_differ_between_pictures_persons_and_seeds(changed: dict[str, str | int]) -> None:
    key = {"picture": "p", "person": 0, "slot": 0, "seed": 0}
    one, other = (
        write_caption(**values, look=PLAIN, pose="walking", view="front", library=WHOLE, lie_rate=1.0)  # type: ignore[arg-type]
        for values in (key, key | changed)
    )
    assert len(told_wrongly(one) - told_wrongly(other)) >= 4


def test_function_words_of_an_addition_stay_neutral() -> None:
    false = {word for case in cases(1.0) for word, _ in told_wrongly(case.caption)}
    assert not false & {*SILENT, "of", "in", "at", "on", "over", "around", "along"}
    assert {"umbrella", "sunglasses", "background", "rain"} <= false


def test_a_higher_rate_only_adds_lies() -> None:
    for none, few, many, all_ in zip(cases(0.0), cases(0.1), cases(0.3), cases(1.0), strict=True):
        assert none.caption.template_id == few.caption.template_id == all_.caption.template_id
        assert told_wrongly(few.caption) <= told_wrongly(many.caption) <= told_wrongly(all_.caption)


def test_a_wrong_colour_is_none_of_the_two_of_a_pattern() -> None:
    wrong: set[str] = set()
    for number in range(400):
        caption = write_caption(f"p{number}", 0, 0, STRIPED, "walking", "front", ONLY_TOP, 0, 1.0)
        wrong |= {word for word, lie in told_wrongly(caption) if lie == Lie.COLOUR}
    assert wrong == set(COLOUR.split("|")) - {"red", "white"}


@pytest.mark.parametrize("name", ["upper", "lower", "bag", "headwear"])
def test_a_wrong_garment_cannot_be_taken_for_the_right_one(name: str) -> None:
    place = {"upper": "top", "lower": "bottom", "bag": "bag", "headwear": "headwear"}[name]
    library = TemplateLibrary("one", (make_template(f"A person in [colored {place}]."),))
    for garment in set(ATTRIBUTES[name]) - {"none"}:
        look = change(change(change(PLAIN, "bag_colour", "red"), "headwear_colour", "red"), name, garment)
        told = set()
        for number in range(60):
            text = write_caption(f"p{number}", 0, 0, look, "walking", "front", library, 0, 1.0).text
            told |= {(m["long"] or "") + m["noun"] for m in GARMENT.finditer(text)}
        assert told == set(ATTRIBUTES[name]) - {"none", *NEARLY_THE_SAME.get(garment, [])}


@pytest.mark.parametrize("lie_rate", [0.0, 1.0])
def test_spans_are_the_words_of_the_text_without_punctuation(lie_rate: float) -> None:
    for case in cases(lie_rate):
        text = case.caption.text
        words = [text[word.start : word.end] for word in case.caption.words]
        assert words == [word.strip(".,;:") for word in text.split()]


def test_a_word_made_of_template_and_value_takes_the_value_s_label() -> None:
    library = TemplateLibrary("one", (make_template("The [hair color]-haired one."),))
    for lie_rate, label in ((0.0, Label.TRUE), (1.0, Label.FALSE)):
        caption = write_caption("p", 0, 0, PLAIN, "walking", "front", library, 0, lie_rate)
        assert [word.label for word in caption.words[:3]] == [Label.NEUTRAL, label, Label.NEUTRAL]


def test_articles_follow_what_is_told() -> None:
    texts = " ".join(case.caption.text.lower() for rate in (0.0, 1.0) for case in cases(rate))
    assert " an orange " in texts
    assert not re.search(r"\ba [aeio]|\ban [^aeio]|\ba (trousers|shorts)\b", texts)


def test_the_same_arguments_give_the_same_caption_and_another_seed_another_one() -> None:
    one, same, other = (
        [
            write_caption(f"p{n}", 0, 0, look, "walking", "back", LIBRARY, seed, 0.5)
            for n, look in enumerate(LOOKS[:60])
        ]
        for seed in (0, 0, 1)
    )
    assert one == same
    assert sum(a.text == b.text for a, b in zip(one, other, strict=True)) < 6
    assert sum(a.template_id == b.template_id for a, b in zip(one, other, strict=True)) < 15


def test_slots_of_a_person_get_different_templates_whatever_the_library_s_order() -> None:
    turned = TemplateLibrary("turned", LIBRARY.templates[::-1])
    for number in range(50):
        drawn = [
            [
                write_caption("p", number, slot, PLAIN, "walking", "back", library, 0).template_id
                for slot in range(4)
            ]
            for library in (LIBRARY, turned)
        ]
        assert drawn[0] == drawn[1]
        assert len(set(drawn[0])) == 4


@pytest.mark.parametrize(
    "text",
    [
        "[colored outerwear] over [colored top]",
        "[colored top], [top color]",
        "[hairstyle], [hair color]",
        "a [held object]",
        "[accessory] here",
        "a [colored outfit]",
        "[framing] here",
    ],
)
def test_a_template_that_says_a_thing_twice_or_asks_for_the_unknown_does_not_fit(text: str) -> None:
    library = TemplateLibrary("one", (make_template(text),))
    look = change(PLAIN, "upper", "coat")
    assert fitting(library, attributes(look, "phone", "front")) == []
    with pytest.raises(ValueError, match="slot: 0, but only 0 templates of one fit"):
        write_caption("p", 0, 0, look, "phone", "front", library, 0)


def test_a_placeholder_may_stand_twice() -> None:
    library = TemplateLibrary("one", (make_template("A [person], a [person] in [colored top]."),))
    caption = write_caption("p", 0, 0, PLAIN, "walking", "front", library, 0)
    assert caption.text == "A woman, a woman in a red sweater."
    assert [word.label.value[0] for word in caption.words] == list("ntntnntt")


def test_everybody_fits_at_least_eight_packaged_templates() -> None:
    for look, (pose, view) in product(LOOKS, SIGHTS[::3]):
        assert len(fitting(LIBRARY, attributes(look, pose, view))) >= 8


def test_the_packaged_templates_are_rich_and_each_fits_somebody() -> None:
    pronouns = {"he/she", "his/her", "him/her"}
    for template in LIBRARY.templates:
        assert 4 <= len(set(template.placeholders) - pronouns) <= 6, template.text
    used: set[Template] = set()
    for look, (pose, view) in zip(LOOKS, SIGHTS * 8, strict=False):
        used |= set(fitting(LIBRARY, attributes(look, pose, view)))
    assert used == set(LIBRARY.templates)


def test_a_slot_that_no_template_is_left_for_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^slot: 40, but only 2. templates of world fit"):
        write_caption("p", 0, 40, PLAIN, "walking", "front", LIBRARY, 0)
