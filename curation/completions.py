"""What a chat completion carries: a question about one picture as JSON, and the answer read from JSON.

The format is OpenAI's, with vLLM's `structured_outputs` and `multimodal_tokens`.
"""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import Field, PositiveInt

from curation.usage import Usage, read_usage
from pipeline.recipe import Section
from pipeline.stage import UnitError

TOP_LOGPROBS = 20
"""vLLM's and OpenAI's limit."""
MOST_HEADS = 16
ERROR_CHARACTERS = 200
TOKEN_CHARACTERS = 128
"""The longest tokens of vocabularies are runs of so many blanks or dashes."""


class MllmError(RuntimeError):
    """No usable answer to this question; one line.

    requests, tokens: what the question cost all the same, tokens as far as its answer counted them.
    """

    requests: int = 0
    tokens: int = 0


class RefusedError(MllmError):
    """The endpoint will not take the question, and would not in other words; one line."""


class UnreachableError(MllmError, UnitError):
    """No endpoint works, and nothing is known of the picture; one line."""


class Sampling(Section):
    """How the model draws its words."""

    temperature: float = Field(default=0.7, ge=0, le=2)
    """0 is greedy."""
    top_p: float | None = Field(default=1.0, gt=0, le=1)
    """Words are drawn from the likeliest that make up this share; null: as the server likes."""
    repetition_penalty: float | None = Field(default=1.0, gt=0)
    """Above 1, words that were said already get less likely; null: as the server likes."""
    max_tokens: PositiveInt = 160
    """Longest answer in tokens; one that reaches it is an error, not a caption."""
    stop: tuple[str, ...] = ("\n\n",)
    """Texts at which the answer ends."""


@dataclass(frozen=True)
class Example:
    """A question that was answered already; it stands before the picture, so that servers cache it."""

    jpeg: bytes
    text: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked about one picture. All before `jpeg` should be equal in many questions.

    jpeg: None for a question without a picture. choices: texts of one letter each, of which the model must
    say one.
    """

    system: str
    examples: tuple[Example, ...] = ()
    jpeg: bytes | None
    text: str
    seed: int
    sampling: Sampling
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer(Usage):
    """What the model said, and the tokens that it took; image_tokens: of the examples' pictures too.

    scores: probability of each choice, they sum to 1; empty without choices.
    attempts: requests that it took; seconds: from the first request on, waits for a free place left out.
    """

    text: str
    finish_reason: str | None
    model_id: str
    attempts: int
    seconds: float
    scores: Mapping[str, float] = field(default_factory=dict)


class Bodies:
    """Writes requests to one model. The head that many questions share is made once."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._heads: dict[tuple[object, ...], bytes] = {}

    def write(self, question: Question) -> bytes:
        """The request's JSON: instructions, examples, picture, text, in this order."""
        if question.jpeg is None:
            return json.dumps(self._body(question, question.text) | {"seed": question.seed}).encode()
        shared = (question.system, question.examples, question.sampling, question.choices)
        head = self._heads.get(shared)
        if head is None:
            if len(self._heads) == MOST_HEADS:
                self._heads.clear()
            whole = json.dumps(self._body(question, [_picture(b"")]), separators=(",", ":"))
            head = self._heads[shared] = whole.removesuffix('"}}]}]}').encode()
        # The picture is by far the most of it: base64 needs no escapes, so it is copied and not scanned.
        text = json.dumps(question.text).encode()
        seed = b'"}},{"type":"text","text":%b}]}],"seed":%d}' % (text, question.seed)
        return b"".join((head, base64.b64encode(question.jpeg), seed))

    def _body(self, question: Question, asked: object) -> dict[str, Any]:
        sampling = question.sampling.model_dump(mode="json")
        body = {"model": self._model} | {
            name: value for name, value in sampling.items() if value not in (None, [])
        }
        if question.choices:
            body["structured_outputs"] = {"choice": question.choices}
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        messages: list[dict[str, Any]] = [{"role": "system", "content": question.system}]
        for example in question.examples:
            messages.append({"role": "user", "content": [_picture(example.jpeg), _text(example.text)]})
            messages.append({"role": "assistant", "content": example.answer})
        return body | {"messages": [*messages, {"role": "user", "content": asked}]}


