"""The small web's server: each manner as a plain client sees it, counts, and a clean end."""

import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from pipeline.reasons import Reason
from world.web import MAX_HANDLERS, Answer, Entry, Manner, RunningWeb, SmallWeb, _Handler, serve

BODY = bytes(range(256)) * 8
ANSWERS = {
    "/whole": Answer(BODY, headers=(("Content-Type", "image/jpeg"), ("X-Robots-Tag", "noai"))),
    "/failing": Answer(b"sorry\n", 503),
    "/moved": Answer(status=302, headers=(("Location", "/whole"),)),
    "/loop": Answer(status=302, headers=(("Location", "/loop"),)),
} | {f"/{manner}": Answer(BODY, manner=manner) for manner in Manner if manner is not Manner.WHOLE}
WEB = SmallWeb(
    entries=(
        Entry("picture", "{base}/whole", (None,)),
        Entry("tls", "https://{host}/whole", (Reason.TLS_FAILED,)),
        Entry("scheme_file", "file:///etc/passwd", (Reason.SCHEME_FORBIDDEN,)),
    ),
    answers=ANSWERS,
    silence_s=0.3,
)


@pytest.fixture
def web() -> Iterator[RunningWeb]:
    with serve(WEB) as running:
        yield running


def get(web: RunningWeb, path: str) -> bytes:
    with urllib.request.urlopen(web.base_url + path, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def opened(web: RunningWeb, path: str) -> socket.socket:
    """A raw connection that has asked for a path."""
    connection = socket.create_connection(("127.0.0.1", int(web.base_url.rsplit(":")[-1])), timeout=10)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


def read_all(connection: socket.socket) -> bytes:
    with connection, connection.makefile("rb") as stream:
        return stream.read()


def test_urls_stand_in_the_order_of_the_entries_and_name_the_running_web(web: RunningWeb) -> None:
    host = web.base_url.removeprefix("http://")
    assert web.urls == [f"http://{host}/whole", f"https://{host}/whole", "file:///etc/passwd"]


def test_a_whole_answer_has_its_body_and_headers(web: RunningWeb) -> None:
    with urllib.request.urlopen(web.base_url + "/whole") as answer:
        assert answer.read() == BODY
        assert (answer.headers["Content-Type"], answer.headers["X-Robots-Tag"]) == ("image/jpeg", "noai")


def test_a_chunked_answer_arrives_whole_and_without_a_length(web: RunningWeb) -> None:
    with urllib.request.urlopen(web.base_url + "/chunked") as answer:
        assert answer.headers["Content-Length"] is None
        assert answer.read() == BODY


@pytest.mark.parametrize(("path", "status"), [("/failing", 503), ("/unknown", 404)])
def test_a_bad_status_arrives_as_such(web: RunningWeb, path: str, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(web, path)
    assert caught.value.code == status


def test_a_redirect_leads_to_its_target(web: RunningWeb) -> None:
    assert get(web, "/moved") == BODY


def test_a_redirect_loop_has_no_end(web: RunningWeb) -> None:
    with pytest.raises(urllib.error.HTTPError, match="infinite loop"):
        get(web, "/loop")


def test_a_cut_body_is_shorter_than_promised(web: RunningWeb) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(web, "/cut")
    assert caught.value.partial == BODY[: len(BODY) // 2]


def test_a_silent_path_closes_without_a_word(web: RunningWeb) -> None:
    assert read_all(opened(web, "/silent")) == b""


def test_raw_bytes_are_no_http(web: RunningWeb) -> None:
    assert read_all(opened(web, "/raw")) == BODY
    with pytest.raises(http.client.HTTPException):
        get(web, "/raw")


def test_a_trickle_sends_a_byte_at_a_time(web: RunningWeb) -> None:
    with opened(web, "/trickle") as connection, connection.makefile("rb") as stream:
        while stream.readline() != b"\r\n":
            pass
        assert [stream.read1(100), stream.read1(100)] == [BODY[:1], BODY[1:2]]


def test_an_endless_body_outgrows_its_own_size(web: RunningWeb) -> None:
    with opened(web, "/endless") as connection, connection.makefile("rb") as stream:
        assert len(stream.read(20 * len(BODY))) == 20 * len(BODY)


def test_tls_fails_on_the_plain_port(web: RunningWeb) -> None:
    with pytest.raises(urllib.error.URLError) as caught:
        urllib.request.urlopen(web.urls[1], timeout=10)
    assert isinstance(caught.value.reason, ssl.SSLError)


@pytest.mark.timeout(30)
def test_a_tls_greeting_without_a_line_end_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Handler, "timeout", None)
    with serve(WEB) as web:
        port = int(web.base_url.rsplit(":")[-1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"\x16\x03\x01\x00\x05hello")
            assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_requests_are_counted_by_path(web: RunningWeb) -> None:
    get(web, "/whole")
    get(web, "/whole?size=2")
    get(web, "/moved")
    assert web.requests() == {"/whole": 3, "/moved": 1}


def test_more_clients_than_handlers_are_all_answered(web: RunningWeb) -> None:
    connections = [opened(web, "/whole") for _ in range(MAX_HANDLERS + 20)]
    assert all(read_all(connection).endswith(BODY) for connection in connections)


@pytest.mark.parametrize("path", ["/silent", "/trickle", "/endless"])
def test_leaving_cuts_open_connections_and_ends_all_threads(path: str) -> None:
    before = set(threading.enumerate())
    with serve(SmallWeb((), ANSWERS, silence_s=3600)) as web:
        connections = [opened(web, path) for _ in range(3)]
        while web.requests()[path] < 3:
            pass
    assert set(threading.enumerate()) <= before
    for connection in connections:
        connection.close()


@pytest.mark.timeout(30)
def test_leaving_does_not_wait_for_clients_that_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Handler, "timeout", None)
    with serve(WEB) as web:
        host, port = web.base_url.removeprefix("http://").split(":")
        before = threading.active_count()
        mute = [socket.create_connection((host, int(port))) for _ in range(MAX_HANDLERS + 2)]
        while threading.active_count() < before + MAX_HANDLERS:
            pass
    for connection in mute:
        connection.close()


def test_the_port_refuses_after_leaving() -> None:
    with serve(WEB) as web:
        get(web, "/whole")
    with pytest.raises(urllib.error.URLError, match="refused"):
        get(web, "/whole")


def test_it_listens_on_loopback_only_and_on_the_port_asked_for() -> None:
    with serve(WEB) as first:
        port = int(first.base_url.rsplit(":")[-1])
        assert first._server.socket.getsockname() == ("127.0.0.1", port)
        with pytest.raises(OSError, match="in use"), serve(WEB, port):
            pass
    with serve(WEB, port) as second:
        assert second.base_url == first.base_url


def test_a_client_that_hangs_up_leaves_no_word(web: RunningWeb, capfd: pytest.CaptureFixture[str]) -> None:
    for path in ("/endless", "/trickle", "/whole"):
        opened(web, path).close()
    get(web, "/whole")
    web._server.stopping.wait(0.5)
    assert capfd.readouterr() == ("", "")
