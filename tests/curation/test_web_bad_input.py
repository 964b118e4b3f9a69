"""What the web throws at a downloader: each case ends with its reason, before its deadline, leaking nothing.

A case that is not about time has ten seconds and another reason than `deadline_exceeded`: it ended by itself.
"""

import gzip
import os
import socket
import ssl
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from curation.web import WebError, WebOpener, WebSettings
from pipeline.reasons import Reason
from tests.curation.test_web import BODY, Answer, repeats, reply, resolves, sends, serving, settings

pytestmark = pytest.mark.timeout(30)

MAX_BODY_BYTES = 100_000
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = OK + b"Content-Encoding: gzip\r\n\r\n"
TLS = ssl.create_default_context()  # costs more than a test
BOMB = gzip.compress(bytes(50 * MAX_BODY_BYTES))


def unasked(host: str) -> list[str]:
    pytest.fail(f"{host} was looked up")


@contextmanager
def fails(reason: Reason) -> Iterator[None]:
    with pytest.raises(WebError) as caught:
        yield
    assert caught.value.reason is reason
    assert str(caught.value).splitlines() == [str(caught.value)]
    assert len(str(caught.value)) < 300


# the URL alone

BAD_URLS = [
    "",
    "   ",
    "\n",
    "pictures.example/a.jpg",
    "//pictures.example/a.jpg",
    "http:",
    "http://",
    "http:///a.jpg",
    "http:pictures.example/a.jpg",
    "http://?a=b",
    "http://#a",
    "http://pictures.example/" + "a" * 2_000_000,
    "http://" + "a" * 2_000_000 + ".example/",
    "http://" + "a." * 1000 + "example/",
    "http://" + "a" * 64 + ".example/",
    "http://pictures..example/",
    "http://.example/",
    "http://pictures.example/\x00",
    "http://pictures.example/a b\r\nHost: other.example",
    "http://pictures.example/\ta",
    "http://pict\nures.example/",
    "http://pictures.example/\x7f",
    b"http://pictures.example/\xff\xfe.jpg".decode("utf-8", "surrogateescape"),
    b"http://pictures\xff.example/".decode("utf-8", "surrogateescape"),
    "http://pictures.example/\ud83d",
    "http://pict ures.example/",
    "http://pictures.example%00.other.example/",
    "http://pictures.example%2eother/",
    "http://<pictures>.example/",
    "http://pictures.example\\@10.0.0.1/",
    "http://\u200b/",
    "http://" + "ü" * 70 + ".example/",
    "http://xn--ü.example/",
    "http://user@pictures.example/",
    "http://user:word@pictures.example/",
    "http://:@pictures.example/",
    "http://@pictures.example/",
    "http://pictures.example@10.0.0.1/",
    "http://pictures.example:80@10.0.0.1/",
    "http://[::1/",
    "http://::1]/",
    "http://[]/",
    "http://[pictures.example]/",
    "http://[fe80::1%25eth0]/",
    "http://[v1.fe80]/",
    "http://[::ffff:256.0.0.1]/",
    "http://[1:2:3:4:5:6:7:8:9]/",
    "http://256.256.256.256/",
    "http://1.2.3.4.5/",
    "http://4294967296/",
    "http://0x100000000/",
    "http://09.0.0.1/",
    "http://pictures.example:65536/",
    "http://pictures.example:-1/",
    "http://pictures.example:8o/",
    "http://pictures.example:٨٠/",
]

FORBIDDEN_SCHEMES = [
    "file:///etc/passwd",
    "FILE://localhost/etc/passwd",
    "ftp://pictures.example/a",
    "sftp://pictures.example/a",
    "tftp://pictures.example/a",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "gopher://10.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/stats",
    "ldap://127.0.0.1/",
    "smb://127.0.0.1/share",
    "ws://pictures.example/",
    "blob:http://pictures.example/1",
    "about:blank",
    "mailto:a@pictures.example",
    "jar:http://pictures.example/a!/b",
    "view-source:http://pictures.example/",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "s3://bucket/key",
    "c:/windows/win.ini",
]

PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.255.255.254",
    "127.1",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f.1",
    "0X7F.0.0x0.01",
    "127.0.0.1.",
    "１２７.0.0.1",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "0",
    "0.0.0.0",
    "10.0.0.1",
    "10.1",
    "3232235521",
    "172.16.0.1",
    "0xac100001",
    "192.168.0.1",
    "0300.0250.0.1",
    "169.254.169.254",
    "0xA9.254.0251.0376",
    "2852039166",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:A9FE:A9FE]",
    "[0:0:0:0:0:ffff:10.0.0.1]",
    "[::ffff:0:10.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::8.8.8.8]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:5ef5:79fd::1]",
    "[2001:2::1]",
    "[2001:10::1]",
    "[2001:20::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[100::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[ff0e::1]",
]


@pytest.mark.parametrize("url", BAD_URLS, ids=lambda url: ascii(url)[:60])
def test_a_malformed_url_is_invalid(url: str) -> None:
    with fails(Reason.URL_INVALID):
        WebOpener(WebSettings(), unasked, TLS).open(url)


@pytest.mark.parametrize("url", FORBIDDEN_SCHEMES)
def test_a_scheme_other_than_http_and_https_is_forbidden(url: str) -> None:
    with fails(Reason.SCHEME_FORBIDDEN):
        WebOpener(WebSettings(), unasked, TLS).open(url)


@pytest.mark.parametrize("port", [0, 1, 22, 25, 81, 6379, 8080, 9200, 65535])
def test_a_port_other_than_80_and_443_is_forbidden(port: int) -> None:
    with fails(Reason.PORT_FORBIDDEN):
        WebOpener(WebSettings(), unasked, TLS).open(f"http://pictures.example:{port}/")


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
def test_a_private_address_is_forbidden_however_it_is_written(host: str) -> None:
    for scheme in ("http", "https"):
        with fails(Reason.ADDRESS_FORBIDDEN):
            WebOpener(WebSettings(), unasked, TLS).open(f"{scheme}://{host}/latest/meta-data/")


# names


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["8.8.8.8", "10.0.0.1"],
        ["10.0.0.1", "8.8.8.8"],
        ["::1"],
        ["::ffff:192.168.0.1"],
        ["::10.0.0.1"],
        ["64:ff9b::a00:1"],
        ["64:ff9b:1::808:808"],
        ["2002:c0a8:1::1"],
        ["2001:0:1::1"],
        ["2606:4700::1111", "fd00::1"],
        ["fe80::1%eth0"],
        ["fec0::1"],
        ["0.0.0.0"],
        ["100.64.0.1"],
        ["224.0.0.1"],
        ["2130706433"],
        ["no address"],
    ],
    ids=",".join,
)
def test_a_name_with_a_private_address_is_forbidden(addresses: list[str]) -> None:
    with fails(Reason.ADDRESS_FORBIDDEN):
        WebOpener(WebSettings(), resolves(*addresses), TLS).open("http://pictures.example/")


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        UnicodeError("label too long"),
        TimeoutError("the resolver's own"),
        OSError(24, "Too many open files"),
        RuntimeError("two\nlines"),
    ],
    ids=repr,
)
def test_a_resolver_that_fails_is_a_failure_of_the_name_system(error: Exception) -> None:
    def resolve(host: str) -> list[str]:
        raise error

    with fails(Reason.DNS_FAILED):
        WebOpener(WebSettings(), resolve, TLS).open("http://pictures.example/")


# servers


def sockets_to(port: int) -> list[Any]:
    """This process's connections to a port that are still open."""
    open_ones = psutil.Process(os.getpid()).net_connections("tcp")
    return [c for c in open_ones if c.raddr and c.raddr.port == port and c.fd != -1]


def check(answer: Answer, reason: Reason, **changes: Any) -> None:
    """Ask a server that answers like this; the client's socket is closed while the error is still alive."""
    with serving(answer) as server:
        opener = WebOpener(settings(**{"max_body_bytes": MAX_BODY_BYTES, **changes}), tls=TLS)
        with pytest.raises(WebError) as caught:
            opener.open(server.url())
        assert sockets_to(server.port) == []
    assert caught.value.reason is reason


def redirected(*locations: str) -> Answer:
    """/0 leads to the first location and so on, round and round; `{}` is the next step's number."""

    def answer(connection: socket.socket, path: str) -> None:
        step = int(path.strip("/?") or 0)
        location = locations[step % len(locations)].format(step + 1)
        head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\nmoved"
        connection.sendall(head.encode("utf-8", "surrogateescape"))

    return answer


