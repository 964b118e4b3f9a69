import csv
from dataclasses import replace
from pathlib import Path

import pytest

from curation.template_lint import load_template_words
from curation.template_review import (
    ReviewRow,
    accept,
    library_text,
    read_review,
    statistics,
    write_review,
)
from pipeline.templates import TemplateError, load_library, make_template

WORDS = load_template_words()
TEXTS = [template.text for template in load_library("starter").templates[:6]]


def row(text: str, decision: str = "", problems: str = "", near_to: str = "") -> ReviewRow:
    return ReviewRow(
        id=make_template(text).id,
        text=text,
        source="new",
        cluster=3,
        problems=problems,
        near_to=near_to,
        decision=decision,
    )


def review(tmp_path: Path, *rows: ReviewRow) -> Path:
    path = tmp_path / "review.csv"
    write_review(path, rows)
    return path


def test_the_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rows = [
        row(TEXTS[0]),
        row(TEXTS[1], "accept"),
        row('With "quotes", [colored top].', "reject", "guess (maybe)"),
    ]
    path = review(tmp_path, *rows)
    assert read_review(path) == rows
    header = next(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    assert header == ["id", "text", "source", "cluster", "problems", "near_to", "decision"]


def test_decisions_outlive_another_build(tmp_path: Path) -> None:
    path = review(tmp_path, row(TEXTS[0], "accept"), row(TEXTS[1]))
    write_review(path, [row(TEXTS[2]), row(TEXTS[0])])
    assert [r.decision for r in read_review(path)] == ["", "accept"]


def test_decided_rows_are_not_lost(tmp_path: Path) -> None:
    path = review(tmp_path, row(TEXTS[0], "reject"))
    with pytest.raises(TemplateError, match=r"review\.csv: 1 decided rows would be lost"):
        write_review(path, [row(TEXTS[1])])
    assert len(read_review(path)) == 1


def test_accepted_rows_become_a_library_that_loads(tmp_path: Path) -> None:
    path = review(
        tmp_path, row(TEXTS[0], "accept"), row(TEXTS[1], "reject"), row(TEXTS[2], " Accept "), row(TEXTS[3])
    )
    found = accept(path, WORDS)
    library = tmp_path / "own.txt"
    library.write_text(library_text(found.templates, "Ours."), encoding="utf-8")
    assert [t.text for t in load_library(str(library)).templates] == [TEXTS[0], TEXTS[2]]
    assert found.rejected == {"rejected": 1, "undecided": 1}


def test_rows_that_are_not_taken_are_counted_by_their_first_problem(tmp_path: Path) -> None:
    rows = [
        row(TEXTS[0], "accept"),
        row(TEXTS[1], "reject", "guess (maybe); name (Anna)"),
        row(TEXTS[2], "", "guess (may be)"),
        row(TEXTS[3], "reject", "near_repeat (abc)", near_to="abc"),
    ]
    assert accept(review(tmp_path, *rows), WORDS).rejected == {"guess": 2, "near_repeat": 1}


def test_an_accepted_row_with_problems_is_refused_by_its_number(tmp_path: Path) -> None:
    bad = row("The [person] maybe wears [colored top] and [colored bottom].", "accept")
    with pytest.raises(TemplateError, match=r"review\.csv: row 2: accepted, but guess \(maybe\)"):
        accept(review(tmp_path, row(TEXTS[0], "accept"), bad), WORDS)


def test_what_counts_is_the_text_as_people_left_it(tmp_path: Path) -> None:
    mended = replace(row("A bad one.", "accept", "unusable (no placeholder)"), text=TEXTS[0])
    assert [t.text for t in accept(review(tmp_path, mended), WORDS).templates] == [TEXTS[0]]


def test_repeats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="row 2: accepted, but repeats an accepted one"):
        accept(review(tmp_path, row(TEXTS[0], "accept"), row(TEXTS[0], "accept")), WORDS)
    (tmp_path / "review.csv").unlink()
    near = load_library("starter").templates[-1].text
    with pytest.raises(TemplateError, match="nearly the same"):
        accept(review(tmp_path, row(near, "accept"), row(f"{near[:-1]} too.", "accept")), WORDS)


def test_nothing_accepted_is_said(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="no row is accepted of 1"):
        accept(review(tmp_path, row(TEXTS[0])), WORDS)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (",new,3,,,", ",new,3,,,yes", r"row 1: decision: 'yes' is not accept, reject or empty"),
        (",new,", ",old,", r"row 1: source: 'old'"),
        (",3,", ",three,", r"row 1: cluster: 'three' is not a number"),
        ("decision", "verdict", r"no column decision"),
    ],
)
def test_a_bad_table_is_named_with_its_row(tmp_path: Path, old: str, new: str, error: str) -> None:
    path = review(tmp_path, row("A [person]."))
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(TemplateError, match=error):
        read_review(path)


def test_statistics_count_templates_words_placeholders_and_openings() -> None:
    templates = [
        make_template(t) for t in ("A [person] in [colored top].", "A [person] in [colored bottom].")
    ]
    found = statistics(templates, {"guess": 2})
    assert found["templates"] == 2
    assert found["words"] == {"least": 5, "median": 6, "most": 6}
    assert list(found["placeholders"].items())[:2] == [("person", 2), ("colored bottom", 1)]
    assert found["placeholders"]["framing"] == 0
    assert found["openings"] == 1
    assert found["rejected"] == {"guess": 2}
