"""What a robots.txt says, what is made of it when it cannot be had, and how often it is asked for."""

import time
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from threading import Event
from typing import Any

import pytest
from pydantic import ValidationError

from curation import robots as robots_module
from curation.addresses import WebError, parse_url
from curation.robots import FETCHED_BYTES, PARSED_BYTES, Robots, RobotsSettings
from curation.web import WebResponse
from pipeline.reasons import Reason
from tests.curation.test_hosts import FakeClock

pytestmark = pytest.mark.timeout(30)

CLOSED = b"User-agent: *\nDisallow: /\n"


class Site:
    """Answers every robots.txt alike, and counts who asks."""

    def __init__(self, answer: bytes | int | WebError, **settings: Any) -> None:
        self.answer = answer
        self.headers = Message()
        self.asked: list[str] = []
        self.clock = FakeClock()
        self.robots = Robots(RobotsSettings(**settings), self.fetch, "webperson", self.clock)

    def fetch(self, url: str, *, max_body_bytes: int, any_status: bool) -> WebResponse:
        assert (max_body_bytes, any_status) == (FETCHED_BYTES, True)
        self.asked.append(url)
        if isinstance(self.answer, WebError):
            raise self.answer
        if isinstance(self.answer, int):
            return WebResponse(url, self.answer, self.headers, b"")
        return WebResponse(url, 200, self.headers, self.answer)

    def check(self, url: str) -> float:
        return self.robots.check(parse_url(url))

    def reason(self, url: str = "http://a.example/picture.jpg") -> Reason | None:
        try:
            self.check(url)
        except WebError as error:
            return error.reason
        return None


# what it says


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("User-agent: *\nDisallow: /private/", "/private/a.jpg", False),
        ("User-agent: *\nDisallow: /private/", "/public/a.jpg", True),
        ("User-agent: *\nDisallow:", "/a.jpg", True),
        ("User-agent: *\nDisallow: /*.jpg$", "/a.jpg", False),
        ("User-agent: *\nDisallow: /*.jpg$", "/a.jpg?size=1", True),
        ("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b.jpg", True),
        ("User-agent: *\nDisallow: /a?size=", "/a?size=2", False),
        ("User-agent: webperson\nDisallow: /", "/a.jpg", False),
        ("User-agent: WebPerson\nDisallow: /", "/a.jpg", False),
        ("User-agent: otherbot\nDisallow: /", "/a.jpg", True),
        ("User-agent: *\nDisallow: /\n\nUser-agent: webperson\nAllow: /", "/a.jpg", True),
        ("User-agent: a\nUser-agent: webperson\nDisallow: /", "/a.jpg", False),
        ("\ufeffUser-agent: *\nDisallow: /", "/a.jpg", False),
        ("User-agent: *\r\nDisallow: /\r\n", "/a.jpg", False),
        ("User-agent: *\nDisallow: /ä", "/%C3%A4.jpg", False),
        ("<!doctype html><title>Not found</title>", "/a.jpg", True),
        ("", "/a.jpg", True),
    ],
)
def test_rules_are_kept(text: str, path: str, allowed: bool) -> None:
    reason = Site(text.encode()).reason(f"http://a.example{path}")
    assert reason is (None if allowed else Reason.ROBOTS_FORBIDDEN)


def test_bytes_that_are_no_text_spoil_their_own_line_only() -> None:
    assert Site(b"User-agent: *\nDisallow: /\xff\xfe\nDisallow: /picture").reason() is Reason.ROBOTS_FORBIDDEN


