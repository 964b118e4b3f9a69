"""What earlier runs know: what still counts stands, what does no longer is to be made anew."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from curation.audit import AuditSettings
from curation.caption_check import CaptionCheck
from curation.caption_plan import PlannedCaption, Writer
from curation.known import Known, Need, PersonPlan, known
from curation.validate import CaptionLimits
from pipeline.records import CaptionKey

Row = dict[str, Any]
GOOD = "A woman with short hair is wearing a red top and blue trousers."
OTHER = "He walks in white sneakers and a black coat with a brown bag over his shoulder."
ABOUT_RED_OVER_BLUE = {"upper": [{"name": "red", "share": 0.9}], "lower": [{"name": "blue", "share": 0.9}]}


def check(contradicted: str = "record", **limits: Any) -> CaptionCheck:
    audit = AuditSettings.model_validate({"contradicted": contradicted})
    return CaptionCheck.load(CaptionLimits.model_validate(limits), audit)


STRICT = check(words_min=30)


def plan(of: CaptionCheck | None = None, attempts: int = 1) -> PersonPlan:
    """Two captions, made in the ways `way-0` and `way-1`."""
    captions = [
        PlannedCaption(CaptionKey(0, 0, 0, slot), Writer("m"), None, 1, f"way-{slot}") for slot in (0, 1)
    ]
    return PersonPlan("", captions, of or check(), attempts=attempts)


def caption(slot: int, text: str | None, reason: str | None = None, attempts: int = 1) -> Row:
    return {"slot": slot, "caption_id": f"way-{slot}", "text": text, "reason": reason, "attempts": attempts}


def row(*captions: Row, colours: Row | None = None) -> Row:
    measured = {**colours, "measured_id": plan().colours_id} if colours else None
    return {"verdict": None, "captions": list(captions), "colours": measured}


def reasons(found: Known) -> dict[int, Any]:
    return {slot: each["reason"] for slot, each in found.captions.items()}


def looked_at(rows: Sequence[Row], of: CaptionCheck | None = None, attempts: int = 1) -> Known:
    return known(plan(of, attempts), rows)


def test_a_caption_that_counts_no_longer_is_to_be_written_anew_and_said_so() -> None:
    found = looked_at([row(caption(0, GOOD), caption(1, OTHER), colours=ABOUT_RED_OVER_BLUE)], STRICT)
    assert (reasons(found), found.need) == ({}, Need(captions=2))
    assert found.needs_pixels


def test_a_caption_that_failed_and_counts_today_stands() -> None:
    found = looked_at([row(caption(0, GOOD, "caption_short"))])
    assert reasons(found) == {0: None}


def test_a_caption_that_failed_stands_until_more_attempts_are_allowed() -> None:
    failed = [row(caption(0, "Possibly a man in red.", "caption_guesses", attempts=2))]
    assert reasons(looked_at(failed, attempts=2)) == {0: "caption_guesses"}
    assert reasons(looked_at(failed, attempts=3)) == {}


def test_a_caption_that_is_asked_for_once_more_is_handed_on_as_it_was() -> None:
    often = caption(0, "Possibly a man in red.", "caption_guesses", attempts=2)
    found = looked_at([row(caption(0, "Perhaps.", "caption_guesses")), row(often)], attempts=3)
    assert found.refused == {0: often}
    assert looked_at([row(caption(0, GOOD))], STRICT).refused[0]["reason"] is None


def test_a_caption_that_the_endpoint_lost_is_asked_for_from_the_beginning() -> None:
    assert looked_at([row(caption(0, None, "caption_failed", attempts=3))], attempts=4).refused == {}


def test_a_text_whose_further_attempts_were_lost_is_gone_on_with() -> None:
    lost = caption(0, "Possibly a man in red.", "caption_failed")
    assert looked_at([row(lost)], attempts=2).refused == {0: lost}


def test_a_text_that_counted_at_its_last_attempt_and_whose_rewriting_was_lost_is_asked_for_again() -> None:
    green = caption(0, GOOD.replace("red", "green"), "caption_failed", attempts=3)
    found = looked_at([row(green, colours=ABOUT_RED_OVER_BLUE)], check("recaption"), attempts=3)
    assert (reasons(found), found.refused) == ({}, {0: green})


def test_where_asking_again_gives_the_same_what_fails_today_stands_with_its_reason() -> None:
    found = looked_at([row(caption(0, GOOD))], STRICT, attempts=0)
    assert (reasons(found), found.refused) == ({0: "caption_short"}, {})


def test_of_two_earlier_captions_the_one_that_counts_wins() -> None:
    rows = [row(caption(0, "Possibly.", "caption_guesses")), row(caption(0, GOOD)), row(caption(0, OTHER))]
    assert looked_at(rows).captions[0]["text"] == GOOD


def test_captions_too_like_each_other_for_today_are_told_apart_by_slot() -> None:
    found = looked_at([row(caption(0, GOOD), caption(1, GOOD))])
    assert reasons(found) == {0: None}


def test_contradicted_captions_are_dropped_without_asking_for_them() -> None:
    blue = [row(caption(0, GOOD.replace("red", "green")), colours=ABOUT_RED_OVER_BLUE)]
    assert reasons(looked_at(blue, check("record"))) == {0: None}
    assert reasons(looked_at(blue, check("drop"))) == {0: "caption_contradicted"}


def test_contradicted_captions_are_asked_for_again_once_that_is_wanted() -> None:
    blue = [row(caption(0, GOOD.replace("red", "green")), colours=ABOUT_RED_OVER_BLUE)]
    assert looked_at(blue, check("recaption")).need == Need(captions=2)
    given_up = [
        row(caption(0, GOOD.replace("red", "green"), "caption_contradicted"), colours=ABOUT_RED_OVER_BLUE)
    ]
    assert reasons(looked_at(given_up, check("recaption"))) == {0: "caption_contradicted"}


def test_a_dropped_caption_counts_again_when_contradictions_are_only_recorded() -> None:
    dropped = [
        row(caption(0, GOOD.replace("red", "green"), "caption_contradicted"), colours=ABOUT_RED_OVER_BLUE)
    ]
    assert reasons(looked_at(dropped, check("record"))) == {0: None}


def test_captions_of_unmeasured_persons_may_be_needed_anew() -> None:
    rows = [row(caption(0, GOOD), caption(1, OTHER))]
    assert looked_at(rows, check("recaption")).need == Need(audits=2)
    assert str(Need(audits=2)) == "0 verdicts and 0 captions, 2 to audit that may be written anew"
    recorded = looked_at(rows)
    assert (recorded.need, recorded.needs_pixels) == (Need(), True)


def test_captions_whose_colours_are_measured_are_not_to_be_audited_again() -> None:
    other = "He walks in a red coat and blue jeans with a bag over his shoulder."
    rows = [row(caption(0, GOOD), caption(1, other), colours=ABOUT_RED_OVER_BLUE)]
    assert looked_at(rows, check("recaption")).need == Need()


def test_whom_the_verdict_rejects_is_not_looked_at_for_colours() -> None:
    judged = {**row(), "verdict": {"verdict_id": "v", "scores": [0.1, 0.9] + [0.0] * 8}}
    rejected = known(replace(plan(), verdict_id="v", keep_min=0.5), [judged])
    assert (rejected.rejected, rejected.needs_pixels) == (True, False)


def test_where_asking_again_gives_the_same_nothing_is_to_be_audited() -> None:
    rows = [row(caption(0, GOOD), caption(1, OTHER))]
    assert looked_at(rows, check("recaption"), attempts=0).need == Need()


def test_colours_measured_in_another_way_are_measured_anew() -> None:
    measured = row(caption(0, GOOD), caption(1, OTHER), colours=ABOUT_RED_OVER_BLUE)
    assert not looked_at([measured]).needs_pixels
    measured["colours"]["measured_id"] = "another"
    assert looked_at([measured]).needs_pixels


def test_a_rewritten_caption_stands_whatever_an_older_folder_holds() -> None:
    old = row(caption(0, GOOD.replace("red", "green")), colours=ABOUT_RED_OVER_BLUE)
    new = row(caption(0, GOOD), colours=ABOUT_RED_OVER_BLUE)
    given_up = row(caption(0, GOOD.replace("red", "green"), "caption_contradicted"))
    for rows in ([old, new], [new, old]):
        assert looked_at(rows, check("recaption")).captions[0]["text"] == GOOD
    assert reasons(looked_at([old, given_up], check("recaption"))) == {0: "caption_contradicted"}


def test_colours_of_another_picture_are_not_taken_over() -> None:
    rows = [row(caption(0, GOOD), colours=ABOUT_RED_OVER_BLUE)]
    assert known(plan(), rows).colours
    assert known(replace(plan(), crop_sha256="another"), rows).colours is None
