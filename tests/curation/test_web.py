"""The opener against servers on loopback; what they do wrong stands in test_web_bad_input."""

import gzip
import socket
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest
from pydantic import ValidationError

from curation.addresses import Target
from curation.web import WebError, WebOpener, WebSettings
from pipeline.reasons import Reason

pytestmark = pytest.mark.timeout(30)

Answer = Callable[[socket.socket, str], None]
BODY = b"picture" * 100


class LoopbackServer:
    """Answers each connection in a thread of its own; `heads` holds the requests as they came."""

    def __init__(self, answer: Answer, address: str = "127.0.0.1", port: int = 0) -> None:
        self.heads: list[str] = []
        self._answer = answer
        self._listener = socket.create_server((address, port))
        self.address, self.port = self._listener.getsockname()
        Thread(target=self._accept, daemon=True).start()

    def url(self, path: str = "/", host: str | None = None) -> str:
        return f"http://{host or self.address}:{self.port}{path}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        head = b""
        try:
            with connection:
                while not head.endswith(b"\r\n\r\n") and (more := connection.recv(4096)):
                    head += more
                self.heads.append(head.decode("latin-1"))
                self._answer(connection, head.split()[1].decode("latin-1"))
        except (OSError, IndexError):
            pass  # the client has gone


@contextmanager
def serving(answer: Answer, address: str = "127.0.0.1", port: int = 0) -> Iterator[LoopbackServer]:
    server = LoopbackServer(answer, address, port)
    try:
        yield server
    finally:
        server.close()


def reply(body: bytes = BODY, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def sends(data: bytes) -> Answer:
    return lambda connection, path: connection.sendall(data)


def repeats(data: bytes, pause_s: float = 0.0, start: bytes = b"") -> Answer:
    """Sends `start`, then `data` until the client has gone."""

    def answer(connection: socket.socket, path: str) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(data)
            time.sleep(pause_s)

    return answer


def settings(**changes: Any) -> WebSettings:
    return WebSettings(**{"allow_loopback": True, "deadline_s": 10.0, **changes})


def resolves(*addresses: str) -> Callable[[str], list[str]]:
    return lambda host: list(addresses)


def reason_of(url: str, opener: WebOpener | None = None, **changes: Any) -> Reason:
    with pytest.raises(WebError) as caught:
        (opener or WebOpener(settings(**changes))).open(url)
    return caught.value.reason


def answered(answer: Answer, **changes: Any) -> Reason:
    with serving(answer) as server:
        return reason_of(server.url(), **changes)


# what works


def test_a_body_arrives_with_headers_status_and_url() -> None:
    with (
        serving(sends(reply(BODY, "X-Robots-Tag: noai", "X-Robots-Tag: all"))) as server,
        WebOpener(settings()).open(server.url("/a b.jpg#part")) as response,
    ):
        assert response.read() == BODY
        assert response.headers.get_all("X-Robots-Tag") == ["noai", "all"]
        assert (response.status, response.url) == (200, server.url("/a%20b.jpg"))


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
        b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2bc\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + reply(),
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + reply(),
        reply(BODY, f"Content-Length: {len(BODY)}"),
        reply(gzip.compress(BODY), "Content-Encoding: gzip"),
        reply(gzip.compress(BODY), "Content-Encoding: X-GZIP") + b"after the end",
        reply(zlib.compress(BODY), "Content-Encoding: deflate"),
        reply(BODY, "Content-Encoding: identity"),
    ],
)
def test_bodies_arrive_however_servers_send_them(data: bytes) -> None:
    with serving(sends(data)) as server:
        assert WebOpener(settings()).open(server.url()).read() == BODY


def test_the_honest_user_agent_replaces_the_callers() -> None:
    with serving(sends(reply())) as server:
        opener = WebOpener(settings(user_agent="tester/2", contact="https://example.org/bot"))
        request = urllib.request.Request(server.url("/x"), headers={"User-Agent": "Mozilla", "Cookie": "a=b"})
        opener.open(request, timeout=1)
    assert server.heads == [
        "GET /x HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{server.port}\r\n"
        "User-Agent: tester/2 (+https://example.org/bot)\r\n"
        "Accept: image/*,*/*;q=0.5\r\n"
        "Accept-Encoding: identity\r\n"
        "Connection: close\r\n\r\n"
    ]


