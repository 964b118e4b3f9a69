"""One connection with bounds: a deadline that every step shares, and a limit on the bytes that come."""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from curation.addresses import Address, WebError
from pipeline.reasons import Reason

_ADDRESSES_TRIED = 4


class Deadline:
    """A moment that all the steps for one URL share."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, more than 0; WebError (deadline_exceeded) after the end."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise WebError(Reason.DEADLINE_EXCEEDED)
        return left


class Wire(io.RawIOBase):
    """A connection that reads and sends within the deadline, and reads only as many bytes as are allowed.

    A socket's own time-out starts anew with each byte, so that a trickling server would hold it for ever.
    """

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._allowed = 0
        self._reason = Reason.HTTP_PROTOCOL_ERROR

    def allow(self, allowed_bytes: int, reason: Reason) -> None:
        """How many bytes may come from now on, and the reason when there are more."""
        self._allowed = allowed_bytes
        self._reason = reason

    def send(self, request: bytes) -> None:
        """Send all of it, or raise OSError or WebError."""
        self._connection.settimeout(self._deadline.left())
        self._connection.sendall(request)

    def makefile(self, mode: str) -> io.BufferedReader:
        """The one thing that `http.client.HTTPResponse` wants from a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Always; the buffered reader asks."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for some bytes; 0 when the server has closed. Raises OSError, WebError."""
        if self._allowed <= 0:
            raise WebError(self._reason, "the server keeps sending")
        self._connection.settimeout(self._deadline.left())
        taken = self._connection.recv_into(memoryview(buffer)[: self._allowed])
        self._allowed -= taken
        return taken


@contextmanager
def as_web_errors(broken: Reason) -> Iterator[None]:
    """Turn what goes wrong on the network into WebErrors; `broken` is the reason for a broken connection."""
    try:
        yield
    except TimeoutError:
        raise WebError(Reason.DEADLINE_EXCEEDED) from None
    except http.client.IncompleteRead as error:
        raise WebError(Reason.TRUNCATED_BODY, error) from None
    except ssl.SSLError as error:
        raise WebError(Reason.TLS_FAILED, error) from None
    except (http.client.HTTPException, ValueError) as error:
        raise WebError(Reason.HTTP_PROTOCOL_ERROR, error) from None
    except OSError as error:
        raise WebError(broken, error) from None


def connect(addresses: list[Address], port: int, deadline: Deadline) -> socket.socket:
    """Connect to the first of the addresses that answers, no name in between.

    Each gets an equal part of the time left, so that one dead end does not take it all.
    Raises WebError: connect_failed, deadline_exceeded.
    """
    failure = OSError("no address")
    tried = addresses[:_ADDRESSES_TRIED]
    for number, address in enumerate(tried):
        try:
            return _connection(address, port, deadline.left() / (len(tried) - number))
        except OSError as error:
            failure = error
    with as_web_errors(broken=Reason.CONNECT_FAILED):
        raise failure


def _connection(address: Address, port: int, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
    try:
        connection.settimeout(timeout_s)
        connection.connect((str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection
