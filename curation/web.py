"""The safe opener: every byte from the web comes through here, whoever asks for it.

A URL is read strictly, its name resolved, every address checked, and the connection goes to a checked address
by number; each redirect is checked the same way, whether it changes scheme (also from https to http: nothing
secret is sent), port or host. Certificates are verified. Bytes and seconds are bounded in total. Cookies do
not exist here, nor do proxies of the environment; bodies are as the server says, what they are is decode's.

Through a proxy of the settings nothing of this changes: names are resolved and checked here, and the proxy is
asked for a tunnel (CONNECT, for http too) to the checked address; TLS ends at the server. The proxy itself is
the operator's word: its own address is not checked. It must allow tunnels to the ports of the settings.
"""

import contextlib
import io
import ipaddress
import socket
import ssl
import urllib.request
from collections.abc import Callable
from email.message import Message
from typing import Any

from pydantic import Field, PositiveInt, field_validator

from curation.addresses import (
    Address,
    Target,
    WebError,
    checked_addresses,
    is_loopback,
    parse_url,
    system_addresses,
)
from curation.answers import check_status, location
from curation.names import Names
from curation.wire import Deadline, Proxy, Wire, as_web_errors, ask, connect, read_body
from pipeline.reasons import Reason
from pipeline.recipe import Section, operational

__all__ = ["WebError", "WebOpener", "WebResponse", "WebSettings", "url_to_get"]

_AGENT = r"^[A-Za-z][\x20-\x7e]*$"
_PRINTABLE = r"^[\x20-\x7e]*$"
_REDIRECTS = (301, 302, 303, 307, 308)


class WebSettings(Section):
    """How the web is asked."""

    user_agent: str = operational("webperson/0.1", pattern=_AGENT)
    """Sent with every request, whatever the caller set; its first word is the name in robots directives."""
    contact: str = operational("", pattern=_PRINTABLE)
    """Where site owners reach whoever runs this (a page or an e-mail address); sent with the user agent."""
    ports: tuple[int, ...] = (80, 443)
    """Ports that may be asked."""
    allow_loopback: bool = False
    """Also ask this machine, on any port: for the demo and for tests, never for a list from the web."""
    max_redirects: int = Field(default=5, ge=0)
    """Redirects followed for one URL."""
    max_body_bytes: int = Field(default=20 * 2**20, gt=0)
    """Longest body taken."""
    deadline_s: float = operational(15.0, gt=0)
    """Seconds for one request in total: name, connection, body; each redirect of a row is another request."""
    max_lookups: PositiveInt = operational(256)
    """Names looked up at once in one worker, with the lookups that nobody waits for any more."""
    proxy: str | None = operational(None)
    """An HTTP proxy such as `http://proxy.example:3128`, asked for tunnels; the environment's are ignored."""

    @field_validator("proxy")
    @classmethod
    def _is_plain(cls, proxy: str | None) -> str | None:
        """Refuse what is no plain proxy; a password would stand in every output's recipe."""
        if proxy is not None:
            try:
                target = parse_url(proxy)
            except WebError as error:
                raise ValueError(f"{error.reason}: {error.detail}") from None
            if target.scheme != "http" or target.path != "/":
                raise ValueError("expected http://host:port")
        return proxy

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

    def __init__(self, url: str, status: int, headers: Message, body: bytes) -> None:
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
        self._names = Names(resolve, settings.max_lookups)
        self._proxy = parse_url(settings.proxy) if settings.proxy else None
        self._tls = tls or ssl.create_default_context()

    def open(
        self, fullurl: str | urllib.request.Request, data: Any = None, timeout: float | None = None
    ) -> WebResponse:
        """Get a URL; the caller's headers and time-out give way to the settings. Raises WebError only."""
        return self.get(url_to_get(fullurl, data))

    def get(
        self,
        url: str | Target,
        *,
        max_body_bytes: int | None = None,
        any_status: bool = False,
        redirected: Callable[[Target], object] | None = None,
    ) -> WebResponse:
        """Get a URL, as text or read already, redirects followed. Raises WebError only.

        max_body_bytes: longest body taken, where it is not the settings'.
        any_status: also return the answers of servers that refuse or fail (4xx, 5xx and odd ones) and empty
        bodies, instead of raising; the caller looks at `status`.
        redirected: told where each redirect leads, before that is asked for; what it raises is raised, and
        the time that it takes does not count.
        """
        max_bytes = self._settings.max_body_bytes if max_body_bytes is None else max_body_bytes
        deadline = Deadline(self._settings.deadline_s)
        target = url if isinstance(url, Target) else parse_url(url)
        redirects_left = self._settings.max_redirects
        while isinstance(answer := self._ask(target, deadline, max_bytes, any_status), str):
            if not redirects_left:
                raise WebError(Reason.TOO_MANY_REDIRECTS, answer)
            redirects_left -= 1
            target = parse_url(answer)
            if redirected:
                with deadline.paused():
                    redirected(target)
        return answer

    def _ask(self, target: Target, deadline: Deadline, max_bytes: int, any_status: bool) -> WebResponse | str:
        """One request: a body, or the URL that it redirects to."""
        addresses = self._addresses(target, deadline)
        with (
            connect(addresses, target.port, deadline, self._through(deadline)) as plain,
            self._secured(plain, target, deadline) as connection,
        ):
            wire = Wire(connection, deadline)
            with contextlib.closing(ask(wire, self._request(target))) as response:
                if response.status in _REDIRECTS:
                    return location(target, response.headers)
                if not any_status:
                    check_status(response.status, response.headers)
                body = read_body(response, wire, max_bytes)
                if not (body or any_status):
                    raise WebError(Reason.EMPTY_BODY)
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
        addresses = checked_addresses(self._resolved(target.host, deadline), self._settings.allow_loopback)
        if not listed and not all(is_loopback(address) for address in addresses):
            raise WebError(Reason.PORT_FORBIDDEN, target.port)
        return addresses

    def _resolved(self, host: str, deadline: Deadline) -> list[str]:
        return [host] if _is_literal(host) else self._names.addresses(host, deadline.left())

    def _through(self, deadline: Deadline) -> Proxy | None:
        if self._proxy is None:
            return None
        names = self._resolved(self._proxy.host, deadline)
        return Proxy([ipaddress.ip_address(name) for name in names], self._proxy.port)


def url_to_get(request: str | urllib.request.Request, data: Any = None) -> str:
    """The URL of what `urllib` wants sent. Raises WebError (url_invalid) where that is no plain GET."""
    if isinstance(request, str):
        url, method = request, "GET"
    else:
        url, method = request.full_url, request.get_method()
    if data is not None or method != "GET":
        raise WebError(Reason.URL_INVALID, "only GET is sent")
    return url


def _is_literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