@pytest.mark.parametrize("key", ["user_agent", "contact"])
def test_a_user_agent_cannot_smuggle_a_header(key: str) -> None:
    with pytest.raises(ValidationError):
        settings(**{key: "a\r\nCookie: b"})


def test_urllib_and_all_that_uses_it_go_through_an_installed_opener(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "_opener", WebOpener(settings()))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving(sends(reply())) as server:
        request = urllib.request.Request(server.url(), data=None)
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.read() == BODY
    with pytest.raises(WebError):
        urllib.request.urlopen("file:///etc/hostname")


def test_the_environments_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(sends(reply())) as server:
        assert WebOpener(settings()).open(server.url()).read() == BODY


def test_many_threads_share_one_opener() -> None:
    def echo(connection: socket.socket, path: str) -> None:
        connection.sendall(reply(path.encode()))

    with serving(echo) as server:
        opener = WebOpener(settings())
        with ThreadPoolExecutor(8) as pool:
            bodies = list(pool.map(lambda i: opener.open(server.url(f"/{i}")).read(), range(64)))
    assert bodies == [f"/{i}".encode() for i in range(64)]


def test_only_get_is_sent() -> None:
    with serving(sends(reply())) as server:
        opener = WebOpener(settings())
        for request in (
            urllib.request.Request(server.url(), data=b"x"),
            urllib.request.Request(server.url(), method="DELETE"),
        ):
            with pytest.raises(WebError):
                opener.open(request, request.data)
    assert server.heads == []


# statuses and bodies that a caller may want all the same


@pytest.mark.parametrize(
    "status", ["200 OK", "206 Part", "304 N", "401 A", "404 N", "429 T", "503 B", "999 D"]
)
def test_any_status_is_returned_where_asked_for(status: str) -> None:
    body = b"" if status == "304 N" else BODY
    with serving(sends(reply(body, "X-Robots-Tag: noai", status=status))) as server:
        response = WebOpener(settings()).get(server.url("/robots.txt"), any_status=True)
    assert (response.status, response.read()) == (int(status[:3]), body)
    assert response.headers["X-Robots-Tag"] == "noai"


def test_an_empty_body_is_returned_where_any_status_is() -> None:
    with serving(sends(reply(b""))) as server:
        assert WebOpener(settings()).get(server.url(), any_status=True).read() == b""
        assert reason_of(server.url()) is Reason.EMPTY_BODY


def test_any_status_excuses_no_broken_answer_and_no_forbidden_redirect() -> None:
    opener = WebOpener(settings())
    for data, reason in (
        (reply(BODY, status="404 N")[:-1], Reason.TRUNCATED_BODY),
        (reply(b"", "Location: http://10.0.0.1/", status="302 F"), Reason.ADDRESS_FORBIDDEN),
        (b"nonsense", Reason.HTTP_PROTOCOL_ERROR),
    ):
        with serving(sends(data)) as server, pytest.raises(WebError) as caught:
            opener.get(server.url(), any_status=True)
        assert caught.value.reason is reason


def test_a_caller_may_set_a_cap_of_its_own() -> None:
    opener = WebOpener(settings(max_body_bytes=10))
    with serving(sends(reply())) as server:
        assert opener.get(server.url(), max_body_bytes=len(BODY)).read() == BODY
        with pytest.raises(WebError) as caught:
            opener.get(server.url(), max_body_bytes=len(BODY) - 1)
    assert caught.value.reason is Reason.TOO_MANY_BYTES


# refusals and failures


@pytest.mark.parametrize(
    ("status", "reason", "retry_after"),
    [
        ("429 T", Reason.RATE_LIMITED, 7.0),
        ("503 B", Reason.HTTP_SERVER_ERROR, 7.0),
        ("500 O", Reason.HTTP_SERVER_ERROR, None),
        ("404 N", Reason.HTTP_CLIENT_ERROR, None),
    ],
)
def test_a_busy_server_says_for_how_long(status: str, reason: Reason, retry_after: float | None) -> None:
    answer = sends(reply(BODY, "Retry-After: 7", status=status))
    with serving(answer) as server, pytest.raises(WebError) as caught:
        WebOpener(settings()).open(server.url())
    assert (caught.value.reason, caught.value.retry_after_s) == (reason, retry_after)
    assert caught.value.status == int(status.split()[0])


