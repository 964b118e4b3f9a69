"""One HTTP request to an endpoint, within limits of time and bytes, and whose fault it is when it fails.

    connection, time-out, 5xx, 401, 403, 404   its own fault: asked again, elsewhere if possible
    429                                        it has too much to do: asked again, elsewhere or after its rest
    other 4xx, or 200 with no usable answer    the question's fault: final

A lasting 500 may be either's, and counts against the question.
"""

import io

import aiohttp

from curation.completions import MllmError, one_line

LARGE_BODY_BYTES = 2**20
"""aiohttp sends larger ones in pieces only from a file."""
JSON = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
NOT_SERVED = (401, 403, 404)
"""Says nothing of the question: a proxy whose model is still starting answers 404."""


class EndpointError(Exception):
    """An endpoint did not do its work; one line.

    suspect: the question may be to blame all the same; rest_s: the endpoint works, and asks for rest.
    """

    def __init__(self, failure: str, *, suspect: bool = False, rest_s: float | None = None) -> None:
        self.suspect = suspect
        self.rest_s = rest_s
        super().__init__(failure)


class Transport:
    """Connections to the endpoints of one model; made in the event loop that uses it."""

    def __init__(
        self,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        answer_max_bytes: int,
        rest_max_s: float,
        key: str | None,
    ) -> None:
        """read_timeout_s: longest silence; rest_max_s: longest rest that is granted; key: bearer token."""
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._answer_max_bytes = answer_max_bytes
        self._rest_max_s = rest_max_s
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
            total=left_s,
            connect=self._connect_timeout_s,
            sock_read=self._read_timeout_s,
        )
        try:
            async with self._http.request(
                method, url, data=data, timeout=timeout, allow_redirects=False
            ) as response:
                content = await self._content(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EndpointError(one_line(f"{type(error).__name__}: {error}")) from None
        if response.status == 200:
            return content
        failure = f"HTTP {response.status}: {one_line(content.decode(errors='replace'))}"
        if response.status == 429:
            raise EndpointError(failure, rest_s=self._rest_s(response.headers.get("retry-after", "")))
        if response.status >= 500 or response.status in NOT_SERVED:
            raise EndpointError(failure, suspect=response.status == 500)
        raise MllmError(failure)

    async def _content(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for piece in response.content.iter_any():
            content += piece
            if len(content) > self._answer_max_bytes:
                raise MllmError(f"answer longer than {self._answer_max_bytes} bytes")
        return bytes(content)

    def _rest_s(self, retry_after: str) -> float:
        """Seconds; a date, which no inference server sends, counts as nothing said."""
        try:
            seconds = float(retry_after)
        except ValueError:
            return 0.0
        return min(seconds, self._rest_max_s) if seconds > 0 else 0.0


def _payload(body: bytes) -> bytes | io.BytesIO:
    return body if len(body) <= LARGE_BODY_BYTES else io.BytesIO(body)
