"""Every reason has one status, and nothing else is a reason."""

import pytest

from pipeline.reasons import Reason, Status, status_of

REJECTED = {
    "listed_size",
    "listed_aspect",
    "listed_faces",
    "listed_nsfw",
    "listed_watermark",
    "domain_excluded",
    "url_invalid",
    "scheme_forbidden",
    "port_forbidden",
    "address_forbidden",
    "robots_forbidden",
    "opted_out",
    "taken_down",
    "not_an_image",
    "too_many_pixels",
    "no_person",
    "low_score",
    "short_side",
    "aspect_ratio",
    "few_keypoints",
    "no_hip",
    "no_head",
    "exact_duplicate",
    "near_duplicate",
    "not_real",
    "several_people",
    "cut_off",
    "occluded",
    "unclear",
    "text_or_collage",
    "minor_at_risk",
    "sexual_content",
    "judged_other",
    "judged_unsure",
    "caption_contradicted",
}


@pytest.mark.parametrize("reason", Reason)
def test_what_we_decide_against_is_rejected_and_what_we_could_not_look_at_has_failed(reason: Reason) -> None:
    expected = Status.REJECTED if reason in REJECTED else Status.FAILED
    assert reason.status is status_of(reason) is expected


def test_the_list_of_the_rejected_names_reasons_only() -> None:
    assert set(Reason) > REJECTED


def test_no_reason_is_kept() -> None:
    assert status_of(None) is Status.KEPT


def test_free_text_is_no_reason() -> None:
    with pytest.raises(ValueError, match="timed out"):
        Reason("timed out")
