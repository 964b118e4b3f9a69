"""A loopback server that answers chat completions by a script, for tests of the client."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes]


def completion(text: str | None, finish_reason: str = "stop", image_tokens: int | None = 18) -> Reply:
    """A good answer, as vLLM gives it."""
    usage: dict[str, Any] = {"prompt_tokens": 90, "completion_tokens": 12}
    if image_tokens is not None:
        usage["prompt_tokens_details"] = {"multimodal_tokens": {"image": image_tokens}}
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return 200, json.dumps({"choices": [choice], "usage": usage}).encode()


@dataclass
class FakeEndpoint:
    """Its address, and the requests that it has got."""

    url: str
    paths: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def fake_endpoint(reply: Callable[[int, dict[str, Any]], Reply]) -> Iterator[FakeEndpoint]:
    """Serve `reply(number of the request, its body)` on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                endpoint.paths.append(self.path)
                endpoint.requests.append(body)
                number = len(endpoint.requests) - 1
            status, content = reply(number, body)
            with suppress(ConnectionError):  # the client may have given up
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    lock = threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint = FakeEndpoint(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
