"""Serving: what Ray is told of a model, and when it counts as served."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from curation.mllm import ModelSettings
from pipeline.cli.serve import served_model
from pipeline.serving import ServedModel, ServingError, last_line, llm_config, wait_until_served
from tests.curation.fake_endpoint import completion, fake_endpoint


def config(**changes: Any) -> dict[str, Any]:
    return llm_config(ServedModel(name="m", source="hub/m", **changes))


def test_a_replica_takes_one_whole_gpu_by_default() -> None:
    made = config()
    assert made["placement_group_config"] == {
        "bundle_per_worker": {"GPU": 1.0, "CPU": 1.0},
        "strategy": "PACK",
    }
    assert made["engine_kwargs"]["tensor_parallel_size"] == 1
    assert made["deployment_config"]["num_replicas"] == 1


def test_several_gpus_are_tensor_parallel() -> None:
    assert config(gpus=2)["engine_kwargs"]["tensor_parallel_size"] == 2


def test_no_gpu_asks_for_cpus_only() -> None:
    made = config(gpus=0, cpus=2.0)
    assert made["placement_group_config"]["bundle_per_worker"] == {"CPU": 2.0}
    assert "tensor_parallel_size" not in made["engine_kwargs"]


def test_replicas_follow_the_load_where_a_maximum_is_set() -> None:
    made = config(replicas=2, max_replicas=6, requests_at_once=64)["deployment_config"]
    assert made["autoscaling_config"] == {"min_replicas": 2, "max_replicas": 6, "target_ongoing_requests": 32}
    assert "num_replicas" not in made


def test_image_tokens_are_always_told() -> None:
    assert config()["engine_kwargs"]["enable_prompt_tokens_details"] is True


def test_the_revision_is_that_of_the_recipe() -> None:
    assert config(revision="abc")["engine_kwargs"]["revision"] == "abc"
    assert "revision" not in config()["engine_kwargs"]


def test_a_recipes_settings_become_the_engines_arguments() -> None:
    serve = {
        "images_per_prompt": 3,
        "max_pixels": 401408,
        "engine": {"enforce_eager": True, "max_model_len": 9},
    }
    model = ModelSettings.model_validate({"name": "m", "urls": ["http://h:1"], "serve": serve})
    made = served_model(model)
    assert made.source == "m"
    assert made.engine["limit_mm_per_prompt"] == {"image": 3, "video": 0}
    assert made.engine["mm_processor_kwargs"]["max_pixels"] == 401408
    assert made.engine["enforce_eager"] is True
    assert made.engine["max_model_len"] == 9


def test_serving_ends_when_every_model_is_listed() -> None:
    with fake_endpoint(lambda n, body: completion("x"), models=("a", "b")) as endpoint:
        wait_until_served(endpoint.url, ["a", "b"], start_s=5)


def test_a_model_that_does_not_come_up_is_named() -> None:
    with (
        fake_endpoint(lambda n, body: completion("x"), models=("a",)) as endpoint,
        pytest.raises(ServingError, match=r"not served within 0\.1 s: b"),
    ):
        wait_until_served(endpoint.url, ["a", "b"], start_s=0.1)


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with fake_endpoint(lambda n, body: completion("x"), models=("a",)) as endpoint:
        wait_until_served(endpoint.url, ["a"], start_s=5)


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
        b'HTTP/1.1 200 OK\r\n\r\n{"data": [{"id": ["a"]}]}',
        b'HTTP/1.1 200 OK\r\n\r\n{"data": null}',
        b"HTTP/1.1 503 Busy\r\n\r\n",
    ],
)
def test_somebody_else_at_the_address_is_not_the_model(said: bytes) -> None:
    with stranger(said) as url, pytest.raises(ServingError, match=r"not served within 0\.1 s: a$"):
        wait_until_served(url, ["a"], start_s=0.1)


@contextmanager
def stranger(said: bytes) -> Iterator[str]:
    """A server that says the same to everybody, whatever they ask."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(10_000)
            self.request.sendall(said)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n  no GPU  left \n\n", "no GPU left"),
        ("", "RuntimeError"),
        ("x" * 1000, "x" * 200),
        ("a\x0bb\u2028c", "a b c"),
    ],
)
def test_of_a_long_error_thelast_line_is_told(text: str, line: str) -> None:
    assert last_line(RuntimeError(text)) == line


def test_an_address_that_nobody_answers_is_not_served() -> None:
    with pytest.raises(ServingError, match=r"http://127\.0\.0\.1:1: not served"):
        wait_until_served("http://127.0.0.1:1", ["a"], start_s=0.1)
