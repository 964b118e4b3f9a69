"""A proxy on loopback that keeps every question on its way to a model's endpoint, and the answer to it."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.curation.fake_endpoint import picture_bytes

Body = dict[str, Any]
ANSWER_S = 120.0


@dataclass(frozen=True)
class Exchange:
    """A question as it was sent, and what came back."""

    question: Body
    answer: Body

    @property
    def picture(self) -> bytes:
        """The JPEG asked about, taken out of its data URL."""
        return picture_bytes(self.question)[-1]

    @property
    def choices(self) -> list[str]:
        """The letters of a forced choice; empty for a caption."""
        return list(self.question.get("structured_outputs", {}).get("choice", ()))

    @property
    def text(self) -> str:
        """What stands behind the picture."""
        return str(self.question["messages"][-1]["content"][-1]["text"])

    @property
    def said(self) -> str:
        """The model's words."""
        return str(self.answer["choices"][0]["message"]["content"])


@dataclass
class Recorder:
    """The proxy's address, and what went through it."""

    url: str
    exchanges: list[Exchange] = field(default_factory=list)


@contextmanager
def recording(endpoint: str, change: Callable[[Body], Body] = lambda body: body) -> Iterator[Recorder]:
    """Stand before an endpoint. change: what becomes of a question on its way; kept is what was sent."""
    host = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(*_ask(host, "GET", self.path, None, {}))

        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["content-length"])))
            changed = json.dumps(change(question)).encode()
            status, answer = _ask(host, "POST", self.path, changed, {"content-type": "application/json"})
            recorder.exchanges.append(Exchange(question, json.loads(answer)))
            self._send(status, answer)

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        recorder = Recorder(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join()


def _ask(
    host: str, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, timeout=ANSWER_S)
    try:
        connection.request(method, path, content, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
