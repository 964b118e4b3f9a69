import json
import math
from typing import Any

import pytest

from curation.completions import Answer, Bodies, Example, MllmError, Question, Sampling, read_answer
from tests.curation.fake_endpoint import chosen, completion, picture_bytes

LETTERS = ("A", "B", "C")


def question(**changes: Any) -> Question:
    base: dict[str, Any] = {"system": "Be brief.", "jpeg": b"\xff\xd8person", "text": 'Who?\n"é"', "seed": 7}
    return Question(**{**base, "sampling": Sampling(), **changes})


def written(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(Bodies("toy").write(question(**changes)))
    return body


def read(content: bytes, require_image_tokens: bool = False, **changes: Any) -> Answer:
    return read_answer(content, question(**changes), "toy", 1, 0.5, require_image_tokens)


def test_a_request_carries_instructions_then_the_picture_then_the_text() -> None:
    body = written()
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    assert picture_bytes(body) == [b"\xff\xd8person"]
    assert user["content"][1]["text"] == 'Who?\n"é"'


def test_a_request_carries_model_seed_and_sampling() -> None:
    body = written(sampling=Sampling(temperature=0.25, top_p=0.5, max_tokens=9, stop=("x",)))
    assert (body["model"], body["seed"], body["temperature"], body["top_p"]) == ("toy", 7, 0.25, 0.5)
    assert (body["max_tokens"], body["stop"], body["repetition_penalty"]) == (9, ["x"], 1.0)
    assert "structured_outputs" not in body


def test_examples_stand_as_answered_turns_before_the_picture() -> None:
    body = written(examples=(Example(b"one", "First?", "A"), Example(b"two", "Second?", "B")))
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert picture_bytes(body) == [b"one", b"two", b"\xff\xd8person"]
    assert body["messages"][2]["content"] == "A"


def test_a_forced_choice_asks_for_structured_outputs_and_logprobs() -> None:
    body = written(choices=LETTERS)
    assert body["structured_outputs"] == {"choice": ["A", "B", "C"]}
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)


def test_questions_of_the_same_kind_begin_with_the_same_bytes() -> None:
    bodies, examples = Bodies("toy"), (Example(b"x" * 300, "?", "A"),)
    one = bodies.write(question(examples=examples, jpeg=b"one", text="1", seed=1))
    two = bodies.write(question(examples=examples, jpeg=b"two", text="2", seed=2))
    head = one.index(b"b25l")
    assert one[:head] == two[:head]
    assert head > 600


def test_many_kinds_of_questions_are_not_kept() -> None:
    bodies = Bodies("toy")
    for number in range(100):
        assert json.loads(bodies.write(question(system=str(number))))["messages"][0]["content"] == str(number)
    assert len(bodies._heads) <= 16


def test_an_answer_holds_text_and_counts() -> None:
    answer = read(completion("  A person.\n")[1])
    assert (answer.text, answer.finish_reason, answer.model_id) == ("A person.", "stop", "toy")
    assert (answer.prompt_tokens, answer.completion_tokens, answer.image_tokens) == (90, 12, 18)
    assert (answer.attempts, answer.seconds, answer.scores) == (1, 0.5, {})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": "a \\ud800 b"}}]}',
        b'{"choices": [{"message": {"content": "A."}}], "usage": {"prompt_tokens": "many"}}',
        b'{"choices": [{"message": {"content": "A."}}], "usage": {"prompt_tokens": -1}}',
        b'{"choices": [{"message": {"content": "A."}}], "usage": {"prompt_tokens": true}}',
    ],
)
def test_what_is_no_chat_completion_is_told_in_one_line(content: bytes) -> None:
    with pytest.raises(MllmError, match=r"^not a chat completion \(\w+\): .{0,200}$"):
        read(content)


