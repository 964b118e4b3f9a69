from pathlib import Path

import pytest

from curation.template_library import Build, BuildSettings, Library, build
from curation.template_lint import load_template_words
from curation.template_model import Answers, UnreachableTextModelError
from pipeline.templates import TemplateError, make_template
from tests.curation.made_templates import CAPTIONS, STARTER, RuleModel

SETTINGS = BuildSettings(clusters=4, random_per_cluster=2, new=12, new_per_request=5, examples=3, workers=2)


def silent(name: str, done: int, total: int, /) -> None:
    """Nobody looks at progress."""


def built(tmp_path: Path, model: RuleModel, captions: list[str] | None = None) -> Build:
    using = Library(model, Answers(tmp_path / "answers.jsonl"), load_template_words(), silent)
    return build(captions or CAPTIONS, using, SETTINGS)


def test_three_from_each_cluster_of_captions_come_before_the_new_ones(tmp_path: Path) -> None:
    rows = built(tmp_path, RuleModel()).rows
    old = [row for row in rows if row.source == "caption"]
    assert [row.source for row in rows] == ["caption"] * len(old) + ["new"] * (len(rows) - len(old))
    assert 4 * 1 <= len(old) <= 4 * 3
    assert {row.cluster for row in rows} <= set(range(4))
    assert {row.text for row in old} <= set(STARTER[:60])
    assert len({row.id for row in rows}) == len(rows)
    assert all(row.id == make_template(row.text).id and not row.decision for row in rows)


def test_requests_for_new_ones_show_only_those_that_stand(tmp_path: Path) -> None:
    model = RuleModel()
    rows = built(tmp_path, model).rows
    old = {row.text for row in rows if row.source == "caption"}
    requests = [user for user in model.asked if "Write 5 further" in user]
    assert len(requests) == 3
    shown = [set(user.split("Examples:\n")[1].split("\n\nWrite")[0].splitlines()) for user in requests]
    assert all(len(lines) == 3 and lines <= old for lines in shown)


def test_problems_of_new_ones_stand_in_the_table_and_their_repeats_are_counted(tmp_path: Path) -> None:
    found = built(tmp_path, RuleModel())
    bad = [row for row in found.rows if row.problems]
    assert [row.problems for row in bad] == ["judgement (beautiful)"]
    assert found.dropped["repeat"] >= 2


def test_templates_of_captions_with_problems_are_counted_and_stand_for_nothing(tmp_path: Path) -> None:
    class Guessing(RuleModel):
        def complete(self, system: str, user: str, seed: int) -> str:
            text = super().complete(system, user, seed)
            return (
                "Perhaps [person] has [colored top] and [colored bottom] on."
                if "Caption 1." in user
                else text
            )

    found = built(tmp_path, Guessing())
    assert found.dropped["guess"] == 1
    assert not [row for row in found.rows if row.source == "caption" and row.problems]


def test_a_near_repeat_names_what_it_repeats(tmp_path: Path) -> None:
    class Repeating(RuleModel):
        def complete(self, system: str, user: str, seed: int) -> str:
            if "Caption" in user:
                return super().complete(system, user, seed)
            shown = user.split("Examples:\n")[1].splitlines()[:3]
            return f"Surely {max(shown, key=len)}"

    rows = built(tmp_path, Repeating()).rows
    near = [row for row in rows if row.near_to]
    assert near
    assert all(row.source == "new" and "near_repeat" in row.problems for row in near)
    assert {row.near_to for row in near} <= {row.id for row in rows}


def test_a_build_that_was_cut_off_gives_the_same_table_and_asks_nothing_twice(tmp_path: Path) -> None:
    whole = RuleModel()
    expected = built(tmp_path / "whole", whole)
    cut = RuleModel(dies_after=62)
    with pytest.raises(UnreachableTextModelError):
        built(tmp_path / "cut", cut)
    rest = RuleModel()
    assert built(tmp_path / "cut", rest) == expected
    assert sorted(cut.asked + rest.asked) == sorted(whole.asked)


def test_captions_that_give_no_template_are_an_error_with_reasons(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="no template from 2 captions: no_answer 2"):
        built(tmp_path, RuleModel(refuses=lambda user: True), CAPTIONS[:2])
