"""One request against servers that misbehave: always an error of one short line, in time."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from curation.completions import MllmError
from curation.transport import EndpointError, Transport
from tests.curation.fake_endpoint import HANG, RESET, TRICKLE, Raw, Reply, completion, fake_endpoint

GOOD = completion("A person.")
OK = b"HTTP/1.1 200 OK\r\n"


def send(url: str, body: bytes = b'{"messages": []}', key: str | None = None, left_s: float = 30.0) -> bytes:
    async def run() -> bytes:
        transport = Transport(connect_timeout_s=5.0, read_timeout_s=5.0, answer_max_bytes=1000, key=key)
        try:
            return await transport.request(f"{url}/v1/chat/completions", body, left_s)
        finally:
            await transport.close()

    return asyncio.run(asyncio.wait_for(run(), 20))


def send_to(reply: Reply, key: str | None = None, left_s: float = 30.0) -> bytes:
    with fake_endpoint(lambda n, _: reply) as endpoint:
        return send(endpoint.url, key=key, left_s=left_s)


@contextlib.contextmanager
def deaf_server() -> Iterator[str]:
    """Takes connections, and never reads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\xff\n" * 300,
        b"HTTP/9.9 999 \r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        OK + b"Content-Length: many\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: 500\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        OK + b"bad\x00header: \xff\xfe\r\n\r\n",
        OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        OK + b"X: x\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 " + b"O" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ],
)
def test_what_is_no_http_is_an_endpoints_fault(content: bytes) -> None:
    with pytest.raises((EndpointError, MllmError)) as failed:
        send_to(Raw(content))
    assert isinstance(failed.value, EndpointError) or "101" in str(failed.value)
    assert len(str(failed.value)) < 300
    assert str(failed.value).isprintable()


@pytest.mark.parametrize("reply", [HANG, TRICKLE])
def test_a_request_ends_in_its_time(reply: Reply) -> None:
    with pytest.raises(EndpointError, match=r"^TimeoutError"):
        send_to(reply, left_s=0.1)


@pytest.mark.parametrize("left_s", [0.0, -1.0])
def test_no_time_left_is_not_all_the_time_in_the_world(left_s: float) -> None:
    with pytest.raises(EndpointError, match=r"^TimeoutError"):
        send_to(HANG, left_s=left_s)


def test_a_server_that_does_not_read_the_question_is_given_up() -> None:
    with deaf_server() as url, pytest.raises(EndpointError, match="TimeoutError"):
        send(url, body=b"x" * 30_000_000, left_s=0.2)


@pytest.mark.parametrize("status", [301, 307, 401, 402, 403, 404, 408, 500, 502, 503, 529])
def test_a_fault_of_the_endpoint_stays_one_however_much_it_says(status: int) -> None:
    with pytest.raises(EndpointError, match=f"^HTTP {status}: x{{200}}$") as failed:
        send_to((status, b"x" * 5_000_000))
    assert failed.value.suspect == (status == 500)
    assert failed.value.rest_s is None


def test_a_status_counts_though_the_rest_is_missing() -> None:
    with pytest.raises(EndpointError, match=r"^HTTP 503: $"):
        send_to(Raw(b"HTTP/1.1 503 Busy\r\nContent-Length: 500\r\n\r\nstarti"))


@pytest.mark.parametrize(
    ("reply", "rest_s"),
    [
        ((429, b""), 0.0),
        ((429, b"", {"Retry-After": "7"}), 7.0),
        ((429, b"", {"Retry-After": "soon"}), 0.0),
        ((503, b"", {"Retry-After": "7"}), 7.0),
        ((503, b"", {"Retry-After": "soon"}), None),
        ((500, b"", {"Retry-After": "7"}), None),
    ],
)
def test_who_asks_for_rest_says_for_how_long_or_not(reply: Reply, rest_s: float | None) -> None:
    with pytest.raises(EndpointError) as failed:
        send_to(reply)
    assert failed.value.rest_s == rest_s


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_concerns_the_question_is_final(status: int) -> None:
    with pytest.raises(MllmError, match=rf"^HTTP {status}: "):
        send_to((status, b""))


@pytest.mark.parametrize("status", [400, 401, 429, 503])
def test_an_endpoint_that_repeats_the_key_does_not_make_it_public(status: int) -> None:
    with pytest.raises((EndpointError, MllmError), match=r": bad key \*\*\*!$"):
        send_to((status, b"bad key sk-hunter2!"), key="sk-hunter2")


def test_an_answer_that_repeats_the_key_does_not_make_it_public() -> None:
    assert send_to((200, b"you are sk-hunter2"), key="sk-hunter2") == b"you are ***"


def test_a_word_that_stands_in_for_a_key_is_left_alone() -> None:
    assert send_to((200, b"EMPTY"), key="EMPTY") == b"EMPTY"


@pytest.mark.parametrize("url", ["http://a..b", f"http://{'a' * 64}", "http://"])
def test_an_address_that_cannot_be_is_an_endpoints_fault(url: str) -> None:
    with pytest.raises(EndpointError):
        send(url)


def test_a_closed_connection_is_an_endpoints_fault() -> None:
    with pytest.raises(EndpointError, match="ServerDisconnectedError"):
        send_to(RESET)


def test_a_good_answer_comes_as_it_is() -> None:
    assert send_to(GOOD) == GOOD[1]
