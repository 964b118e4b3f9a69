from pathlib import Path

import pytest

from curation.template_lint import (
    TemplateProblem,
    TemplateWords,
    find_problems,
    load_template_words,
)
from pipeline.templates import PLACEHOLDERS, TemplateError, make_template

WORDS = load_template_words()
GOOD = "The [person] wears [colored top] and [colored bottom]."


def problems(text: str, words: TemplateWords = WORDS) -> list[str]:
    return [str(finding) for finding in find_problems(make_template(text), words)]


def test_a_good_template_has_no_problem() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "The [person] wears [colored tops] and [colored bottom].",
            "unusable (unknown placeholder [colored tops])",
        ),
        ("The [person] possibly wears [colored top] and [colored bottom].", "guess (possibly)"),
        ("The [person] in [colored top] and [colored bottom] is on the Street.", "background (street)"),
        ("The [person], a Tourist, wears [colored top] and [colored bottom].", "identity (tourist)"),
        ("A typically dressed [person] in [colored top] and [colored bottom].", "stereotype (typically)"),
        ("That thug, a [person], wears [colored top] and [colored bottom].", "demeaning (thug)"),
        ("An elegant [person] wears [colored top] and [colored bottom].", "judgement (elegant)"),
        ("The [person] wears [colored top] and she has [colored bottom].", "gender (she)"),
        ("The [person] wears red [colored top] and [colored bottom].", "attribute (red)"),
        ("**The [person] wears [colored top] and [colored bottom].", "markup (*)"),
        ("=The [person] wears [colored top] and [colored bottom].", "markup (=)"),
        ("The [person] Anna wears [colored top] and [colored bottom].", "name (Anna)"),
        ("The [person] is like Anna in [colored top] and [colored bottom].", "name (Anna)"),
    ],
)
def test_each_problem_is_named_with_what_makes_it(text: str, problem: str) -> None:
    assert problem in problems(text)


@pytest.mark.parametrize(
    "text",
    [
        "The [person] is tired in [colored top] with [colored bottom].",  # holds "red"
        "The [person] has carpets of [pattern] on [colored top].",  # holds "car"
        "[colored top] on it. The [person] wears [colored bottom] too.",  # capital after a full stop
    ],
)
def test_only_whole_words_and_names_count(text: str) -> None:
    assert problems(text) == []


def test_a_term_of_two_words_does_not_reach_over_a_placeholder() -> None:
    assert problems("The [person] may [action] be in [colored top] and [colored bottom].") == []
    assert problems("The [person] may be in [colored top] and [colored bottom].") == ["guess (may be)"]


def test_length_is_that_of_the_filled_sentence() -> None:
    assert problems("[person] in [colored top], [arms].") == []
    assert problems("[person] in [colored top], [build].") == ["words_few (6 of at least 8)"]
    assert problems(f"{'and so on, ' * 13}{GOOD.lower()}") == ["words_many (48 of at most 45)"]


def test_placeholders_are_counted() -> None:
    slots = [f"[{name}]" for name in PLACEHOLDERS if "/" not in name][:13]
    assert problems(f"One sees {', '.join(slots[:12])}.") == []
    assert problems(f"One sees {', '.join(slots)}.") == ["placeholders_many (13 of at most 12)"]
    assert problems("All that can be seen here is [colored top].") == ["placeholders_few (1 of at least 2)"]


def test_the_packaged_words_cover_every_problem_that_words_make() -> None:
    others = {p for p in TemplateProblem if p.endswith(("_few", "_many"))}
    others |= {TemplateProblem.UNUSABLE, TemplateProblem.MARKUP, TemplateProblem.NAME}
    others |= {TemplateProblem.NEAR_REPEAT}
    assert set(WORDS.patterns) == set(TemplateProblem) - others


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("guess,maybe\n", r"words\.csv: expected the columns problem,terms"),
        ("# ours\nproblem,terms\nguessing,maybe\n", r"words\.csv:3: expected a problem and its terms"),
        ("problem,terms\nguess\n", r"words\.csv:2: expected a problem and its terms"),
        ("problem,terms\nguess,maybe||seems\n", r"words\.csv:2: an empty term"),
    ],
)
def test_a_bad_list_of_words_is_named_with_its_line(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "words.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TemplateError, match=error):
        load_template_words(str(path))
