"""Prompts: read by name or path, hashed, and what the packaged ones ask for."""

from pathlib import Path

import pytest

from curation.captioners import PROMPT_SLOT
from curation.judge import LETTERS
from curation.prompts import PromptError, load_prompt


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("system: s\nuser: describe\n", "user: needs {template} exactly once"),
        ("system: s\nuser: '{template} {count}'\n", "user: {count} belongs to another kind of prompt"),
        ("system: s\n", "a prompt has the texts"),
        ("- s\n", "a prompt has the texts"),
        ("a: [", "not YAML"),
    ],
)
def test_a_useless_prompt_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(PromptError) as refusal:
        load_prompt(str(path), PROMPT_SLOT)
    assert str(refusal.value).startswith(f"{path}: {problem}")


def test_a_missing_prompt_is_refused_by_name() -> None:
    with pytest.raises(PromptError, match="nowhere: no such prompt"):
        load_prompt("nowhere")


def test_a_captioners_prompt_is_none_for_the_judge() -> None:
    with pytest.raises(PromptError, match=r"caption: user: \{template\} belongs to another kind of prompt"):
        load_prompt("caption")


def test_the_id_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("system: s\nuser: u\n")
    before = load_prompt(str(path)).id
    path.write_text("system: s\nuser: u.\n")
    assert load_prompt(str(path)).id != before


def test_the_caption_prompt_asks_for_what_the_method_demands() -> None:
    system = load_prompt("caption", PROMPT_SLOT).system.lower()
    for demand in (
        "main person only",
        "footwear",
        "accessories",
        "colour of every part",
        "vague colour",
        "background",
        "mood",
        "only what is visible",
        "possibly",
        "who the person is",
        "at most 60 words",
        "sentence form",
        "description alone",
    ):
        assert demand in system


def test_the_judges_prompt_explains_every_letter_in_its_order() -> None:
    lines = load_prompt("judge").system.splitlines()
    explained = [line.strip()[0] for line in lines if line.strip()[1:3] == ": "]
    assert explained == list(LETTERS)
