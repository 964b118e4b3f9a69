import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import pytest

from pipeline.templates import PLACEHOLDERS, Template, TemplateLibrary, load_library, make_template
from world import captions, poses
from world.captions import ACTIONS, FACINGS, describe, fitting, write_caption
from world.people import ATTRIBUTES, Look, change, draw_identities
from world.truth import Label, Lie, TruthCaption

LIBRARY = load_library("world")
LOOKS = [identity.look for identity in draw_identities(240, seed=3)]
SIGHTS = list(product(ACTIONS, FACINGS))
PLAIN = Look(
    sex="woman",
    build="average",
    skin="tan",
    hair_length="long",
    hair_colour="black",
    upper="sweater",
    upper_colour="red",
    pattern="plain",
    pattern_colour=None,
    lower="trousers",
    lower_colour="blue",
    shoe_colour="white",
    bag="none",
    bag_colour=None,
    headwear="none",
    headwear_colour=None,
)
WHOLE = TemplateLibrary(
    "one", (make_template("[hairstyle], [colored top], [colored bottom], [colored shoes] here."),)
)
ONLY_TOP = TemplateLibrary("one", (make_template("Somebody has [colored top] on."),))
STRIPED = change(change(PLAIN, "pattern_colour", "white"), "pattern", "striped")

# What a reader makes of a caption, written down again and apart from the code under test.
COLOUR = "black|grey|white|red|orange|yellow|green|blue|purple|pink|brown"
HAIR_COLOUR = "black|brown|blond|red|grey"
NOUNS = {
    "tank top": "upper",
    "t-shirt": "upper",
    "sweater": "upper",
    "jacket": "upper",
    "coat": "upper",
    "trousers": "lower",
    "shorts": "lower",
    "skirt": "lower",
    "shoes": "shoe",
    "backpack": "bag",
    "shoulder bag": "bag",
    "handbag": "bag",
    "cap": "headwear",
    "woolly hat": "headwear",
}
NEARLY_THE_SAME = {
    "tank top": ["t-shirt"],
    "t-shirt": ["tank top"],
    "sweater": ["jacket"],
    "jacket": ["coat", "sweater"],
    "coat": ["jacket"],
    "skirt": ["long skirt"],
    "long skirt": ["skirt"],
    "handbag": ["shoulder bag"],
    "shoulder bag": ["handbag"],
}
DOING = {
    "standing": "standing",
    "walking": "walking",
    "phone": "raising one hand|one hand raised",
    "feet apart": "standing with feet apart",
}
SEEN = {
    "front": "facing the camera",
    "left three-quarter": "turned halfway with the left side showing",
    "right three-quarter": "turned halfway with the right side showing",
    "left side": "seen from the left side",
    "right side": "seen from the right side",
    "left back three-quarter": "turned mostly away with the left side showing",
    "right back three-quarter": "turned mostly away with the right side showing",
    "back": "facing away from the camera",
}
SILENT = {"a", "an", "the", "with", "from", "and"}
GARMENT = re.compile(
    rf"\b(?P<long>long )?(?P<c1>{COLOUR})(?: and (?P<c2>{COLOUR}))?(?: (?P<pattern>striped|checked))?"
    rf" (?P<noun>{'|'.join(NOUNS)})\b"
)
HAIR = re.compile(rf"\b(?P<how>short |long |)(?P<colour>{HAIR_COLOUR}) (?P<noun>hair|bob)\b")
BARE = (
    ("hair", re.compile(rf"\bhair is (?P<c1>{HAIR_COLOUR})\b")),
    ("hair", re.compile(rf"\b(?P<c1>{HAIR_COLOUR})-haired\b")),
    ("bag", re.compile(rf"\bbag is (?P<c1>{COLOUR})\b")),
    ("lower", re.compile(rf"(?P<c1>{COLOUR}) for the legs\b")),
    ("shoe", re.compile(rf"(?P<c1>{COLOUR}) for the feet\b")),
    ("upper", re.compile(rf"waist the (?:wo)?man is in (?P<c1>{COLOUR})(?: and (?P<c2>{COLOUR}))?")),
)


@dataclass(frozen=True)
class Reading:
    """One phrase: does it claim a colour or garment, and which of its words are right, by start."""

    claim: bool
    right: dict[int, bool]


def read(text: str, look: Look, pose: str, view: str) -> Iterator[Reading]:
    """Every phrase that tells something of the person."""
    text = text.lower()
    for match in GARMENT.finditer(text):
        yield Reading(True, _read_garment(match, look))
    for match in HAIR.finditer(text):
        style = {"short": "short", "long": "long", "": "bob"}[match["how"].strip()]
        right = {match.start("colour"): match["colour"] == look.hair_colour}
        right |= {match.start("noun"): style == look.hair_length}
        right |= {match.start("how"): style == look.hair_length} if style != "bob" else {}
        yield Reading(True, right)
    for place, pattern in BARE:
        for match in pattern.finditer(text):
            yield Reading(True, _read_colours(match, look, place))
    for match in re.finditer(r"\bshaved head\b", text):
        yield Reading(False, dict.fromkeys(_starts(match, 0), look.hair_length == "shaved"))
    for match in re.finditer(r"\b(woman|man)\b", text):
        yield Reading(False, {match.start(): match[0] == look.sex})
    for match in re.finditer(r"\b(slim|heavyset)\b", text):
        yield Reading(False, {match.start(): {"slim": "slim", "heavyset": "heavy"}[match[0]] == look.build})
    for wanted, wordings in ((DOING[pose], DOING), (SEEN[view], SEEN)):
        longest_first = sorted("|".join(wordings.values()).split("|"), key=len, reverse=True)
        for match in re.finditer(rf"\b({'|'.join(longest_first)})\b", text):
            yield Reading(False, dict.fromkeys(_starts(match, 0), match[0] in wanted.split("|")))


