"""What heals, and how long to wait for it."""

import pytest

from curation.addresses import WebError
from curation.retries import back_off_s, heals
from pipeline.reasons import Reason


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WebError(Reason.CONNECT_FAILED), True),
        (WebError(Reason.TRUNCATED_BODY), True),
        (WebError(Reason.RATE_LIMITED, status=429), True),
        (WebError(Reason.HTTP_SERVER_ERROR, status=502), True),
        (WebError(Reason.HTTP_SERVER_ERROR, status=503), True),
        (WebError(Reason.HTTP_SERVER_ERROR, status=504), True),
        (WebError(Reason.HTTP_SERVER_ERROR, status=500), False),
        (WebError(Reason.HTTP_CLIENT_ERROR, status=404), False),
        (WebError(Reason.DNS_FAILED, transient=True), True),
        (WebError(Reason.DNS_FAILED), False),
        (WebError(Reason.DEADLINE_EXCEEDED), False),
        (WebError(Reason.TLS_FAILED), False),
        (WebError(Reason.ADDRESS_FORBIDDEN), False),
        (WebError(Reason.ROBOTS_FORBIDDEN), False),
        (WebError(Reason.OPTED_OUT), False),
        (WebError(Reason.TOO_MANY_BYTES), False),
        (WebError(Reason.EMPTY_BODY), False),
        (WebError(Reason.CRASHED), False),
    ],
)
def test_only_what_passes_by_itself_heals(error: WebError, expected: bool) -> None:
    assert heals(error) is expected


def test_the_text_of_an_error_decides_nothing() -> None:
    assert not heals(WebError(Reason.HTTP_SERVER_ERROR, "HTTP 502"))


def test_waits_double_and_lie_between_half_and_all_of_that() -> None:
    for tries in (1, 2, 3):
        waits = [back_off_s(f"http://a.example/{n}", tries, 0.5) for n in range(200)]
        longest = 0.5 * 2 ** (tries - 1)
        assert longest / 2 <= min(waits) < 0.6 * longest
        assert 0.9 * longest < max(waits) <= longest


def test_the_dice_of_a_url_fall_the_same_at_every_run() -> None:
    assert back_off_s("http://a.example/1", 2, 1.0) == back_off_s("http://a.example/1", 2, 1.0)
    assert back_off_s("http://a.example/1", 2, 1.0) != back_off_s("http://a.example/2", 2, 1.0)