# where requests may go


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", Reason.SCHEME_FORBIDDEN),
        ("ftp://127.0.0.1/a", Reason.SCHEME_FORBIDDEN),
        ("http://user:word@127.0.0.1/", Reason.URL_INVALID),
        ("http://127.0.0.1/\r\nX: y", Reason.URL_INVALID),
        ("http://10.0.0.1/", Reason.ADDRESS_FORBIDDEN),
        ("http://169.254.169.254/latest/meta-data/", Reason.ADDRESS_FORBIDDEN),
        ("http://0251.254.169.254/", Reason.ADDRESS_FORBIDDEN),
        ("http://[::ffff:10.0.0.1]/", Reason.ADDRESS_FORBIDDEN),
        ("http://[64:ff9b::a00:1]/", Reason.ADDRESS_FORBIDDEN),
        ("http://8.8.8.8:8080/", Reason.PORT_FORBIDDEN),
    ],
)
def test_forbidden_urls_are_refused_even_where_loopback_is_allowed(url: str, reason: Reason) -> None:
    assert reason_of(url) is reason


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0177.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]"])
def test_loopback_is_asked_only_where_allowed(host: str) -> None:
    with serving(sends(reply())) as server:
        assert WebOpener(settings()).open(server.url(host=host)).read() == BODY
        strict: dict[str, Any] = {"allow_loopback": False, "ports": (server.port,)}
        assert reason_of(server.url(host=host), **strict) is Reason.ADDRESS_FORBIDDEN
        assert reason_of(server.url(host=host), allow_loopback=False) is Reason.PORT_FORBIDDEN
    assert len(server.heads) == 1


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["8.8.8.8", "192.168.0.1"], ["fd00::1"], ["127.0.0.1"]])
def test_a_name_with_one_private_address_is_refused(addresses: list[str]) -> None:
    opener = WebOpener(settings(allow_loopback=False), resolve=resolves(*addresses))
    assert reason_of("http://pictures.example/", opener) is Reason.ADDRESS_FORBIDDEN


def test_a_name_is_resolved_once_and_the_connection_goes_to_the_checked_address() -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    with (
        serving(sends(reply(b"checked"))) as first,
        serving(sends(reply(b"rebound")), "127.0.0.2", first.port) as second,
    ):
        opener = WebOpener(settings(), resolve=lambda host: next(answers))
        assert opener.open(first.url(host="pictures.example")).read() == b"checked"
    assert next(answers) == ["127.0.0.2"]  # was not asked for
    assert second.heads == []
    assert f"Host: pictures.example:{first.port}\r\n" in first.heads[0]


def test_a_name_that_turns_from_public_to_loopback_cannot_be_rebound(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    connected: list[Any] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]

    class Recording(socket.socket):
        def connect(self, address: Any) -> None:
            connected.append(address)
            raise ConnectionRefusedError

    monkeypatch.setattr(socket, "socket", Recording)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a second resolution"))
    opener = WebOpener(settings(allow_loopback=False), resolve=resolve)
    assert reason_of("http://pictures.example/", opener) is Reason.CONNECT_FAILED
    assert (asked, connected) == (["pictures.example"], [("93.184.216.34", 80)])


def test_a_kept_address_is_the_checked_one_and_a_fresh_one_is_checked_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    opener = WebOpener(settings(), resolve=lambda host: next(answers))
    with serving(sends(reply())) as server:
        url = server.url(host="pictures.example")
        assert opener.open(url).read() == opener.open(url).read() == BODY
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 61)
        assert reason_of(url, opener) is Reason.ADDRESS_FORBIDDEN


def test_the_next_address_is_tried_when_the_first_does_not_answer() -> None:
    with serving(sends(reply())) as server:
        opener = WebOpener(settings(), resolve=resolves("::1", "127.0.0.2", "127.0.0.1"))
        assert opener.open(server.url(host="pictures.example")).read() == BODY


# redirects


