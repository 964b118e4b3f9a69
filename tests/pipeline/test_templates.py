from pathlib import Path

import pytest

from pipeline.draws import choose
from pipeline.templates import (
    PLACEHOLDERS,
    Template,
    TemplateError,
    fill,
    fill_spans,
    lint,
    load_library,
    make_template,
    packaged_libraries,
    read_templates,
    require,
)

PERSONS = [f"{unit:06d}-{row:05d}-00" for unit in range(20) for row in range(100)]
TEMPLATE_IDS = [make_template(f"Sentence {n} about [colored top].").id for n in range(19)]


def test_id_is_the_hash_of_the_text_and_ignores_spacing_and_spelling() -> None:
    one = make_template("A person in  [Coloured_Top], as [he / she] is.")
    two = make_template("A person in [colored top], as [he/she] is.")
    assert one == two
    assert one.id == "535790c848e1"
    assert one.id != make_template("A person in [colored top], as [he/she] was.").id


def test_reading_drops_comments_list_marks_quotes_and_blank_lines() -> None:
    lines = ["\ufeff# a comment", "", "1. A person in [colored top].", '- "Someone in [colored bottom]."']
    text = "\n".join([*lines, "  * [he/she] walks."])
    assert [t.text for t in read_templates(text)] == [
        "A person in [colored top].",
        "Someone in [colored bottom].",
        "[he/she] walks.",
    ]


def test_reading_keeps_a_number_that_belongs_to_the_sentence() -> None:
    assert read_templates("2 bags hang from [accessory].")[0].text == "2 bags hang from [accessory]."


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A person in [colored tops].", "unknown placeholder [colored tops]"),
        ("A person in [].", "empty placeholder []"),
        ("A person in [colored top.", "malformed brackets"),
        ("A person in colored top].", "malformed brackets"),
        ("A person in [[colored top]].", "malformed brackets"),
        ("[colored top].", "empty"),
        ("...", "empty"),
        ("A person in a red top.", "no placeholder"),
    ],
)
def test_lint_names_the_problem(text: str, problem: str) -> None:
    assert [p for p in lint(make_template(text)) if p.startswith(problem)]


def test_lint_passes_every_placeholder_of_the_vocabulary() -> None:
    for name in PLACEHOLDERS:
        assert lint(make_template(f"This is [{name}].")) == []


@pytest.mark.parametrize("name", packaged_libraries())
def test_packaged_libraries_load_and_fill_with_the_examples(name: str) -> None:
    library = load_library(name)
    examples = {key: placeholder.example for key, placeholder in PLACEHOLDERS.items()}
    assert len(library.templates) >= 12
    for template in library.templates:
        text = fill(template, examples)
        assert text[0].isupper()
        assert "[" not in text
        assert "a a " not in text.lower()


