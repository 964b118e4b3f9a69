"""The closed list of reasons: why a row was not kept. Error texts are free, reasons are counted."""

from enum import StrEnum


class Status(StrEnum):
    """What became of a row; rows in = kept + rejected + failed, always."""

    KEPT = "kept"
    REJECTED = "rejected"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a row was rejected (we decided against it) or failed (we could not look at it)."""

    # rejected: by what the list says of the picture, before anything is fetched
    LISTED_SIZE = "listed_size"
    LISTED_ASPECT = "listed_aspect"
    LISTED_FACES = "listed_faces"
    LISTED_NSFW = "listed_nsfw"
    LISTED_WATERMARK = "listed_watermark"
    DOMAIN_EXCLUDED = "domain_excluded"
    # rejected: the address asks for what is never fetched
    URL_INVALID = "url_invalid"
    SCHEME_FORBIDDEN = "scheme_forbidden"
    PORT_FORBIDDEN = "port_forbidden"
    ADDRESS_FORBIDDEN = "address_forbidden"
    ROBOTS_FORBIDDEN = "robots_forbidden"
    OPTED_OUT = "opted_out"
    TAKEN_DOWN = "taken_down"
    # rejected: the picture
    NOT_AN_IMAGE = "not_an_image"
    TOO_MANY_PIXELS = "too_many_pixels"
    NO_PERSON = "no_person"
    # rejected: the person, by the gates (docs/method.md, person filtering)
    LOW_SCORE = "low_score"
    SHORT_SIDE = "short_side"
    ASPECT_RATIO = "aspect_ratio"
    FEW_KEYPOINTS = "few_keypoints"
    NO_HIP = "no_hip"
    NO_HEAD = "no_head"
    # rejected: the person, over the whole run
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    # rejected: the person, by the judge (curation/judge.py)
    NOT_REAL = "not_real"
    SEVERAL_PEOPLE = "several_people"
    CUT_OFF = "cut_off"
    OCCLUDED = "occluded"
    UNCLEAR = "unclear"
    TEXT_OR_COLLAGE = "text_or_collage"
    MINOR_AT_RISK = "minor_at_risk"
    SEXUAL_CONTENT = "sexual_content"
    JUDGED_OTHER = "judged_other"
    JUDGED_UNSURE = "judged_unsure"
    # rejected: the caption, by the audit (curation/audit.py)
    CAPTION_CONTRADICTED = "caption_contradicted"
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

    @property
    def status(self) -> Status:
        """Rejected or failed."""
        return Status.REJECTED if self in _REJECTED else Status.FAILED


_REJECTED = frozenset(
    {
        Reason.LISTED_SIZE,
        Reason.LISTED_ASPECT,
        Reason.LISTED_FACES,
        Reason.LISTED_NSFW,
        Reason.LISTED_WATERMARK,
        Reason.DOMAIN_EXCLUDED,
        Reason.URL_INVALID,
        Reason.SCHEME_FORBIDDEN,
        Reason.PORT_FORBIDDEN,
        Reason.ADDRESS_FORBIDDEN,
        Reason.ROBOTS_FORBIDDEN,
        Reason.OPTED_OUT,
        Reason.TAKEN_DOWN,
        Reason.NOT_AN_IMAGE,
        Reason.TOO_MANY_PIXELS,
        Reason.NO_PERSON,
        Reason.LOW_SCORE,
        Reason.SHORT_SIDE,
        Reason.ASPECT_RATIO,
        Reason.FEW_KEYPOINTS,
        Reason.NO_HIP,
        Reason.NO_HEAD,
        Reason.EXACT_DUPLICATE,
        Reason.NEAR_DUPLICATE,
        Reason.NOT_REAL,
        Reason.SEVERAL_PEOPLE,
        Reason.CUT_OFF,
        Reason.OCCLUDED,
        Reason.UNCLEAR,
        Reason.TEXT_OR_COLLAGE,
        Reason.MINOR_AT_RISK,
        Reason.SEXUAL_CONTENT,
        Reason.JUDGED_OTHER,
        Reason.JUDGED_UNSURE,
        Reason.CAPTION_CONTRADICTED,
    }
)


def status_of(reason: Reason | None) -> Status:
    """The status that a reason implies; no reason means kept."""
    return Status.KEPT if reason is None else reason.status
