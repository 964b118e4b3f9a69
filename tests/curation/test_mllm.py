import asyncio
import hashlib
import threading
import time
from typing import Any

import pytest

from curation.canary import Canary
from curation.mllm import (
    Answer,
    Example,
    Mllm,
    MllmError,
    ModelSettings,
    Question,
    Sampling,
    UnreachableError,
)
from tests.curation.fake_endpoint import (
    HANG,
    RESET,
    TRICKLE,
    FakeEndpoint,
    Reply,
    chosen,
    completion,
    fake_endpoint,
    picture_bytes,
    sees_colours,
    uncounted,
)

GOOD = completion("A person.")


def question(number: int = 0, **changes: Any) -> Question:
    base: dict[str, Any] = {"system": "sys", "jpeg": b"jpeg %d" % number, "text": "who?", "seed": number}
    return Question(**{**base, "sampling": Sampling(), **changes})


def settings(*urls: str, **changes: Any) -> ModelSettings:
    quick = {"backoff_s": 0.001, "retries": 2, "pause_s": 0.05, "outage_s": 0.1, "failures_until_out": 5}
    return ModelSettings.model_validate({"name": "toy", "urls": urls, **quick, **changes})


def ask_all(count: int, *urls: str, **changes: Any) -> list[Answer | BaseException]:
    """What comes of so many questions at once."""

    async def run() -> list[Answer | BaseException]:
        async with Mllm(settings(*urls, **changes)) as mllm:
            asked = (mllm.ask(question(number)) for number in range(count))
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(asyncio.wait_for(run(), 60))


def ask(*urls: str, **changes: Any) -> Answer:
    outcome = ask_all(1, *urls, **changes)[0]
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def ask_scripted(*replies: Reply, **changes: Any) -> tuple[Answer, int]:
    """The answer, and how many requests it took; the last reply repeats."""
    with fake_endpoint(lambda n, _: replies[min(n, len(replies) - 1)]) as endpoint:
        return ask(endpoint.url, **changes), len(endpoint.requests)


def check(*urls: str, usage_required: bool = False, **changes: Any) -> None:
    async def run() -> None:
        async with Mllm(settings(*urls, **changes)) as mllm:
            await mllm.check(usage_required=usage_required)

    asyncio.run(asyncio.wait_for(run(), 60))


def gone_url() -> str:
    """An address where nobody listens."""
    with fake_endpoint(lambda n, _: GOOD) as gone:
        return gone.url


# one endpoint


def test_an_answer_says_which_model_gave_it_and_what_it_took() -> None:
    answer, requests = ask_scripted((503, b"busy"), GOOD)
    assert (answer.text, answer.model_id, answer.attempts, requests) == ("A person.", "toy", 2, 2)
    assert 0 < answer.seconds < 60


def test_every_question_carries_its_own_picture() -> None:
    with fake_endpoint(lambda n, _: GOOD) as endpoint:
        ask_all(20, endpoint.url + "/")
    assert set(endpoint.paths) == {"/v1/chat/completions"}
    sent = sorted(picture for pictures in endpoint.pictures for picture in pictures)
    assert sent == sorted(hashlib.sha256(b"jpeg %d" % number).hexdigest() for number in range(20))


def test_a_choice_comes_with_scores() -> None:
    async def run(url: str) -> Answer:
        async with Mllm(settings(url)) as mllm:
            return await mllm.ask(question(choices=("A", "B")))

    with fake_endpoint(lambda n, body: chosen("B", body["structured_outputs"]["choice"])) as endpoint:
        assert asyncio.run(run(endpoint.url)).scores == pytest.approx({"A": 0.1, "B": 0.9})


def test_a_body_of_many_examples_arrives_whole() -> None:
    async def run(url: str) -> None:
        async with Mllm(settings(url)) as mllm:
            examples = tuple(Example(bytes([n]) * 200_000, "?", "A") for n in range(10))
            await mllm.ask(question(examples=examples))

    with fake_endpoint(lambda n, _: GOOD) as endpoint:
        asyncio.run(run(endpoint.url))
    assert len(endpoint.pictures[0]) == 11


@pytest.mark.parametrize(
    "reply",
    [RESET, (204, b""), (307, b""), (408, b"late"), (429, b""), (500, b""), (503, b""), (404, b"starting")],
)
def test_a_passing_fault_is_tried_again(reply: Reply) -> None:
    answer, requests = ask_scripted(reply, GOOD)
    assert (answer.text, requests) == ("A person.", 2)


