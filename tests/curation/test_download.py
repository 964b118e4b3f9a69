"""The stage on img2dataset, against a server on loopback."""

import contextlib
import hashlib
import pickle
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import pyarrow as pa
import pytest

from curation.download import Download, DownloadSettings, opted_out
from curation.takedown import Takedown
from curation.web import WebError, WebOpener, WebSettings
from pipeline.reasons import Reason
from tests.curation.test_hosts import FakeClock
from tests.curation.test_web import LoopbackServer, reply, sends, serving

pytestmark = pytest.mark.timeout(120)

SETTINGS = DownloadSettings(
    web=WebSettings(allow_loopback=True, deadline_s=0.5), threads=4, host_per_second=None, retries=0
)
ADDED = ["image", "reason", "error", "seconds", "image_sha256", "image_bytes"]


def answer(connection: socket.socket, path: str) -> None:
    """/404 and the like fail, /slow hangs, /noai opts out; any other path is its own body."""
    if path == "/robots.txt":
        connection.sendall(reply(b"", status="404 Not Found"))
    elif path == "/slow":
        time.sleep(5)
    elif path == "/noai":
        connection.sendall(reply(b"private", "X-Robots-Tag: noai"))
    elif path[1:].isdigit() and len(path) == 4:
        connection.sendall(reply(b"error", status=f"{path[1:]} X"))
    else:
        connection.sendall(reply(path.encode()))


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackServer]:
    with serving(answer) as running:
        yield running


@pytest.fixture(scope="module")
def process() -> Iterator[Callable[[pa.Table], pa.Table]]:
    with Download(SETTINGS).open() as opened:
        yield opened


def asked_of(server: LoopbackServer) -> list[str]:
    """The paths that were asked for, robots.txt left out."""
    paths = [head.split()[1] for head in server.heads]
    return [path for path in paths if path != "/robots.txt"]


def table(urls: list[str | None], **more: list[Any]) -> pa.Table:
    count = len(urls)
    return pa.table(
        {
            "unit": pa.array([7] * count, pa.int64()),
            "row": pa.array(range(count), pa.int32()),
            "url": pa.array(urls, pa.string()),
            **more,
        }
    )


def test_rows_come_back_in_order_with_their_columns(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer
) -> None:
    rows = table([server.url(f"/a{i}.jpg") for i in range(50)], text=[f"text {i}" for i in range(50)])
    result = process(rows)
    assert result.select(rows.column_names).equals(rows)
    bodies = [f"/a{i}.jpg".encode() for i in range(50)]
    assert result["image"].to_pylist() == bodies
    assert result["image_bytes"].to_pylist() == [len(body) for body in bodies]
    assert result["image_sha256"].to_pylist() == [hashlib.sha256(body).hexdigest() for body in bodies]
    assert result["reason"].null_count == result["error"].null_count == 50
    assert all(seconds > 0 for seconds in result["seconds"].to_pylist())


def test_the_added_columns_have_fixed_types(process: Callable[[pa.Table], pa.Table]) -> None:
    schema = process(table([None])).schema
    types = [pa.large_binary(), pa.string(), pa.string(), pa.float32(), pa.string(), pa.int64()]
    assert [(name, schema.field(name).type) for name in ADDED] == list(zip(ADDED, types, strict=True))


@pytest.mark.parametrize("count", [0, 1])
def test_a_unit_of_no_or_one_row_is_a_unit(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer, count: int
) -> None:
    result = process(table([server.url("/one")] * count))
    assert result["image"].to_pylist() == [b"/one"] * count
    assert result.column_names[-6:] == ADDED


