"""Asking a text model behind an OpenAI-compatible endpoint, and keeping what it said."""

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, Self

import httpx
import yaml

from pipeline.templates import PLACEHOLDERS, TemplateError

MAX_TOKENS = 800
MOST_ANSWER_BYTES = 1_000_000
ATTEMPTS = 5
BACKOFF_S = 0.5
"""Wait before the second attempt, doubled for each further one."""
ROUND = 4
"""A worker's questions between two looks at progress; when all of a round reach nobody, no more are asked."""


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


@dataclass(frozen=True)
class TextPrompt:
    """Instructions for a text model; `id` is the hash of the file, 12 hex digits."""

    id: str
    system: str
    user: str

    def filled(self, **values: str) -> tuple[str, str]:
        """System and user text; `{vocabulary}` and the names of `values` are slots."""
        system, user = self.system.replace("{vocabulary}", _vocabulary()), self.user
        for name, value in values.items():
            user = user.replace(f"{{{name}}}", value)
        return system, user


class ChatModel:
    """A model behind `/v1/chat/completions`, safe to share between threads; close it after use."""

    def __init__(
        self,
        url: str,
        model: str,
        temperature: float = 0.7,
        timeout_s: float = 120.0,
        backoff_s: float = BACKOFF_S,
    ) -> None:
        """`url`: base address without /v1; `timeout_s`: longest silence of the endpoint."""
        self.model_id = model
        self._url = f"{url.rstrip('/')}/v1/chat/completions"
        self._temperature = temperature
        self._http = httpx.Client(timeout=timeout_s, trust_env=False, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def complete(self, system: str, user: str, seed: int) -> str:
        """The answer; a busy or silent endpoint is asked again, a refusal is not."""
        body = {
            "model": self.model_id,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "temperature": self._temperature,
            "max_tokens": MAX_TOKENS,
            "seed": seed,
        }
        failure = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(BACKOFF_S * 2 ** (attempt - 1))
            try:
                response = self._http.post(self._url, json=body)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                failure = f"{type(error).__name__}: {_one_line(str(error))}"
                continue
            if response.status_code == httpx.codes.OK:
                return _answer(response)
            failure = f"HTTP {response.status_code}: {_one_line(response.text)}"
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS and response.status_code < 500:
                raise TextModelError(f"{self._url}: {failure}")
        raise UnreachableTextModelError(f"{self._url}: {failure}")


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


def load_text_prompt(name: str, slots: tuple[str, ...]) -> TextPrompt:
    """A prompt by path, or by the name of a packaged one; `user` must hold each slot once.

    Raises TemplateError naming the file.
    """
    path = Path(name)
    source = path if path.is_file() else resources.files("prompts") / f"{name}.yaml"
    if not source.is_file():
        raise TemplateError(f"{name}: no such prompt")
    text = source.read_text(encoding="utf-8")
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TemplateError(f"{name}: not YAML: {_one_line(str(error))}") from None
    if not isinstance(tree, Mapping) or not all(isinstance(tree.get(key), str) for key in ("system", "user")):
        raise TemplateError(f"{name}: a prompt has the texts `system` and `user`")
    for slot in slots:
        if tree["user"].count(f"{{{slot}}}") != 1:
            raise TemplateError(f"{name}: user: needs {{{slot}}} exactly once")
    return TextPrompt(hashlib.sha256(text.encode()).hexdigest()[:12], tree["system"], tree["user"])


def _ask(model: TextModel, answers: Answers, question: Question) -> UnreachableTextModelError | None:
    """Ask and keep the answer; nothing is kept of a question that the model does not answer."""
    try:
        answers.add(model, question, model.complete(question.system, question.user, question.seed))
    except UnreachableTextModelError as error:
        return error
    except TextModelError:
        return None
    return None


def _answer(response: httpx.Response) -> str:
    if len(response.content) > MOST_ANSWER_BYTES:
        raise TextModelError(f"answer of more than {MOST_ANSWER_BYTES} bytes")
    try:
        choice: dict[str, Any] = response.json()["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise TextModelError(f"not a chat completion ({type(error).__name__})") from None
    if not isinstance(text, str) or not text.strip():
        raise TextModelError("the model answered with nothing")
    if finish == "length":
        raise TextModelError(f"answer cut off at {MAX_TOKENS} tokens")
    return text


def _vocabulary() -> str:
    return "\n".join(f'[{name}]: {p.meaning}, such as "{p.example}"' for name, p in PLACEHOLDERS.items())


def _key(model_id: str, question: Question) -> str:
    content = json.dumps([model_id, question.system, question.user, question.seed])
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