@pytest.mark.parametrize("reply", [(400, b"bad"), (500, b"dead"), RESET, completion("")])
def test_a_question_without_an_answer_says_what_it_cost(reply: Reply) -> None:
    final = reply[0] in (200, 400) if isinstance(reply, tuple) else False
    with pytest.raises(MllmError) as lost:
        ask_scripted((503, b"busy"), reply, retries=3)
    assert lost.value.requests == (2 if final else 4)
    assert lost.value.tokens == (102 if reply == completion("") else 0)


def test_an_outage_says_what_the_question_cost_before() -> None:
    with fake_endpoint(lambda n, _: (503, b"starting")) as endpoint:
        with pytest.raises(UnreachableError, match="no endpoint has answered") as lost:
            ask(endpoint.url, failures_until_out=1, pause_s=100.0, outage_s=0.0)
        assert lost.value.requests == len(endpoint.requests) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_is_final(status: int) -> None:
    with fake_endpoint(lambda n, _: (status, b"bad\npicture")) as endpoint:
        with pytest.raises(MllmError, match=rf"^HTTP {status}: bad picture$") as refused:
            ask(endpoint.url)
        assert len(endpoint.requests) == 1
    assert not isinstance(refused.value, UnreachableError)


def test_a_redirect_is_not_followed() -> None:
    with fake_endpoint(lambda n, _: GOOD) as elsewhere:
        to = {"Location": f"{elsewhere.url}/v1/chat/completions"}
        assert ask_scripted((307, b"", to), GOOD)[1] == 2
        assert elsewhere.requests == []


def test_a_lasting_500_is_the_questions_fault() -> None:
    with pytest.raises(
        MllmError, match=r"^no answer after 3 requests; last: HTTP 500: out of memory$"
    ) as lost:
        ask_scripted((500, b"out of\nmemory"))
    assert not isinstance(lost.value, UnreachableError)


@pytest.mark.parametrize("reply", [RESET, (503, b"starting"), (408, b"late"), (401, b"key?")])
def test_an_endpoint_that_never_works_says_nothing_of_the_question(reply: Reply) -> None:
    with pytest.raises(UnreachableError, match=r"^no answer after 3 requests; last: "):
        ask_scripted(reply)


def test_a_question_that_fails_while_others_are_answered_is_to_blame() -> None:
    answered = threading.Event()

    def reply(number: int, body: dict[str, Any]) -> Reply:
        if body["seed"] != 0:
            answered.set()
            return GOOD
        answered.wait(10)
        return RESET

    with fake_endpoint(reply) as endpoint:
        first, *others = ask_all(4, endpoint.url)
    assert isinstance(first, MllmError)
    assert not isinstance(first, UnreachableError)
    assert all(isinstance(other, Answer) for other in others)


def alone(jpeg: bytes, body: dict[str, Any]) -> bool:
    """Whether the picture of a question is this one."""
    return picture_bytes(body)[-1] == jpeg


def test_a_question_that_an_endpoint_fails_at_for_ever_is_no_outage() -> None:
    """Its failures put the endpoint out each time; a probe by another picture finds that it works."""
    with fake_endpoint(lambda n, body: (500, b"boom") if alone(b"jpeg 0", body) else GOOD) as endpoint:
        changes = {"failures_until_out": 1, "pause_s": 0.05, "outage_s": 0.08, "retries": 4, "concurrency": 1}
        outcomes = ask_all(3, endpoint.url, **changes)
    assert [type(outcome) for outcome in outcomes] == [MllmError, Answer, Answer]
    assert str(outcomes[0]).endswith("last: HTTP 500: boom")


def test_an_endpoint_that_fails_at_everything_is_an_outage() -> None:
    with fake_endpoint(lambda n, _: (500, b"boom")) as endpoint:
        outcomes = ask_all(3, endpoint.url, failures_until_out=1, concurrency=1, retries=4)
    assert [type(outcome) for outcome in outcomes] == [UnreachableError] * 3


def test_an_endpoint_that_refuses_the_probe_is_back() -> None:
    def reply(number: int, body: dict[str, Any]) -> Reply:
        return (400, b"no pictures") if number == 1 else (500, b"boom") if number == 0 else GOOD

    with fake_endpoint(reply) as endpoint:
        assert ask(endpoint.url, failures_until_out=1).attempts == 3


