"""The audit: wrong colours are contradicted, doubtful ones are not; two captions agree or do not."""

from typing import Any

import pytest

from curation.audit import (
    Auditor,
    AuditSettings,
    audit,
    compare,
    measure_garments,
)
from curation.claim_words import load_claim_words
from curation.claims import read_claims
from curation.colours import load_colour_terms
from pipeline.reasons import Reason
from pipeline.records import CaptionAudit, ColourShare, GarmentColours
from tests.curation.photograph import drawn_keypoints, drawn_person

WORDS, TERMS, SETTINGS = load_claim_words(), load_colour_terms(), AuditSettings()


def shares(**by_name: float) -> list[ColourShare]:
    return [ColourShare(name=name, share=share) for name, share in by_name.items()]


RED_OVER_BLUE = GarmentColours(upper=shares(red=0.9, white=0.05), lower=shares(blue=0.8), measured_id="")


def audited(text: str, measured: GarmentColours = RED_OVER_BLUE) -> CaptionAudit:
    return audit(read_claims(text, WORDS), measured, SETTINGS)


@pytest.mark.parametrize(
    ("text", "checked", "contradicted"),
    [
        ("a woman in a red shirt and blue trousers", 2, 0),
        ("a woman in a green shirt and blue trousers", 2, 1),
        ("a woman in a green shirt and yellow trousers", 2, 2),
        ("a woman in a shirt and jeans", 0, 0),
        ("a woman in a red shirt and jeans", 1, 0),
        ("a woman in a maroon shirt and navy trousers", 2, 0),
        ("a woman in an orange shirt and black trousers", 2, 0),  # confusable
        ("a woman in a white shirt under a red jacket", 1, 0),  # any of the layers
        ("a woman in a white shirt under a green jacket", 1, 1),
        ("a woman in a red and green striped shirt", 1, 0),
        ("a woman in a green shirt with red stripes", 1, 0),
        ("a woman in a green dress", 1, 1),
        ("a woman in a red dress", 1, 0),  # the legs may be bare
        ("a woman in a red coat, yellow trousers", 2, 1),
        ("green shoes, a green bag, green hair and a green hat", 0, 0),
    ],
)
def test_colours_are_held_against_the_region(text: str, checked: int, contradicted: int) -> None:
    found = audited(text)
    assert (found.checked, found.contradicted, len(found.contradictions)) == (
        checked,
        contradicted,
        contradicted,
    )


def test_a_contradiction_says_what_was_said_and_what_was_measured() -> None:
    assert audited("a green and yellow shirt").contradictions == [
        "upper: green and yellow said, red measured (0.90)"
    ]


def test_a_region_of_many_colours_contradicts_nobody() -> None:
    mixed = GarmentColours(upper=shares(red=0.45, blue=0.4, white=0.15), lower=[], measured_id="")
    assert audited("a green shirt and pink trousers", mixed).checked == 0


def test_a_small_but_visible_part_supports_a_claim() -> None:
    trimmed = GarmentColours(upper=shares(red=0.8, green=0.12), lower=[], measured_id="")
    assert audited("a green shirt", trimmed).contradicted == 0
    bare = GarmentColours(upper=shares(red=0.8, green=0.08), lower=[], measured_id="")
    assert audited("a green shirt", bare).contradicted == 1


def test_a_long_coat_may_be_what_the_legs_show() -> None:
    coat = GarmentColours(upper=shares(black=0.9), lower=shares(black=0.9), measured_id="")
    assert audited("a black coat over red trousers", coat).contradicted == 0
    assert audited("a black shirt over red trousers", coat).contradicted == 1


def test_skin_under_a_skirt_contradicts_nothing() -> None:
    skin = GarmentColours(upper=[], lower=shares(brown=0.7, purple=0.05), measured_id="")
    assert audited("a purple skirt", skin).checked == 0
    assert audited("purple trousers", skin).contradicted == 1


def test_a_bag_that_is_told_of_may_cover_the_back() -> None:
    back = GarmentColours(upper=shares(blue=0.8), lower=[], measured_id="")
    assert audited("a red sweater and a blue backpack", back).checked == 0
    assert audited("a red sweater and an orange backpack", back).contradicted == 1


def test_nothing_is_checked_of_what_is_not_visible() -> None:
    assert audited("a green shirt", GarmentColours(upper=[], lower=[], measured_id="")).checked == 0


def test_only_a_setting_drops_a_caption() -> None:
    def reason(**settings: Any) -> Reason | None:
        auditor = Auditor.load(AuditSettings.model_validate(settings))
        problem = auditor.problem("a green shirt and blue trousers", RED_OVER_BLUE)
        return problem.reason if problem else None

    assert reason() is None
    for action in ("drop", "recaption"):
        assert reason(contradicted=action) is Reason.CAPTION_CONTRADICTED
    assert reason(contradicted="drop", contradicted_min=2) is None


def test_pixels_become_shares_that_begin_with_the_most() -> None:
    picture = drawn_person((198, 28, 42), (40, 82, 172))
    found = measure_garments(picture, drawn_keypoints(), TERMS, 0.5)
    assert (found.upper[0].name, found.lower[0].name) == ("red", "blue")
    assert sum(each.share for each in found.upper) == pytest.approx(1)
    assert found.measured_id == Auditor.load(SETTINGS).measured_id
    assert audited("a red shirt and blue jeans", found).contradicted == 0
    assert audited("a green shirt and yellow jeans", found).contradicted == 2


def test_an_invisible_region_has_no_shares() -> None:
    keypoints = drawn_keypoints()
    keypoints[:, 2] = 0
    found = measure_garments(drawn_person((198, 28, 42), (40, 82, 172)), keypoints, TERMS, 0.5)
    assert (found.upper, found.lower) == ([], [])


def test_captions_agree_disagree_or_leave_out() -> None:
    found = compare(
        read_claims("A woman in a red T-shirt, blue jeans and black boots, with glasses and a scarf", WORDS),
        read_claims("The man with short hair wears a green tee and trousers, boots and glasses", WORDS),
    )
    assert found.agree == ["upper", "lower", "shoes", "glasses"]
    assert found.disagree == ["gender", "upper colour"]
    assert found.one_says == ["hair length", "lower colour", "shoes colour", "scarf"]


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("a jacket", "a coat", True),
        ("a sweater", "a hoodie", True),
        ("a top", "a coat", True),
        ("a shirt under a jacket", "a jacket", True),
        ("trousers", "shorts", False),
        ("a T-shirt", "a coat", False),
        ("a backpack", "a handbag", False),
        ("a bag", "a handbag", True),
        ("sneakers", "boots", False),
        ("a cap", "a woolly hat", False),
    ],
)
def test_garments_agree_where_one_may_be_called_the_other(one: str, other: str, agree: bool) -> None:
    found = compare(read_claims(one, WORDS), read_claims(other, WORDS))
    assert (len(found.agree), len(found.disagree)) == ((1, 0) if agree else (0, 1))
    assert compare(read_claims(other, WORDS), read_claims(one, WORDS)) == found


def test_lengths_of_hair_agree_where_they_are_near() -> None:
    medium = read_claims("shoulder-length hair", WORDS)
    assert compare(medium, read_claims("long hair", WORDS)).disagree == []
    assert compare(read_claims("short hair", WORDS), read_claims("long hair", WORDS)).disagree == [
        "hair length"
    ]
