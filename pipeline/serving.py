"""Serves models by vLLM on Ray Serve, behind one OpenAI-compatible address."""

import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.request import ProxyHandler, build_opener

import ray
from ray import serve
from ray.exceptions import RayError

from pipeline.runner import no_api_server

APP = "webperson"
POLL_S = 2.0
LIST_BYTES = 1_000_000


class ServingError(Exception):
    """Models that cannot be served; one line."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One model: what is loaded, and what each replica takes of the cluster."""

    name: str
    """Name that requests give."""
    source: str
    """A hub's name or a folder with weights."""
    revision: str = ""
    replicas: int = 1
    max_replicas: int | None = None
    """With it, replicas follow the load from `replicas` up to it."""
    gpus: int = 1
    """GPUs of a replica: more than one is tensor parallel; none runs on `cpus`."""
    cpus: float = 1.0
    requests_at_once: int = 64
    """Requests that a replica holds; more wait in the router."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of vLLM's engine."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment of the engine's processes."""


@contextmanager
def served(models: Sequence[ServedModel], address: str | None, port: int, start_s: float) -> Iterator[str]:
    """Serve models while the context is open; yields the base address, without /v1.

    address: the cluster's; without one, a cluster is started here. start_s: longest wait until every model
    answers. Raises ServingError.
    """
    from ray.serve.llm import LLMConfig, build_openai_app  # seconds

    on_sigterm = signal.getsignal(signal.SIGTERM)
    if address:
        ray.init(address=address, log_to_driver=False)
    else:
        with no_api_server():
            ray.init(address="local", include_dashboard=False, log_to_driver=False)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # ray.init has put its own there
    try:
        serve.start(http_options={"host": "0.0.0.0" if address else "127.0.0.1", "port": port})  # noqa: S104
        configs = [LLMConfig(**llm_config(model)) for model in models]
        serve.run(build_openai_app({"llm_configs": configs}), name=APP, route_prefix="/", blocking=False)
        host = ray.util.get_node_ip_address() if address else "127.0.0.1"
        url = f"http://{host}:{port}"
        wait_until_served(url, [model.name for model in models], start_s)
    except (RuntimeError, RayError) as error:
        _stop()
        raise ServingError(f"Ray Serve: {last_line(error)} (Ray's logs of the replicas say why)") from error
    except BaseException:
        _stop()
        raise
    try:
        yield url
    finally:
        _stop()


def last_line(error: BaseException) -> str:
    """What an error of many lines comes to."""
    lines = str(error).split("\n")
    said = next((line for line in reversed(lines) if line.strip()), type(error).__name__)
    return " ".join(said.split())[:200]


def _stop() -> None:
    serve.shutdown()
    ray.shutdown()


def llm_config(model: ServedModel) -> dict[str, Any]:
    """The arguments of Ray's LLMConfig: whole GPUs for each replica, or CPUs."""
    deployment: dict[str, Any] = {"max_ongoing_requests": model.requests_at_once}
    if model.max_replicas:
        deployment["autoscaling_config"] = {
            "min_replicas": model.replicas,
            "max_replicas": model.max_replicas,
            "target_ongoing_requests": max(1, model.requests_at_once // 2),
        }
    else:
        deployment["num_replicas"] = model.replicas
    engine = {"enable_prompt_tokens_details": True, **model.engine}
    if model.revision:
        engine["revision"] = model.revision
    bundle = {"GPU": 1.0, "CPU": model.cpus}
    if model.gpus:
        engine["tensor_parallel_size"] = model.gpus
    else:
        bundle = {"CPU": model.cpus}
        deployment["ray_actor_options"] = {"num_cpus": 0}
    config: dict[str, Any] = {
        "model_loading_config": {"model_id": model.name, "model_source": model.source},
        "engine_kwargs": engine,
        "deployment_config": deployment,
        "placement_group_config": {"bundle_per_worker": bundle, "strategy": "PACK"},
    }
    if model.environment:
        config["runtime_env"] = {"env_vars": dict(model.environment)}
    return config


def wait_until_served(url: str, names: Sequence[str], start_s: float) -> None:
    """Wait until the address lists every model. Raises ServingError after start_s."""
    deadline, listed = time.monotonic() + start_s, set[str]()
    while not set(names) <= listed:
        if time.monotonic() > deadline:
            missing = ", ".join(sorted(set(names) - listed))
            raise ServingError(f"{url}: not served within {start_s:g} s: {missing}")
        listed = _listed(url)
        if not set(names) <= listed:
            time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))


def _listed(url: str) -> set[str]:
    try:
        # Our own server: no proxy of the environment stands before it.
        with build_opener(ProxyHandler({})).open(f"{url}/v1/models", timeout=POLL_S) as answer:
            return {model["id"] for model in json.loads(answer.read(LIST_BYTES))["data"]}
    except (OSError, HTTPException, ValueError, LookupError, TypeError, RecursionError):
        return set()
