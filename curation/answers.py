"""What the head of an answer says: refusal or failure, where else to ask, how long to stay away."""

import contextlib
import http.client
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

from curation.addresses import Target, WebError
from pipeline.reasons import Reason

_MAX_RETRY_AFTER_S = 86_400.0


def check_status(status: int, headers: Message) -> None:
    """Pass a status that comes with what was asked for.

    Raises WebError: rate_limited, http_client_error, http_server_error, http_protocol_error.
    """
    if status == 429:
        reason = Reason.RATE_LIMITED
    elif 400 <= status < 500:
        reason = Reason.HTTP_CLIENT_ERROR
    elif 500 <= status < 600:
        reason = Reason.HTTP_SERVER_ERROR
    elif status == http.client.PARTIAL_CONTENT or not 200 <= status < 300:
        reason = Reason.HTTP_PROTOCOL_ERROR
    else:
        return
    asked_s = retry_after_s(headers) if status in (429, 503) else None
    raise WebError(reason, f"HTTP {status}", asked_s, status=status)


def location(target: Target, headers: Message) -> str:
    """The URL that a redirect of `target` leads to. Raises WebError: http_protocol_error, url_invalid."""
    to = headers.get("Location")
    if not to:
        raise WebError(Reason.HTTP_PROTOCOL_ERROR, "redirect without location")
    with contextlib.suppress(UnicodeError):  # http.client read it as Latin-1
        to = to.encode("latin-1").decode("utf-8")
    try:
        return urljoin(target.url, to)
    except ValueError as error:
        raise WebError(Reason.URL_INVALID, error) from None


def retry_after_s(headers: Message) -> float | None:
    """Seconds that Retry-After asks for, as a number or as a date, 0 to 86,400; None where it does not."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), _MAX_RETRY_AFTER_S)