def test_what_stands_behind_the_size_cap_is_ignored_and_a_cut_line_with_it() -> None:
    head = b"User-agent: *\nDisallow: /private\n"
    line = b"Disallow: /picture-of-the-day\n"
    filler = b"#" * (PARSED_BYTES - len(head) - 1 - len(b"Disallow: /picture")) + b"\n"
    site = Site(head + filler + line)
    assert site.reason("http://a.example/private") is Reason.ROBOTS_FORBIDDEN
    assert site.reason("http://a.example/picture-of-the-day") is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("User-agent: *\nCrawl-delay: 2.5", 2.5),
        ("User-agent: *\nRequest-rate: 1/5", 5.0),
        ("User-agent: *\nCrawl-delay: 1\nRequest-rate: 1/5", 5.0),
        ("User-agent: otherbot\nCrawl-delay: 10", 0.0),
        ("User-agent: *\nCrawl-delay: soon", 0.0),
        ("User-agent: *\nCrawl-delay: -1", 0.0),
        ("User-agent: *\nCrawl-delay: inf", 0.0),
        ("User-agent: *\nDisallow: /x", 0.0),
    ],
)
def test_the_seconds_between_requests_are_told(text: str, seconds: float) -> None:
    assert Site(text.encode()).check("http://a.example/a.jpg") == seconds


# when it cannot be had


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
@pytest.mark.parametrize("policy", ["allow", "forbid"])
def test_a_site_without_one_allows_everything(status: int, policy: str) -> None:
    assert Site(status, robots_unreachable=policy).reason() is None


def test_redirects_without_end_count_as_none() -> None:
    assert Site(WebError(Reason.TOO_MANY_REDIRECTS)).reason() is None


UNREACHABLE: list[int | WebError] = [
    500,
    503,
    304,
    WebError(Reason.DEADLINE_EXCEEDED),
    WebError(Reason.HTTP_PROTOCOL_ERROR),
    WebError(Reason.TOO_MANY_BYTES),
    WebError(Reason.TRUNCATED_BODY),
]


@pytest.mark.parametrize("answer", UNREACHABLE)
def test_one_that_cannot_be_had_forbids(answer: int | WebError) -> None:
    assert Site(answer).reason() is Reason.ROBOTS_UNREACHABLE


@pytest.mark.parametrize("answer", UNREACHABLE)
def test_one_that_cannot_be_had_allows_where_the_recipe_says_so(answer: int | WebError) -> None:
    assert Site(answer, robots_unreachable="allow").reason() is None


@pytest.mark.parametrize(
    "reason",
    [
        Reason.DNS_FAILED,
        Reason.CONNECT_FAILED,
        Reason.TLS_FAILED,
        Reason.ADDRESS_FORBIDDEN,
        Reason.PORT_FORBIDDEN,
    ],
)
def test_where_there_is_no_site_its_rows_say_so_and_it_is_asked_for_again(reason: Reason) -> None:
    site = Site(WebError(reason, "detail"))
    assert [site.reason(), site.reason()] == [reason, reason]
    assert len(site.asked) == 2
    site.answer = b""
    assert site.reason() is None


def test_a_site_that_limits_us_is_waited_for() -> None:
    site = Site(429)
    site.headers["Retry-After"] = "7"
    with pytest.raises(WebError) as caught:
        site.check("http://a.example/")
    assert (caught.value.reason, caught.value.retry_after_s) == (Reason.RATE_LIMITED, 7.0)
    assert caught.value.status == 429


@pytest.mark.parametrize("transient", [True, False])
def test_a_name_system_that_may_do_better_soon_says_so_for_the_rows_too(transient: bool) -> None:
    with pytest.raises(WebError) as caught:
        Site(WebError(Reason.DNS_FAILED, "x", transient=transient)).check("http://a.example/")
    assert caught.value.transient is transient


def test_one_that_breaks_the_parser_counts_as_one_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(text: str) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr("curation.robots.Protego.parse", breaks)
    assert Site(CLOSED).reason() is Reason.ROBOTS_UNREACHABLE


def test_the_recipe_can_leave_robots_out() -> None:
    site = Site(CLOSED, robots=False)
    assert site.reason() is None
    assert site.asked == []


# how often


def test_a_site_is_a_scheme_a_host_and_a_port() -> None:
    site = Site(b"")
    for url in (
        "http://a.example/1",
        "http://A.example:80/2",
        "https://a.example/",
        "http://a.example:8080/",
    ):
        site.check(url)
    assert site.asked == [
        "http://a.example/robots.txt",
        "https://a.example/robots.txt",
        "http://a.example:8080/robots.txt",
    ]


