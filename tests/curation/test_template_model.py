import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from curation.prompts import load_prompt
from curation.template_model import (
    Answers,
    ChatModel,
    Question,
    TextModelError,
    UnreachableTextModelError,
    ask_all,
    filled,
)
from pipeline.recipe import RecipeError
from pipeline.templates import PLACEHOLDERS, TemplateError
from tests.curation.fake_endpoint import HANG, RESET, completion, fake_endpoint
from tests.curation.made_templates import RuleModel

QUESTIONS = [Question("system", f"Caption {n}.", 0) for n in range(40)]


def silent(name: str, done: int, total: int, /) -> None:
    """Nobody looks at progress."""


def chat(url: str, **changes: Any) -> ChatModel:
    """A model that does not wait for long."""
    return ChatModel(url, "toy", **{"backoff_s": 0.001, **changes})


def test_the_model_gets_both_texts_and_the_seed() -> None:
    with (
        fake_endpoint(lambda number, body: completion("A form.")) as server,
        chat(server.url) as model,
    ):
        assert model.complete("be brief", "a caption", 7) == "A form."
    (body,) = server.requests
    assert body["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "a caption"},
    ]
    assert (body["model"], body["seed"], body["temperature"]) == ("toy", 7, 0.7)
    assert set(body) == {"model", "messages", "seed", "temperature", "max_tokens"}


def test_a_busy_endpoint_is_asked_again() -> None:
    replies = [(503, b"loading"), (429, b"slow down"), completion("Well.")]
    with fake_endpoint(lambda number, body: replies[number]) as server, chat(server.url) as model:
        assert model.complete("s", "u", 0) == "Well."


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ((400, b"no such model"), "HTTP 400: no such model"),
        (completion(""), "answered with nothing"),
        (completion("A for", finish_reason="length"), "cut off"),
        ((200, b"<html>"), "not a chat completion"),
        ((200, b'{"choices": []}'), "not a chat completion"),
    ],
)
def test_what_is_no_answer_is_said_and_not_asked_again(reply: Any, error: str) -> None:
    with fake_endpoint(lambda number, body: reply) as server, chat(server.url) as model:
        with pytest.raises(TextModelError, match=error):
            model.complete("s", "u", 0)
        assert len(server.requests) == 1


def test_an_endpoint_that_is_not_there_is_named() -> None:
    with (
        chat("http://127.0.0.1:9") as model,
        pytest.raises(UnreachableTextModelError, match=r"127\.0\.0\.1:9"),
    ):
        model.complete("s", "u", 0)


@pytest.mark.parametrize("reply", [(500, b"out of memory"), (503, b"loading"), (404, b"no toy"), RESET])
def test_an_endpoint_that_never_works_is_not_reached_after_some_attempts(reply: Any) -> None:
    with fake_endpoint(lambda number, body: reply) as server, chat(server.url) as model:
        with pytest.raises(UnreachableTextModelError, match=r"127\.0\.0\.1:\d+: "):
            model.complete("s", "u", 0)
        assert 3 <= len(server.requests) <= 30


def test_a_silent_endpoint_is_given_up() -> None:
    with (
        fake_endpoint(lambda number, body: HANG) as server,
        chat(server.url, timeout_s=0.02) as model,
        pytest.raises(UnreachableTextModelError),
    ):
        model.complete("s", "u", 0)


def test_threads_share_a_model() -> None:
    with (
        fake_endpoint(lambda number, body: completion(body["messages"][1]["content"])) as server,
        chat(server.url) as model,
        ThreadPoolExecutor(8) as pool,
    ):
        said = list(pool.map(lambda n: model.complete("s", f"say {n}", n), range(100)))
    assert said == [f"say {n}" for n in range(100)]


def test_more_threads_than_usual_all_ask_at_once() -> None:
    together = threading.Barrier(24)

    def reply(number: int, body: dict[str, Any]) -> tuple[int, bytes]:
        together.wait(10)
        return completion("Well.")

    with fake_endpoint(reply) as server, chat(server.url) as model, ThreadPoolExecutor(24) as pool:
        assert set(pool.map(lambda n: model.complete("s", "u", n), range(24))) == {"Well."}


