"""The stage on img2dataset, against a server on loopback."""

import contextlib
import hashlib
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from curation.download import Download, DownloadSettings, opted_out
from curation.web import WebOpener, WebSettings
from pipeline.reasons import Reason
from tests.curation.test_web import LoopbackServer, reply, serving

pytestmark = pytest.mark.timeout(120)

SETTINGS = DownloadSettings(web=WebSettings(allow_loopback=True, deadline_s=0.5), threads=4)
ADDED = ["image", "reason", "error", "seconds", "image_sha256", "image_bytes"]


def answer(connection: socket.socket, path: str) -> None:
    """/404 and the like fail, /slow hangs, /noai opts out; any other path is its own body."""
    if path == "/slow":
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


def test_a_url_that_stands_twice_is_asked_for_once(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer
) -> None:
    before = len(server.heads)
    result = process(table([server.url("/twice#a"), server.url("/twice#b"), server.url("/other")]))
    assert result["image"].to_pylist() == [b"/twice", b"/twice", b"/other"]
    assert len(server.heads) == before + 2


def test_requests_carry_our_name_and_no_browsers(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer
) -> None:
    process(table([server.url("/agent")]))
    assert f"User-Agent: {SETTINGS.web.user_agent}\r\n" in server.heads[-1]
    assert "Mozilla" not in server.heads[-1]


def test_a_row_that_img2dataset_loses_comes_back_as_crashed(
    process: Callable[[pa.Table], pa.Table], server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curation.download import _Collector

    write = _Collector.write

    def raising(self: _Collector, image: bytes | None, key: str, caption: str | None, meta: Any) -> None:
        if image == b"/bad":
            raise OSError("disk full")
        write(self, image, key, caption, meta)

    monkeypatch.setattr(_Collector, "write", raising)
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
    def fails(*_: Any) -> None:
        raise KeyError("odd | text")

    monkeypatch.setattr(WebOpener, "open", fails)
    result = process(table([server.url("/a")]))
    assert result["reason"].to_pylist() == [Reason.CRASHED]
    assert result["error"].to_pylist() == ["'odd | text'"]


def installed_opener() -> Any:
    return urllib.request._opener  # type: ignore[attr-defined]


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
