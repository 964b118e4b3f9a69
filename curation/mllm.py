"""Asking a multimodal model about pictures: any number of OpenAI-compatible endpoints that serve it."""

import asyncio
import json
import os
import random
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from curation.canary import CANARIES, Canary, canary_question, check_canary
from curation.completions import (
    Answer,
    Bodies,
    Example,
    MllmError,
    Question,
    Sampling,
    UnreachableError,
    one_line,
    read_answer,
)
from curation.endpoints import Endpoint, Endpoints
from curation.transport import EndpointError, Transport
from pipeline.recipe import Section, operational

__all__ = [
    "Answer",
    "Example",
    "Mllm",
    "MllmError",
    "ModelSettings",
    "Question",
    "Sampling",
    "ServeSettings",
    "UnreachableError",
]

COMPLETIONS = "/v1/chat/completions"


class ServeSettings(Section):
    """How `webperson serve` serves a model by vLLM. All of it is operational."""

    source: str = ""
    """A folder with weights, or a hub's name; the model's own name if empty."""
    replicas: PositiveInt = 1
    """Engines; each takes requests by itself (data parallel)."""
    max_replicas: PositiveInt | None = None
    """With it, engines follow the load, from `replicas` up to so many."""
    gpus: NonNegativeInt = 1
    """GPUs of an engine: several share one model (tensor parallel), none runs it on CPUs."""
    cpus: NonNegativeFloat = 1.0
    """CPUs of an engine."""
    max_model_len: PositiveInt = 4096
    """Longest request in tokens, the answer included."""
    images_per_prompt: PositiveInt = 1
    """Pictures in a request: one more than the judge has exemplars."""
    min_pixels: PositiveInt = 28 * 28 * 16
    """Smaller pictures are enlarged by the server."""
    max_pixels: PositiveInt = 28 * 28 * 512
    """Larger pictures are reduced by the server."""
    prefix_caching: bool = True
    """Keep what requests have in common at their start: instructions and exemplars."""
    cache_gb: NonNegativeFloat = 0.0
    """Memory for pictures that come again, such as exemplars; 0 suits persons, of whom each comes once."""
    engine: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of vLLM's engine, by their names; they win over those above."""


