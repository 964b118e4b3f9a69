"""The safe opener: every byte from the web comes through here, whoever asks for it.

Names are resolved once, every address is checked, the connection goes to the checked address; each redirect
is checked the same way. Bytes and seconds are bounded in total. Proxies and cookies do not exist here.
"""

import contextlib
import http.client
import io
import queue
import socket
import ssl
import urllib.request
from collections.abc import Callable
from email.message import Message
from threading import Thread
from typing import Any
from urllib.parse import urljoin

from pydantic import Field

from curation.addresses import (
    Address,
    Target,
    WebError,
    checked_addresses,
    is_loopback,
    parse_url,
    system_addresses,
)
from curation.wire import Deadline, Wire, as_web_errors, connect
from pipeline.reasons import Reason
from pipeline.recipe import Section

__all__ = ["WebError", "WebOpener", "WebResponse", "WebSettings"]

_AGENT = r"^[A-Za-z][\x20-\x7e]*$"
_PRINTABLE = r"^[\x20-\x7e]*$"
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_HEAD_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024


class WebSettings(Section):
    """How the web is asked."""

    user_agent: str = Field(default="webperson/0.1", pattern=_AGENT, json_schema_extra={"operational": True})
    """Sent with every request, whatever the caller set; its first word is the name in robots directives."""
    contact: str = Field(default="", pattern=_PRINTABLE, json_schema_extra={"operational": True})
    """Where site owners reach whoever runs this (a page or an e-mail address); sent with the user agent."""
    ports: tuple[int, ...] = (80, 443)
    """Ports that may be asked."""
    allow_loopback: bool = False
    """Also ask this machine, on any port: for the demo and for tests, never for a list from the web."""
    max_redirects: int = Field(default=5, ge=0)
    """Redirects followed for one URL."""
    max_body_bytes: int = Field(default=20 * 2**20, gt=0)
    """Longest body taken."""
    deadline_s: float = Field(default=15.0, gt=0, json_schema_extra={"operational": True})
    """Seconds for one URL in total: names, connections, redirects, body."""

    @property
    def agent_header(self) -> str:
        """The User-Agent header."""
        return f"{self.user_agent} (+{self.contact})" if self.contact else self.user_agent

    @property
    def agent_name(self) -> str:
        """The name by which robots directives address us, lower case."""
        return self.user_agent.replace("/", " ").split()[0].lower()


class WebResponse(io.BytesIO):
    """A body that arrived whole, with its final URL, status and headers."""

    def __init__(self, url: str, status: int, headers: Message, body: bytes | bytearray) -> None:
        super().__init__(body)
        self.url = url
        self.status = status
        self.headers = headers


