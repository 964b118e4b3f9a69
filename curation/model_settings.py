"""Settings of a multimodal model: where it is served and how long we wait, and how it is served."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from curation.canary import CANARIES, Canary
from pipeline.recipe import Section, operational

SECRET = re.compile(r"(^|_)(password|secret)(_|$)|(^|_)(token|key)$")
"""Names such as hf_token and api_key, and not max_num_batched_tokens."""


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
    """Further arguments of vLLM's engine, by their names; they win over those above. No secrets."""

    @field_validator("source")
    @classmethod
    def _names_no_user(cls, source: str) -> str:
        if "://" in source and "@" in source:
            raise ValueError("an address carries a user name or password, which every output would repeat")
        return source

    @field_validator("engine")
    @classmethod
    def _holds_no_secret(cls, engine: dict[str, Any]) -> dict[str, Any]:
        for name in _secrets(engine):
            raise ValueError(
                f"{name} is a secret, which every output would repeat; set it in the environment"
            )
        return engine


class ModelSettings(Section):
    """One multimodal model: where it is served, and how long we wait."""

    name: str
    """Name under which the endpoints serve it; becomes `model_id` of what it says."""
    revision: str = ""
    """Revision of its weights."""
    weight: PositiveFloat = 1.0
    """Share of the captions that it writes, beside the weights of other models."""
    urls: tuple[str, ...] = operational(..., min_length=1)
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
    """Longest time for one question, retries and rests included, waits for a free place left out."""
    retries: NonNegativeInt = operational(4)
    """How often a question is sent again after an endpoint's fault; to be asked for rest is none."""
    backoff_s: NonNegativeFloat = operational(0.5)
    """Longest wait before the first retry, doubled for each further one; the wait is drawn at random.
    Shortest rest of an endpoint that is too busy, doubled likewise."""
    rest_max_s: NonNegativeFloat = operational(30.0)
    """Longest rest that an endpoint gets when it is too busy (429, or 503 with Retry-After)."""
    failures_until_out: PositiveInt = operational(3)
    """Failures in a row after which an endpoint is left alone for a pause."""
    pause_s: PositiveFloat = operational(10.0)
    """The pause; after it one request goes there as a probe, with a picture that is known to do no harm."""
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

    @field_validator("api_key_env")
    @classmethod
    def _is_a_variable(cls, name: str) -> str:
        if name and not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise ValueError("not the name of an environment variable; the key itself belongs into one")
        return name

    @field_validator("urls")
    @classmethod
    def _are_bases(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_base, urls))


def _base(url: str) -> str:
    """The address without a slash at its end. Errors do not repeat it: it may hold a secret."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")
        usable = parts.scheme in ("http", "https") and host and parts.port != 0 and url.isprintable()
    except ValueError:
        usable = False
    if "@" in url:
        whose = f"the address of host {host}" if usable and "@" in parts.netloc else "an address"
        raise ValueError(f"{whose} carries a user name or password; set api_key_env")
    if not usable or " " in url:
        raise ValueError("an address is not like http://host:8000")
    if "?" in url or "#" in url:
        raise ValueError(f"the address of host {host} carries a query or fragment; set api_key_env for a key")
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValueError(f"the address of host {host}: without /v1")
    return url.rstrip("/")


def _secrets(tree: object) -> Iterator[str]:
    """Names of the texts in a tree of arguments that must not be told."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if isinstance(value, str) and value and SECRET.search(re.sub(r"\W", "_", str(name).lower())):
                yield str(name)
            yield from _secrets(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _secrets(value)