def test_every_failure_has_its_reason(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer
) -> None:
    expected = {
        server.url("/404"): Reason.HTTP_CLIENT_ERROR,
        server.url("/503"): Reason.HTTP_SERVER_ERROR,
        server.url("/slow"): Reason.DEADLINE_EXCEEDED,
        server.url("/noai"): Reason.OPTED_OUT,
        "http://10.0.0.1/": Reason.ADDRESS_FORBIDDEN,
        "http://8.8.8.8:81/": Reason.PORT_FORBIDDEN,
        "file:///etc/passwd": Reason.SCHEME_FORBIDDEN,
        "no url": Reason.URL_INVALID,
        "": Reason.URL_INVALID,
        None: Reason.URL_INVALID,
    }
    result = process(table(list(expected)))
    assert result["reason"].to_pylist() == list(expected.values())
    assert all(error is not None and "|" not in error for error in result["error"].to_pylist())
    for name in ("image", "image_sha256", "image_bytes"):
        assert result[name].null_count == len(expected)


def test_a_row_that_failed_tells_the_seconds_that_it_took(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer
) -> None:
    assert process(table([server.url("/404")]))["seconds"].to_pylist()[0] > 0


def test_a_url_that_stands_twice_is_asked_for_once(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer
) -> None:
    before = len(asked_of(server))
    result = process(table([server.url("/twice#a"), server.url("/twice#b"), server.url("/other")]))
    assert result["image"].to_pylist() == [b"/twice", b"/twice", b"/other"]
    assert len(asked_of(server)) == before + 2


def test_requests_carry_our_name_and_no_browsers(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer
) -> None:
    process(table([server.url("/agent")]))
    assert f"User-Agent: {SETTINGS.web.user_agent}\r\n" in server.heads[-1]
    assert "Mozilla" not in server.heads[-1]


