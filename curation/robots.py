"""robots.txt, honoured: fetched once for each site, remembered for a day, by RFC 9309.

A site is a scheme, a host and a port. Sites that have no robots.txt (4xx, or redirects without end) allow
everything; where it cannot be had (5xx, silence, nonsense) the recipe says what then. A site that cannot even
be connected to gives its rows the reason that their own request would have had.
"""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock
from typing import Literal

from protego import Protego
from pydantic import PositiveFloat

from curation.addresses import Target, WebError
from curation.answers import retry_after_s
from curation.hosts import Clock
from curation.web import WebResponse
from pipeline.reasons import Reason
from pipeline.recipe import Section, operational

PARSED_BYTES = 500 * 1024
"""As much of a robots.txt as RFC 9309 asks to read; what stands behind it is ignored."""
FETCHED_BYTES = 8 * PARSED_BYTES
"""A longer one counts as one that cannot be had."""
UNREACHABLE_AGE_S = 600.0
"""A robots.txt that could not be had is asked for again after this time."""
KEPT_WEIGHT = 8 * 2**20
"""Bytes of robots.txt that a worker keeps, 1 kB for a site at least; parsed they are up to 40 times that."""
ROBOTS_REASONS = frozenset({Reason.ROBOTS_FORBIDDEN, Reason.ROBOTS_UNREACHABLE})
"""Reasons with which a row ends without being asked for."""
_SITE_WEIGHT = 1024
_NO_SITE = frozenset(
    {
        Reason.ADDRESS_FORBIDDEN,
        Reason.PORT_FORBIDDEN,
        Reason.DNS_FAILED,
        Reason.CONNECT_FAILED,
        Reason.TLS_FAILED,
    }
)


class RobotsSettings(Section):
    """Whether and how robots.txt is honoured."""

    robots: bool = True
    """Ask for robots.txt and keep to it."""
    robots_unreachable: Literal["allow", "forbid"] = "forbid"
    """What holds for a site whose robots.txt cannot be had; RFC 9309 says forbid."""
    robots_age_s: PositiveFloat = operational(86_400.0)
    """Seconds after which a robots.txt is asked for again."""


@dataclass(frozen=True)
class _Rules:
    """What a site says to us; no parser and no error: everything is allowed."""

    parser: Protego | None = None
    error: str | None = None
    """Why its robots.txt could not be had."""
    asked_s: float = 0.0
    """How long the site then asked us to stay away."""
    weight: int = _SITE_WEIGHT


@dataclass
class _Entry:
    rules: "Future[_Rules]"
    expires_at: float = float("inf")
    weight: int = _SITE_WEIGHT


class Robots:
    """The robots.txt of the sites that a worker meets; safe to use from many threads at once."""

    def __init__(
        self, settings: RobotsSettings, fetch: Callable[..., WebResponse], agent_name: str, clock: Clock
    ) -> None:
        """fetch: `WebOpener.get`, which asks nobody here; agent_name: how sites address us."""
        self._settings = settings
        self._fetch = fetch
        self._agent_name = agent_name
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._weight = 0
        self._guard = Lock()

    def check(self, target: Target) -> float:
        """The seconds that the site wants between two requests, 0 where it does not say.

        Raises WebError: robots_forbidden, robots_unreachable, rate_limited, or why there is no such site.
        """
        if not self._settings.robots:
            return 0.0
        rules = self._rules(f"{target.scheme}://{target.authority}")
        if rules.error is not None and self._settings.robots_unreachable == "forbid":
            raise WebError(Reason.ROBOTS_UNREACHABLE, rules.error)
        if rules.parser is None:
            return 0.0
        if not rules.parser.can_fetch(target.url, self._agent_name):
            raise WebError(Reason.ROBOTS_FORBIDDEN, f"{target.authority}/robots.txt")
        return _delay_s(rules.parser, self._agent_name)

    def _rules(self, site: str) -> _Rules:
        """From memory, or fetched by the first who asks while the others wait."""
        with self._guard:
            entry = self._entries.get(site)
            if found := entry is not None and entry.expires_at > self._clock.now():
                self._entries.move_to_end(site)
            else:
                entry = self._remember(site, _Entry(Future()))
        if not found:
            self._fill(site, entry)
        return entry.rules.result()

    def _fill(self, site: str, entry: _Entry) -> None:
        try:
            rules = self._fetched(site)
        except BaseException as error:
            with self._guard:
                self._forget(site, entry)
            entry.rules.set_exception(error)
            return
        age_s = self._settings.robots_age_s
        with self._guard:
            if rules.error:
                age_s = max(min(age_s, UNREACHABLE_AGE_S), rules.asked_s)
            entry.expires_at = self._clock.now() + age_s
            if self._entries.get(site) is entry:
                self._weight += rules.weight - entry.weight
                entry.weight = rules.weight
                self._trim()
        entry.rules.set_result(rules)

    def _remember(self, site: str, entry: _Entry) -> _Entry:
        if old := self._entries.get(site):
            self._forget(site, old)
        self._entries[site] = entry
        self._weight += entry.weight
        self._trim()
        return entry

    def _forget(self, site: str, entry: _Entry) -> None:
        if self._entries.get(site) is entry:
            self._weight -= self._entries.pop(site).weight

    def _trim(self) -> None:
        while self._weight > KEPT_WEIGHT and len(self._entries) > 1:
            self._forget(*next(iter(self._entries.items())))

    def _fetched(self, site: str) -> _Rules:
        """Raises WebError where a row's own request would fail alike: no such site, or rate_limited."""
        try:
            response = self._fetch(f"{site}/robots.txt", max_body_bytes=FETCHED_BYTES, any_status=True)
        except WebError as error:
            if error.reason in _NO_SITE:
                detail = f"robots.txt: {error.detail}"
                raise WebError(error.reason, detail, transient=error.transient) from None
            if error.reason is Reason.TOO_MANY_REDIRECTS:
                return _Rules()
            return _Rules(error=f"{error.reason}: {error.detail}")
        if response.status == 429:
            asked_s = retry_after_s(response.headers)
            raise WebError(Reason.RATE_LIMITED, "robots.txt: HTTP 429", asked_s, status=429)
        if 400 <= response.status < 500:
            return _Rules()
        if not 200 <= response.status < 300:
            asked_s = retry_after_s(response.headers) if response.status == 503 else None
            return _Rules(error=f"HTTP {response.status}", asked_s=asked_s or 0.0)
        return _parsed(response.read())


def _parsed(body: bytes) -> _Rules:
    if len(body) > PARSED_BYTES:
        body = body[:PARSED_BYTES].rpartition(b"\n")[0]  # half a line could forbid more than the whole
    try:
        parser = Protego.parse(body.decode("utf-8-sig", errors="replace"))
    except Exception as error:
        return _Rules(error=f"{type(error).__name__}: {error}")
    return _Rules(parser, weight=_SITE_WEIGHT + len(body))


def _delay_s(parser: Protego, agent_name: str) -> float:
    rate = parser.request_rate(agent_name)
    return max(parser.crawl_delay(agent_name) or 0.0, rate.seconds / rate.requests if rate else 0.0)