def _read_garment(match: re.Match[str], look: Look) -> dict[int, bool]:
    place = NOUNS[match["noun"]]
    right = _read_colours(match, look, place)
    garment = (match["long"] or "") + match["noun"]
    is_worn = place == "shoe" or garment == getattr(look, place)
    right |= dict.fromkeys(_starts(match, "noun"), is_worn)
    if match["long"]:
        right[match.start("long")] = is_worn
    if place == "upper":
        assert (match["pattern"] or "plain") == look.pattern
    if match["pattern"]:
        right[match.start("pattern")] = place == "upper"
    return right


def _read_colours(match: re.Match[str], look: Look, place: str) -> dict[int, bool]:
    colours = {"c1": getattr(look, f"{place}_colour"), "c2": look.pattern_colour}
    if place == "upper":
        assert bool(match["c2"]) == (look.pattern_colour is not None)
    return {
        match.start(group): match[group] == colours[group]
        for group in match.re.groupindex
        if group in colours and match[group]
    }


def _starts(match: re.Match[str], group: str | int) -> list[int]:
    return [
        match.start(group) + word.start()
        for word in re.finditer(r"\S+", match[group])
        if word[0] not in SILENT
    ]


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
    clothes = [
        value
        for name in ("upper", "lower", "bag", "headwear")
        for value in ATTRIBUTES[name]
        if value != "none"
    ]
    for table, values in (
        (captions.PERSONS, ATTRIBUTES["sex"]),
        (captions.BUILDS, ATTRIBUTES["build"]),
        (captions.HAIRSTYLES, ATTRIBUTES["hair_length"]),
        (captions.GARMENTS, clothes),
        (captions.PATTERNS, ATTRIBUTES["pattern"]),
        (ACTIONS, poses.POSES),
        (FACINGS, SEEN),
    ):
        assert sorted(table) == sorted(values)
        assert len(set(table.values())) == len(table)


def test_every_value_is_for_a_placeholder_of_the_vocabulary() -> None:
    for look, (pose, view) in product(LOOKS[:40], SIGHTS):
        values = describe(look, pose, view)
        assert set(values) <= set(PLACEHOLDERS)
        assert all(value and "*" not in value for value in values.values())


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
    assert fitting(library, look, "phone", "front") == []
    with pytest.raises(ValueError, match="slot: 0, but only 0 templates of one fit"):
        write_caption("p", 0, 0, look, "phone", "front", library, 0)


def test_a_placeholder_may_stand_twice() -> None:
    library = TemplateLibrary("one", (make_template("A [person], a [person] in [colored top]."),))
    caption = write_caption("p", 0, 0, PLAIN, "walking", "front", library, 0)
    assert caption.text == "A woman, a woman in a red sweater."
    assert [word.label.value[0] for word in caption.words] == list("ntntnntt")


def test_everybody_fits_at_least_eight_packaged_templates() -> None:
    for look, (pose, view) in product(LOOKS, SIGHTS[::3]):
        assert len(fitting(LIBRARY, look, pose, view)) >= 8


def test_the_packaged_templates_are_rich_and_each_fits_somebody() -> None:
    pronouns = {"he/she", "his/her", "him/her"}
    for template in LIBRARY.templates:
        assert 4 <= len(set(template.placeholders) - pronouns) <= 6, template.text
    used: set[Template] = set()
    for look, (pose, view) in zip(LOOKS, SIGHTS * 8, strict=False):
        used |= set(fitting(LIBRARY, look, pose, view))
    assert used == set(LIBRARY.templates)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_an_impossible_rate_is_refused_by_name(rate: float) -> None:
    with pytest.raises(ValueError, match=f"^lie_rate: {rate} is not between 0 and 1$"):
        write_caption("p", 0, 0, PLAIN, "walking", "front", LIBRARY, 0, rate)


def test_an_unknown_pose_view_or_slot_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^pose: 'flying' is none of standing, walking"):
        describe(PLAIN, "flying", "front")
    with pytest.raises(ValueError, match=r"^view: 'top' is none of front, left three-quarter"):
        write_caption("p", 0, 0, PLAIN, "walking", "top", LIBRARY, 0)
    with pytest.raises(ValueError, match=r"^slot: -1 is below 0$"):
        write_caption("p", 0, -1, PLAIN, "walking", "front", LIBRARY, 0)
    with pytest.raises(ValueError, match=r"^slot: 40, but only 2. templates of world fit"):
        write_caption("p", 0, 40, PLAIN, "walking", "front", LIBRARY, 0)