def test_it_is_asked_for_again_after_a_day() -> None:
    site = Site(CLOSED)
    site.reason()
    site.answer = b""
    site.clock.time += 86_399
    assert site.reason() is Reason.ROBOTS_FORBIDDEN
    site.clock.time += 2
    assert site.reason() is None
    assert len(site.asked) == 2


def test_one_that_could_not_be_had_is_asked_for_again_sooner() -> None:
    site = Site(500)
    site.reason()
    site.clock.time += 601
    site.answer = b""
    assert site.reason() is None


def test_a_busy_one_is_asked_for_again_when_it_said() -> None:
    site = Site(503)
    site.headers["Retry-After"] = "3600"
    site.reason()
    for wait_s, asked in ((3599, 1), (2, 2)):
        site.clock.time += wait_s
        site.reason()
        assert len(site.asked) == asked


def test_threads_that_ask_together_wait_for_one_fetch() -> None:
    site, answered = Site(CLOSED), Event()
    fetch = site.fetch

    def slow(url: str, **more: Any) -> WebResponse:
        assert answered.wait(10)
        return fetch(url, **more)

    site.robots._fetch = slow
    with ThreadPoolExecutor(8) as threads:
        reasons = [threads.submit(site.reason) for _ in range(8)]
        for _ in range(100):
            if sum(future.running() for future in reasons) == 8:
                break
            time.sleep(0.01)
        answered.set()
        assert {future.result(timeout=10) for future in reasons} == {Reason.ROBOTS_FORBIDDEN}
    assert len(site.asked) == 1


def test_memory_is_bounded_and_the_sites_met_last_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots_module, "KEPT_WEIGHT", 3 * 1024)
    site = Site(404)
    for host in ("a", "b", "c", "a", "d", "a", "b"):
        site.reason(f"http://{host}.example/")
    assert [url[7] for url in site.asked] == ["a", "b", "c", "d", "b"]


def test_a_long_robots_txt_weighs_more_than_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots_module, "KEPT_WEIGHT", 10 * 1024)
    site = Site(b"#" * 9000)
    for host in ("a", "b", "a"):
        site.reason(f"http://{host}.example/")
    assert len(site.asked) == 3


def test_what_is_forgotten_weighs_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots_module, "KEPT_WEIGHT", 10 * 1024)
    site = Site(b"#" * 9000)
    for host in ("a", "b"):
        site.reason(f"http://{host}.example/")
    site.answer = 404
    for host in ("c", "d", "c"):
        site.reason(f"http://{host}.example/")
    assert [url[7] for url in site.asked] == ["a", "b", "c", "d"]


def test_what_is_asked_for_again_weighs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots_module, "KEPT_WEIGHT", 3 * 1024)
    site = Site(404)
    for _ in range(5):
        site.clock.time += 86_401
        site.reason("http://a.example/")
    for host in ("b", "a"):
        site.reason(f"http://{host}.example/")
    assert len(site.asked) == 6


def test_a_long_one_takes_the_place_of_others_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots_module, "KEPT_WEIGHT", 10 * 1024)
    site = Site(404)
    site.reason("http://a.example/")
    site.answer = b"#" * 9000
    for host in ("b", "a"):
        site.reason(f"http://{host}.example/")
    assert [url[7] for url in site.asked] == ["a", "b", "a"]


def test_one_that_alone_weighs_too_much_is_remembered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots_module, "KEPT_WEIGHT", 1024)
    site = Site(b"#" * 9000)
    for _ in range(2):
        site.reason()
    assert len(site.asked) == 1


@pytest.mark.parametrize("setting", [{"robots_unreachable": "maybe"}, {"robots_age_s": 0}, {"robot": True}])
def test_settings_that_say_nothing_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RobotsSettings(**setting)
