"""One request's bytes with bounds: a deadline that every step shares, and limits on what comes back."""

import http.client
import io
import math
import re
import socket
import ssl
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.errors import MissingHeaderBodySeparatorDefect
from typing import Any

from curation.addresses import Address, WebError
from pipeline.reasons import Reason

_ADDRESSES_TRIED = 4
_MAX_HEAD_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024
_LENGTH = re.compile("[0-9]{1,18}")
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS


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

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The time that this takes comes on top."""
        begun = time.monotonic()
        yield
        self._end += time.monotonic() - begun


class Wire(io.RawIOBase):
    """A connection that reads and sends within the deadline, and reads only as many bytes as are allowed.

    A socket's own time-out starts anew with each byte, so that a trickling server would hold it for ever. It
    is set again whenever a tenth of it has gone by, so the end is kept to within a tenth; to set it before
    every read is a call to the system each time, in which other threads take over.
    """

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._timeout_s = connection.gettimeout() or math.inf
        self._allowed = 0
        self._reason = Reason.HTTP_PROTOCOL_ERROR

    def allow(self, allowed_bytes: int, reason: Reason) -> None:
        """How many bytes may come from now on, and the reason when there are more."""
        self._allowed = allowed_bytes
        self._reason = reason

    def send(self, request: bytes) -> None:
        """Send all of it, or raise OSError or WebError."""
        self._keep_time()
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
        self._keep_time()
        taken = self._connection.recv_into(buffer, min(len(buffer), self._allowed))
        self._allowed -= taken
        return taken

    def _keep_time(self) -> None:
        left = self._deadline.left()
        if not 0.9 * self._timeout_s <= left:
            self._connection.settimeout(left)
            self._timeout_s = left


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
    except (http.client.HTTPException, ValueError, zlib.error) as error:
        raise WebError(Reason.HTTP_PROTOCOL_ERROR, error) from None
    except OSError as error:
        raise WebError(broken, error) from None


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy that is asked for tunnels only (RFC 9110, 9.3.6), to addresses by number.

    Asked for a URL instead, it would resolve the name again, past our checks, or given the number replace the
    Host header by it (RFC 9112, 3.2.2).
    """

    addresses: list[Address]
    port: int


def connect(
    addresses: list[Address], port: int, deadline: Deadline, proxy: Proxy | None = None
) -> socket.socket:
    """Connect to the first of the addresses that answers, no name in between.

    Each gets an equal part of the time left, so that one dead end does not take it all.
    Raises WebError: connect_failed, deadline_exceeded.
    """
    failure: Exception = OSError("no address")
    tried = addresses[:_ADDRESSES_TRIED]
    for number, address in enumerate(tried):
        part = Deadline(deadline.left() / (len(tried) - number))
        try:
            return _tunnel(address, port, part, proxy) if proxy else _connection(address, port, part)
        except (OSError, WebError) as error:
            failure = error
    with as_web_errors(broken=Reason.CONNECT_FAILED):
        raise failure


def _connection(address: Address, port: int, deadline: Deadline) -> socket.socket:
    connection = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
    try:
        connection.settimeout(deadline.left())
        connection.connect((str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection


def _tunnel(address: Address, port: int, deadline: Deadline, proxy: Proxy) -> socket.socket:
    connection = connect(proxy.addresses, proxy.port, deadline)
    authority = f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"
    try:
        request = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode("ascii")
        status = ask(Wire(connection, deadline), request, method="CONNECT").status
        if not 200 <= status < 300:
            raise WebError(Reason.CONNECT_FAILED, f"the proxy refuses {authority}: HTTP {status}")
    except BaseException:
        connection.close()
        raise
    return connection


def ask(wire: Wire, request: bytes, method: str = "GET") -> http.client.HTTPResponse:
    """Send a request and read the head of its answer, past interim answers (1xx).

    Raises WebError: connect_failed, deadline_exceeded, tls_failed, http_protocol_error.
    """
    wire.allow(_MAX_HEAD_BYTES, Reason.HTTP_PROTOCOL_ERROR)
    with as_web_errors(broken=Reason.CONNECT_FAILED):
        wire.send(request)
        response = http.client.HTTPResponse(wire, method=method)  # type: ignore[arg-type]
        response.begin()
        while 100 <= response.status < 200 and response.status != http.client.SWITCHING_PROTOCOLS:
            response.headers = None  # type: ignore[assignment]  # so that it begins again
            response.begin()
    if any(isinstance(defect, MissingHeaderBodySeparatorDefect) for defect in response.headers.defects):
        raise WebError(Reason.HTTP_PROTOCOL_ERROR, "a header line without a name; those after it are lost")
    return response


def read_body(response: http.client.HTTPResponse, wire: Wire, max_bytes: int) -> bytes:
    """The whole body, inflated where the server compressed it unasked; possibly empty.

    max_bytes: longest body taken, as it came and as it is inflated.
    Raises WebError: too_many_bytes, truncated_body, deadline_exceeded, tls_failed, http_protocol_error.
    """
    announced = _announced_bytes(response, max_bytes)
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise WebError(Reason.HTTP_PROTOCOL_ERROR, f"encoded as {encoding}, although not asked to")
    inflating = None if encoding in ("", "identity") else zlib.decompressobj(_ZLIB_OR_GZIP)
    wire.allow(2 * max_bytes + _READ_BYTES, Reason.TOO_MANY_BYTES)  # chunks have heads
    with as_web_errors(broken=Reason.TRUNCATED_BODY):
        if announced and not inflating:  # in one piece, into the bytes that are handed on
            body = response.read(announced)
            came, whole = len(body), len(body) == announced
        else:
            body, came, whole = _in_chunks(response, inflating, max_bytes, announced)
    if not whole:
        raise WebError(Reason.TRUNCATED_BODY, f"{came} bytes of {announced or 'more'}")
    return body


def _in_chunks(
    response: http.client.HTTPResponse, inflating: Any, max_bytes: int, announced: int
) -> tuple[bytes, int, bool]:
    """The body, how many bytes came, and whether that is all: the end of what was compressed ends it."""
    body, came = bytearray(), 0
    while chunk := response.read(_READ_BYTES):
        came += len(chunk)
        body += inflating.decompress(chunk, max_bytes + 1 - len(body)) if inflating else chunk
        if max(came, len(body)) > max_bytes:
            raise WebError(Reason.TOO_MANY_BYTES, f"over {max_bytes} bytes")
        if inflating and inflating.eof:
            return bytes(body), came, True
    return bytes(body), came, came >= announced and not (inflating and came)


def _announced_bytes(response: http.client.HTTPResponse, max_bytes: int) -> int:
    """The announced length, 0 where there is none; what can be read in two ways is refused."""
    headers = response.headers
    transfer = headers.get("Transfer-Encoding", "identity").strip().lower()
    if transfer != "identity" and not response.chunked:
        raise WebError(Reason.HTTP_PROTOCOL_ERROR, f"transferred as {transfer}")
    lengths = {length.strip() for length in headers.get_all("Content-Length", [])}
    if len(lengths) > 1 or not all(_LENGTH.fullmatch(length) for length in lengths):
        raise WebError(Reason.HTTP_PROTOCOL_ERROR, f"announced length {', '.join(sorted(lengths))}")
    announced = response.length or 0
    if announced > max_bytes:
        raise WebError(Reason.TOO_MANY_BYTES, f"{announced} bytes announced")
    return announced
