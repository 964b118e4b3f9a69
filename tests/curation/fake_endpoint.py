"""A loopback server that answers chat completions by a script, with every fault that we know of one."""

import base64
import hashlib
import io
import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image


class Fault:
    """What an endpoint does instead of answering."""


HANG = Fault()
"""Says nothing until the test is over."""
RESET = Fault()
"""Closes the connection without a word."""
TRICKLE = Fault()
"""A good answer, one byte every 10 ms."""


@dataclass(frozen=True)
class Raw(Fault):
    """Bytes in place of an HTTP answer; then the connection is closed."""

    content: bytes


Reply = tuple[int, bytes] | tuple[int, bytes, Mapping[str, str]] | Fault
"""Status, content, and headers; or a fault."""


def completion(
    text: str | None,
    finish_reason: str = "stop",
    image_tokens: int | None = 18,
    logprobs: Mapping[str, float] | None = None,
) -> tuple[int, bytes]:
    """A good answer, as vLLM gives it. logprobs: of the first token, by token."""
    usage: dict[str, Any] = {"prompt_tokens": 90, "completion_tokens": 12}
    if image_tokens is not None:
        usage["prompt_tokens_details"] = {"multimodal_tokens": {"image": image_tokens}}
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
    choice["finish_reason"] = finish_reason
    if logprobs is not None:
        listed = [{"token": token, "logprob": number, "bytes": None} for token, number in logprobs.items()]
        choice["logprobs"] = {"content": [{"token": text, "logprob": 0.0, "top_logprobs": listed}]}
    return 200, json.dumps({"choices": [choice], "usage": usage}).encode()


def chosen(letter: str, choices: Sequence[str]) -> tuple[int, bytes]:
    """A forced choice: the letter with 0.9, the others with the rest."""
    other = math.log(0.1 / (len(choices) - 1))
    return completion(letter, logprobs={c: math.log(0.9) if c == letter else other for c in choices})


def uncounted(reply: tuple[int, bytes]) -> tuple[int, bytes]:
    """A good answer of an endpoint that counts no tokens."""
    status, content = reply
    return status, json.dumps({**json.loads(content), "usage": None}).encode()


def sees_colours(number: int, body: dict[str, Any]) -> tuple[int, bytes]:
    """Answers the canaries that come by default, by looking at the picture."""
    with Image.open(io.BytesIO(picture_bytes(body)[-1])) as picture:
        red, _, blue = np.asarray(picture).reshape(-1, 3).mean(axis=0)
    return chosen("A" if red > blue else "C", body["structured_outputs"]["choice"])


def picture_bytes(body: Mapping[str, Any]) -> list[bytes]:
    """The pictures of a request, in their order."""
    parts = [p for m in body["messages"] if isinstance(m["content"], list) for p in m["content"]]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [base64.b64decode(url.removeprefix("data:image/jpeg;base64,"), validate=True) for url in urls]


@dataclass
class FakeEndpoint:
    """Its address, and the requests that it has got: paths, bodies, headers, sha256 of their pictures."""

    url: str
    paths: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    pictures: list[list[str]] = field(default_factory=list)
    most_at_once: int = 0
    dies: Callable[[], None] = lambda: None
    comes_back: Callable[[], None] = lambda: None


@contextmanager
def fake_endpoint(
    reply: Callable[[int, dict[str, Any]], Reply], models: Sequence[str] = ("toy",)
) -> Iterator[FakeEndpoint]:
    """Serve `reply(number of the request, its body)` on a free port of 127.0.0.1."""
    served = _Served(reply, models)
    served.start()
    try:
        yield served.endpoint
    finally:
        served.over.set()
        served.stop()


class _Served:
    """The server, which can go and come back at the same port."""

    def __init__(self, reply: Callable[[int, dict[str, Any]], Reply], models: Sequence[str]) -> None:
        self.reply, self.models = reply, models
        self.lock, self.over = threading.Lock(), threading.Event()
        self.at_once, self.port = 0, 0
        self.endpoint = FakeEndpoint("", dies=self.stop, comes_back=self.start)
        self.server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        served = self

        class Handler(_Handler):
            @property
            def served(self) -> _Served:
                return served

        self.server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.endpoint.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self.thread.start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            self.server = None

    def note(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> int:
        """The number of the request."""
        with self.lock:
            self.endpoint.paths.append(path)
            self.endpoint.headers.append(headers)
            self.endpoint.requests.append(body)
            self.endpoint.pictures.append([hashlib.sha256(p).hexdigest() for p in picture_bytes(body)])
            return len(self.endpoint.requests) - 1

    def entered(self, count: int) -> None:
        with self.lock:
            self.at_once += count
            self.endpoint.most_at_once = max(self.endpoint.most_at_once, self.at_once)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    @property
    def served(self) -> _Served:
        raise NotImplementedError

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(200, json.dumps({"data": [{"id": name} for name in self.served.models]}).encode(), {})
        else:
            self._send(404, b"no such page", {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        number = self.served.note(self.path, dict(self.headers), body)
        self.served.entered(1)
        try:
            reply = self.served.reply(number, body)
        finally:
            self.served.entered(-1)
        if not isinstance(reply, Fault):
            self._send(*reply[:2], reply[2] if len(reply) == 3 else {})
        elif isinstance(reply, Raw):
            with suppress(ConnectionError):
                self.wfile.write(reply.content)
        elif reply is HANG:
            self.served.over.wait(20)
        elif reply is TRICKLE:
            self._trickle(*completion("A person."))

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        with suppress(ConnectionError):  # the client may have given up
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def _trickle(self, status: int, content: bytes) -> None:
        with suppress(ConnectionError):
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            for place in range(len(content)):
                self.wfile.write(content[place : place + 1])
                if self.served.over.wait(0.01):
                    return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""