@pytest.mark.parametrize(
    ("locations", "reason"),
    [
        (["/"], Reason.TOO_MANY_REDIRECTS),
        (["/1", "/0"], Reason.TOO_MANY_REDIRECTS),
        (["/{}"], Reason.TOO_MANY_REDIRECTS),
        (["?{}"], Reason.TOO_MANY_REDIRECTS),
        (["#part"], Reason.TOO_MANY_REDIRECTS),
        (["/{}", "http://10.0.0.1/"], Reason.ADDRESS_FORBIDDEN),
        (["/{}", "/{}", "/{}", "/{}", "//169.254.169.254/"], Reason.ADDRESS_FORBIDDEN),
        (["http://0xa9fea9fe/latest/"], Reason.ADDRESS_FORBIDDEN),
        (["http://[::ffff:10.0.0.1]/"], Reason.ADDRESS_FORBIDDEN),
        (["https://192.168.0.1/"], Reason.ADDRESS_FORBIDDEN),
        (["http://8.8.8.8:22/"], Reason.PORT_FORBIDDEN),
        (["https://8.8.8.8:6379/"], Reason.PORT_FORBIDDEN),
        (["file:///etc/passwd"], Reason.SCHEME_FORBIDDEN),
        (["FTP://8.8.8.8/"], Reason.SCHEME_FORBIDDEN),
        (["data:image/png;base64,AAAA"], Reason.SCHEME_FORBIDDEN),
        (["gopher://8.8.8.8/"], Reason.SCHEME_FORBIDDEN),
        (["http://user:word@8.8.8.8/"], Reason.URL_INVALID),
        (["http://["], Reason.URL_INVALID),
        (["http://8.8.8.8:99999/"], Reason.URL_INVALID),
        (["http://exam ple/"], Reason.URL_INVALID),
        (["/\x00"], Reason.URL_INVALID),
        (["/" + "a" * 9000], Reason.URL_INVALID),
        (["/" + "a" * 2_000_000], Reason.HTTP_PROTOCOL_ERROR),
        ([""], Reason.HTTP_PROTOCOL_ERROR),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_a_redirect_is_followed_only_where_a_first_url_would_be(locations: list[str], reason: Reason) -> None:
    check(redirected(*locations), reason)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("101 Switching Protocols", Reason.HTTP_PROTOCOL_ERROR),
        ("204 No Content", Reason.EMPTY_BODY),
        ("206 Partial Content", Reason.HTTP_PROTOCOL_ERROR),
        ("300 Multiple Choices", Reason.HTTP_PROTOCOL_ERROR),
        ("302 Found", Reason.HTTP_PROTOCOL_ERROR),
        ("304 Not Modified", Reason.HTTP_PROTOCOL_ERROR),
        ("305 Use Proxy", Reason.HTTP_PROTOCOL_ERROR),
        ("400 Bad Request", Reason.HTTP_CLIENT_ERROR),
        ("401 Unauthorized", Reason.HTTP_CLIENT_ERROR),
        ("403 Forbidden", Reason.HTTP_CLIENT_ERROR),
        ("404 Not Found", Reason.HTTP_CLIENT_ERROR),
        ("407 Proxy Authentication Required", Reason.HTTP_CLIENT_ERROR),
        ("410 Gone", Reason.HTTP_CLIENT_ERROR),
        ("429 Too Many Requests", Reason.RATE_LIMITED),
        ("451 Unavailable For Legal Reasons", Reason.HTTP_CLIENT_ERROR),
        ("500 Internal Server Error", Reason.HTTP_SERVER_ERROR),
        ("502 Bad Gateway", Reason.HTTP_SERVER_ERROR),
        ("503 Service Unavailable", Reason.HTTP_SERVER_ERROR),
        ("504 Gateway Timeout", Reason.HTTP_SERVER_ERROR),
        ("599", Reason.HTTP_SERVER_ERROR),
        ("600 What", Reason.HTTP_PROTOCOL_ERROR),
        ("999 Denied", Reason.HTTP_PROTOCOL_ERROR),
        ("1000 More", Reason.HTTP_PROTOCOL_ERROR),
        ("099 Less", Reason.HTTP_PROTOCOL_ERROR),
        ("-200 OK", Reason.HTTP_PROTOCOL_ERROR),
        ("two hundred", Reason.HTTP_PROTOCOL_ERROR),
        ("", Reason.HTTP_PROTOCOL_ERROR),
    ],
)
def test_a_status_other_than_success_is_no_picture(status: str, reason: Reason) -> None:
    check(sends(reply(BODY, status=status)), reason)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", Reason.HTTP_PROTOCOL_ERROR, id="closed at once"),
        pytest.param(b"\r\n\r\n", Reason.HTTP_PROTOCOL_ERROR, id="no status line"),
        pytest.param(b"<html>old</html>", Reason.HTTP_PROTOCOL_ERROR, id="HTTP/0.9"),
        pytest.param(
            b"\xff\xd8\xff\xe0" + bytes(99), Reason.HTTP_PROTOCOL_ERROR, id="a picture without head"
        ),
        pytest.param(b"HTTP/2.0 200 OK\r\n\r\nx", Reason.HTTP_PROTOCOL_ERROR, id="HTTP/2"),
        pytest.param(b"\0\0\x12\x04\0\0\0\0\0" * 9, Reason.HTTP_PROTOCOL_ERROR, id="HTTP/2 frames"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", Reason.HTTP_PROTOCOL_ERROR, id="SSH"),
        pytest.param(b"220 mail.example ESMTP\r\n", Reason.HTTP_PROTOCOL_ERROR, id="SMTP"),
        pytest.param(b"\x15\x03\x01\0\x02\x02\x46", Reason.HTTP_PROTOCOL_ERROR, id="TLS alert"),
        pytest.param(OK[:9], Reason.HTTP_PROTOCOL_ERROR, id="closed in the status line"),
        pytest.param(OK + b"A: b\r\n" * 101 + b"\r\nx", Reason.HTTP_PROTOCOL_ERROR, id="101 headers"),
        pytest.param(OK + b"A: " + b"b" * 70_000, Reason.HTTP_PROTOCOL_ERROR, id="a header of 70 kB"),
        pytest.param(OK + b"A" * 70_000 + b": b", Reason.HTTP_PROTOCOL_ERROR, id="a header name of 70 kB"),
        pytest.param(
            OK + b"A: %s\r\n" % (b"b" * 900) * 80 + b"\r\nx",
            Reason.HTTP_PROTOCOL_ERROR,
            id="72 kB of headers",
        ),
        pytest.param(OK + b"no header\r\nA: b\r\n\r\nx", Reason.HTTP_PROTOCOL_ERROR, id="no colon"),
        pytest.param(OK + b"A B: c\r\n\r\nx", Reason.HTTP_PROTOCOL_ERROR, id="a space in a name"),
        pytest.param(OK + b"A: b", Reason.EMPTY_BODY, id="closed in the headers"),
        pytest.param(OK + b"\r\n", Reason.EMPTY_BODY, id="no body"),
        pytest.param(reply(b""), Reason.EMPTY_BODY, id="length 0"),
        pytest.param(CHUNKED + b"0\r\n\r\n", Reason.EMPTY_BODY, id="no chunks"),
        pytest.param(GZIP, Reason.EMPTY_BODY, id="no gzip"),
        pytest.param(GZIP + gzip.compress(b""), Reason.EMPTY_BODY, id="gzip of nothing"),
        pytest.param(reply()[:-1], Reason.TRUNCATED_BODY, id="one byte short"),
        pytest.param(OK + b"Content-Length: 9\r\n\r\n", Reason.TRUNCATED_BODY, id="all short"),
        pytest.param(CHUNKED + b"9\r\nabc", Reason.TRUNCATED_BODY, id="closed in a chunk"),
        pytest.param(CHUNKED + b"3\r\nabc\r\n", Reason.TRUNCATED_BODY, id="no last chunk"),
        pytest.param(
            CHUNKED + b"ffffffffffffffff\r\nabc", Reason.TRUNCATED_BODY, id="a chunk of 16 exabytes"
        ),
        pytest.param(CHUNKED + b"xyz\r\nabc\r\n0\r\n\r\n", Reason.TRUNCATED_BODY, id="no chunk size"),
        pytest.param(CHUNKED + b"\r\nabc\r\n0\r\n\r\n", Reason.TRUNCATED_BODY, id="an empty chunk size"),
        pytest.param(CHUNKED + b"1" * 70_000, Reason.HTTP_PROTOCOL_ERROR, id="an endless chunk size"),
        pytest.param(GZIP + gzip.compress(BODY)[:-9], Reason.TRUNCATED_BODY, id="gzip cut off"),
        pytest.param(GZIP + BODY, Reason.HTTP_PROTOCOL_ERROR, id="gzip that is none"),
        pytest.param(
            GZIP + gzip.compress(BODY)[:-8] + b"crc?size",
            Reason.HTTP_PROTOCOL_ERROR,
            id="gzip, wrong checksum",
        ),
        pytest.param(OK + b"Content-Encoding: br\r\n\r\nabc", Reason.HTTP_PROTOCOL_ERROR, id="brotli"),
        pytest.param(
            OK + b"Content-Encoding: gzip, gzip\r\n\r\nabc", Reason.HTTP_PROTOCOL_ERROR, id="gzip in gzip"
        ),
        pytest.param(
            OK + b"Transfer-Encoding: gzip, chunked\r\n\r\nabc",
            Reason.HTTP_PROTOCOL_ERROR,
            id="gzip in chunks",
        ),
        pytest.param(
            OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            Reason.HTTP_PROTOCOL_ERROR,
            id="two lengths",
        ),
        pytest.param(OK + b"Content-Length: -3\r\n\r\nabc", Reason.HTTP_PROTOCOL_ERROR, id="negative length"),
        pytest.param(
            OK + b"Content-Length: abc\r\n\r\nabc", Reason.HTTP_PROTOCOL_ERROR, id="length in words"
        ),
        pytest.param(
            OK + b"Content-Length: 1_0\r\n\r\nabc", Reason.HTTP_PROTOCOL_ERROR, id="length in Python"
        ),
        pytest.param(
            OK + b"Content-Length: %s\r\n\r\nabc" % (b"9" * 10),
            Reason.TOO_MANY_BYTES,
            id="length of 10 GB",
        ),
        pytest.param(
            OK + b"Content-Length: %s\r\n\r\nabc" % (b"9" * 5000),
            Reason.HTTP_PROTOCOL_ERROR,
            id="length of 5000 digits",
        ),
        pytest.param(reply(bytes(MAX_BODY_BYTES + 1)), Reason.TOO_MANY_BYTES, id="one byte over"),
        pytest.param(
            OK + b"\r\n" + bytes(MAX_BODY_BYTES + 1), Reason.TOO_MANY_BYTES, id="one over, no length"
        ),
        pytest.param(reply(BOMB, "Content-Encoding: gzip"), Reason.TOO_MANY_BYTES, id="gzip bomb"),
        pytest.param(GZIP + BOMB, Reason.TOO_MANY_BYTES, id="gzip bomb, no length"),
        pytest.param(GZIP + BOMB[:-100], Reason.TOO_MANY_BYTES, id="gzip bomb cut off"),
        pytest.param(
            reply(zlib.compress(bytes(50 * MAX_BODY_BYTES)), "Content-Encoding: deflate"),
            Reason.TOO_MANY_BYTES,
            id="deflate bomb",
        ),
    ],
)
def test_a_broken_answer_is_no_picture(data: bytes, reason: Reason) -> None:
    check(sends(data), reason)