def test_loading_names_file_and_line_of_the_first_bad_template(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("# mine\nA person in [colored top].\nA person in [colour].\n", encoding="utf-8")
    with pytest.raises(TemplateError, match=r"own\.txt:3: unknown placeholder \[color\]; known are acc.*top"):
        load_library(str(path))


def test_loading_refuses_a_repeated_template(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("A person in [colored top].\nA person  in [coloured top].\n", encoding="utf-8")
    with pytest.raises(TemplateError, match=r"own\.txt:2: repeats line 1"):
        load_library(str(path))


def test_loading_refuses_an_empty_library(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(TemplateError, match="no template"):
        load_library(str(path))


def test_an_unknown_library_is_answered_with_the_packaged_names() -> None:
    with pytest.raises(TemplateError, match=r"nosuch: .*attributes, starter"):
        load_library("nosuch")


def test_library_hash_follows_the_content_and_not_the_order(tmp_path: Path) -> None:
    lines = ["A person in [colored top].", "A person in [colored bottom]."]
    hashes = []
    for number, content in enumerate([lines, lines[::-1], [lines[0]]]):
        path = tmp_path / f"{number}.txt"
        path.write_text("\n".join(content), encoding="utf-8")
        hashes.append(load_library(str(path)).library_hash)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("A [top color] top.", {"top color": "orange"}, "An orange top."),
        ("An [top color] top.", {"top color": "red"}, "A red top."),
        ("A [build] [person].", {"build": "honest", "person": "man"}, "An honest man."),
        ("A [top color] top.", {"top color": "unicolour"}, "A unicolour top."),
        ("She has a [colored bottom].", {"colored bottom": "blue jeans"}, "She has blue jeans."),
        ("She has [colored top].", {"colored top": "a orange coat"}, "She has an orange coat."),
        ("She has a [colored top].", {"colored top": "an orange coat"}, "She has an orange coat."),
        ("See the [colored top].", {"colored top": "a red coat"}, "See the red coat."),
        (
            "See [his/her] [colored top].",
            {"his/her": "his", "colored top": "a red coat"},
            "See his red coat.",
        ),
        (
            "[colored top] is on [person].",
            {"colored top": "a red coat", "person": "her"},
            "A red coat is on her.",
        ),
        ("One [person]. [he/she] sits.", {"person": "man", "he/she": "he"}, "One man. He sits."),
        ("With [arms] , he  sits.", {"arms": " one  arm raised "}, "With one arm raised, he sits."),
    ],
)
def test_filling_keeps_to_grammar(text: str, values: dict[str, str], expected: str) -> None:
    assert fill(make_template(text), values) == expected


@pytest.mark.parametrize(
    ("text", "values", "spans"),
    [
        (
            "A [colored top] on [person].",
            {"colored top": "a orange coat", "person": "him"},
            "An orange coat|him",
        ),
        ("See [his/her]  [colored top] .", {"his/her": "his", "colored top": "a red coat"}, "his|red coat"),
        ("A [build] [person] ,", {"build": " old", "person": "man  of war "}, "old|man of war"),
        ("One. [he/she] is [action]", {"he/she": "he", "action": "an runner ."}, "He|a runner."),
        (" [person][build]-like [person]", {"person": "a", "build": "tall"}, "A|tall|a"),
    ],
)
def test_spans_are_where_the_values_stand_after_all_tidying(
    text: str, values: dict[str, str], spans: str
) -> None:
    template = Template("as it is written", text)
    filled, found = fill_spans(template, values)
    assert filled == fill(template, values)
    assert [filled[span.start : span.end] for span in found] == spans.split("|")
    assert tuple(span.name for span in found) == template.placeholders


@pytest.mark.parametrize("values", [{}, {"colored top": " "}, {"colored bottom": "blue jeans"}])
def test_filling_names_the_placeholder_without_value(values: dict[str, str]) -> None:
    with pytest.raises(TemplateError, match=r"no value for \[colored top\]"):
        fill(make_template("A person in [colored top]."), values)


def test_slots_of_one_key_get_different_ids() -> None:
    assert all(len(set(choose(TEMPLATE_IDS, person, 3))) == 3 for person in PERSONS)


def test_choice_depends_on_key_and_not_on_order() -> None:
    assert choose(TEMPLATE_IDS, "a", 2) == choose(TEMPLATE_IDS[::-1], "a", 2)
    assert len({tuple(choose(TEMPLATE_IDS, person, 2)) for person in PERSONS}) > 200


def test_choice_takes_all_when_there_are_too_few() -> None:
    assert choose(["only"], "a", 2) == ["only"]
    assert choose([], "a", 2) == []


def test_every_id_gets_its_share_of_each_slot() -> None:
    for slot in (0, 1):
        drawn = [choose(TEMPLATE_IDS, person, 2)[slot] for person in PERSONS]
        shares = [drawn.count(id_) / len(PERSONS) * len(TEMPLATE_IDS) for id_ in TEMPLATE_IDS]
        assert 0.6 < min(shares) <= max(shares) < 1.4


def test_a_library_grown_by_one_moves_one_in_twenty_of_each_slot_nearly_all_to_the_new_one() -> None:
    for slot in (0, 1):
        before = [choose(TEMPLATE_IDS, person, 2)[slot] for person in PERSONS]
        after = [choose([*TEMPLATE_IDS, "new"], person, 2)[slot] for person in PERSONS]
        moved = [new for old, new in zip(before, after, strict=True) if old != new]
        assert 0.03 < len(moved) / len(PERSONS) < 0.075
        assert moved.count("new") / len(moved) > 0.9


def test_a_library_that_is_too_small_is_refused_with_both_numbers() -> None:
    library = load_library("attributes")
    require(library, len(library.templates))
    with pytest.raises(TemplateError, match=r"attributes: 25 templates, and at least 1,000 are asked for"):
        require(library, 1000)
