"""A small web on loopback: fixed answers by path, good and bad manners, and the URL list through it.

What stands in it is written in world/pages.py. Nothing here leaves the machine: no listed address needs DNS,
and those that are not on loopback are literals which a careful client refuses before it connects.
"""

import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from pipeline.reasons import Reason

MAX_HANDLERS = 64


class Manner(StrEnum):
    """How an answer is given."""

    WHOLE = "whole"
    CHUNKED = "chunked"
    CUT = "cut"
    """All of the body is promised, half of it is sent."""
    SILENT = "silent"
    """Nothing is said for `SmallWeb.silence_s`, then the connection is closed."""
    TRICKLE = "trickle"
    """One byte of the body every 0.2 s, without end."""
    ENDLESS = "endless"
    """The body again and again, as fast as it is read, without end."""
    RAW = "raw"
    """The body alone, without HTTP around it."""


@dataclass(frozen=True)
class Answer:
    """What a path answers, always the same."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    manner: Manner = Manner.WHOLE


@dataclass(frozen=True)
class Entry:
    """One line of the URL list and what must become of it."""

    kind: str
    """What is tried, in a word: jpeg, http_404, redirect_loop, ..."""
    address: str
    """The URL; `{base}` stands for the web's base URL, `{host}` for its host and port."""
    expected: tuple[Reason | None, ...]
    """The reasons that are right for this row of `urls`; None stands for kept."""
    people: bool = False
    """Whether it leads to a picture of people."""
    same_as: str | None = None
    """The address of an entry with exactly the same pixels."""
    picture: str | None = None
    """The name of the picture that it shows, in whatever form; None where no picture is to be seen."""

    def url(self, base_url: str) -> str:
        """The line of the URL list, for a web served at `base_url` (`http://127.0.0.1:PORT`)."""
        return self.address.replace("{base}", base_url).replace("{host}", urlsplit(base_url).netloc)


@dataclass(frozen=True)
class SmallWeb:
    """A list of URLs in a fixed order, and the answer of each path that the server knows."""

    entries: tuple[Entry, ...]
    answers: Mapping[str, Answer] = field(repr=False)
    silence_s: float
    """How long a silent path says nothing; longer than the deadline of the client under test."""

    def urls(self, base_url: str) -> list[str]:
        """The URL list, one for each entry and in the order of the entries."""
        return [entry.url(base_url) for entry in self.entries]


class RunningWeb:
    """A small web while it is served."""

    def __init__(self, server: "_Server") -> None:
        self._server = server
        self.base_url = f"http://127.0.0.1:{server.server_address[1]}"

    @property
    def urls(self) -> list[str]:
        """The URL list of this web at its address."""
        return self._server.web.urls(self.base_url)

    def requests(self) -> Counter[str]:
        """How often each path was asked for until now."""
        with self._server.guard:
            return Counter(self._server.requests)


@contextmanager
def serve(web: SmallWeb, port: int = 0) -> Iterator[RunningWeb]:
    """Serve a web on 127.0.0.1 until the block ends; port 0 takes a free one.

    Raises OSError if the port is taken. On leaving, open connections are cut and all threads have ended.
    """
    server = _Server(web, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="small-web")
    thread.start()
    try:
        yield RunningWeb(server)
    finally:
        server.stop()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() then waits for the handlers
    request_queue_size = 128

    def __init__(self, web: SmallWeb, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.web = web
        self.requests: Counter[str] = Counter()
        self.guard = threading.Lock()
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._slots = threading.BoundedSemaphore(MAX_HANDLERS)

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        with self.guard:
            for connection in self._open:
                _cut(connection)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        while not self._slots.acquire(timeout=0.1):
            if self.stopping.is_set():
                super().shutdown_request(request)
                return
        with self.guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self.guard:
            self._open.discard(request)
        super().shutdown_request(request)
        self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that hangs up is no news
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds a client may keep a handler waiting
    server: _Server

    def handle(self) -> None:
        if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":  # a TLS greeting, which may hold no line end
            self.connection.recv(65536)
            self.connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        else:
            self.handle_one_request()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        with self.server.guard:
            self.server.requests[path] += 1
        answer = self.server.web.answers.get(
            path, Answer(b"not found\n", 404, (("Content-Type", "text/plain"),))
        )
        _MANNERS[answer.manner](self, answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        pass

    def whole(self, answer: Answer) -> None:
        self._head(answer, ("Content-Length", str(len(answer.body))))
        self.wfile.write(answer.body)

    def chunked(self, answer: Answer) -> None:
        self._head(answer, ("Transfer-Encoding", "chunked"))
        middle = len(answer.body) // 2
        for part in (answer.body[:middle], answer.body[middle:], b""):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))

    def cut(self, answer: Answer) -> None:
        self._head(answer, ("Content-Length", str(len(answer.body))))
        self.wfile.write(answer.body[: len(answer.body) // 2])

    def silent(self, answer: Answer) -> None:
        self.server.stopping.wait(self.server.web.silence_s)

    def trickle(self, answer: Answer) -> None:
        self._head(answer)
        sent = 0
        while not self.server.stopping.wait(0.2):
            at = sent % len(answer.body)
            self.wfile.write(answer.body[at : at + 1])
            sent += 1

    def endless(self, answer: Answer) -> None:
        self._head(answer)
        while not self.server.stopping.is_set():
            self.wfile.write(answer.body)

    def raw(self, answer: Answer) -> None:
        self.wfile.write(answer.body)

    def _head(self, answer: Answer, *framing: tuple[str, str]) -> None:
        self.send_response(answer.status)
        for name, value in (*answer.headers, *framing, ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()


_MANNERS = {
    Manner.WHOLE: _Handler.whole,
    Manner.CHUNKED: _Handler.chunked,
    Manner.CUT: _Handler.cut,
    Manner.SILENT: _Handler.silent,
    Manner.TRICKLE: _Handler.trickle,
    Manner.ENDLESS: _Handler.endless,
    Manner.RAW: _Handler.raw,
}


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was faster