class ModelSettings(Section):
    """One multimodal model: where it is served, and how long we wait."""

    name: str
    """Name under which the endpoints serve it; becomes `model_id` of what it says."""
    revision: str = ""
    """Revision of its weights."""
    weight: PositiveFloat = 1.0
    """Share of the captions that it writes, beside the weights of other models."""
    urls: tuple[str, ...] = Field(min_length=1, json_schema_extra={"operational": True})
    """Base addresses such as http://127.0.0.1:8000, without /v1; each of them serves this model."""
    api_key_env: str = operational("")
    """Environment variable that holds the endpoints' key; empty: none is sent."""
    concurrency: PositiveInt = operational(16)
    """Requests under way at once at each endpoint, for one worker."""
    connect_timeout_s: PositiveFloat = operational(5.0)
    """Longest wait for a connection."""
    read_timeout_s: PositiveFloat = operational(60.0)
    """Longest silence of an endpoint."""
    total_timeout_s: PositiveFloat = operational(180.0)
    """Longest time for one question, retries included, waits for a free place left out."""
    retries: NonNegativeInt = operational(4)
    """How often a question is sent again after an endpoint's fault."""
    backoff_s: NonNegativeFloat = operational(0.5)
    """Longest wait before the first retry, doubled for each further one; the wait is drawn at random."""
    rest_max_s: NonNegativeFloat = operational(30.0)
    """Longest rest that an endpoint may ask for (Retry-After)."""
    failures_until_out: PositiveInt = operational(3)
    """Failures in a row after which an endpoint is left alone for a pause."""
    pause_s: PositiveFloat = operational(10.0)
    """The pause; after it one request goes there as a probe."""
    outage_s: NonNegativeFloat = operational(180.0)
    """How long all endpoints may be out, as while an engine restarts, before questions fail at once."""
    answer_max_bytes: PositiveInt = operational(1_000_000)
    """Longest answer; more is an error."""
    require_image_tokens: bool = operational(False)
    """Refuse answers that count no image tokens; where they are counted, the picture's are wanted anyway."""
    canaries: tuple[Canary, ...] = operational(CANARIES)
    """What a model must see before it is trusted; empty: nothing."""
    serve: ServeSettings = operational(ServeSettings())
    """How `webperson serve` serves it."""

    @field_validator("urls")
    @classmethod
    def _are_bases(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{url!r} is not like http://host:8000")
            if parts.path.rstrip("/").endswith("/v1"):
                raise ValueError(f"{url!r}: without /v1")
        return tuple(url.rstrip("/") for url in urls)


class Mllm:
    """Client of one model; an async context manager, for one event loop."""

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self._bodies = Bodies(settings.name)
        self._endpoints = Endpoints(
            settings.urls,
            concurrency=settings.concurrency,
            failures_until_out=settings.failures_until_out,
            pause_s=settings.pause_s,
            outage_s=settings.outage_s,
        )

    async def __aenter__(self) -> Self:
        """Raises MllmError if the variable of the key is not set."""
        settings = self.settings
        self._transport = Transport(
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.read_timeout_s,
            answer_max_bytes=settings.answer_max_bytes,
            rest_max_s=settings.rest_max_s,
            key=_key(settings.api_key_env),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def ask(self, question: Question) -> Answer:
        """Ask, and again, elsewhere if possible, when an endpoint fails.

        Raises UnreachableError if no endpoint has worked meanwhile, MllmError for every other failure.
        """
        settings, started = self.settings, time.monotonic()
        failed: Endpoint | None = None
        spent, attempt, requests = 0.0, 0, 0
        while True:
            endpoint = await self._endpoints.take(avoid=failed)
            probe, since, requests = endpoint.out, time.monotonic(), requests + 1
            try:
                content = await self._send(endpoint, question, settings.total_timeout_s - spent)
            except EndpointError as problem:
                failed, error = endpoint, problem
            else:
                return self._read(content, question, requests, spent + time.monotonic() - since)
            # Whoever probes an endpoint that is gone has had no chance yet.
            attempt += error.suspect or not probe
            wait = random.uniform(0, settings.backoff_s * 2 ** max(0, attempt - 1))
            spent += time.monotonic() - since + wait
            if attempt > settings.retries or spent >= settings.total_timeout_s:
                break
            await asyncio.sleep(wait)
        tries = (
            f"after {requests} requests"
            if attempt > settings.retries
            else f"within {settings.total_timeout_s:g} s"
        )
        known = error.suspect or self._endpoints.anyone_answered_since(started)
        raise (MllmError if known else UnreachableError)(f"no answer {tries}; last: {error}")

    async def check(self, usage_required: bool = False) -> None:
        """Ask every endpoint whether it serves the model, and what it sees on the canaries.

        usage_required: whether answers must count their tokens. Raises MllmError if one does not serve it,
        does not see or does not count, UnreachableError if none can be talked to.
        """
        checks = (self._check(endpoint, usage_required) for endpoint in self._endpoints.all)
        found = await asyncio.gather(*checks, return_exceptions=True)
        for outcome in found:
            if outcome is not None and not isinstance(outcome, EndpointError):
                raise outcome
        if all(found):
            failures = "; ".join(f"{e.url}: {f}" for e, f in zip(self._endpoints.all, found, strict=True))
            raise UnreachableError(f"no endpoint answers: {failures}")

    async def _check(self, endpoint: Endpoint, usage_required: bool) -> None:
        served = _model_names(
            await self._transport.request(f"{endpoint.url}/v1/models", None, self.settings.read_timeout_s)
        )
        if self.settings.name not in served:
            raise MllmError(f"{endpoint.url} serves {' '.join(served)[:200]}, not {self.settings.name}")
        for canary in self.settings.canaries:
            question = canary_question(canary)
            try:
                content = await self._transport.request(
                    endpoint.url + COMPLETIONS, self._bodies.write(question), self.settings.total_timeout_s
                )
                answer = self._read(content, question, 1, 0.0)
                check_canary(canary, answer)
                if usage_required and (answer.prompt_tokens is None or answer.completion_tokens is None):
                    raise MllmError("answers count no tokens, which max_tokens needs")
            except MllmError as error:
                raise MllmError(f"{endpoint.url}: {error}") from None

    async def _send(self, endpoint: Endpoint, question: Question, left_s: float) -> bytes:
        """One request at a place that was taken; frees it, and notes how the endpoint did."""
        try:
            body = self._bodies.write(question)  # only now: those who wait for a place hold none
            content = await self._transport.request(endpoint.url + COMPLETIONS, body, left_s)
        except EndpointError as error:
            if error.rest_s is None:
                self._endpoints.failed(endpoint, str(error))
            else:
                self._endpoints.asked_for_rest(endpoint, error.rest_s)
            raise
        except MllmError:
            self._endpoints.answered(endpoint)
            raise
        except BaseException:
            self._endpoints.left(endpoint)
            raise
        self._endpoints.answered(endpoint)
        return content

    def _read(self, content: bytes, question: Question, requests: int, seconds: float) -> Answer:
        require = self.settings.require_image_tokens
        return read_answer(content, question, self.settings.name, requests, seconds, require)


def _model_names(content: bytes) -> list[str]:
    try:
        return [str(model["id"]) for model in json.loads(content)["data"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise MllmError(f"not a list of models: {one_line(content.decode(errors='replace'))}") from None


def _key(variable: str) -> str | None:
    if variable and not os.environ.get(variable):
        raise MllmError(f"api_key_env: the environment has no {variable}")
    return os.environ[variable] if variable else None