def _picture(jpeg: bytes) -> dict[str, Any]:
    data = base64.b64encode(jpeg).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def read_answer(
    content: bytes, question: Question, model: str, attempts: int, seconds: float, require_image_tokens: bool
) -> Answer:
    """The answer in a chat completion's JSON.

    Raises MllmError if it is no chat completion, withheld, cut off, empty, none of the choices, or if the
    pictures did not reach the model.
    """
    usage = Usage()
    try:
        reply = json.loads(content)
        usage = read_usage(reply)
        choice = reply["choices"][0]
        text = (choice["message"]["content"] or "").strip()
        text.encode()  # JSON can hold halves of characters, which no table can
        answer = Answer(
            **vars(usage),
            text=text,
            finish_reason=_name(choice.get("finish_reason")),
            model_id=model,
            attempts=attempts,
            seconds=seconds,
        )
        _check(answer, question, require_image_tokens)
        if question.choices:
            answer = replace(answer, scores=_scores(choice.get("logprobs"), question.choices))
        return answer
    except MllmError as error:
        problem = error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        said = one_line(content.decode(errors="replace"))
        problem = MllmError(f"not a chat completion ({type(error).__name__}): {said}")
    problem.requests, problem.tokens = attempts, usage.tokens
    raise problem


def _check(answer: Answer, question: Question, require_image_tokens: bool) -> None:
    """Every picture takes a token: a server that drops the last must not pass by those of the examples."""
    pictures = len(question.examples) + (question.jpeg is not None)
    if answer.image_tokens is None:
        if require_image_tokens and pictures:
            raise MllmError("the endpoint reports no image tokens (vLLM: --enable-prompt-tokens-details)")
    elif answer.image_tokens < pictures:
        raise MllmError(
            f"the picture did not reach the model: {answer.image_tokens} image tokens for {pictures}"
        )
    if answer.finish_reason == "content_filter":
        raise MllmError("the endpoint's content filter withheld the answer")
    if question.choices:
        if answer.text not in question.choices:
            raise MllmError(f"none of {' '.join(question.choices)}: {one_line(answer.text)}")
        return
    if answer.finish_reason == "length":
        raise MllmError(f"answer cut off at max_tokens ({answer.completion_tokens} tokens)")
    if not answer.text:
        raise MllmError("the model answered with nothing")
    if len(answer.text) > question.sampling.max_tokens * TOKEN_CHARACTERS:
        raise MllmError(f"answer of {len(answer.text)} characters, more than max_tokens can be")


def _name(text: object) -> str | None:
    return text if isinstance(text, str) else None


def _scores(logprobs: Mapping[str, Any] | None, choices: tuple[str, ...]) -> dict[str, float]:
    """Probabilities of the choices from those of the first token that is not blank.

    Servers differ in whether they report before or after all but the choices were masked, and in whether a
    letter carries a blank: both come out the same after adding up and renormalising. A choice outside the
    listed tokens gets an even share of the probability that is not listed, at most that of the least listed.
    """
    tokens = [token for token in (logprobs or {}).get("content") or () if token["token"].strip()]
    if not tokens:
        raise MllmError("the endpoint gives no logprobs, from which the choices are scored")
    listed = [(str(t["token"]).strip(), _probability(t["logprob"])) for t in tokens[0]["top_logprobs"]]
    found = {c: math.fsum(p for text, p in listed if text == c) for c in choices if c in dict(listed)}
    missing = [choice for choice in choices if choice not in found]
    if missing:
        rest = max(0.0, 1.0 - math.fsum(p for _, p in listed))
        floor = min([rest / len(missing), *(p for _, p in listed)])
        found |= dict.fromkeys(missing, floor)
    total = math.fsum(found.values())
    if not total > 0:
        raise ValueError("no probability for any choice")
    return {choice: found[choice] / total for choice in choices}


def _probability(logprob: float) -> float:
    if math.isnan(logprob):
        raise ValueError("a logprob is no number")
    return math.exp(min(logprob, 0.0))


def one_line(text: str) -> str:
    """Without line breaks and what a terminal would obey, and short enough for an error."""
    line = " ".join(text.split())[:ERROR_CHARACTERS]
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
