import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from PIL import Image

from curation.mllm import MllmError, UnreachableError
from curation.mllm_old import Answer, EndpointSettings, MllmClient, large_enough
from tests.curation.fake_endpoint import Reply, completion, fake_endpoint


def jpeg(width: int = 60, height: int = 120) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 40)).save(sink, "JPEG")
    return sink.getvalue()


@contextmanager
def client(*urls: str, **changes: Any) -> Iterator[MllmClient]:
    settings = {"model": "toy", "urls": urls, "backoff_s": 0.001, "retries": 2, "temperature": 0.5, **changes}
    opened = MllmClient(EndpointSettings.model_validate(settings))
    try:
        yield opened
    finally:
        opened.close()


def ask_scripted(*replies: Reply, **changes: Any) -> tuple[Answer, int]:
    """

    import json
    The answer, and how many requests it took; the last reply repeats."""
    with (
        fake_endpoint(lambda n, _: replies[min(n, len(replies) - 1)]) as endpoint,
        client(endpoint.url, **changes) as c,
    ):
        return c.ask("sys", "user", jpeg(), 7), len(endpoint.requests)


def test_request_carries_instructions_then_picture_bytes_then_text() -> None:
    with fake_endpoint(lambda n, body: completion("A person.")) as endpoint, client(endpoint.url + "/") as c:
        c.ask("be brief", "describe", jpeg(), 7)
    body = endpoint.requests[0]
    system, user = body["messages"]
    picture, text = user["content"]
    assert endpoint.paths == ["/v1/chat/completions"]
    assert system == {"role": "system", "content": "be brief"}
    assert picture["image_url"]["url"] == "data:image/jpeg;base64," + base64.b64encode(jpeg()).decode()
    assert text == {"type": "text", "text": "describe"}
    assert (body["model"], body["seed"], body["temperature"], body["max_tokens"]) == ("toy", 7, 0.5, 160)
    assert body["stop"] == ["\n\n"]


def test_answer_holds_text_and_usage() -> None:
    answer, _ = ask_scripted(completion("  A person.\n"))
    assert answer == Answer(
        text="A person.", finish_reason="stop", prompt_tokens=90, completion_tokens=12, image_tokens=18
    )


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_tried_again(status: int) -> None:
    answer, requests = ask_scripted((status, b"busy"), completion("A person."))
    assert (answer.text, requests) == ("A person.", 2)


def test_a_lasting_fault_ends_in_one_line() -> None:
    with pytest.raises(MllmError, match=r"^given up after 3 attempts; last: HTTP 500: out of memory$"):
        ask_scripted((500, b"out of\nmemory"))


def test_a_refusal_is_not_tried_again() -> None:
    with fake_endpoint(lambda n, _: (400, b"bad picture")) as endpoint, client(endpoint.url) as c:
        with pytest.raises(MllmError, match=r"^HTTP 400: bad picture$"):
            c.ask("sys", "user", jpeg(), 7)
        assert len(endpoint.requests) == 1


def test_an_endpoint_that_is_not_there_ends_in_one_line() -> None:
    with fake_endpoint(lambda n, _: completion("")) as gone:
        pass
    with (
        client(gone.url) as c,
        pytest.raises(MllmError, match=r"^given up after 3 attempts; last: ConnectError"),
    ):
        c.ask("sys", "user", jpeg(), 7)


def test_a_retry_goes_to_the_next_address() -> None:
    with (
        fake_endpoint(lambda n, _: (500, b"")) as bad,
        fake_endpoint(lambda n, _: completion("A person.")) as good,
        client(bad.url, good.url) as c,
    ):
        assert c.ask("sys", "user", jpeg(), 4).text == "A person."
        assert (len(bad.requests), len(good.requests)) == (1, 1)