@pytest.mark.parametrize("text", [None, "", " \n\t" * 1000])
def test_no_text_is_no_answer(text: str | None) -> None:
    with pytest.raises(MllmError, match="answered with nothing"):
        read(completion(text)[1])


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        (completion("A person in a", finish_reason="length")[1], {}),
        (completion("I cannot", finish_reason="content_filter")[1], {}),
        (completion("")[1], {}),
        (completion("A person.", image_tokens=0)[1], {}),
        (completion("The answer is A.")[1], {"choices": LETTERS}),
        (completion("A")[1], {"choices": LETTERS}),
        (completion("A", logprobs={"A": math.nan})[1], {"choices": LETTERS}),
        (b'{"choices": [], "usage": {"prompt_tokens": 90, "completion_tokens": 12}}', {}),
    ],
)
def test_an_unusable_answer_says_what_it_cost(content: bytes, changes: dict[str, Any]) -> None:
    with pytest.raises(MllmError) as refused:
        read_answer(content, question(**changes), "toy", 3, 0.5, require_image_tokens=False)
    assert (refused.value.requests, refused.value.tokens) == (3, 102)


@pytest.mark.parametrize("usage", [b"null", b"7", b'{"prompt_tokens": "many", "completion_tokens": 12}'])
def test_a_cost_that_cannot_be_read_counts_as_none(usage: bytes) -> None:
    with pytest.raises(MllmError) as refused:
        read(b'{"choices": [], "usage": %b}' % usage)
    assert refused.value.tokens == 0


def test_what_an_endpoint_says_cannot_lengthen_an_error_or_steer_a_terminal() -> None:
    with pytest.raises(MllmError) as refused:
        read(completion("\x1b[2J\u202e\\\0" * 1000)[1], choices=LETTERS)
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


def test_a_question_without_a_picture_is_text_and_needs_no_image_tokens() -> None:
    body = written(jpeg=None)
    assert body["messages"][1] == {"role": "user", "content": 'Who?\n"é"'}
    assert (body["seed"], body["model"]) == (7, "toy")
    for tokens in (0, None):
        content = completion("Me.", image_tokens=tokens)[1]
        assert read(content, require_image_tokens=True, jpeg=None).text == "Me."


def test_what_the_sampling_leaves_open_is_not_sent() -> None:
    body = written(sampling=Sampling(top_p=None, repetition_penalty=None, stop=()))
    assert not {"top_p", "repetition_penalty", "stop"} & set(body)
    assert body["temperature"] == 0.7


def test_an_answer_cut_at_the_token_limit_is_an_error() -> None:
    with pytest.raises(MllmError, match=r"cut off at max_tokens \(12 tokens\)"):
        read(completion("A person in a", finish_reason="length")[1])


def test_white_space_up_to_the_token_limit_is_an_error() -> None:
    with pytest.raises(MllmError, match="cut off at max_tokens"):
        read(completion(" " * 5000, finish_reason="length")[1])


def test_a_text_longer_than_the_token_limit_allows_is_an_error() -> None:
    sampling = Sampling(max_tokens=10)
    assert read(completion("x" * 1280)[1], sampling=sampling).text
    with pytest.raises(MllmError, match=r"^answer of 1281 characters, more than max_tokens can be$"):
        read(completion("x" * 1281)[1], sampling=sampling)


def test_a_withheld_answer_is_an_error() -> None:
    with pytest.raises(MllmError, match="content filter"):
        read(completion("I cannot", finish_reason="content_filter")[1])


def test_a_picture_that_did_not_arrive_is_an_error() -> None:
    with pytest.raises(MllmError, match="did not reach the model: 0 image tokens"):
        read(completion("A person.", image_tokens=0)[1])


def test_prompt_tokens_told_apart_without_the_picture_are_an_error() -> None:
    reply = json.loads(completion("A person.")[1])
    reply["usage"]["prompt_tokens_details"] = {"cached_tokens": 64, "multimodal_tokens": None}
    with pytest.raises(MllmError, match="did not reach the model"):
        read(json.dumps(reply).encode())


def test_every_picture_must_have_arrived_not_only_those_of_the_examples() -> None:
    examples = tuple(Example(b"one", "?", "A") for _ in range(18))
    with pytest.raises(MllmError, match="18 image tokens for 19"):
        read(completion("A person.", image_tokens=18)[1], examples=examples)


