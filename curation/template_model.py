"""Asking a text model behind an OpenAI-compatible endpoint, and keeping what it said."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from curation import mllm
from curation.prompts import Prompt
from pipeline.recipe import parse_recipe
from pipeline.templates import PLACEHOLDERS, TemplateError

MAX_TOKENS = 800
ATTEMPTS = 5
MOST_AT_ONCE = 10_000
"""The threads that ask are the limit."""
ROUND = 4
"""A worker's questions between two looks at progress; when all of a round reach nobody, no more are asked."""

T = TypeVar("T")


class TextModelError(RuntimeError):
    """No usable answer to one question; the message is one line."""


class UnreachableTextModelError(TextModelError):
    """The endpoint was not reached, or was too busy, at every attempt."""


class TextModel(Protocol):
    """Whatever completes a text; `model_id` names it in every answer that is kept."""

    @property
    def model_id(self) -> str: ...

    def complete(self, system: str, user: str, seed: int) -> str:
        """The answer; raises TextModelError."""
        ...


def filled(prompt: Prompt, **values: str) -> tuple[str, str]:
    """System and user text; `{vocabulary}` and the names of `values` are slots."""
    system, user = prompt.system.replace("{vocabulary}", _vocabulary()), prompt.user
    for name, value in values.items():
        user = user.replace(f"{{{name}}}", value)
    return system, user


class ChatModel:
    """A model behind an endpoint, safe to share between threads; close it after use.

    One thread of its own runs the client's event loop.
    """

    def __init__(
        self,
        url: str,
        model: str,
        temperature: float = 0.7,
        timeout_s: float = 120.0,
        backoff_s: float = 0.5,
    ) -> None:
        """url: base address without /v1; timeout_s: longest silence of the endpoint; backoff_s: longest wait
        before the second attempt, doubled for each further one. Raises RecipeError if the address is none.
        """
        self.model_id = model
        self._url = url
        self._sampling = mllm.Sampling(
            temperature=temperature, max_tokens=MAX_TOKENS, stop=(), top_p=None, repetition_penalty=None
        )
        wire = {
            "concurrency": MOST_AT_ONCE,
            "retries": ATTEMPTS - 1,
            "read_timeout_s": timeout_s,
            "total_timeout_s": ATTEMPTS * timeout_s,
            "backoff_s": backoff_s,
            "pause_s": 4 * backoff_s,
            "outage_s": 16 * backoff_s,
        }
        settings = {"name": model, "urls": [url], **wire}
        self._mllm = mllm.Mllm(parse_recipe(mllm.ModelSettings, settings, source="text model"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._mllm.__aenter__())
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._mllm.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def complete(self, system: str, user: str, seed: int) -> str:
        """The answer; a busy or silent endpoint is asked again, a refusal is not."""
        question = mllm.Question(system=system, jpeg=None, text=user, seed=seed, sampling=self._sampling)
        try:
            return self._run(self._mllm.ask(question)).text
        except mllm.MllmError as error:
            in_vain = isinstance(error, mllm.UnreachableError) or error.requests >= ATTEMPTS
            raise (UnreachableTextModelError if in_vain else TextModelError)(
                f"{self._url}: {error}"
            ) from None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


@dataclass(frozen=True)
class Question:
    """What is asked: the two texts and the seed that the model samples with."""

    system: str
    user: str
    seed: int


class Answers:
    """Answers by question, in a file of JSON lines: what a killed build has asked is not asked again.

    Threads may share it.
    """

    def __init__(self, path: Path) -> None:
        """Read what stands; the line that a killed build was writing is left out and made anew."""
        self.path = path
        self._texts: dict[str, str] = {}
        self._lock = threading.Lock()
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise TemplateError(f"{path}: cannot be read: {error.strerror}") from None
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with path.open("r+b") as file:
                file.truncate(len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            self._read(number, line)

    def get(self, model: TextModel, question: Question) -> str | None:
        """What this model said to this question, if it was asked."""
        return self._texts.get(_key(model.model_id, question))

    def add(self, model: TextModel, question: Question, text: str) -> None:
        """Keep an answer: it is in the file when this returns."""
        key = _key(model.model_id, question)
        self._texts[key] = text
        line = json.dumps({"key": key, "model": model.model_id, "answer": text}, ensure_ascii=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, self.path.open("ab") as file:
            file.write(f"{line}\n".encode())

    def _read(self, number: int, line: bytes) -> None:
        try:
            row = json.loads(line)
            key, answer = row["key"], row["answer"]
        except (ValueError, KeyError, TypeError):
            raise TemplateError(f"{self.path}:{number}: not an answer of a text model") from None
        if not isinstance(key, str) or not isinstance(answer, str):
            raise TemplateError(f"{self.path}:{number}: key and answer must be texts")
        self._texts[key] = answer


class Tell(Protocol):
    """Told of progress: what runs, how much is done, how much there is."""

    def __call__(self, name: str, done: int, total: int, /) -> None: ...


def ask_all(
    name: str, questions: list[Question], model: TextModel, answers: Answers, tell: Tell, workers: int
) -> list[str | None]:
    """The answer to each question, None where the model had none; `workers` are under way at once.

    Raises UnreachableTextModelError if some reached nobody; what was answered is kept for the next build.
    """
    missing = [question for question in questions if answers.get(model, question) is None]
    done, unreached = len(questions) - len(missing), None
    tell(name, done, len(questions))
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(missing), ROUND * workers):
            asked = missing[start : start + ROUND * workers]
            lost = [error for error in pool.map(lambda q: _ask(model, answers, q), asked) if error]
            unreached = lost[0] if lost else unreached
            if len(lost) == len(asked):
                break
            done += len(asked) - len(lost)
            tell(name, done, len(questions))
    if unreached:
        raise unreached
    return [answers.get(model, question) for question in questions]


def _ask(model: TextModel, answers: Answers, question: Question) -> UnreachableTextModelError | None:
    """Ask and keep the answer; nothing is kept of a question that the model does not answer."""
    try:
        answers.add(model, question, model.complete(question.system, question.user, question.seed))
    except UnreachableTextModelError as error:
        return error
    except TextModelError:
        return None
    return None


def _vocabulary() -> str:
    return "\n".join(f'[{name}]: {p.meaning}, such as "{p.example}"' for name, p in PLACEHOLDERS.items())


def _key(model_id: str, question: Question) -> str:
    content = json.dumps([model_id, question.system, question.user, question.seed])
    return hashlib.sha256(content.encode()).hexdigest()[:24]