def test_a_silent_endpoint_is_given_up() -> None:
    released = threading.Event()

    def silent(number: int, body: dict[str, Any]) -> Reply:
        released.wait(20)
        return completion("late")

    with fake_endpoint(silent) as endpoint, client(endpoint.url, read_timeout_s=0.1, retries=1) as c:
        with pytest.raises(MllmError, match="2 attempts; last: ReadTimeout"):
            c.ask("sys", "user", jpeg(), 7)
        released.set()


def test_the_total_time_ends_the_retries() -> None:
    with pytest.raises(MllmError, match=r"^no answer within 0\.05 s; last: "):
        ask_scripted((500, b"busy"), total_timeout_s=0.05, retries=1000, backoff_s=0.02)


@pytest.mark.parametrize(
    "content",
    [b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": null}]}', b"\xff", b"null"],
)
def test_what_is_no_chat_completion_is_an_error(content: bytes) -> None:
    with pytest.raises(MllmError, match=r"^not a chat completion"):
        ask_scripted((200, content))


def test_an_endless_answer_is_cut() -> None:
    with pytest.raises(MllmError, match="answer longer than 1000000 bytes"):
        ask_scripted((200, b" " * 1_100_000))


def test_a_picture_that_did_not_arrive_is_an_error() -> None:
    with pytest.raises(MllmError, match="0 image tokens"):
        ask_scripted(completion("A person.", image_tokens=0))


def test_unreported_image_tokens_are_unknown() -> None:
    answer, _ = ask_scripted(completion("A person.", image_tokens=None))
    assert answer.image_tokens is None


def test_an_answer_cut_at_the_token_limit_is_an_error() -> None:
    with pytest.raises(MllmError, match="cut off at max_tokens"):
        ask_scripted(completion("A person in a", finish_reason="length"))


def test_no_answer_text_is_an_empty_text() -> None:
    assert ask_scripted(completion(None))[0].text == ""


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask_scripted(completion("A person."))[0].text == "A person."


@pytest.mark.parametrize(
    ("size", "expected"), [((20, 60), (28, 84)), ((100, 7), (400, 28)), ((1, 1), (28, 28))]
)
def test_small_pictures_grow_to_28_pixels_and_keep_their_shape(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    with Image.open(io.BytesIO(large_enough(jpeg(*size)))) as image:
        assert image.size == expected


def test_a_small_picture_is_sent_grown() -> None:
    with fake_endpoint(lambda n, _: completion("A person.")) as endpoint, client(endpoint.url) as c:
        c.ask("sys", "user", jpeg(20, 60), 7)
    url = endpoint.requests[0]["messages"][1]["content"][0]["image_url"]["url"]
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        assert image.size == (28, 84)


def test_large_pictures_are_sent_as_they_are() -> None:
    assert large_enough(jpeg(28, 28)) == jpeg(28, 28)


def test_addresses_and_waits_do_not_change_the_fingerprint() -> None:
    one = EndpointSettings(model="toy", urls=("http://a",), connect_timeout_s=1.0, concurrency=2)
    two = EndpointSettings(model="toy", urls=("http://b",))
    assert one.fingerprint() == two.fingerprint()
    assert one.fingerprint() != EndpointSettings(model="other", urls=("http://a",)).fingerprint()


def test_nobody_to_talk_to_is_told_apart_from_a_bad_answer() -> None:
    with fake_endpoint(lambda n, _: completion("")) as gone:
        pass
    with client(gone.url) as c, pytest.raises(UnreachableError):
        c.ask("sys", "user", jpeg(), 7)
    with pytest.raises(MllmError) as refused:
        ask_scripted((500, b"out of memory"))
    assert not isinstance(refused.value, UnreachableError)


def test_half_a_character_is_no_answer() -> None:
    reply = json.dumps({"choices": [{"message": {"content": "a \ud800 b"}}]}).encode()
    with pytest.raises(MllmError, match="not a chat completion"):
        ask_scripted((200, reply))


def test_a_withheld_answer_is_no_caption() -> None:
    with pytest.raises(MllmError, match="content filter"):
        ask_scripted(completion("I cannot", finish_reason="content_filter"))
