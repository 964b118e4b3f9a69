"""The closed list of reasons: why a row was not kept. Error texts are free, reasons are counted."""

from enum import StrEnum
from typing import Self


class Status(StrEnum):
    """What became of a row; rows in = kept + rejected + failed, always."""

    KEPT = "kept"
    REJECTED = "rejected"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a row was rejected (we decided against it) or failed (we could not look at it)."""

    status: Status

    def __new__(cls, text: str, status: Status = Status.FAILED) -> Self:
        """A text that knows whether its row was rejected or failed."""
        reason = str.__new__(cls, text)
        reason._value_, reason.status = text, status
        return reason

    # rejected: by what the list says of the picture, before anything is fetched
    LISTED_SIZE = "listed_size", Status.REJECTED
    LISTED_ASPECT = "listed_aspect", Status.REJECTED
    LISTED_FACES = "listed_faces", Status.REJECTED
    LISTED_NSFW = "listed_nsfw", Status.REJECTED
    LISTED_WATERMARK = "listed_watermark", Status.REJECTED
    DOMAIN_EXCLUDED = "domain_excluded", Status.REJECTED
    # rejected: the address asks for what is never fetched
    URL_INVALID = "url_invalid", Status.REJECTED
    SCHEME_FORBIDDEN = "scheme_forbidden", Status.REJECTED
    PORT_FORBIDDEN = "port_forbidden", Status.REJECTED
    ADDRESS_FORBIDDEN = "address_forbidden", Status.REJECTED
    ROBOTS_FORBIDDEN = "robots_forbidden", Status.REJECTED
    OPTED_OUT = "opted_out", Status.REJECTED
    TAKEN_DOWN = "taken_down", Status.REJECTED
    # rejected: the picture
    NOT_AN_IMAGE = "not_an_image", Status.REJECTED
    TOO_MANY_PIXELS = "too_many_pixels", Status.REJECTED
    NO_PERSON = "no_person", Status.REJECTED
    # rejected: the person, by the gates (docs/method.md, person filtering)
    LOW_SCORE = "low_score", Status.REJECTED
    SHORT_SIDE = "short_side", Status.REJECTED
    ASPECT_RATIO = "aspect_ratio", Status.REJECTED
    FEW_KEYPOINTS = "few_keypoints", Status.REJECTED
    NO_HIP = "no_hip", Status.REJECTED
    NO_HEAD = "no_head", Status.REJECTED
    # rejected: the person, over the whole run
    EXACT_DUPLICATE = "exact_duplicate", Status.REJECTED
    NEAR_DUPLICATE = "near_duplicate", Status.REJECTED
    # rejected: the person, by the judge (curation/judge.py)
    NOT_REAL = "not_real", Status.REJECTED
    SEVERAL_PEOPLE = "several_people", Status.REJECTED
    CUT_OFF = "cut_off", Status.REJECTED
    OCCLUDED = "occluded", Status.REJECTED
    UNCLEAR = "unclear", Status.REJECTED
    TEXT_OR_COLLAGE = "text_or_collage", Status.REJECTED
    MINOR_AT_RISK = "minor_at_risk", Status.REJECTED
    SEXUAL_CONTENT = "sexual_content", Status.REJECTED
    JUDGED_OTHER = "judged_other", Status.REJECTED
    JUDGED_UNSURE = "judged_unsure", Status.REJECTED
    # rejected: the caption, by the audit (curation/audit.py)
    CAPTION_CONTRADICTED = "caption_contradicted", Status.REJECTED
    # failed: the row of the list
    ROW_UNREADABLE = "row_unreadable"
    # failed: the network
    DNS_FAILED = "dns_failed"
    CONNECT_FAILED = "connect_failed"
    TLS_FAILED = "tls_failed"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    ROBOTS_UNREACHABLE = "robots_unreachable"
    HOST_GIVEN_UP = "host_given_up"
    RATE_LIMITED = "rate_limited"
    QUEUE_TOO_LONG = "queue_too_long"
    HTTP_CLIENT_ERROR = "http_client_error"
    HTTP_SERVER_ERROR = "http_server_error"
    HTTP_PROTOCOL_ERROR = "http_protocol_error"
    TOO_MANY_BYTES = "too_many_bytes"
    EMPTY_BODY = "empty_body"
    TRUNCATED_BODY = "truncated_body"
    # failed: our own work
    DECODE_FAILED = "decode_failed"
    CAPTION_FAILED = "caption_failed"
    VERDICT_FAILED = "verdict_failed"
    # failed: what the model wrote is no caption (curation/validate.py)
    CAPTION_EMPTY = "caption_empty"
    CAPTION_REFUSED = "caption_refused"
    CAPTION_SHORT = "caption_short"
    CAPTION_LONG = "caption_long"
    CAPTION_MARKUP = "caption_markup"
    CAPTION_SENTENCES = "caption_sentences"
    CAPTION_PLACEHOLDER = "caption_placeholder"
    CAPTION_GUESSES = "caption_guesses"
    CAPTION_BACKGROUND = "caption_background"
    CAPTION_NOT_ENGLISH = "caption_not_english"
    CAPTION_NAMES = "caption_names"
    CAPTION_REPEATS_SIBLING = "caption_repeats_sibling"
    CAPTION_REPEATS_ITSELF = "caption_repeats_itself"
    # failed: our own work, whatever it was
    CRASHED = "crashed"
    QUARANTINED = "quarantined"


def status_of(reason: Reason | None) -> Status:
    """The status that a reason implies; no reason means kept."""
    return Status.KEPT if reason is None else reason.status
