"""The packaged library `starter`: what its own heading promises."""

import re
from collections import Counter
from itertools import combinations

import pytest

from curation.template_lint import find_problems, load_template_words
from curation.template_repeats import NEAR, similarity, word_pairs
from pipeline.templates import PLACEHOLDERS, fill, load_library

TEMPLATES = load_library("starter").templates
EXAMPLES = {name: placeholder.example for name, placeholder in PLACEHOLDERS.items()}
OF_THE_STAND_IN = {"framing"}
"""How much of a person is in view is measured by the stand-in; a caption for retrieval does not say it."""


def test_it_has_at_least_three_hundred_templates() -> None:
    assert len(TEMPLATES) >= 300


def test_lint_finds_nothing_in_it() -> None:
    words = load_template_words()
    found = {t.text: list(map(str, find_problems(t, words))) for t in TEMPLATES}
    assert {text: problems for text, problems in found.items() if problems} == {}


def test_no_two_say_nearly_the_same() -> None:
    sets = {t.text: word_pairs(t) for t in TEMPLATES}
    near = [(a, b) for a, b in combinations(sets, 2) if similarity(sets[a], sets[b]) > NEAR]
    assert near == []


@pytest.mark.parametrize("name", sorted(set(PLACEHOLDERS) - OF_THE_STAND_IN))
def test_every_placeholder_is_used_by_ten(name: str) -> None:
    assert sum(name in t.placeholders for t in TEMPLATES) >= 10


def test_openings_and_sets_of_placeholders_are_many() -> None:
    openings = Counter(" ".join(t.text.lower().split()[:3]) for t in TEMPLATES)
    assert len(openings) >= 200
    assert max(openings.values()) <= 10
    assert len({frozenset(t.placeholders) for t in TEMPLATES}) >= 200


def test_there_are_long_and_short_ones_with_one_two_and_three_sentences() -> None:
    sentences = Counter(len(re.findall(r"\.(?:\s|$)", fill(t, EXAMPLES))) for t in TEMPLATES)
    assert set(sentences) == {1, 2, 3}
    assert min(sentences.values()) >= 8
    words = [len(fill(t, EXAMPLES).split()) for t in TEMPLATES]
    assert sum(n <= 12 for n in words) >= 20
    assert sum(n >= 25 for n in words) >= 15


def test_some_do_without_words_of_gender() -> None:
    gendered = {"person", "he/she", "his/her", "him/her"}
    assert sum(gendered.isdisjoint(t.placeholders) for t in TEMPLATES) >= 20


def test_each_ends_as_a_sentence_does() -> None:
    assert [t.text for t in TEMPLATES if not t.text.endswith(".")] == []