def redirects(location: str, status: str = "302 Found") -> Answer:
    def answer(connection: socket.socket, path: str) -> None:
        sent = reply() if path == "/end" else reply(b"moved", f"Location: {location}", status=status)
        connection.sendall(sent)

    return answer


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_redirects_are_followed(status: str) -> None:
    with serving(redirects("/end", status)) as server:
        response = WebOpener(settings()).open(server.url("/start"))
    assert (response.read(), response.url) == (BODY, server.url("/end"))


def test_a_redirect_resolves_and_checks_its_name_anew() -> None:
    answers = {"first.example": ["127.0.0.1"], "second.example": ["10.0.0.1"]}
    with serving(redirects("http://second.example/")) as server:
        opener = WebOpener(settings(), resolve=answers.__getitem__)
        assert reason_of(server.url(host="first.example"), opener) is Reason.ADDRESS_FORBIDDEN


def test_a_redirect_in_utf8_is_percent_encoded() -> None:
    with serving(redirects("/ü".encode().decode("latin-1"))) as server:
        assert reason_of(server.url(), max_redirects=1) is Reason.TOO_MANY_REDIRECTS
    assert server.heads[1].startswith("GET /%C3%BC HTTP")


@pytest.mark.parametrize(("hops", "followed"), [(5, True), (6, False)])
def test_five_redirects_are_followed_and_no_more(hops: int, followed: bool) -> None:
    def answer(connection: socket.socket, path: str) -> None:
        step = int(path[1:])
        moved = reply(b"moved", f"Location: /{step + 1}", status="302 Found")
        connection.sendall(reply() if step == hops else moved)

    with serving(answer) as server:
        if followed:
            assert WebOpener(settings()).open(server.url("/0")).url == server.url("/5")
        else:
            assert reason_of(server.url("/0")) is Reason.TOO_MANY_REDIRECTS
    assert len(server.heads) == 6


def test_redirects_are_counted() -> None:
    with serving(redirects("/again")) as server:
        assert reason_of(server.url(), max_redirects=3) is Reason.TOO_MANY_REDIRECTS
    assert len(server.heads) == 4


def test_the_caller_is_told_where_each_redirect_leads_before_it_is_asked_for() -> None:
    told: list[tuple[str, int]] = []
    with serving(redirects("/end")) as server:
        url = server.url("/start")
        WebOpener(settings()).get(url, redirected=lambda to: told.append((to.path, len(server.heads))))
    assert told == [("/end", 1)]


def test_a_redirect_that_the_caller_refuses_is_not_followed() -> None:
    def refuse(target: Target) -> None:
        raise WebError(Reason.TAKEN_DOWN, target.path)

    with serving(redirects("/end")) as server, pytest.raises(WebError) as caught:
        WebOpener(settings()).get(server.url("/start"), redirected=refuse)
    assert caught.value.detail == "/end"
    assert len(server.heads) == 1


# bounds in bytes


def test_a_body_announced_too_long_is_not_read() -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"  # and nothing after it, the connection stays open
    )
    gone = Event()

    def answer(connection: socket.socket, path: str) -> None:
        connection.sendall(head)
        gone.wait(20)

    assert answered(answer, max_body_bytes=1000) is Reason.TOO_MANY_BYTES
    gone.set()


def test_a_body_may_be_as_long_as_the_cap() -> None:
    with serving(sends(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000)) as server:
        assert len(WebOpener(settings(max_body_bytes=1000)).open(server.url()).read()) == 1000
        assert reason_of(server.url(), max_body_bytes=999) is Reason.TOO_MANY_BYTES


# bounds in time


def test_the_deadline_spans_redirects() -> None:
    def answer(connection: socket.socket, path: str) -> None:
        time.sleep(0.15)
        connection.sendall(reply(b"moved", "Location: /again", status="302 Found"))

    assert answered(answer, deadline_s=0.4, max_redirects=50) is Reason.DEADLINE_EXCEEDED


def test_the_deadline_leaves_a_hanging_resolver_behind() -> None:
    released = Event()

    def resolve(host: str) -> list[str]:
        released.wait(20)
        return ["127.0.0.1"]

    opener = WebOpener(settings(deadline_s=0.2), resolve=resolve)
    assert reason_of("http://pictures.example/", opener) is Reason.DEADLINE_EXCEEDED
    released.set()