def test_an_endpoint_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match="cannot connect: Connection refused"):
        ask(gone_url())


def test_a_silent_endpoint_is_given_up() -> None:
    with fake_endpoint(lambda n, _: HANG) as endpoint:
        with pytest.raises(UnreachableError, match=r"after 2 requests; last: SocketTimeoutError") as lost:
            ask(endpoint.url, read_timeout_s=0.05, retries=1)
        assert lost.value.requests == 2


def test_a_trickle_is_ended_by_the_total_time() -> None:
    with pytest.raises(UnreachableError, match=r"^no answer within 0\.2 s; last: TimeoutError"):
        ask_scripted(TRICKLE, read_timeout_s=10.0, total_timeout_s=0.2)


def test_the_total_time_ends_the_retries() -> None:
    with pytest.raises(MllmError, match=r"^no answer within 0\.05 s; last: "):
        ask_scripted((500, b"busy"), total_timeout_s=0.05, retries=1000, backoff_s=0.02)


def test_waits_for_a_free_place_do_not_count_as_time() -> None:
    def slow(number: int, body: dict[str, Any]) -> Reply:
        time.sleep(0.02)
        return GOOD

    with fake_endpoint(slow) as endpoint:
        outcomes = ask_all(50, endpoint.url, concurrency=1, total_timeout_s=0.9)
    assert all(isinstance(outcome, Answer) for outcome in outcomes)


@pytest.mark.parametrize("size", [1_100_000, 2_000_000])
def test_a_long_answer_is_cut_and_final(size: int) -> None:
    with fake_endpoint(lambda n, _: completion("x" * size)) as endpoint:
        with pytest.raises(MllmError, match=r"^answer longer than 1000000 bytes$"):
            ask(endpoint.url)
        assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((200, b"<html>"), "not a chat completion"),
        ((200, b'{"object": "error"}'), "not a chat completion"),
        (completion(""), "answered with nothing"),
        (completion(" " * 5000, finish_reason="length"), "cut off"),
        (completion("A person.", image_tokens=0), "did not reach the model"),
    ],
)
def test_an_unusable_answer_is_final(reply: Reply, message: str) -> None:
    with fake_endpoint(lambda n, _: reply) as endpoint:
        with pytest.raises(MllmError, match=message):
            ask(endpoint.url)
        assert len(endpoint.requests) == 1


def test_image_tokens_can_be_required() -> None:
    with pytest.raises(MllmError, match="reports no image tokens"):
        ask_scripted(completion("A person.", image_tokens=None), require_image_tokens=True)


def test_a_compressed_answer_is_not_unpacked() -> None:
    reply = (GOOD[0], GOOD[1], {"Content-Encoding": "gzip"})
    assert ask_scripted(reply)[0].text == "A person."


def test_no_more_requests_are_under_way_than_allowed() -> None:
    def slow(number: int, body: dict[str, Any]) -> Reply:
        time.sleep(0.02)
        return GOOD

    with fake_endpoint(slow) as endpoint:
        ask_all(30, endpoint.url, concurrency=3)
    assert endpoint.most_at_once == 3


@pytest.mark.parametrize("said", ["3600", "inf", "1e400"])
def test_the_rest_that_an_endpoint_asks_for_is_capped(said: str) -> None:
    assert ask_scripted((429, b"", {"Retry-After": said}), GOOD, rest_max_s=0.05)[1] == 2


@pytest.mark.parametrize("said", ["", "soon", "-5", "nan", "Wed, 21 Oct 2035 07:28:00 GMT"])
def test_an_unreadable_rest_counts_as_none(said: str) -> None:
    assert ask_scripted((429, b"", {"Retry-After": said}), GOOD, rest_max_s=3600.0)[1] == 2


@pytest.mark.parametrize("reply", [(429, b"busy"), (503, b"busy", {"Retry-After": "0.001"})])
def test_a_request_to_rest_uses_up_no_retry(reply: Reply) -> None:
    answer, requests = ask_scripted(*[reply] * 6, GOOD, retries=0)
    assert (answer.text, requests, answer.attempts) == ("A person.", 7, 7)