@pytest.mark.parametrize(
    ("start", "data", "reason"),
    [
        pytest.param(b"HTTP/1.1 ", b"2" * 9999, Reason.HTTP_PROTOCOL_ERROR, id="status"),
        pytest.param(OK, b"A: b\r\n" * 999, Reason.HTTP_PROTOCOL_ERROR, id="headers"),
        pytest.param(OK + b"A: ", b"b" * 9999, Reason.HTTP_PROTOCOL_ERROR, id="one header"),
        pytest.param(OK + b"A: b\r\n", b" b\r\n" * 999, Reason.HTTP_PROTOCOL_ERROR, id="folded header"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99, Reason.HTTP_PROTOCOL_ERROR, id="continue"),
        pytest.param(b"", b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n" * 99, Reason.HTTP_PROTOCOL_ERROR, id="hints"),
        pytest.param(OK + b"\r\n", bytes(9999), Reason.TOO_MANY_BYTES, id="body"),
        pytest.param(CHUNKED, b"1000\r\n" + bytes(4096) + b"\r\n", Reason.TOO_MANY_BYTES, id="chunks"),
        pytest.param(CHUNKED, b"1\r\nx\r\n" * 999, Reason.TOO_MANY_BYTES, id="chunks of a byte"),
        pytest.param(CHUNKED, b"0001;a=%s\r\nx\r\n" % (b"b" * 999), Reason.TOO_MANY_BYTES, id="extensions"),
        pytest.param(CHUNKED + b"-1\r\n", bytes(9999), Reason.TOO_MANY_BYTES, id="negative chunk"),
        pytest.param(CHUNKED + b"1\r\nx\r\n0\r\n", b"A: b\r\n" * 999, Reason.TOO_MANY_BYTES, id="trailers"),
        pytest.param(
            OK + b"Content-Encoding: deflate\r\n\r\n\x78\x01",
            b"\0\0\0\xff\xff" * 999,
            Reason.TOO_MANY_BYTES,
            id="empty deflate blocks",
        ),
    ],
)
def test_an_endless_answer_is_cut_off(start: bytes, data: bytes, reason: Reason) -> None:
    check(repeats(data, start=start), reason)


@pytest.mark.parametrize(
    ("start", "data"),
    [
        pytest.param(b"", b"", id="silence"),
        pytest.param(b"", b"H", id="status"),
        pytest.param(OK, b"", id="silence after the status"),
        pytest.param(OK, b"A: b\r\n", id="headers"),
        pytest.param(OK + b"A: ", b"b", id="one header"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="continue"),
        pytest.param(OK + b"\r\n", b"", id="silence after the head"),
        pytest.param(OK + b"\r\n", b"x", id="body"),
        pytest.param(OK + b"Content-Length: 90000\r\n\r\n", b"x", id="announced body"),
        pytest.param(reply()[:-1], b"", id="silence before the last byte"),
        pytest.param(CHUNKED, b"1\r\nx\r\n", id="chunks"),
        pytest.param(CHUNKED, b"0", id="chunk size"),
        pytest.param(CHUNKED + b"1\r\nx\r\n0\r\n", b"A: b\r\n", id="trailers"),
        pytest.param(GZIP + gzip.compress(BODY)[:20], b"", id="silence in gzip"),
        pytest.param(OK + b"Content-Encoding: deflate\r\n\r\n\x78\x01", b"\0\0\0\xff\xff", id="deflate"),
    ],
)
def test_the_deadline_ends_what_trickles(start: bytes, data: bytes) -> None:
    check(repeats(data, 0.02, start), Reason.DEADLINE_EXCEEDED, deadline_s=0.25)


def reset(start: bytes) -> Answer:
    """Sends something, then breaks the connection off."""

    def answer(connection: socket.socket, path: str) -> None:
        connection.sendall(start)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    return answer


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        pytest.param(b"", Reason.CONNECT_FAILED, id="before the head"),
        pytest.param(OK, Reason.CONNECT_FAILED, id="in the head"),
        pytest.param(reply()[:-100], Reason.TRUNCATED_BODY, id="in the body"),
        pytest.param(CHUNKED + b"9\r\nabc", Reason.TRUNCATED_BODY, id="in a chunk"),
        pytest.param(GZIP + gzip.compress(BODY)[:20], Reason.TRUNCATED_BODY, id="in gzip"),
    ],
)
def test_a_connection_may_be_reset_at_any_time(start: bytes, reason: Reason) -> None:
    check(reset(start), reason)


def test_nobody_at_the_port_is_a_failed_connection() -> None:
    with serving(sends(b"")) as server:
        url = server.url()
    with fails(Reason.CONNECT_FAILED):
        WebOpener(settings(), tls=TLS).open(url)


def test_bytes_beyond_the_announced_length_are_left() -> None:
    with serving(sends(OK + b"Content-Length: 3\r\n\r\n" + BODY)) as server:
        assert WebOpener(settings(), tls=TLS).open(server.url()).read() == BODY[:3]
        assert sockets_to(server.port) == []


@pytest.mark.parametrize("host", ["bücher.example", "xn--bcher-kva.example", "BÜCHER。example"])
def test_an_international_name_is_asked_for_in_ascii(host: str) -> None:
    asked: list[str] = []

    def resolve(name: str) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"]

    with serving(sends(reply())) as server:
        assert WebOpener(settings(), resolve, TLS).open(server.url(host=host)).read() == BODY
    assert asked == ["xn--bcher-kva.example"]
    assert f"Host: xn--bcher-kva.example:{server.port}\r\n" in server.heads[0]
