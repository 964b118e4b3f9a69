import random

import pytest

from curation.template_repeats import near_repeats, similarity, word_pairs
from pipeline.templates import Template, make_template

WORDS = ["the", "[person]", "wears", "[colored top]", "and", "[colored bottom]", "with", "[colored bag]"]


def made(count: int, seed: int) -> list[Template]:
    """Sentences of few words, with copies in which one word is another."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        words = [draw.choice(WORDS) for _ in range(draw.randint(5, 30))]
        found.append(make_template(" ".join(words)))
        words[draw.randrange(len(words))] = draw.choice(WORDS)
        found.append(make_template(" ".join(words)))
    return found


def test_a_placeholder_is_one_word_and_case_does_not_count() -> None:
    assert word_pairs(make_template("The [colored top] here")) == {
        ("the", "[colored top]"),
        ("[colored top]", "here"),
    }


def test_similarity_is_the_share_of_pairs_that_are_in_both() -> None:
    one, other = word_pairs(make_template("a b c d")), word_pairs(make_template("a b c e"))
    assert similarity(one, other) == pytest.approx(2 / 4)


def test_a_repeat_names_the_earlier_one() -> None:
    long = (
        "The [person] wears [colored top] and then [colored bottom] and also [colored shoes] with [accessory]"
    )
    first, other, repeat = (
        make_template(t) for t in (f"{long}.", "In [colored top], a [person].", f"Now {long}.")
    )
    assert near_repeats([first, other, repeat]) == {repeat.id: first.id}


@pytest.mark.parametrize("seed", range(5))
def test_prefix_filtering_finds_what_comparing_all_finds(seed: int) -> None:
    templates = list({t.id: t for t in made(150, seed)}.values())
    stays: list[Template] = []
    repeats = set()
    for template in templates:
        if any(similarity(word_pairs(template), word_pairs(other)) > 0.8 for other in stays):
            repeats.add(template.id)
        else:
            stays.append(template)
    assert repeats
    assert set(near_repeats(templates)) == repeats


def test_what_is_near_to_a_repeat_alone_stays() -> None:
    words = [f"w{n}" for n in range(20)]
    first = make_template(" ".join(words))
    repeat = make_template(" ".join([*words[:-2], "x", "y"]))
    beyond = make_template(" ".join(["u", "v", *words[2:-2], "x", "y"]))
    assert similarity(word_pairs(repeat), word_pairs(beyond)) > 0.8
    assert near_repeats([first, repeat, beyond]) == {repeat.id: first.id}
