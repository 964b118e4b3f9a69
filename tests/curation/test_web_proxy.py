"""Through a proxy every check stays here: it is asked for tunnels to checked addresses, never for names."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from pydantic import ValidationError

from curation.web import WebOpener
from pipeline.reasons import Reason
from tests.curation.test_web import (
    BODY,
    LoopbackServer,
    reason_of,
    repeats,
    reply,
    resolves,
    sends,
    serving,
    settings,
)
from tests.curation.test_web_bad_input import sockets_to, unasked
from tests.curation.test_web_tls import NAME, Authority, serving_tls

pytestmark = pytest.mark.timeout(30)


def carry(source: socket.socket, target: socket.socket) -> None:
    """Bytes one way, until the source ends."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def proxying() -> Iterator[LoopbackServer]:
    """A proxy that makes the tunnels it is asked for, wherever to; `heads` holds what it was asked."""

    def tunnel(connection: socket.socket, authority: str) -> None:
        host, _, port = authority.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=10) as far:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")
            back = Thread(target=carry, args=(far, connection), daemon=True)
            back.start()
            carry(connection, far)
            back.join(10)

    with serving(tunnel) as proxy:
        yield proxy


def through(proxy: LoopbackServer, tls: ssl.SSLContext | None = None, *addresses: str) -> WebOpener:
    resolve = resolves(*(addresses or ("127.0.0.1",)))
    return WebOpener(settings(proxy=proxy.url()), resolve, tls)


def test_a_body_comes_through_a_tunnel_to_the_checked_address() -> None:
    with serving(sends(reply())) as server, proxying() as proxy:
        opener = through(proxy)
        assert opener.open(server.url("/a.jpg", host="pictures.example")).read() == BODY
        assert sockets_to(proxy.port) == []
    address = f"127.0.0.1:{server.port}"
    assert proxy.heads == [f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"]
    assert server.heads[0].startswith(f"GET /a.jpg HTTP/1.1\r\nHost: pictures.example:{server.port}\r\n")


def test_tls_ends_at_the_server_and_is_verified(tmp_path_factory: pytest.TempPathFactory) -> None:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    tls = ssl.create_default_context(cafile=str(authority.file))
    with serving_tls(authority.certificate(NAME)) as port, proxying() as proxy:
        opener = through(proxy, tls)
        assert opener.open(f"https://pictures.example:{port}/").read() == BODY
        assert reason_of(f"https://other.example:{port}/", opener) is Reason.TLS_FAILED
        assert reason_of(f"https://pictures.example:{port}/", through(proxy)) is Reason.TLS_FAILED


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://10.0.0.1/", Reason.ADDRESS_FORBIDDEN),
        ("http://169.254.169.254/", Reason.ADDRESS_FORBIDDEN),
        ("https://[fd00::1]/", Reason.ADDRESS_FORBIDDEN),
        ("http://8.8.8.8:22/", Reason.PORT_FORBIDDEN),
        ("ftp://8.8.8.8/", Reason.SCHEME_FORBIDDEN),
        ("http://user:word@8.8.8.8/", Reason.URL_INVALID),
    ],
)
def test_what_is_forbidden_never_reaches_the_proxy(url: str, reason: Reason) -> None:
    with proxying() as proxy:
        assert reason_of(url, WebOpener(settings(proxy=proxy.url()), resolve=unasked)) is reason
    assert proxy.heads == []


def test_a_name_with_a_private_address_never_reaches_the_proxy() -> None:
    with proxying() as proxy:
        opener = through(proxy, None, "8.8.8.8", "10.0.0.1")
        assert reason_of("http://pictures.example/", opener) is Reason.ADDRESS_FORBIDDEN
    assert proxy.heads == []


def test_each_redirect_is_checked_and_has_a_tunnel_of_its_own() -> None:
    moved = reply(b"", "Location: http://10.0.0.1/", status="302 Found")
    with serving(sends(moved)) as server, proxying() as proxy:
        assert reason_of(server.url(), through(proxy)) is Reason.ADDRESS_FORBIDDEN
        again = reply(b"", f"Location: {server.url()}", status="302 Found")
        with serving(sends(again)) as other:
            assert reason_of(other.url(), through(proxy)) is Reason.ADDRESS_FORBIDDEN
    assert len(proxy.heads) == 3


def test_the_next_address_is_tried_when_the_proxy_cannot_reach_the_first() -> None:
    with serving(sends(reply())) as server, proxying() as proxy:
        opener = through(proxy, None, "127.0.0.2", "127.0.0.1")
        assert opener.open(server.url(host="pictures.example")).read() == BODY
    assert [head.split()[1] for head in proxy.heads] == [
        f"127.0.0.2:{server.port}",
        f"127.0.0.1:{server.port}",
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", Reason.CONNECT_FAILED),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Reason.CONNECT_FAILED),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", Reason.CONNECT_FAILED),
        (b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n", Reason.CONNECT_FAILED),
        (b"SSH-2.0-OpenSSH\r\n", Reason.HTTP_PROTOCOL_ERROR),
        (b"", Reason.HTTP_PROTOCOL_ERROR),
    ],
)
def test_a_proxy_that_makes_no_tunnel_has_its_reason(data: bytes, reason: Reason) -> None:
    with serving(sends(data)) as proxy:
        assert reason_of("http://8.8.8.8/", through(proxy)) is reason
        assert sockets_to(proxy.port) == []


def test_no_proxy_at_its_address_is_a_failed_connection() -> None:
    with serving(sends(b"")) as proxy:
        opener = through(proxy)
    assert reason_of("http://8.8.8.8/", opener) is Reason.CONNECT_FAILED


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_the_deadline_spans_the_proxy(start: bytes) -> None:
    with serving(repeats(b"", 0.02, start)) as proxy:
        opener = WebOpener(settings(proxy=proxy.url(), deadline_s=0.3))
        assert reason_of("https://8.8.8.8/", opener) is Reason.DEADLINE_EXCEEDED
        assert sockets_to(proxy.port) == []


@pytest.mark.parametrize(
    "proxy",
    [
        "",
        "proxy.example:3128",
        "https://proxy.example:3128",
        "socks5://proxy.example:1080",
        "http://user:word@proxy.example:3128",
        "http://proxy.example:3128/path",
        "http://proxy.example:99999",
        "http://proxy example:1",
    ],
)
def test_a_setting_that_is_no_plain_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(ValidationError):
        settings(proxy=proxy)


def test_proxy_and_lookups_change_no_result() -> None:
    plain, through_proxy = settings(), settings(proxy="http://proxy.example:3128", max_lookups=7)
    assert plain.fingerprint() == through_proxy.fingerprint()
