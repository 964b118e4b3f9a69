import socket
from ipaddress import ip_address

import pytest

from curation.addresses import WebError
from curation.wire import Deadline, Wire, as_web_errors, connect
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
        (WebError(Reason.OPTED_OUT), Reason.OPTED_OUT),
    ],
)
def test_network_errors_become_web_errors(error: Exception, reason: Reason) -> None:
    with pytest.raises(WebError) as caught, as_web_errors(broken=Reason.TRUNCATED_BODY):
        raise error
    assert caught.value.reason is reason
