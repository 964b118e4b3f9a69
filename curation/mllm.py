"""Asking a multimodal model about pictures: any number of OpenAI-compatible endpoints that serve it."""

import asyncio
import json
import os
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from curation.canary import CANARIES, canary_question, check_canary
from curation.completions import (
    Answer,
    Bodies,
    Example,
    MllmError,
    Question,
    RefusedError,
    Sampling,
    UnreachableError,
    one_line,
    read_answer,
)
from curation.endpoints import Endpoint, Endpoints
from curation.model_settings import ModelSettings, ServeSettings
from curation.patience import Patience
from curation.transport import EndpointError, Transport
from curation.usage import counts_tokens

__all__ = [
    "Answer",
    "Example",
    "Mllm",
    "MllmError",
    "ModelSettings",
    "Question",
    "RefusedError",
    "Sampling",
    "ServeSettings",
    "UnreachableError",
]

COMPLETIONS = "/v1/chat/completions"
COUNTED_QUESTION = Question(
    system="You answer with one word.",
    jpeg=None,
    text="Say yes.",
    seed=0,
    sampling=Sampling(temperature=0.0, max_tokens=16, stop=()),
)
"""Asked of a model without canaries, to see whether it counts tokens."""


class Mllm:
    """Client of one model; an async context manager, for one event loop."""

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self._bodies = Bodies(settings.name)
        self._probe = canary_question(CANARIES[0])
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
            key=_key(settings.api_key_env),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def ask(self, question: Question) -> Answer:
        """Ask, and again, elsewhere if possible, when an endpoint fails.

        Raises UnreachableError if no endpoint has worked meanwhile, MllmError for every other failure; both
        carry what was spent.
        """
        settings = self.settings
        patience = Patience(
            settings.retries, settings.backoff_s, settings.rest_max_s, settings.total_timeout_s
        )
        try:
            return await self._ask(question, patience)
        except MllmError as error:
            error.requests = patience.requests
            raise

    async def _ask(self, question: Question, patience: Patience) -> Answer:
        started, endpoint = time.monotonic(), await self._endpoints.take()
        while True:
            try:
                content = await self._send(endpoint, question, patience)
            except EndpointError as problem:
                error = problem
            else:
                return self._read(content, question, patience.requests, patience.spent_s)
            place = None if patience.over else await self._place(endpoint, patience)
            if place is None:
                raise self._no_answer(endpoint, error, patience, started)
            endpoint = place

    async def _place(self, failed: Endpoint, patience: Patience) -> Endpoint | None:
        """A place for another try, or none if the question would have to rest for longer than it may take.

        A rest counts as time, waiting for a free place does not.
        """
        await asyncio.sleep(patience.wait_s)
        since, left_s = time.monotonic(), patience.left_s
        try:
            async with asyncio.timeout(left_s if patience.rest_s >= left_s else None):
                endpoint = await self._endpoints.take(avoid=failed)
        except TimeoutError:
            return None
        patience.spent_s += min(patience.rest_s, time.monotonic() - since)
        return endpoint

    async def _send(self, endpoint: Endpoint, question: Question, patience: Patience) -> bytes:
        """Ask at a place that was taken; frees it, and notes how the endpoint did."""
        probing = endpoint.out
        try:
            if probing:
                await self._see_it_answer(endpoint, patience)
                probing = False
            content = await self._request(endpoint, question, patience)
        except EndpointError as error:
            if error.rest_s is not None:
                self._endpoints.asked_for_rest(endpoint, patience.rests_for(error.rest_s))
            else:
                patience.failed(counts=not probing)  # a question that only probed has had no chance yet
                self._endpoints.failed(endpoint, str(error))
            raise
        except MllmError:
            self._endpoints.answered(endpoint)
            raise
        except BaseException:
            self._endpoints.left(endpoint)
            raise
        self._endpoints.answered(endpoint)
        return content

    async def _see_it_answer(self, endpoint: Endpoint, patience: Patience) -> None:
        """Probe an endpoint by a picture that fails nobody: the question's may be what it fails at."""
        with suppress(MllmError):  # who refuses answers, too
            await self._request(endpoint, self._probe, patience)
        self._endpoints.works(endpoint)

    async def _request(self, endpoint: Endpoint, question: Question, patience: Patience) -> bytes:
        since = time.monotonic()
        patience.requests += 1
        try:
            body = self._bodies.write(question)  # only now: those who wait for a place hold none
            return await self._transport.request(endpoint.url + COMPLETIONS, body, patience.left_s)
        finally:
            patience.spent_s += time.monotonic() - since

    def _no_answer(
        self, endpoint: Endpoint, error: EndpointError, patience: Patience, started: float
    ) -> MllmError:
        """The question is to blame if the endpoint says so, or if others were answered meanwhile and no rests
        have taken its time.
        """
        tries = f"after {patience.requests} requests"
        if not patience.failed_too_often:
            tries = f"within {patience.total_s:g} s"
        others_answered = self._endpoints.answered_since(started)
        if error.rest_s is not None and not others_answered:
            self._endpoints.asked_in_vain(endpoint, str(error))
        had_its_chance = patience.failed_too_often or not patience.rests
        known = error.suspect or (others_answered and had_its_chance)
        return (MllmError if known else UnreachableError)(f"no answer {tries}; last: {error}")

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
            failures = (f"{e.url}: {f}" for e, f in zip(self._endpoints.all, found, strict=True))
            raise UnreachableError(f"no endpoint answers: {one_line('; '.join(failures))}")

    async def _check(self, endpoint: Endpoint, usage_required: bool) -> None:
        served = _model_names(
            await self._transport.request(f"{endpoint.url}/v1/models", None, self.settings.read_timeout_s)
        )
        if self.settings.name not in served:
            raise MllmError(f"{endpoint.url} serves {one_line(' '.join(served))}, not {self.settings.name}")
        for canary in self.settings.canaries or ([None] if usage_required else []):
            question = canary_question(canary) if canary else COUNTED_QUESTION
            try:
                content = await self._transport.request(
                    endpoint.url + COMPLETIONS, self._bodies.write(question), self.settings.total_timeout_s
                )
                if canary:
                    check_canary(canary, self._read(content, question, 1, 0.0))
            except MllmError as error:
                raise MllmError(f"{endpoint.url}: {error}") from None
            if usage_required and not counts_tokens(content):
                raise MllmError(f"{endpoint.url} reports no token usage, which max_tokens needs")

    def _read(self, content: bytes, question: Question, requests: int, seconds: float) -> Answer:
        require = self.settings.require_image_tokens
        return read_answer(content, question, self.settings.name, requests, seconds, require)


def _model_names(content: bytes) -> list[str]:
    try:
        return [str(model["id"]) for model in json.loads(content)["data"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise MllmError(f"not a list of models: {one_line(content.decode(errors='replace'))}") from None


def _key(variable: str) -> str | None:
    key = os.environ.get(variable, "").strip()
    if variable and not key:
        raise MllmError(f"api_key_env: the environment has no {variable}")
    if not (key.isascii() and key.isprintable()):
        raise MllmError(f"api_key_env: {variable} holds what no HTTP header can carry")
    return key or None