def test_an_address_with_a_password_is_refused_without_it() -> None:
    with pytest.raises(RecipeError, match="carries a user name") as refused:
        chat("http://me:hunter2@127.0.0.1:9")
    assert "hunter2" not in str(refused.value)


def test_answers_come_in_the_order_of_questions_and_are_not_asked_twice(tmp_path: Path) -> None:
    model, path = RuleModel(), tmp_path / "answers.jsonl"
    first = ask_all("t", QUESTIONS, model, Answers(path), silent, workers=4)
    assert first[3] == model.complete("system", "Caption 3.", 0)
    asked = len(model.asked)
    assert ask_all("t", QUESTIONS, model, Answers(path), silent, workers=4) == first
    assert len(model.asked) == asked


def test_another_model_or_seed_or_prompt_is_another_question(tmp_path: Path) -> None:
    answers, question = Answers(tmp_path / "answers.jsonl"), QUESTIONS[0]
    answers.add(RuleModel(), question, "text")
    assert answers.get(RuleModel(), question) == "text"
    assert answers.get(RuleModel(model_id="other"), question) is None
    assert answers.get(RuleModel(), Question("system", question.user, 1)) is None
    assert answers.get(RuleModel(), Question("other", question.user, 0)) is None


def test_a_build_that_died_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path, model = tmp_path / "answers.jsonl", RuleModel(dies_after=17)
    with pytest.raises(UnreachableTextModelError, match="nobody there"):
        ask_all("t", QUESTIONS, model, Answers(path), silent, workers=2)
    again = RuleModel()
    assert None not in ask_all("t", QUESTIONS, again, Answers(path), silent, workers=2)
    assert len(again.asked) == len(QUESTIONS) - 17


def test_a_line_cut_off_by_a_kill_is_asked_anew(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    answers = Answers(path)
    for question in QUESTIONS[:2]:
        answers.add(RuleModel(), question, "täxt")
    path.write_bytes(path.read_bytes()[:-6])
    again = Answers(path)
    assert [again.get(RuleModel(), q) for q in QUESTIONS[:2]] == ["täxt", None]
    again.add(RuleModel(), QUESTIONS[1], "more")
    assert Answers(path).get(RuleModel(), QUESTIONS[1]) == "more"


@pytest.mark.parametrize("line", ["{", "[]", '{"key": "a"}', '{"key": "a", "answer": 3}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(f'{{"key": "a", "answer": "b"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(TemplateError, match=r"answers\.jsonl:2"):
        Answers(path)


def test_a_refused_question_has_no_answer_and_stops_nothing(tmp_path: Path) -> None:
    model = RuleModel(refuses=lambda user: user == "Caption 5.")
    found = ask_all("t", QUESTIONS, model, Answers(tmp_path / "a.jsonl"), silent, workers=4)
    assert [n for n, answer in enumerate(found) if answer is None] == [5]


def test_progress_is_told_from_what_stands_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    ask_all(
        "t",
        QUESTIONS,
        RuleModel(),
        Answers(tmp_path / "a"),
        lambda n, d, t, /: told.append((n, d, t)),
        workers=2,
    )
    assert told[0] == ("t", 0, 40)
    assert told[-1] == ("t", 40, 40)


@pytest.mark.parametrize(
    ("name", "slots"), [("template-from-caption", ("caption",)), ("template-new", ("examples", "count"))]
)
def test_packaged_prompts_name_every_placeholder_and_leave_no_slot(name: str, slots: tuple[str, ...]) -> None:
    system, user = filled(
        load_prompt(name, *(f"{{{slot}}}" for slot in slots)), **dict.fromkeys(slots, "VALUE")
    )
    assert all(f"[{placeholder}]" in system for placeholder in PLACEHOLDERS)
    assert user.count("VALUE") == len(slots)
    assert "{" not in system + user
