"""What may be asked for: a URL read strictly, names resolved within bounds, the addresses that are public."""

import ipaddress
import math
import queue
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from threading import BoundedSemaphore, Lock, Semaphore, Thread
from urllib.parse import SplitResult, quote, urlsplit

from pipeline.reasons import Reason

Address = IPv4Address | IPv6Address

MAX_URL_CHARS = 8192
_IDLE_S = 10.0
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\Z")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_KEPT_IN_PATH = "/%:@!$&'()*+,;=~[]|"
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

    def __init__(self, reason: Reason, detail: object = "", retry_after_s: float | None = None) -> None:
        self.reason = reason
        self.retry_after_s = retry_after_s
        """How long the server asked us to stay away (Retry-After), 0 to 86,400; None where it did not."""
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
        path = _encoded(parts.path or "/") + (f"?{_encoded(parts.query, '/?')}" if parts.query else "")
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


def _host(parts: SplitResult) -> str:
    if "@" in parts.netloc:
        raise WebError(Reason.URL_INVALID, "user name or password")
    host = parts.hostname or ""
    try:
        if "[" in parts.netloc:
            return str(IPv6Address(host)) if "%" not in host else _refused(host)
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


@dataclass
class _Lookup:
    """A question to the name system; whoever asks before `until` (monotonic seconds) shares its answer."""

    host: str
    answer: Future[list[str]] = field(default_factory=Future)
    until: float = math.inf


class Names:
    """Host names to addresses, for many threads at once, within bounds that the system's resolver lacks.

    A lookup cannot be stopped, only left behind in its thread: at most `max_lookups` are under way, those
    included, and whoever asks for a name that is being looked up waits for the same answer. Answers are kept
    for `kept_s`, failures are not. What is kept is checked and connected to by number, like what is fresh.
    """

    def __init__(
        self,
        resolve: Callable[[str], list[str]],
        max_lookups: int,
        kept_s: float = 60.0,
        max_kept: int = 10_000,
    ) -> None:
        self._resolve = resolve
        self._kept_s = kept_s
        self._max_kept = max_kept
        self._lookups: dict[str, _Lookup] = {}
        self._lock = Lock()
        self._questions: queue.SimpleQueue[_Lookup] = queue.SimpleQueue()
        self._free = BoundedSemaphore(max_lookups)
        self._idle = Semaphore(0)

    def addresses(self, host: str, timeout_s: float) -> list[str]:
        """At least one address, as the resolver spells it. Raises WebError: dns_failed, deadline_exceeded."""
        end = time.monotonic() + timeout_s
        answer = self._shared(host) or self._asked(host, timeout_s)
        try:
            failure = answer.exception(max(end - time.monotonic(), 0.0))
        except TimeoutError:
            raise WebError(Reason.DEADLINE_EXCEEDED, f"resolving {host}") from None
        if failure or not answer.result():
            raise WebError(Reason.DNS_FAILED, f"{host}: {failure or 'no address'}")
        return answer.result()

    def _shared(self, host: str) -> Future[list[str]] | None:
        lookup = self._lookups.get(host)
        return lookup.answer if lookup and time.monotonic() < lookup.until else None

    def _asked(self, host: str, timeout_s: float) -> Future[list[str]]:
        if not self._free.acquire(timeout=timeout_s):
            raise WebError(Reason.DEADLINE_EXCEEDED, f"resolving {host}: too many lookups under way")
        with self._lock:
            if answer := self._shared(host):  # somebody asked while we waited
                self._free.release()
                return answer
            self._lookups.pop(host, None)  # so that it comes last
            lookup = self._lookups[host] = _Lookup(host)
            if len(self._lookups) > self._max_kept:
                del self._lookups[next(iter(self._lookups))]
        self._questions.put(lookup)
        if not self._idle.acquire(blocking=False):
            self._start_thread()
        return lookup.answer

    def _start_thread(self) -> None:
        try:
            Thread(target=self._answer_questions, name="names", daemon=True).start()
        except RuntimeError as error:  # no more threads to be had; whoever gets one answers this question too
            raise WebError(Reason.DNS_FAILED, error) from None

    def _answer_questions(self) -> None:
        while True:
            try:
                self._answer(self._questions.get(timeout=_IDLE_S))
            except queue.Empty:
                if self._idle.acquire(blocking=False):  # else a question is coming
                    return

    def _answer(self, lookup: _Lookup) -> None:
        found: list[str] = []
        failure: Exception | None = None
        try:
            found = self._resolve(lookup.host)
        except Exception as error:
            failure = error
        lookup.until = time.monotonic() + self._kept_s if found else -math.inf
        self._idle.release()
        self._free.release()
        if failure:
            lookup.answer.set_exception(failure)
        else:
            lookup.answer.set_result(found)


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