def test_a_row_that_img2dataset_loses_comes_back_as_crashed(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curation.download import _Unit

    write = _Unit.write

    def raising(self: _Unit, image: bytes | None, key: str, caption: str | None, meta: Any) -> None:
        if image == b"/bad":
            raise OSError("disk full")
        write(self, image, key, caption, meta)

    monkeypatch.setattr(_Unit, "write", raising)
    result = process(table([server.url(path) for path in ("/good", "/bad", "/fine")]))
    assert result["image"].to_pylist() == [b"/good", None, b"/fine"]
    assert result["reason"].to_pylist() == [None, Reason.CRASHED, None]


def test_an_img2dataset_that_dies_crashes_every_row_and_raises_nothing(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise RuntimeError("no threads left")

    monkeypatch.setattr("img2dataset.downloader.ThreadPool", dies)
    result = process(table([server.url("/a"), server.url("/b")]))
    assert result["reason"].to_pylist() == [Reason.CRASHED, Reason.CRASHED]


def test_an_error_that_is_not_ours_is_a_crash_with_its_text(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise KeyError("odd | text")

    monkeypatch.setattr(WebOpener, "get", fails)
    result = process(table([server.url("/a")]))
    assert result["reason"].to_pylist() == [Reason.CRASHED]
    assert result["error"].to_pylist() == ["'odd | text'"]


def test_after_an_img2dataset_that_died_the_next_unit_is_whole(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("img2dataset.downloader.ThreadPool", _raises(RuntimeError("no threads left")))
        process(table([server.url(f"/lost{n}") for n in range(9)]))
    result = process(table([server.url(f"/next{n}") for n in range(9)]))
    assert result["image"].to_pylist() == [f"/next{n}".encode() for n in range(9)]
    assert not any("/lost" in head for head in server.heads)


def _raises(error: Exception) -> Callable[..., None]:
    def function(*_: Any) -> None:
        raise error

    return function


# rows that are not asked for


def test_a_row_that_comes_with_a_reason_keeps_it_and_is_not_asked_for(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer
) -> None:
    rows = table(
        [server.url("/small"), server.url("/good"), "no url"],
        reason=[Reason.LISTED_SIZE, None, Reason.ROW_UNREADABLE],
        error=["20 px", None, "list.csv: line 7"],
        carried=['{"id": 1}', None, None],
    )
    result = process(rows)
    assert result["image"].to_pylist() == [None, b"/good", None]
    assert result["reason"].to_pylist() == rows["reason"].to_pylist()
    assert result["error"].to_pylist() == rows["error"].to_pylist()
    assert result["carried"].equals(rows["carried"])
    assert result.column_names == ["unit", "row", "url", "carried", *ADDED]
    assert "/small" not in asked_of(server)


def test_a_url_on_the_takedown_list_is_not_asked_for_and_bytes_on_it_are_not_kept(
    server: LoopbackServer,
) -> None:
    sha256 = hashlib.sha256(b"/named-by-bytes").hexdigest()
    takedown = Takedown(
        urls=frozenset({f"{server.address}:{server.port}/named"}),
        domains=frozenset({"gone.example"}),
        sha256s=frozenset({sha256}),
    )
    urls = [
        server.url("/named"),
        "http://www.gone.example/",
        server.url("/named-by-bytes"),
        server.url("/ok"),
    ]
    with Download(SETTINGS, takedown=takedown).open() as process:
        result = process(table([*urls]))
    assert result["reason"].to_pylist() == [Reason.TAKEN_DOWN] * 3 + [None]
    assert result["image"].to_pylist() == [None, None, None, b"/ok"]
    assert result["image_sha256"].to_pylist()[2] == sha256
    assert "/named" not in asked_of(server)


# robots.txt

RULES = b"User-agent: *\nDisallow: /private\n"


def guarded(connection: socket.socket, path: str) -> None:
    """A robots.txt with rules, /moved leads to what it forbids; any other path is its own body."""
    if path.startswith("/moved"):
        connection.sendall(reply(b"", f"Location: /private{path}", status="302 Found"))
    else:
        connection.sendall(reply(RULES if path == "/robots.txt" else path.encode()))


def test_what_robots_txt_forbids_is_not_asked_for_not_even_by_redirect() -> None:
    with serving(guarded) as server, Download(SETTINGS).open() as process:
        paths = ["/private/a", "/public/a", "/moved/b", "/private/c"]
        result = process(table([server.url(path) for path in paths]))
        forbidden = Reason.ROBOTS_FORBIDDEN
        assert result["reason"].to_pylist() == [forbidden, None, forbidden, forbidden]
        assert sorted(asked_of(server)) == ["/moved/b", "/public/a"]


def test_no_spelling_of_a_path_leads_past_robots_txt() -> None:
    with serving(guarded) as server, Download(SETTINGS).open() as process:
        paths = ["/public/../private/a", "/./private/b", "/%2e%2E/private/c", "/public/.%2e/private/d"]
        result = process(table([server.url(path) for path in [*paths, "/private/../public"]]))
        assert result["reason"].to_pylist() == [Reason.ROBOTS_FORBIDDEN] * 4 + [None]
        assert asked_of(server) == ["/public"]


def test_robots_txt_is_asked_for_once_in_all_units_and_is_no_row() -> None:
    with serving(guarded) as server, Download(SETTINGS).open() as process:
        for unit in range(2):
            result = process(table([server.url(f"/{unit}/{n}") for n in range(20)]))
            assert result.num_rows == 20
        assert sum("GET /robots.txt " in head for head in server.heads) == 1


def test_a_crawl_delay_lies_between_the_rows_of_its_site() -> None:
    def slow(connection: socket.socket, path: str) -> None:
        connection.sendall(reply(b"User-agent: *\nCrawl-delay: 7\n" if path == "/robots.txt" else b"picture"))

    stage, clock = patient(robots=True)
    with serving(slow) as server, stage.open() as process:
        process(table([server.url(f"/{n}") for n in range(3)]))
    assert clock.time - 100 == pytest.approx(14, abs=0.1)


def test_robots_txt_and_rows_of_a_site_share_one_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    with serving(guarded) as server, Download(SETTINGS).open() as process:
        result = process(table([server.url("/a", host="pictures.example")]))
    assert result["image"].to_pylist() == [b"/a"]
    assert asked == ["pictures.example"]


def test_any_other_request_of_the_process_keeps_to_robots_txt_too() -> None:
    with serving(guarded) as server, Download(SETTINGS).open():
        assert urllib.request.urlopen(server.url("/public")).read() == b"/public"
        for path in ("/private", "/moved"):
            with pytest.raises(WebError) as caught:
                urllib.request.urlopen(server.url(path))
            assert caught.value.reason is Reason.ROBOTS_FORBIDDEN
        assert asked_of(server) == ["/public", "/moved"]


def test_no_other_request_of_the_process_goes_to_what_is_taken_down() -> None:
    with serving(guarded) as server:
        takedown = Takedown(domains=frozenset({server.address}))
        with Download(SETTINGS, takedown=takedown).open(), pytest.raises(WebError) as caught:
            urllib.request.urlopen(server.url("/public"))
        assert caught.value.reason is Reason.TAKEN_DOWN
        assert server.heads == []


def test_robots_txt_that_cannot_be_had_fails_the_rows_of_its_site() -> None:
    with serving(lambda connection, path: connection.sendall(reply(b"", status="500 Oops"))) as server:
        urls = [server.url("/a"), server.url("/b")]
        with Download(SETTINGS).open() as process:
            assert process(table([*urls]))["reason"].to_pylist() == [Reason.ROBOTS_UNREACHABLE] * 2
        assert asked_of(server) == []
        lenient = SETTINGS.model_copy(update={"robots_unreachable": "allow"})
        with Download(lenient).open() as process:
            assert process(table([*urls]))["reason"].to_pylist() == [Reason.HTTP_SERVER_ERROR] * 2


def test_a_redirect_to_what_is_taken_down_is_not_followed() -> None:
    def moved(connection: socket.socket, path: str) -> None:
        connection.sendall(reply(b"", "Location: http://gone.example/", status="302 Found"))

    settings = SETTINGS.model_copy(update={"robots": False})
    takedown = Takedown(domains=frozenset({"gone.example"}))
    with serving(moved) as server, Download(settings, takedown=takedown).open() as process:
        assert process(table([server.url("/")]))["reason"].to_pylist() == [Reason.TAKEN_DOWN]


# further tries, limits, hosts given up: by a clock that nobody waits for


def patient(**changes: Any) -> tuple[Download, FakeClock]:
    clock = FakeClock()
    clock.alone = False
    settings = SETTINGS.model_copy(update={"robots": False, "retries": 2, **changes})
    return Download(settings, clock=clock), clock


class Flaky:
    """Fails so many times for each path that begins with /flaky, then answers."""

    def __init__(self, failures: int, failure: bytes) -> None:
        self.left: dict[str, int] = {}
        self.failures, self.failure = failures, failure

    def __call__(self, connection: socket.socket, path: str) -> None:
        left = self.left[path] = self.left.get(path, self.failures + 1) - 1
        connection.sendall(self.failure if path.startswith("/flaky") and left > 0 else reply(path.encode()))


BUSY = reply(b"busy", status="503 Busy")


@pytest.mark.parametrize("failure", [BUSY, reply(b"cut off")[:-3], reply(b"", status="429 Slow down")])
def test_what_heals_is_asked_for_again(failure: bytes) -> None:
    stage, clock = patient()
    with serving(Flaky(2, failure)) as server, stage.open() as process:
        result = process(table([server.url("/flaky"), server.url("/good")]))
        assert result["image"].to_pylist() == [b"/flaky", b"/good"]
        assert result["reason"].null_count == 2
        assert 1.5 <= clock.time - 100 <= 3.0


def test_what_does_not_heal_ends_with_its_last_reason() -> None:
    stage, _ = patient()
    with serving(Flaky(9, BUSY)) as server, stage.open() as process:
        result = process(table([server.url("/flaky"), server.url("/404")]))
        assert result["reason"].to_pylist() == [Reason.HTTP_SERVER_ERROR, None]
        assert asked_of(server).count("/flaky") == 3


def test_a_row_that_waits_holds_no_thread() -> None:
    stage, _ = patient(threads=1)
    with serving(Flaky(1, BUSY)) as server, stage.open() as process:
        process(table([server.url("/flaky"), server.url("/good")]))
        assert asked_of(server) == ["/flaky", "/good", "/flaky"]


def test_retry_after_is_waited_for() -> None:
    stage, clock = patient()
    limited = reply(b"", "Retry-After: 25", status="429 Slow down")
    with serving(Flaky(1, limited)) as server, stage.open() as process:
        result = process(table([server.url("/flaky"), server.url("/good")]))
        assert result["reason"].null_count == 2
        assert clock.time - 100 == pytest.approx(25, abs=0.1)


def test_the_rate_of_a_host_is_kept_to() -> None:
    stage, clock = patient(host_per_second=0.5)
    with serving(answer) as server, stage.open() as process:
        process(table([server.url(f"/{n}") for n in range(5)]))
    assert clock.time - 100 == pytest.approx(8, abs=0.1)


def test_workers_share_the_rate_of_a_host() -> None:
    stage, clock = patient(host_per_second=1.0)
    with serving(answer) as server, replace(stage, workers=4).open() as process:
        process(table([server.url(f"/{n}") for n in range(3)]))
    assert 7.9 <= clock.time - 100 <= 12.1  # the first of them at a moment of the worker's own


def moved(connection: socket.socket, path: str) -> None:
    """/moved/a leads to /a, /loop to itself; any other path is its own body."""
    to = path.removeprefix("/moved")
    if to != path or path == "/loop":
        connection.sendall(reply(b"", f"Location: {to}", status="302 Found"))
    else:
        connection.sendall(reply(path.encode()))


def test_a_redirect_waits_for_its_turn_at_the_host_that_it_leads_to() -> None:
    stage, clock = patient(host_per_second=0.5)
    with serving(moved) as server, stage.open() as process:
        result = process(table([server.url(f"/moved/{n}") for n in range(3)]))
        assert result["image"].to_pylist() == [b"/0", b"/1", b"/2"]
        assert len(server.heads) == 6
    assert clock.time - 100 == pytest.approx(10, abs=0.1)


def test_redirects_without_end_are_followed_so_often() -> None:
    stage, _ = patient(web=SETTINGS.web.model_copy(update={"max_redirects": 2}))
    with serving(moved) as server, stage.open() as process:
        result = process(table([server.url("/loop"), server.url("/moved/moved/a")]))
        assert result["reason"].to_pylist() == [Reason.TOO_MANY_REDIRECTS, None]
        assert asked_of(server).count("/loop") == 3


def test_a_refused_redirect_has_used_its_turn_and_a_refused_row_has_not() -> None:
    stage, clock = patient(robots=True, host_per_second=0.5, threads=1)
    with serving(guarded) as server, stage.open() as process:
        process(table([server.url(path) for path in ("/private", "/moved", "/public")]))
    assert clock.time - 100 == pytest.approx(2, abs=0.1)


def test_a_site_whose_robots_txt_gets_no_connection_is_given_up_like_one_whose_rows_get_none() -> None:
    stage, _ = patient(robots=True, host_failures=3, retries=0)
    with serving(answer) as server, stage.open() as process:
        result = process(table([f"http://127.0.0.2:{server.port}/{n}" for n in range(6)]))
    reasons = sorted(result["reason"].to_pylist())
    assert reasons == [Reason.CONNECT_FAILED] * 3 + [Reason.HOST_GIVEN_UP] * 3


def test_rows_of_a_host_where_nobody_answers_are_given_up_and_others_go_on() -> None:
    stage, _ = patient(host_failures=3, retries=0)
    with serving(answer) as server, stage.open() as process:
        dead = [f"http://127.0.0.2:{server.port}/{n}" for n in range(6)]
        result = process(table([*dead, server.url("/alive")]))
        reasons = result["reason"].to_pylist()
        assert sorted(reasons[:6]) == [Reason.CONNECT_FAILED] * 3 + [Reason.HOST_GIVEN_UP] * 3
        assert reasons[6] is None


def test_every_row_of_many_hosts_with_mixed_fates_is_accounted_for() -> None:
    stage, _ = patient(threads=16)
    with serving(Flaky(1, BUSY), address="0.0.0.0") as server, stage.open() as process:
        paths = [f"/flaky{n}" if n % 5 == 0 else f"/{n}" for n in range(200)]
        urls = [f"http://127.0.0.{1 + n % 7}:{server.port}{path}" for n, path in enumerate(paths)]
        result = process(table([*urls]))
    assert result["image"].to_pylist() == [path.encode() for path in paths]


def test_the_stage_can_be_sent_to_a_worker() -> None:
    stage = Download(SETTINGS, workers=3, takedown=Takedown(domains=frozenset({"gone.example"})))
    sent = pickle.loads(pickle.dumps(stage))
    assert (sent.settings, sent.workers, sent.takedown) == (stage.settings, 3, stage.takedown)


# settings


def test_limits_and_tries_change_no_result_and_what_is_honoured_does() -> None:
    results = set(DownloadSettings().result_settings())
    assert results == {"web", "opt_out", "robots", "robots_unreachable"}


def installed_opener() -> Any:
    return urllib.request._opener  # type: ignore[attr-defined]


def test_with_another_opener_under_urllib_nothing_is_asked_for() -> None:
    with serving(answer) as server, Download(SETTINGS).open() as process:
        urllib.request.install_opener(WebOpener(SETTINGS.web))
        with pytest.raises(RuntimeError, match="another opener"):
            process(table([server.url("/a")]))
        assert server.heads == []


def test_the_opener_before_is_put_back_even_after_an_error() -> None:
    before = installed_opener()
    with contextlib.suppress(ZeroDivisionError), Download(SETTINGS).open():
        assert installed_opener() is not before
        raise ZeroDivisionError
    assert installed_opener() is before


OPT_OUT = frozenset(DownloadSettings().opt_out)


@pytest.mark.parametrize(
    "tag",
    [
        "noai",
        "NoImageAI",
        "all, noindex",
        "nofollow,noimageindex",
        "none",
        "webperson: noai",
        "*: noindex",
        "otherbot: nofollow, webperson: noindex",
        "max-image-preview: large, noai",
        "nofollow noimageai",
        "nofollow; noai",
        '"noai"',
        "webperson/0.1: noai",
        "unavailable_after: Fri, 25 Jun 2027 15:00:00 GMT, noai",
    ],
)
def test_a_directive_for_all_or_for_us_opts_out(tag: str) -> None:
    assert opted_out(["all", tag], "webperson", OPT_OUT)


@pytest.mark.parametrize(
    "tag", ["", "all", "nofollow", "otherbot: noai", "otherbot: nofollow, noai", "noarchive: x", "noairline"]
)
def test_other_directives_and_those_for_other_robots_do_not(tag: str) -> None:
    assert not opted_out([tag], "webperson", OPT_OUT)


@pytest.mark.parametrize("tags", [["nofollow", "noai"], ["otherbot: nofollow", "noai"], ["noai; nofollow"]])
def test_a_directive_opts_out_wherever_it_stands(tags: list[str]) -> None:
    assert opted_out(tags, "webperson", OPT_OUT)


def test_every_header_is_looked_at_for_directives() -> None:
    tags = ("X-Robots-Tag: nofollow", "X-Robots-Tag: noai")
    stage, _ = patient()
    with serving(sends(reply(b"private", *tags))) as server, stage.open() as process:
        assert process(table([server.url("/")]))["reason"].to_pylist() == [Reason.OPTED_OUT]


def test_a_robots_txt_that_is_redirected_on_its_own_host_takes_no_turn_of_its_rows() -> None:
    def leads(connection: socket.socket, path: str) -> None:
        found = path == "/robots.txt"
        to = reply(b"", "Location: /rules.txt", status="302 Found")
        connection.sendall(to if found else reply(b"Disallow:"))

    stage, clock = patient(robots=True, host_per_second=0.5)
    with serving(leads) as server, stage.open() as process:
        process(table([server.url("/a"), server.url("/b")]))
    assert clock.time - 100 == pytest.approx(2, abs=0.1)


def test_a_redirected_robots_txt_waits_for_its_turn_at_the_host_that_it_leads_to() -> None:
    with serving(answer, "127.0.0.9") as shared:

        def leads(connection: socket.socket, path: str) -> None:
            to = f"Location: {shared.url(path)}"
            found = path == "/robots.txt"
            connection.sendall(reply(b"", to, status="302 Found") if found else reply(path.encode()))

        stage, clock = patient(robots=True, host_per_second=0.5)
        with serving(leads, "0.0.0.0") as server, stage.open() as process:
            result = process(table([server.url("/a", host=f"127.0.0.{n}") for n in range(1, 6)]))
            assert result["image"].to_pylist() == [b"/a"] * 5
        assert len(shared.heads) == 5
        assert clock.time - 100 == pytest.approx(8, abs=0.1)


def test_a_robots_txt_that_leads_to_what_is_taken_down_is_not_followed() -> None:
    with serving(answer, "127.0.0.9") as gone:

        def leads(connection: socket.socket, path: str) -> None:
            connection.sendall(reply(b"", f"Location: {gone.url(path)}", status="302 Found"))

        takedown = Takedown(domains=frozenset({gone.address}))
        with serving(leads) as server, Download(SETTINGS, takedown=takedown).open() as process:
            result = process(table([server.url("/a")]))
        assert result["reason"].to_pylist() == [Reason.ROBOTS_UNREACHABLE]
        assert gone.heads == []


def test_a_row_whose_name_was_not_looked_up_for_those_of_others_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    freed = Event()

    def find(host: str, *_: Any, **__: Any) -> list[Any]:
        if host == "dead.example":
            freed.wait(0.8)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    web = SETTINGS.web.model_copy(update={"max_lookups": 1, "deadline_s": 0.3})
    stage = Download(SETTINGS.model_copy(update={"web": web, "robots": False, "retries": 2}))
    with serving(answer) as server, stage.open() as process:
        urls = [server.url("/x", host="dead.example"), server.url("/a", host="good.example")]
        result = process(table([*urls]))
        freed.set()
    assert result["reason"].to_pylist() == [Reason.DEADLINE_EXCEEDED, None]


@pytest.mark.parametrize(
    ("tag", "opts_out"),
    [
        ("max-image-preview:none", False),
        ("max-snippet: 0, max-image-preview: none, max-video-preview:0", False),
        ("*: max-image-preview: none", False),
        ("max-image-preview: none, noai", True),
        ("other: max-image-preview: none, none", False),
        ("other: noai, webperson: max-image-preview:none, none", True),
    ],
)
def test_a_value_of_a_directive_is_no_directive(tag: str, opts_out: bool) -> None:
    assert opted_out([tag], "webperson", frozenset(SETTINGS.opt_out)) == opts_out


def test_robots_txt_is_not_asked_for_again_before_the_time_that_its_site_asked_for() -> None:
    busy = reply(b"", "Retry-After: 3600", status="503 Busy")
    stage, clock = patient(robots=True)
    with serving(lambda connection, path: connection.sendall(busy)) as server, stage.open() as process:
        for wait_s, asked in ((0, 1), (3000, 1), (601, 2)):
            clock.time += wait_s
            result = process(table([server.url("/a")]))
            assert result["reason"].to_pylist() == [Reason.ROBOTS_UNREACHABLE]
            assert len(server.heads) == asked


def test_an_address_has_one_limit_and_one_place_on_the_takedown_list_however_it_is_spelled() -> None:
    stage, clock = patient(host_per_second=0.5)
    hosts = ["127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "2130706433"]
    with serving(answer) as server, stage.open() as process:
        process(table([server.url(f"/{n}", host=host) for n, host in enumerate(hosts)]))
    assert clock.time - 100 == pytest.approx(6, abs=0.1)
    assert Takedown(domains=frozenset({"127.0.0.1"})).url("http://[::ffff:127.0.0.1]/")