def test_a_busy_endpoint_that_says_no_time_is_asked_more_and_more_rarely() -> None:
    with pytest.raises(UnreachableError, match=r"^no answer within 0\.5 s; last: ") as lost:
        ask_scripted((429, b"busy"), backoff_s=0.02, total_timeout_s=0.5)
    # 20, 40, 80, 160 ms at least; the next is longer than what is left.
    assert lost.value.requests <= 6


@pytest.mark.parametrize(("said", "requests"), [("0.2", 2), ("3600", 1)])
def test_requests_to_rest_end_with_the_total_time(said: str, requests: int) -> None:
    with pytest.raises(UnreachableError, match=r"^no answer within 0\.3 s; last: ") as lost:
        ask_scripted((429, b"", {"Retry-After": said}), total_timeout_s=0.3, rest_max_s=3600.0, backoff_s=0.0)
    assert lost.value.requests <= requests


def test_a_busy_endpoint_says_nothing_of_the_question_though_others_are_answered() -> None:
    answered = threading.Barrier(2)

    def reply(number: int, body: dict[str, Any]) -> Reply:
        if body["seed"]:
            return GOOD
        answered.wait(10)
        return 429, b"busy", {"Retry-After": "3600"}

    async def run(url: str) -> None:
        async with Mllm(settings(url, total_timeout_s=0.5, rest_max_s=3600.0)) as mllm:
            asked = asyncio.ensure_future(mllm.ask(question(0)))
            await mllm.ask(question(1))
            await asyncio.to_thread(answered.wait, 10)
            with pytest.raises(UnreachableError, match=r"^no answer within 0\.5 s; last: "):
                await asked

    with fake_endpoint(reply) as endpoint:
        asyncio.run(asyncio.wait_for(run(endpoint.url), 60))


def test_an_endpoint_that_is_busy_for_ever_is_an_outage() -> None:
    async def run(url: str) -> list[BaseException]:
        failures: list[BaseException] = []
        wire = {"total_timeout_s": 0.5, "rest_max_s": 3600.0, "outage_s": 0.0, "pause_s": 100.0}
        async with Mllm(settings(url, **wire)) as mllm:
            for number in range(2):
                with pytest.raises(UnreachableError) as lost:
                    await asyncio.wait_for(mllm.ask(question(number)), 30)
                failures.append(lost.value)
        return failures

    with fake_endpoint(lambda n, _: (429, b"quota", {"Retry-After": "3600"})) as endpoint:
        first, second = map(str, asyncio.run(run(endpoint.url)))
    assert first == "no answer within 0.5 s; last: HTTP 429: quota"
    assert second == f"no endpoint has answered for 0 s: {endpoint.url}: HTTP 429: quota"


def test_the_last_of_the_retries_gets_what_is_left_of_the_total_time() -> None:
    with fake_endpoint(lambda n, _: HANG) as endpoint:
        with pytest.raises(UnreachableError, match=r"^no answer within 0\.9 s; last: TimeoutError"):
            ask(endpoint.url, read_timeout_s=0.3, total_timeout_s=0.9, retries=100, failures_until_out=100)
        assert len(endpoint.requests) in (2, 3)  # a busy machine may take longer for one


def test_a_question_that_fails_leaves_its_place_to_the_next() -> None:
    with fake_endpoint(lambda n, _: (400, b"bad picture")) as endpoint:
        outcomes = ask_all(5, endpoint.url, concurrency=1)
    assert [str(outcome) for outcome in outcomes] == ["HTTP 400: bad picture"] * 5


def test_a_question_that_is_cancelled_leaves_its_place_to_the_next() -> None:
    async def run(url: str) -> Answer:
        async with Mllm(settings(url, concurrency=1)) as mllm:
            first = asyncio.ensure_future(mllm.ask(question(1)))
            while not endpoint.requests:
                await asyncio.sleep(0.01)
            first.cancel()
            return await mllm.ask(question(2))

    with fake_endpoint(lambda n, _: HANG if n == 0 else GOOD) as endpoint:
        assert asyncio.run(asyncio.wait_for(run(endpoint.url), 60)).text == "A person."


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask_scripted(GOOD)[0].text == "A person."


def test_the_key_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", "secret")
    with fake_endpoint(lambda n, _: GOOD) as endpoint:
        ask(endpoint.url, api_key_env="TOY_KEY")
    assert endpoint.headers[0]["Authorization"] == "Bearer secret"


