"""The synchronous client, until the caption stage asks through curation/mllm.py."""

import base64
import io
import json
import random
import time
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from curation.mllm import MllmError, UnreachableError
from pipeline.recipe import Section, operational

LEAST_SIDE_PX = 28
"""Qwen2.5-VL servers crash on a picture with a smaller side (docs/method.md)."""
MOST_ANSWER_BYTES = 1_000_000


class EndpointSettings(Section):
    """Where the model is, how it samples, and how long we wait."""

    model: str
    """Name under which the endpoint serves the model; becomes `model_id` of every caption."""
    urls: tuple[str, ...] = Field(min_length=1, json_schema_extra={"operational": True})
    """Base addresses such as http://127.0.0.1:8000, without /v1; requests spread over them."""
    temperature: float = Field(default=0.7, ge=0)
    """Sampling temperature; 0 is greedy."""
    max_tokens: int = Field(default=160, gt=0)
    """Longest answer in tokens; a longer one is an error, not a caption."""
    stop: tuple[str, ...] = ("\n\n",)
    """Texts at which the answer ends."""
    connect_timeout_s: PositiveFloat = operational(5.0)
    """Longest wait for a connection."""
    read_timeout_s: PositiveFloat = operational(60.0)
    """Longest silence of the endpoint."""
    total_timeout_s: PositiveFloat = operational(180.0)
    """Longest time for one answer, retries included."""
    retries: NonNegativeInt = operational(4)
    """How often a failed connection, a 429 or a 5xx is tried again."""
    backoff_s: NonNegativeFloat = operational(0.5)
    """Longest wait before the first retry, doubled for each further one; the wait is drawn at random."""
    concurrency: PositiveInt = operational(16)
    """Requests under way at once, for one worker."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model said; token counts where the endpoint reports them."""

    text: str
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    image_tokens: int | None


class MllmClient:
    """One endpoint's client, safe to share between threads; close it after use."""

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings
        timeout = httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s)
        limits = httpx.Limits(max_connections=settings.concurrency)
        self._http = httpx.Client(timeout=timeout, limits=limits, trust_env=False, follow_redirects=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, system: str, user: str, jpeg: bytes, seed: int) -> Answer:
        """Send instructions, then picture, then text; raises MllmError when no retry brought an answer."""
        body = self._request(system, user, jpeg, seed)
        deadline = time.monotonic() + self._settings.total_timeout_s
        for attempt in range(self._settings.retries + 1):
            url = self._settings.urls[(seed + attempt) % len(self._settings.urls)]
            try:
                status, content = self._post(f"{url.rstrip('/')}/v1/chat/completions", body, deadline)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                failure, unreachable = f"{type(error).__name__}: {_one_line(str(error))}", True
            else:
                unreachable = False
                if status == 200:
                    return _parse(content)
                failure = f"HTTP {status}: {_one_line(content.decode(errors='replace'))}"
                if status != 429 and status < 500:
                    raise MllmError(failure)
            wait = random.uniform(0, self._settings.backoff_s * 2**attempt)
            if time.monotonic() + wait >= deadline:
                failure = f"no answer within {self._settings.total_timeout_s:g} s; last: {failure}"
                break
            if attempt < self._settings.retries:
                time.sleep(wait)
        else:
            failure = f"given up after {self._settings.retries + 1} attempts; last: {failure}"
        raise UnreachableError(failure) if unreachable else MllmError(failure)

    def _request(self, system: str, user: str, jpeg: bytes, seed: int) -> dict[str, Any]:
        data = base64.b64encode(large_enough(jpeg)).decode()
        picture = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
        return {
            "model": self._settings.model,
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": [picture, {"type": "text", "text": user}]},
            ],
            "seed": seed,
            "temperature": self._settings.temperature,
            "max_tokens": self._settings.max_tokens,
            "stop": list(self._settings.stop),
        }

    def _post(self, url: str, body: dict[str, Any], deadline: float) -> tuple[int, bytes]:
        """Status and content. Read in pieces: httpx limits silences, not the whole, and no answer's size."""
        content = b""
        with self._http.stream("POST", url, json=body) as response:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > MOST_ANSWER_BYTES:
                    raise MllmError(f"answer longer than {MOST_ANSWER_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("answer not finished in time")
            return response.status_code, content


def large_enough(jpeg: bytes) -> bytes:
    """The same JPEG, or one scaled up until no side is under LEAST_SIDE_PX."""
    with Image.open(io.BytesIO(jpeg)) as image:
        if min(image.size) >= LEAST_SIDE_PX:
            return jpeg
        scale = LEAST_SIDE_PX / min(image.size)
        size = (
            max(LEAST_SIDE_PX, round(image.width * scale)),
            max(LEAST_SIDE_PX, round(image.height * scale)),
        )
        sink = io.BytesIO()
        image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(sink, "JPEG", quality=95)
        return sink.getvalue()


def _parse(content: bytes) -> Answer:
    try:
        reply = json.loads(content)
        choice = reply["choices"][0]
        text = choice["message"]["content"] or ""
        text.encode()  # JSON can hold halves of characters, which no table can
        usage = reply.get("usage") or {}
        image_tokens = _image_tokens(usage)
        answer = Answer(
            text=text.strip(),
            finish_reason=choice.get("finish_reason"),
            prompt_tokens=usage.get("prompt_tokens"),
            completion_tokens=usage.get("completion_tokens"),
            image_tokens=image_tokens,
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        said = _one_line(content.decode(errors="replace"))
        raise MllmError(f"not a chat completion ({type(error).__name__}): {said}") from None
    if image_tokens == 0:
        raise MllmError("the picture did not reach the model: 0 image tokens")
    if answer.finish_reason == "content_filter":
        raise MllmError("the endpoint's content filter withheld the answer")
    if answer.finish_reason == "length":
        raise MllmError(f"answer cut off at max_tokens ({answer.completion_tokens} tokens)")
    return answer


def _image_tokens(usage: dict[str, Any]) -> int | None:
    """vLLM reports them with --enable-prompt-tokens-details; None where the endpoint does not."""
    counts = (usage.get("prompt_tokens_details") or {}).get("multimodal_tokens")
    return None if counts is None else int(counts.get("image", 0))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