class WebOpener(urllib.request.OpenerDirector):
    """Fits `urllib.request.install_opener`; safe to use from many threads at once.

    `resolve` turns a host name into addresses; `tls` holds the trusted certificates (default: the machine's).
    """

    def __init__(
        self,
        settings: WebSettings,
        resolve: Callable[[str], list[str]] = system_addresses,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._resolve = resolve
        self._tls = tls or ssl.create_default_context()

    def open(
        self, fullurl: str | urllib.request.Request, data: Any = None, timeout: float | None = None
    ) -> WebResponse:
        """Get a URL; the caller's headers and time-out give way to the settings. Raises WebError only."""
        if data is not None or (
            isinstance(fullurl, urllib.request.Request) and fullurl.get_method() != "GET"
        ):
            raise WebError(Reason.URL_INVALID, "only GET is sent")
        url = fullurl if isinstance(fullurl, str) else fullurl.full_url
        deadline = Deadline(self._settings.deadline_s)
        for _ in range(self._settings.max_redirects + 1):
            answer = self._ask(parse_url(url), deadline)
            if isinstance(answer, WebResponse):
                return answer
            url = answer
        raise WebError(Reason.TOO_MANY_REDIRECTS, url)

    def _ask(self, target: Target, deadline: Deadline) -> WebResponse | str:
        """One request: a body, or the URL that it redirects to."""
        addresses = self._addresses(target, deadline)
        with (
            connect(addresses, target.port, deadline) as plain,
            self._secured(plain, target, deadline) as connection,
        ):
            wire = Wire(connection, deadline)
            wire.allow(_MAX_HEAD_BYTES, Reason.HTTP_PROTOCOL_ERROR)
            with as_web_errors(broken=Reason.CONNECT_FAILED):
                wire.send(self._request(target))
                response = http.client.HTTPResponse(wire, method="GET")  # type: ignore[arg-type]
                response.begin()
            with contextlib.closing(response):
                if response.status in _REDIRECTS:
                    return _location(target, response.headers)
                _check_head(response, self._settings.max_body_bytes)
                wire.allow(2 * self._settings.max_body_bytes + _READ_BYTES, Reason.TOO_MANY_BYTES)
                with as_web_errors(broken=Reason.TRUNCATED_BODY):
                    body = _body(response, self._settings.max_body_bytes)
                return WebResponse(target.url, response.status, response.headers, body)

    def _request(self, target: Target) -> bytes:
        return (
            f"GET {target.path} HTTP/1.1\r\n"
            f"Host: {target.authority}\r\n"
            f"User-Agent: {self._settings.agent_header}\r\n"
            "Accept: image/*,*/*;q=0.5\r\n"
            "Accept-Encoding: identity\r\n"
            "Connection: close\r\n\r\n"
        ).encode("ascii")

    def _secured(self, connection: socket.socket, target: Target, deadline: Deadline) -> socket.socket:
        if target.scheme == "http":
            return connection
        with as_web_errors(broken=Reason.TLS_FAILED):
            connection.settimeout(deadline.left())
            return self._tls.wrap_socket(connection, server_hostname=target.host)

    def _addresses(self, target: Target, deadline: Deadline) -> list[Address]:
        listed = target.port in self._settings.ports
        if not listed and not self._settings.allow_loopback:
            raise WebError(Reason.PORT_FORBIDDEN, target.port)
        names = [target.host] if _is_literal(target.host) else self._names(target.host, deadline)
        addresses = checked_addresses(names, self._settings.allow_loopback)
        if not listed and not all(is_loopback(address) for address in addresses):
            raise WebError(Reason.PORT_FORBIDDEN, target.port)
        return addresses

    def _names(self, host: str, deadline: Deadline) -> list[str]:
        """Resolve in a thread that is left behind at the deadline: the system's resolver knows no time."""
        answer: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answer.put(self._resolve(host))
            except Exception as error:
                answer.put(error)

        Thread(target=ask, name=f"resolve {host}", daemon=True).start()
        try:
            found = answer.get(timeout=deadline.left())
        except queue.Empty:
            raise WebError(Reason.DEADLINE_EXCEEDED, f"resolving {host}") from None
        if isinstance(found, Exception) or not found:
            raise WebError(Reason.DNS_FAILED, f"{host}: {found or 'no address'}")
        return found


def _is_literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _location(target: Target, headers: Message) -> str:
    location = headers.get("Location")
    if not location:
        raise WebError(Reason.HTTP_PROTOCOL_ERROR, "redirect without location")
    with contextlib.suppress(UnicodeError):  # http.client read it as Latin-1
        location = location.encode("latin-1").decode("utf-8")
    try:
        return urljoin(target.url, location)
    except ValueError as error:
        raise WebError(Reason.URL_INVALID, error) from None


def _check_head(response: http.client.HTTPResponse, max_body_bytes: int) -> None:
    status = f"HTTP {response.status}"
    if 400 <= response.status < 500:
        raise WebError(Reason.HTTP_CLIENT_ERROR, status)
    if 500 <= response.status < 600:
        raise WebError(Reason.HTTP_SERVER_ERROR, status)
    if not 200 <= response.status < 300:
        raise WebError(Reason.HTTP_PROTOCOL_ERROR, status)
    if response.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
        raise WebError(Reason.HTTP_PROTOCOL_ERROR, "compressed although not asked to")
    if response.length is not None and response.length > max_body_bytes:
        raise WebError(Reason.TOO_MANY_BYTES, f"{response.length} bytes announced")


def _body(response: http.client.HTTPResponse, max_body_bytes: int) -> bytearray:
    announced = response.length
    body = bytearray()
    while chunk := response.read(_READ_BYTES):
        body += chunk
        if len(body) > max_body_bytes:
            raise WebError(Reason.TOO_MANY_BYTES, f"over {max_body_bytes} bytes")
    if announced is not None and len(body) < announced:
        raise WebError(Reason.TRUNCATED_BODY, f"{len(body)} of {announced} bytes")
    if not body:
        raise WebError(Reason.EMPTY_BODY)
    return body