def test_a_key_that_is_not_in_the_environment_is_named() -> None:
    with pytest.raises(MllmError, match=r"^api_key_env: the environment has no NO_SUCH_KEY$"):
        ask("http://127.0.0.1:9", api_key_env="NO_SUCH_KEY")


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "bell\a"])
def test_a_key_that_no_header_can_carry_is_refused_without_it(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("TOY_KEY", key)
    with pytest.raises(MllmError, match=r"^api_key_env: TOY_KEY holds what no HTTP header can carry$"):
        ask("http://127.0.0.1:9", api_key_env="TOY_KEY")


def test_a_line_break_after_the_key_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", "secret\n")
    with fake_endpoint(lambda n, _: GOOD) as endpoint:
        ask(endpoint.url, api_key_env="TOY_KEY")
    assert endpoint.headers[0]["Authorization"] == "Bearer secret"


# several endpoints


def test_a_retry_goes_to_another_endpoint() -> None:
    with fake_endpoint(lambda n, _: (500, b"")) as bad, fake_endpoint(lambda n, _: GOOD) as good:
        assert ask(bad.url, good.url).attempts == 2
        assert (len(bad.requests), len(good.requests)) == (1, 1)


def test_a_retry_goes_to_another_endpoint_though_that_is_busier() -> None:
    retried = threading.Event()

    def reply(number: int, body: dict[str, Any]) -> Reply:
        retried.set() if body["seed"] == 0 else retried.wait(10)
        return GOOD

    with fake_endpoint(lambda n, _: (503, b"")) as bad, fake_endpoint(reply) as good:
        ask_all(2, bad.url, good.url)
        assert [body["seed"] for body in bad.requests] == [0]


def test_questions_spread_over_endpoints() -> None:
    with fake_endpoint(lambda n, _: GOOD) as one, fake_endpoint(lambda n, _: GOOD) as two:
        ask_all(40, one.url, two.url, concurrency=2)
    assert min(len(one.requests), len(two.requests)) >= 5


@pytest.mark.parametrize("fault", [RESET, (500, b"engine dead"), HANG])
def test_of_three_endpoints_a_dead_one_costs_few_requests_and_no_answer(fault: Reply) -> None:
    with (
        fake_endpoint(lambda n, _: fault) as dead,
        fake_endpoint(lambda n, _: GOOD) as one,
        fake_endpoint(lambda n, _: GOOD) as two,
    ):
        quick = {"concurrency": 4, "failures_until_out": 3, "pause_s": 100.0, "read_timeout_s": 0.5}
        outcomes = ask_all(200, dead.url, one.url, two.url, **quick)
        # Those under way when it went out, and not one more.
        assert len(dead.requests) <= 4 + 3
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    assert sum(o.attempts for o in outcomes if isinstance(o, Answer)) <= 200 + 4 + 3


def test_an_endpoint_that_asks_for_rest_is_left_alone() -> None:
    busy_reply = (429, b"", {"Retry-After": "3600"})
    with fake_endpoint(lambda n, _: busy_reply) as busy, fake_endpoint(lambda n, _: GOOD) as good:
        outcomes = ask_all(30, busy.url, good.url, concurrency=1, rest_max_s=3600.0)
        assert len(busy.requests) == 1
    assert all(isinstance(outcome, Answer) for outcome in outcomes)


def test_when_all_are_dead_every_question_is_unreachable() -> None:
    outcomes = ask_all(40, gone_url(), gone_url(), failures_until_out=2)
    assert {type(outcome) for outcome in outcomes} == {UnreachableError}


@pytest.mark.parametrize("count", [1, 20])
def test_questions_wait_for_an_endpoint_that_dies_and_comes_back(count: int) -> None:
    with fake_endpoint(lambda n, _: GOOD) as endpoint:
        outcomes = ask_the_dead(endpoint, count, failures_until_out=2, outage_s=30.0)
    assert all(isinstance(outcome, Answer) for outcome in outcomes)


def ask_the_dead(endpoint: FakeEndpoint, count: int, **changes: Any) -> list[Answer | BaseException]:
    """Ask while the endpoint is dead, and for longer than retries alone would do; then it comes back."""

    async def run() -> list[Answer | BaseException]:
        async with Mllm(settings(endpoint.url, concurrency=2, **changes)) as mllm:
            await mllm.ask(question())
            await asyncio.to_thread(endpoint.dies)
            asked = asyncio.gather(*(mllm.ask(question(n)) for n in range(count)), return_exceptions=True)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(endpoint.comes_back)
            return await asked

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_many_endpoints_that_are_gone_make_no_long_error() -> None:
    urls = [f"http://127.0.0.1:{port}" for port in range(1, 41)]
    for outcome in (
        *ask_all(1, *urls, failures_until_out=1, pause_s=100.0, retries=99, backoff_s=0.0),
        *refusals(*urls),
    ):
        assert isinstance(outcome, UnreachableError)
        assert len(str(outcome)) < 300


def refusals(*urls: str) -> list[BaseException]:
    with pytest.raises(MllmError) as refused:
        check(*urls)
    return [refused.value]


# at the start


def test_a_model_that_sees_is_accepted() -> None:
    with fake_endpoint(sees_colours) as endpoint:
        check(endpoint.url)
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize("letter", ["A", "C"])
def test_a_model_that_does_not_see_is_refused_whatever_it_guesses(letter: str) -> None:
    def blind(number: int, body: dict[str, Any]) -> Reply:
        return chosen(letter, body["structured_outputs"]["choice"])

    with (
        fake_endpoint(blind) as endpoint,
        pytest.raises(MllmError, match=rf"^http://127\S+: the model does not see: .* said '{letter}'"),
    ):
        check(endpoint.url)


def test_one_endpoint_that_does_not_see_is_refused_by_name() -> None:
    with (
        fake_endpoint(sees_colours) as good,
        fake_endpoint(lambda n, body: chosen("B", "ABCD")) as blind,
        pytest.raises(MllmError, match=f"^{blind.url}: the model does not see"),
    ):
        check(good.url, blind.url)


def test_another_canary_can_be_asked() -> None:
    canary = Canary(picture="green", question="Which?", choices=(), answer="green")
    with fake_endpoint(lambda n, _: completion("It is green.")) as endpoint:
        check(endpoint.url, canaries=(canary,))
    assert endpoint.requests[0]["messages"][1]["content"][1]["text"] == "Which?"


def test_no_canary_asks_for_the_model_only() -> None:
    with fake_endpoint(lambda n, _: GOOD) as endpoint:
        check(endpoint.url, canaries=())
    assert endpoint.requests == []


@pytest.mark.parametrize("canaries", [(), (Canary(), Canary(picture="blue", answer="C"))])
def test_a_model_that_counts_no_tokens_is_refused_where_they_are_needed(canaries: tuple[Canary, ...]) -> None:
    def reply(number: int, body: dict[str, Any]) -> Reply:
        return uncounted(sees_colours(number, body) if canaries else completion("Yes."))

    with fake_endpoint(reply) as endpoint:
        check(endpoint.url, canaries=canaries)
        with pytest.raises(
            MllmError, match=r"^http://127\S+ reports no token usage, which max_tokens needs$"
        ):
            check(endpoint.url, canaries=canaries, usage_required=True)


def test_a_model_without_canaries_is_asked_a_text_to_see_it_count() -> None:
    with fake_endpoint(lambda n, _: completion("", finish_reason="length")) as endpoint:
        check(endpoint.url, canaries=(), usage_required=True)
    (request,) = endpoint.requests
    assert isinstance(request["messages"][-1]["content"], str)


def test_a_model_that_counts_tokens_is_accepted_where_they_are_needed() -> None:
    with fake_endpoint(sees_colours) as endpoint:
        check(endpoint.url, usage_required=True)
    assert len(endpoint.requests) == 2


def test_an_endpoint_that_serves_another_model_is_refused() -> None:
    with (
        fake_endpoint(sees_colours, models=("other", "third")) as endpoint,
        pytest.raises(MllmError, match=r"^http://127\S+ serves other third, not toy$"),
    ):
        check(endpoint.url)


def test_a_dead_endpoint_beside_one_that_works_is_no_reason_to_refuse() -> None:
    with fake_endpoint(sees_colours) as endpoint:
        check(gone_url(), endpoint.url)


def test_no_endpoint_at_the_start_is_one_line() -> None:
    with pytest.raises(UnreachableError, match=r"^no endpoint answers: http\S+: \w+.*; http\S+: \w+.*$"):
        check(gone_url(), gone_url())
