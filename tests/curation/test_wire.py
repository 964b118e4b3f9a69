import contextlib
import gzip
import socket
import tracemalloc
import zlib
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.addresses import WebError
from curation.wire import Deadline, Wire, as_web_errors, ask, connect, read_body
from pipeline.reasons import Reason

pytestmark = pytest.mark.timeout(30)


def test_a_passed_deadline_has_nothing_left() -> None:
    assert 0 < Deadline(60).left() <= 60
    with pytest.raises(WebError) as caught:
        Deadline(0).left()
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED


def test_a_wire_takes_no_more_bytes_than_allowed() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x" * 100)
        wire = Wire(ours, Deadline(10))
        wire.allow(7, Reason.TOO_MANY_BYTES)
        assert wire.read(50) == b"x" * 7
        with pytest.raises(WebError) as caught:
            wire.read(1)
    assert caught.value.reason is Reason.TOO_MANY_BYTES


def test_an_address_that_never_answers_leaves_time_for_the_next() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as full:
        port = listener.getsockname()[1]
        full.bind(("127.0.0.2", port))
        full.listen(0)
        waiting = [_started(("127.0.0.2", port)) for _ in range(4)]  # its queue is full: no answer to a fifth
        with connect([ip_address("127.0.0.2"), ip_address("127.0.0.1")], port, Deadline(1.0)) as connection:
            assert connection.getpeername() == ("127.0.0.1", port)
        with pytest.raises(WebError) as caught:
            connect([ip_address("127.0.0.2")], port, Deadline(0.2))
        assert caught.value.reason is Reason.DEADLINE_EXCEEDED
        for connection in waiting:
            connection.close()


def _started(address: tuple[str, int]) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex(address)
    return connection


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError(), Reason.DEADLINE_EXCEEDED),
        (ConnectionResetError(), Reason.TRUNCATED_BODY),
        (ValueError(), Reason.HTTP_PROTOCOL_ERROR),
        (zlib.error(), Reason.HTTP_PROTOCOL_ERROR),
        (WebError(Reason.OPTED_OUT), Reason.OPTED_OUT),
    ],
)
def test_network_errors_become_web_errors(error: Exception, reason: Reason) -> None:
    with pytest.raises(WebError) as caught, as_web_errors(broken=Reason.TRUNCATED_BODY):
        raise error
    assert caught.value.reason is reason


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.0 404 x\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n",
        b"--x\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"5\r\nabcde\r\n",
        b"0\r\n\r\n",
        b": ",
        gzip.compress(b"picture" * 10),
    ]
)


def outcome(data: bytes, max_bytes: int) -> bytes | Reason:
    """What a server that sends these bytes and closes gives."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        wire = Wire(ours, Deadline(20))
        try:
            with contextlib.closing(ask(wire, b"GET / HTTP/1.1\r\n\r\n")) as response:
                return bytes(read_body(response, wire, max_bytes))
        except WebError as error:
            return error.reason


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=12), max_size=12).map(b"".join))
def test_any_bytes_are_a_bounded_body_or_a_web_error(data: bytes) -> None:
    result = outcome(data, max_bytes=60)
    assert result is not Reason.DEADLINE_EXCEEDED
    assert isinstance(result, Reason) or len(result) <= 60


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=3000), st.booleans())
def test_a_compressed_body_is_whole_or_an_error(body: bytes, zipped: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    sent = gzip.compress(body) if zipped else zlib.compress(body)
    assert outcome(head + sent, max_bytes=4000) == body
    assert outcome(head + sent[:-1], max_bytes=4000) is Reason.TRUNCATED_BODY
    assert outcome(head + sent, max_bytes=len(body) - 1) is Reason.TOO_MANY_BYTES


def test_a_gzip_bomb_is_not_inflated_beyond_the_cap() -> None:
    bomb = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(40_000_000))
    tracemalloc.start()
    try:
        assert outcome(bomb, max_bytes=100_000) is Reason.TOO_MANY_BYTES
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