def test_unreported_image_tokens_are_unknown_and_pass_unless_required() -> None:
    content = completion("A person.", image_tokens=None)[1]
    assert read(content).image_tokens is None
    with pytest.raises(MllmError, match="reports no image tokens"):
        read(content, require_image_tokens=True)


def test_scores_after_the_mask_are_the_probabilities_of_the_letters() -> None:
    masked = {"B": math.log(0.7), "A": math.log(0.2), "C": math.log(0.1), "the": -9999.0, "x": -math.inf}
    scores = read(completion("B", logprobs=masked)[1], choices=LETTERS).scores
    assert scores == pytest.approx({"A": 0.2, "B": 0.7, "C": 0.1})


def test_scores_before_the_mask_are_renormalised_over_the_letters() -> None:
    open_ = {"The": math.log(0.6), "B": math.log(0.28), "A": math.log(0.08), "C": math.log(0.04)}
    scores = read(completion("B", logprobs=open_)[1], choices=LETTERS).scores
    assert scores == pytest.approx({"A": 0.2, "B": 0.7, "C": 0.1})


def test_a_letter_with_a_blank_counts_as_the_letter() -> None:
    blank = {" A": math.log(0.3), "A": math.log(0.2), " B": math.log(0.25), "C": math.log(0.25)}
    scores = read(completion(" A", logprobs=blank)[1], choices=LETTERS).scores
    assert scores == pytest.approx({"A": 0.5, "B": 0.25, "C": 0.25})


def test_letters_that_are_not_listed_share_what_is_left() -> None:
    listed = {"A": math.log(0.5), "The": math.log(0.46)}
    scores = read(completion("A", logprobs=listed)[1], choices=LETTERS).scores
    assert scores == pytest.approx({"A": 0.5 / 0.54, "B": 0.02 / 0.54, "C": 0.02 / 0.54})


def test_a_letter_that_is_not_listed_is_never_above_the_least_listed() -> None:
    listed = {"A": math.log(0.5), "The": math.log(0.001)}
    scores = read(completion("A", logprobs=listed)[1], choices=LETTERS).scores
    assert scores["B"] == pytest.approx(0.001 / 0.502)


def test_scores_sum_to_one_in_the_order_of_the_choices() -> None:
    scores = read(chosen("C", LETTERS)[1], choices=LETTERS).scores
    assert tuple(scores) == LETTERS
    assert math.fsum(scores.values()) == pytest.approx(1.0)


def test_a_blank_before_the_letter_is_passed_over() -> None:
    reply = json.loads(chosen("B", LETTERS)[1])
    blank = {"token": "\n", "logprob": 0.0, "top_logprobs": [{"token": "\n", "logprob": 0.0}]}
    reply["choices"][0]["logprobs"]["content"].insert(0, blank)
    assert read(json.dumps(reply).encode(), choices=LETTERS).scores["B"] == pytest.approx(0.9)


def test_a_chosen_letter_may_reach_the_token_limit() -> None:
    reply = completion("A", finish_reason="length", logprobs={"A": 0.0})
    assert read(reply[1], choices=LETTERS).scores["A"] == pytest.approx(1.0)


@pytest.mark.parametrize("text", ["The answer is A.", "a", "", "AB"])
def test_an_answer_outside_the_choices_is_an_error(text: str) -> None:
    with pytest.raises(MllmError, match=r"^none of A B C: "):
        read(completion(text, logprobs={"A": 0.0})[1], choices=LETTERS)


def test_a_choice_without_logprobs_is_an_error() -> None:
    with pytest.raises(MllmError, match="gives no logprobs"):
        read(completion("A")[1], choices=LETTERS)


@pytest.mark.parametrize(
    "logprobs", [{"A": math.nan}, {"A": -math.inf, "B": -math.inf, "C": -math.inf}, {"A": -(10**400)}]
)
def test_logprobs_that_score_nothing_are_an_error(logprobs: dict[str, float]) -> None:
    with pytest.raises(MllmError, match="not a chat completion"):
        read(completion("A", logprobs=logprobs)[1], choices=LETTERS)
