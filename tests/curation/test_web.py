"""The opener against servers on loopback, most of them ill-behaved."""

import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from pydantic import ValidationError

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
    ],
)
def test_bodies_without_a_length_arrive(data: bytes) -> None:
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


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", Reason.SCHEME_FORBIDDEN),
        ("http://10.0.0.1/", Reason.ADDRESS_FORBIDDEN),
        ("//169.254.169.254/latest/", Reason.ADDRESS_FORBIDDEN),
        ("http://8.8.8.8:22/", Reason.PORT_FORBIDDEN),
        ("http://u:p@127.0.0.1/", Reason.URL_INVALID),
        ("http://[", Reason.URL_INVALID),
        ("", Reason.HTTP_PROTOCOL_ERROR),
    ],
)
def test_each_redirect_is_checked_like_a_first_url(location: str, reason: Reason) -> None:
    assert answered(redirects(location)) is reason


def test_a_redirect_resolves_and_checks_its_name_anew() -> None:
    answers = {"first.example": ["127.0.0.1"], "second.example": ["10.0.0.1"]}
    with serving(redirects("http://second.example/")) as server:
        opener = WebOpener(settings(), resolve=answers.__getitem__)
        assert reason_of(server.url(host="first.example"), opener) is Reason.ADDRESS_FORBIDDEN


def test_a_redirect_in_utf8_is_percent_encoded() -> None:
    with serving(redirects("/ü".encode().decode("latin-1"))) as server:
        assert reason_of(server.url(), max_redirects=1) is Reason.TOO_MANY_REDIRECTS
    assert server.heads[1].startswith("GET /%C3%BC HTTP")


def test_redirects_are_counted() -> None:
    with serving(redirects("/again")) as server:
        assert reason_of(server.url(), max_redirects=3) is Reason.TOO_MANY_REDIRECTS
    assert len(server.heads) == 4


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


@pytest.mark.parametrize(
    ("start", "data"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"trailer: x\r\n" * 1000),
    ],
    ids=["plain", "chunked", "negative chunk", "trailers"],
)
def test_an_endless_body_is_cut_off(start: bytes, data: bytes) -> None:
    assert answered(repeats(data, start=start), max_body_bytes=100_000) is Reason.TOO_MANY_BYTES


@pytest.mark.parametrize(
    ("start", "data"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 1000),
        (b"HTTP/1.1 ", b"y" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    ],
    ids=["many", "long", "status", "continue"],
)
def test_endless_headers_are_cut_off(start: bytes, data: bytes) -> None:
    assert answered(repeats(data, start=start)) is Reason.HTTP_PROTOCOL_ERROR


# bounds in time

SLOW = [
    (b"", b""),
    (b"", b"H"),
    (b"HTTP/1.1 200 OK\r\n", b""),
    (b"HTTP/1.1 200 OK\r\nx: ", b"y"),
    (b"HTTP/1.1 200 OK\r\n\r\n", b"y"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"y"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\ny\r\n"),
]


@pytest.mark.parametrize(("start", "data"), SLOW)
def test_the_deadline_ends_silence_and_trickling(start: bytes, data: bytes) -> None:
    assert answered(repeats(data, 0.02, start), deadline_s=0.3) is Reason.DEADLINE_EXCEEDED


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


def test_the_deadline_ends_a_silent_tls_handshake() -> None:
    with serving(repeats(b"", 0.02)) as server:
        url = server.url().replace("http:", "https:")
        assert reason_of(url, deadline_s=0.3) is Reason.DEADLINE_EXCEEDED


# what servers get wrong


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("404 Not Found", Reason.HTTP_CLIENT_ERROR),
        ("429 Too Many Requests", Reason.HTTP_CLIENT_ERROR),
        ("500 Oops", Reason.HTTP_SERVER_ERROR),
        ("503 Busy", Reason.HTTP_SERVER_ERROR),
        ("304 Not Modified", Reason.HTTP_PROTOCOL_ERROR),
        ("999 Denied", Reason.HTTP_PROTOCOL_ERROR),
        ("abc", Reason.HTTP_PROTOCOL_ERROR),
    ],
)
def test_a_status_other_than_success_has_its_reason(status: str, reason: Reason) -> None:
    assert answered(sends(reply(status=status))) is reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.HTTP_PROTOCOL_ERROR),
        (b"<html>no http</html>\r\n\r\n", Reason.HTTP_PROTOCOL_ERROR),
        (b"\x00\xff" * 50, Reason.HTTP_PROTOCOL_ERROR),
        (reply(BODY, "Content-Encoding: gzip"), Reason.HTTP_PROTOCOL_ERROR),
        (reply(b""), Reason.EMPTY_BODY),
        (b"HTTP/1.1 200 OK\r\n\r\n", Reason.EMPTY_BODY),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Reason.EMPTY_BODY),
        (reply()[:-1], Reason.TRUNCATED_BODY),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", Reason.TRUNCATED_BODY),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", Reason.TRUNCATED_BODY),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", Reason.TRUNCATED_BODY),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", Reason.TRUNCATED_BODY),
    ],
)
def test_a_broken_answer_has_its_reason(data: bytes, reason: Reason) -> None:
    assert answered(sends(data)) is reason


def test_a_connection_reset_within_the_body_is_a_truncated_body() -> None:
    def answer(connection: socket.socket, path: str) -> None:
        connection.sendall(reply()[:-100])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    assert answered(answer) is Reason.TRUNCATED_BODY


def test_nobody_listening_is_a_failed_connection() -> None:
    with serving(sends(b"")) as server:
        url = server.url()
    assert reason_of(url) is Reason.CONNECT_FAILED


def test_names_without_an_address_fail_in_the_name_system() -> None:
    def unknown(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for resolve in (unknown, resolves()):
        opener = WebOpener(settings(), resolve=resolve)
        assert reason_of("http://pictures.example/", opener) is Reason.DNS_FAILED


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for pictures.example, in one file."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    path = folder / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = ["-subj", "/CN=pictures.example", "-addext", "subjectAltName=DNS:pictures.example"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    path.write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    return path


@contextmanager
def serving_tls(certificate: Path) -> Iterator[str]:
    """Yields the server's URL; it ends TLS by hand, since `serving` reads plain requests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(4096)
                    secured.sendall(reply())
            except OSError:
                pass  # the client refused the certificate

    Thread(target=accept, daemon=True).start()
    try:
        yield f"https://pictures.example:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_https_works_by_name_at_the_checked_address(certificate: Path) -> None:
    trusted = ssl.create_default_context(cafile=str(certificate))
    with serving_tls(certificate) as url:
        opener = WebOpener(settings(), resolve=resolves("127.0.0.1"), tls=trusted)
        assert opener.open(url).read() == BODY


def test_an_unknown_certificate_is_refused(certificate: Path) -> None:
    with serving_tls(certificate) as url:
        opener = WebOpener(settings(), resolve=resolves("127.0.0.1"))
        assert reason_of(url, opener) is Reason.TLS_FAILED


def test_a_certificate_for_another_name_is_refused(certificate: Path) -> None:
    trusted = ssl.create_default_context(cafile=str(certificate))
    with serving_tls(certificate) as url:
        opener = WebOpener(settings(), resolve=resolves("127.0.0.1"), tls=trusted)
        assert reason_of(url.replace("pictures", "other"), opener) is Reason.TLS_FAILED


def test_a_server_without_tls_is_a_tls_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        Thread(target=greet, daemon=True).start()
        assert reason_of(f"https://127.0.0.1:{listener.getsockname()[1]}/") is Reason.TLS_FAILED
