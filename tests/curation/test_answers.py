"""Heads of answers, read without a server."""

from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from curation.addresses import WebError, parse_url
from curation.answers import check_status, location, retry_after_s
from pipeline.reasons import Reason


def headers(**named: str) -> Message:
    message = Message()
    for name, value in named.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("86400", 86400),
        ("86401", 86400),
        ("9" * 5000, 86400),
        ("Fri, 01 Jan 2010 00:00:00 GMT", 0),
        ("Fri, 01 Jan 2010 00:00:00 -0000", 0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 86400),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("Thu, 32 Jan 2099 99:00:00 GMT", None),
        ("Thu, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Thu, 01 Jan 2099 00:00:00 +99999999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_a_day(text: str, seconds: float | None) -> None:
    assert retry_after_s(headers(Retry_After=text)) == seconds


def test_a_date_is_counted_from_now() -> None:
    soon = retry_after_s(headers(Retry_After=format_datetime(datetime.now(UTC) + timedelta(hours=1))))
    assert soon is not None
    assert 3000 < soon <= 3600


def test_no_retry_after_is_none() -> None:
    assert retry_after_s(headers()) is None


WORD = st.text("JanMonGT:+-0123456789", max_size=20)


@settings_of_hypothesis(max_examples=50)
@given(st.text(max_size=40) | st.lists(WORD, min_size=4, max_size=7).map(" ".join))
def test_any_retry_after_is_read_or_ignored(text: str) -> None:
    seconds = retry_after_s({"Retry-After": text})  # type: ignore[arg-type]
    assert seconds is None or 0 <= seconds <= 86400


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (206, Reason.HTTP_PROTOCOL_ERROR),
        (304, Reason.HTTP_PROTOCOL_ERROR),
        (600, Reason.HTTP_PROTOCOL_ERROR),
        (404, Reason.HTTP_CLIENT_ERROR),
        (429, Reason.RATE_LIMITED),
        (500, Reason.HTTP_SERVER_ERROR),
        (599, Reason.HTTP_SERVER_ERROR),
    ],
)
def test_an_error_of_a_status_carries_it(status: int, reason: Reason) -> None:
    with pytest.raises(WebError) as caught:
        check_status(status, headers())
    assert (caught.value.reason, caught.value.status) == (reason, status)


@pytest.mark.parametrize("status", [200, 203, 299])
def test_what_was_asked_for_passes(status: int) -> None:
    check_status(status, headers())


def test_a_redirect_leads_to_a_url_relative_to_its_own() -> None:
    target = parse_url("http://a.example/pictures/1?size=2")
    assert location(target, headers(Location="../2")) == "http://a.example/2"


def test_a_redirect_to_nowhere_breaks_the_protocol() -> None:
    with pytest.raises(WebError) as caught:
        location(parse_url("http://a.example/"), headers())
    assert caught.value.reason is Reason.HTTP_PROTOCOL_ERROR
