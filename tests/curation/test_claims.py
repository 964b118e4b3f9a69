"""Claims of captions: who, what is worn, in which colours; and what claims nothing."""

import pytest

from curation.claim_words import load_claim_words
from curation.claims import Claims, read_claims
from curation.colours import load_colour_terms
from pipeline.templates import PLACEHOLDERS, fill, load_library, packaged_libraries

WORDS = load_claim_words()


def read(text: str) -> Claims:
    return read_claims(text, WORDS)


def worn(text: str) -> dict[str, tuple[str, ...]]:
    """Colours as said, by the name of what has them."""
    return {
        garment.thing.name: tuple(colour.word for colour in garment.colours)
        for garment in read(text).garments
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a red and white striped T-shirt under a dark navy jacket",
            {"t-shirt": ("red", "white"), "jacket": ("dark navy",)},
        ),
        (
            "a blue shirt, black trousers and white sneakers",
            {"shirt": ("blue",), "trousers": ("black",), "sneakers": ("white",)},
        ),
        ("a black, long-sleeved cotton shirt", {"shirt": ("black",)}),
        ("blue-and-white shorts", {"shorts": ("blue", "white")}),
        ("jeans and a shirt", {"jeans": (), "shirt": ()}),
        ("faded jeans", {"jeans": ()}),
        ("an off-white blouse", {"blouse": ("off white",)}),
        ("a light grey hoodie", {"hoodie": ("light grey",)}),
        (
            "his shirt is light blue and his trousers are grey",
            {"shirt": ("light blue",), "trousers": ("grey",)},
        ),
        ("a coat in dark blue and white shoes", {"coat": ("dark blue",), "shoes": ("white",)}),
        ("a jacket, dark blue, and jeans", {"jacket": ("dark blue",), "jeans": ()}),
        ("a coat in green, white shoes", {"coat": ("green",), "shoes": ("white",)}),
        ("a black T-shirt with white stripes", {"t-shirt": ("black", "white")}),
        (
            "white sneakers with red laces and a brown belt",
            {"sneakers": ("white", "red"), "belt": ("brown",)},
        ),
        ("dressed in black, with a red scarf", {"uniform": ("black",), "scarf": ("red",)}),
        ("dressed in a red dress", {"dress": ("red",)}),
        ("dressed in black trousers", {"trousers": ("black",)}),
        ("an all black outfit", {"uniform": ("black",)}),
        ("a woman whose bag is red wears a hat", {"bag": ("red",), "hat": ()}),
        ("a grey tank top and a pink skirt", {"tank top": ("grey",), "skirt": ("pink",)}),
        ("a black leather jacket with a grey hood", {"jacket": ("black",), "hood": ("grey",)}),
        ("brown hair in a ponytail, red cap", {"hair": ("brown",), "ponytail": (), "cap": ("red",)}),
        ("a blue woolly hat tops off what she wears", {"woolly hat": ("blue",)}),
        ("a man with olive skin in a suit", {"suit": ()}),
        ("two women, facing the camera, walking slowly", {}),
    ],
)
def test_garments_are_read_with_their_colours(text: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert worn(text) == expected


@pytest.mark.parametrize(
    ("text", "gender"),
    [
        ("A young woman with a bag", "woman"),
        ("The man's shirt", "man"),
        ("She wears a coat", "woman"),
        ("A person in his coat", "man"),
        ("A person in a coat", None),
        ("A woman beside a man", None),
        ("The human in the theatre", None),
    ],
)
def test_gender_is_who_is_named(text: str, gender: str | None) -> None:
    assert read(text).gender == gender


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("short black hair", "short"),
        ("her hair is long and she wears shorts", "long"),
        ("shoulder-length hair", "medium"),
        ("a bald man", "none"),
        ("a man with a shaved head", "none"),
        ("a long skirt and black hair", None),
        ("hair in a bun, a long coat", None),
    ],
)
def test_the_hairs_length_is_not_that_of_a_skirt(text: str, length: str | None) -> None:
    found = read(text).hair_length
    assert (found.name if found else None) == length


def test_accessories_are_read() -> None:
    text = "in glasses, a scarf, a leather belt and gloves, with a phone and an umbrella in her hands"
    found = [garment.thing.name for garment in read(text).of("accessory")]
    assert found == ["glasses", "scarf", "belt", "gloves", "phone", "umbrella"]


def test_dark_before_a_colour_may_look_black_and_light_white() -> None:
    dark, light = (read(f"a {word} green coat").colours("long")[0] for word in ("dark", "light"))
    assert dark.terms[0] == light.terms[0] == "green"
    assert "black" in set(dark.terms) - set(light.terms)
    assert "white" in set(light.terms) - set(dark.terms)


def test_navy_and_black_can_be_the_same_cloth_but_not_navy_and_red() -> None:
    navy, black, red = (read(f"a {word} coat").colours("long")[0] for word in ("navy", "black", "red"))
    assert navy.like(black)
    assert not navy.like(red)


@pytest.mark.parametrize("library", packaged_libraries())
def test_every_filled_template_claims_the_colours_of_its_garments(library: str) -> None:
    examples = {name: placeholder.example for name, placeholder in PLACEHOLDERS.items()}
    colours = {
        "colored top": "red",
        "colored bottom": "blue",
        "colored shoes": "white",
        "colored bag": "brown",
    }
    lost = []
    for template in load_library(library).templates:
        said = {c.word for g in read(fill(template, examples)).garments for c in g.colours}
        lost += [
            (name, template.text)
            for name, colour in colours.items()
            if name in template.placeholders and colour not in said
        ]
    assert lost == []


def test_colour_words_speak_of_basic_terms_alone_and_basic_terms_are_words() -> None:
    basic = set(load_colour_terms().names)
    assert {
        term for colour in WORDS.colours.values() for term in (*colour.terms, *(colour.before or ()))
    } <= basic
    assert {WORDS.colours[(term,)].terms[0] for term in basic} == basic


def test_what_things_are_alike_are_names_of_the_table() -> None:
    things = [thing for named in WORDS.things.values() for thing in named]
    assert {name for thing in things for name in thing.alike} - {"*"} <= {thing.name for thing in things}
