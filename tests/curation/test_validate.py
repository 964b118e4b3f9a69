"""The validator: good captions of every style pass, and what is none is named by its reason."""

import pytest

from curation.validate import CaptionLimits, Validator
from pipeline.reasons import Reason
from pipeline.templates import PLACEHOLDERS, fill, load_library, packaged_libraries

VALIDATOR = Validator(CaptionLimits())
GOOD = [
    "A woman with short black hair is wearing a red sweater, blue jeans and white sneakers.",
    "The man wears a dark blue suit over a white shirt, with black shoes; he carries a brown briefcase.",
    "In white sneakers and a knee-length green dress, the woman walks with a handbag over her left shoulder.",
    "This person has on a T-shirt with a dark background print, grey shorts and sandals.",
    'He wears a black T-shirt that says "Born to Run" and faded jeans.',
    "Seen from behind, a man in a grey hoodie has both hands in his pockets.",
    "A slim girl with a ponytail. She wears a pink top, a denim skirt and pink shoes. Her bag is white.",
    "Walking, a heavyset man in a beige trench coat, brown trousers and brown shoes holds an umbrella.",
    "Striped blue-and-white shirt, khaki shorts and a straw hat are worn by the man on the left.",
    "A young man wears a New York Yankees cap, a navy jacket and black jeans.",
    "The woman's off-white blouse is tucked into high-waisted black trousers; her heels are red.",
    "A man in an open plaid shirt over a light tee, with a wristwatch and a backpack at his shoulders.",
    "She's wearing a long-sleeved, floor-length dress in burgundy, and her hair is in a bun.",
    "A cyclist's red helmet, a yellow vest and black leggings mark out this woman.",
    "The person stands with a smartphone in the right hand, in a might-green parka and dark trousers.",
]
BAD = [
    ("", Reason.CAPTION_EMPTY),
    (" \n\t ", Reason.CAPTION_EMPTY),
    ("A [person] in [colored top] and blue jeans walks.", Reason.CAPTION_PLACEHOLDER),
    ("A woman in a red coat] and black boots walks.", Reason.CAPTION_PLACEHOLDER),
    ("**A woman** in a red sweater and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("# A woman in a red sweater and blue jeans", Reason.CAPTION_MARKUP),
    ("- A woman in a red sweater and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("1. A woman in a red sweater and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("<p>A woman in a red sweater and blue jeans.</p>", Reason.CAPTION_MARKUP),
    ("`A woman in a red sweater and blue jeans walks.`", Reason.CAPTION_MARKUP),
    ('"A woman in a red sweater and blue jeans walks."', Reason.CAPTION_MARKUP),
    ("Caption: a woman in a red sweater and blue jeans walks.", Reason.CAPTION_MARKUP),
    ("A woman in a red sweater and blue jeans walks 😀.", Reason.CAPTION_MARKUP),
    ("See https://example.com for a woman in a red sweater.", Reason.CAPTION_MARKUP),
    ("I'm sorry, but I can't help with identifying the person.", Reason.CAPTION_REFUSED),
    ("I’m unable to describe the person in a red sweater.", Reason.CAPTION_REFUSED),
    ("As an AI, I see a woman in a red sweater and blue jeans.", Reason.CAPTION_REFUSED),
    ("The image does not show a person in a red sweater.", Reason.CAPTION_REFUSED),
    ("A woman in a red sweater and possibly blue jeans is walking.", Reason.CAPTION_GUESSES),
    ("The man appears to be wearing a black coat and dark shoes.", Reason.CAPTION_GUESSES),
    ("A woman in what looks like a red sweater and blue jeans.", Reason.CAPTION_GUESSES),
    ("He wears a coat that seems grey and a pair of dark shoes.", Reason.CAPTION_GUESSES),
    ("A woman in a red sweater stands with trees in the background.", Reason.CAPTION_BACKGROUND),
    ("A man in a grey suit walks on the street with a bag.", Reason.CAPTION_BACKGROUND),
    ("In this image a man wears a grey suit and black shoes.", Reason.CAPTION_BACKGROUND),
    ("A man in a grey suit beside other people holds a bag.", Reason.CAPTION_BACKGROUND),
    ("A famous woman in a red dress and heels is walking.", Reason.CAPTION_NAMES),
    ("A man named Peter wears a grey suit and black shoes.", Reason.CAPTION_NAMES),
    ("In a red dress, Anna Maria Miller is walking with a bag.", Reason.CAPTION_NAMES),
    ("A woman.", Reason.CAPTION_SHORT),
    ("Red sweater, jeans.", Reason.CAPTION_SHORT),
    ("A woman in a red sweater and a blue coat. " * 12, Reason.CAPTION_LONG),
    ("A man in a coat. He walks. He has a bag. It is red. He is tall.", Reason.CAPTION_SENTENCES),
    ("Une femme porte un pull rouge et un jean bleu avec des baskets blanches.", Reason.CAPTION_NOT_ENGLISH),
    ("Eine Frau trägt einen roten Pullover und blaue Jeans.", Reason.CAPTION_NOT_ENGLISH),
    ("一位女士 is wearing a red sweater and blue jeans.", Reason.CAPTION_NOT_ENGLISH),
    ("Женщина в красном свитере и синих джинсах идёт.", Reason.CAPTION_NOT_ENGLISH),
    ("A man in a red coat, in a red coat, in a red coat, walks.", Reason.CAPTION_REPEATS_ITSELF),
]


@pytest.mark.parametrize("text", GOOD)
def test_a_good_caption_passes(text: str) -> None:
    assert VALIDATOR.problem(text) is None


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_what_is_no_caption_is_named(text: str, reason: Reason) -> None:
    finding = VALIDATOR.problem(text)
    assert finding is not None
    assert finding.reason is reason
    assert finding.detail


@pytest.mark.parametrize("library", packaged_libraries())
def test_every_packaged_template_can_make_a_caption(library: str) -> None:
    examples = {name: placeholder.example for name, placeholder in PLACEHOLDERS.items()}
    texts = [fill(template, examples) for template in load_library(library).templates]
    assert [(text, found) for text in texts if (found := VALIDATOR.problem(text))] == []


def test_a_caption_like_its_sibling_is_none() -> None:
    sibling = "A woman with short black hair is wearing a red sweater, blue jeans and white sneakers!"
    finding = VALIDATOR.problem(GOOD[0], [GOOD[2], sibling])
    assert finding is not None
    assert finding.reason is Reason.CAPTION_REPEATS_SIBLING


def test_another_wording_of_the_same_person_is_a_caption() -> None:
    assert VALIDATOR.problem(GOOD[0], [GOOD[2]]) is None


def test_tokens_of_clip_are_counted_with_start_and_end() -> None:
    text = "A man in a coat and a hat and a bag"  # eleven tokens, a word each
    assert Validator(CaptionLimits(clip_tokens_max=13)).problem(text) is None
    finding = Validator(CaptionLimits(clip_tokens_max=12)).problem(text)
    assert finding is not None
    assert (finding.reason, finding.detail) == (Reason.CAPTION_LONG, "13 tokens of CLIP")


def test_one_sentence_can_be_asked_for() -> None:
    strict = Validator(CaptionLimits(sentences_max=1))
    assert strict.problem(GOOD[0]) is None
    finding = strict.problem(GOOD[6])
    assert finding is not None
    assert finding.reason is Reason.CAPTION_SENTENCES
