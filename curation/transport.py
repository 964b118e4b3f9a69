"""One HTTP request to an endpoint, within limits of time and bytes, and whose fault it is when it fails.

    429, 503 with Retry-After                       it has too much to do: asked again, after a rest
    connection, time-out, 401-404, 408, and         its own fault: asked again, elsewhere if possible
    all below 400 but 200, or from 500 on
    other 4xx, or 200 with no usable answer         the question's fault: final

A lasting 500 may be either's, and counts against the question.
"""

import io
import os

import aiohttp

from curation.completions import MllmError, RefusedError, one_line

LARGE_BODY_BYTES = 2**20
"""aiohttp sends larger ones in pieces only from a file."""
JSON = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
NOT_SERVED = (401, 402, 403, 404, 408)
"""Says nothing of the question: a proxy whose model is still starting answers 404. Nor does a redirect."""
LEAST_TIME_S = 0.001
"""To aiohttp none at all means no limit."""
FAILURE_BYTES = 2**16
"""Of what comes with another status than 200 no more is read."""
SECRET_MIN_BYTES = 8
"""Shorter keys, such as EMPTY, are no secret, and may be part of a word."""


class EndpointError(Exception):
    """An endpoint did not do its work; one line.

    suspect: the question may be to blame all the same. rest_s: the endpoint works, and asks for rest; 0 if it
    does not say how long.
    """

    def __init__(self, failure: str, *, suspect: bool = False, rest_s: float | None = None) -> None:
        self.suspect = suspect
        self.rest_s = rest_s
        super().__init__(failure)


class Transport:
    """Connections to the endpoints of one model; made in the event loop that uses it."""

    def __init__(
        self, *, connect_timeout_s: float, read_timeout_s: float, answer_max_bytes: int, key: str | None
    ) -> None:
        """read_timeout_s: longest silence; key: bearer token, which nothing that comes back may hold."""
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._answer_max_bytes = answer_max_bytes
        self._secret = key.encode() if key and len(key.encode()) >= SECRET_MIN_BYTES else None
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the places at the endpoints are the limit
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={**JSON, "Authorization": f"Bearer {key}"} if key else JSON,
            auto_decompress=False,  # nothing can be larger than the bytes that were counted
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def request(self, url: str, body: bytes | None, left_s: float) -> bytes:
        """Content of an answer with status 200. Raises EndpointError; MllmError if asking again is no use."""
        method, data = ("GET", None) if body is None else ("POST", _payload(body))
        timeout = aiohttp.ClientTimeout(
            total=max(left_s, LEAST_TIME_S), connect=self._connect_timeout_s, sock_read=self._read_timeout_s
        )
        try:
            async with self._http.request(
                method, url, data=data, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise await self._failure(response)
                content, whole = await _read(response, self._answer_max_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise EndpointError(self._said(_in_words(error).encode())) from None
        if not whole:
            raise MllmError(f"answer longer than {self._answer_max_bytes} bytes")
        return self._without_key(content)

    async def _failure(self, response: aiohttp.ClientResponse) -> EndpointError | MllmError:
        try:
            content, _ = await _read(response, FAILURE_BYTES)
        except (aiohttp.ClientError, TimeoutError, OSError):
            content = b""  # the status says enough
        status, rest_s = response.status, _rest_s(response.headers.get("retry-after", ""))
        failure = f"HTTP {status}: {self._said(content)}"
        if status == 429 or (status == 503 and rest_s):
            return EndpointError(failure, rest_s=rest_s)
        if not 400 <= status < 500 or status in NOT_SERVED:
            return EndpointError(failure, suspect=status == 500)
        return RefusedError(failure)

    def _said(self, content: bytes) -> str:
        return one_line(self._without_key(content).decode(errors="replace"))

    def _without_key(self, content: bytes) -> bytes:
        """Endpoints that refuse a key are known to repeat it."""
        return content.replace(self._secret, b"***") if self._secret else content


async def _read(response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
    """The content, and whether it is whole: more than `most` bytes are not read."""
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > most:
            return bytes(content[:most]), False
    return bytes(content), True


def _in_words(error: Exception) -> str:
    """A refused connection without the address, which stands before it, and without talk of ssl."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionError):
        return f"cannot connect: {os.strerror(error.os_error.errno or 0)}"
    return f"{type(error).__name__}: {error}"


def _rest_s(retry_after: str) -> float:
    """Seconds; a date, which no inference server sends, counts as nothing said."""
    try:
        seconds = float(retry_after)
    except ValueError:
        return 0.0
    return seconds if seconds > 0 else 0.0


def _payload(body: bytes) -> bytes | io.BytesIO:
    return body if len(body) <= LARGE_BODY_BYTES else io.BytesIO(body)
