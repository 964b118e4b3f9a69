"""What may be asked for: a URL read strictly, and the addresses that are public."""

import ipaddress
import re
import socket
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import SplitResult, quote, urlsplit

from pipeline.reasons import Reason

Address = IPv4Address | IPv6Address

MAX_URL_CHARS = 8192
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\Z")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_KEPT_IN_PATH = "/%:@!$&'()*+,;=~[]|"
_DOTS = re.compile(r"/(\.|%2e){1,2}(/|\Z)", re.IGNORECASE)
_PLAIN = re.compile(rf"[A-Za-z0-9_.\-{re.escape(_KEPT_IN_PATH)}]*\Z")

# Not public in fact, whatever `ipaddress` of this Python says: protocol assignments (with Oracle's metadata
# service, Teredo, benchmarks, ORCHID), 6to4 relays, Azure's host service, documentation.
_NEVER: list[IPv4Network | IPv6Network] = [
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv4Network("168.63.129.16/32"),
    IPv6Network("2001::/23"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),
]
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


class WebError(Exception):
    """A URL that was not fetched; `str()` is "reason|detail" in one line, to pass through other libraries."""

    def __init__(
        self,
        reason: Reason,
        detail: object = "",
        retry_after_s: float | None = None,
        *,
        status: int | None = None,
        transient: bool = False,
    ) -> None:
        self.reason = reason
        self.retry_after_s = retry_after_s
        """How long the server asked us to stay away (Retry-After), 0 to 86,400; None where it did not."""
        self.status = status
        """The HTTP status by which the site refused or failed; None where it did neither."""
        self.transient = transient
        """Whether the name system may do better soon: it said so (EAI_AGAIN), or others kept it busy."""
        self.detail = " ".join(str(detail).split())[:200]
        super().__init__(f"{reason}|{self.detail}")


@dataclass(frozen=True)
class Target:
    """A URL taken apart; all of it is ASCII and free of control characters."""

    scheme: str
    host: str
    """Lower case, IDNA-encoded, no trailing dot; an IP address in its usual spelling, without brackets."""
    port: int
    path: str
    """With the query; percent-encoded."""

    @cached_property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port: the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @cached_property
    def url(self) -> str:
        """The URL in its one spelling, without fragment."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_url(url: str) -> Target:
    """Read a URL as browsers do, but refuse user names, passwords and control characters.

    Raises WebError: url_invalid, scheme_forbidden.
    """
    url = url.strip(" \t\r\n")
    if not url or len(url) > MAX_URL_CHARS or _CONTROL.search(url):
        raise WebError(Reason.URL_INVALID, "empty, overlong or with control characters")
    try:
        parts = urlsplit(url)
        port = parts.port  # urllib checks the range here
        path = _without_dots(_encoded(parts.path or "/"))
        path += f"?{_encoded(parts.query, '/?')}" if parts.query else ""
    except ValueError as error:
        raise WebError(Reason.URL_INVALID, error) from None
    if not parts.scheme:
        raise WebError(Reason.URL_INVALID, "no scheme")
    if parts.scheme not in _PORTS:
        raise WebError(Reason.SCHEME_FORBIDDEN, parts.scheme)
    return Target(parts.scheme, _host(parts), _PORTS[parts.scheme] if port is None else port, path)


def _encoded(text: str, more: str = "") -> str:
    # Most paths need no quoting; to see that takes a tenth of the time.
    return text if _PLAIN.match(text) else quote(text, safe=_KEPT_IN_PATH + more)


def _without_dots(path: str) -> str:
    """/a/../b and /%2e/b spell /b: what robots.txt and the takedown list name is known by one path."""
    if not _DOTS.search(path):
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments, start=1):
        dots = segment.lower().replace("%2e", ".")
        if dots not in (".", ".."):
            kept.append(segment)
            continue
        if dots == "..":
            del kept[-1:]
        if number == len(segments):
            kept.append("")
    return "/" + "/".join(kept)


def _host(parts: SplitResult) -> str:
    if "@" in parts.netloc:
        raise WebError(Reason.URL_INVALID, "user name or password")
    host = parts.hostname or ""
    try:
        if "[" in parts.netloc:
            address = IPv6Address(host if "%" not in host else _refused(host))
            return str(address.ipv4_mapped or address)
        if not host.isascii():
            host = host.encode("idna").decode("ascii").lower()
        host = host.removesuffix(".")
    except ValueError as error:
        raise WebError(Reason.URL_INVALID, error) from None
    if not _HOST.match(host):
        return _refused(host)
    return _as_number(host) if _NUMBER.match(host.rpartition(".")[2]) else host


def _as_number(host: str) -> str:
    """2130706433, 0177.1 and 0x7f.1 spell 127.0.0.1: written out, they are checked like any other."""
    try:
        return str(IPv4Address(socket.inet_aton(host)))
    except OSError:
        return _refused(host)


def _refused(host: str) -> str:
    raise WebError(Reason.URL_INVALID, f"host {host[:80]!r}")


def is_public(address: Address) -> bool:
    """Whether an address is of the public internet, and with it every IPv4 address that it carries inside.

    IPv4-mapped, NAT64 and 6to4 addresses count as what they carry; other IPv6 outside 2000::/3 is never
    public (IPv4-compatible, site-local, unique local, multicast, NAT64 for local use).
    """
    if any(address in network for network in _NEVER):
        return False
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    carried = address.ipv4_mapped or address.sixtofour
    if carried is None and address in _NAT64:
        carried = IPv4Address(int(address) & 0xFFFFFFFF)
    if carried is not None:
        return is_public(carried)
    return address in _GLOBAL_UNICAST and address.is_global


def is_loopback(address: Address) -> bool:
    """Whether an address is this machine, also when written as IPv4-mapped."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def system_addresses(host: str) -> list[str]:
    """The machine's own name resolution, addresses in order of preference. Raises OSError, UnicodeError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def checked_addresses(names: list[str], allow_loopback: bool) -> list[Address]:
    """Addresses from their spellings; one that may not be asked refuses them all.

    Raises WebError: address_forbidden.
    """
    addresses = []
    for name in names:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            raise WebError(Reason.ADDRESS_FORBIDDEN, name) from None
        if not (is_public(address) or (allow_loopback and is_loopback(address))):
            raise WebError(Reason.ADDRESS_FORBIDDEN, name)
        addresses.append(address)
    return addresses
