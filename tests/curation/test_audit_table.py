"""The audit in numbers: each count by hand, captioners apart, tables in any cut, older ones too."""

import json
from collections import Counter

import pytest

from curation.audit_table import (
    MOST_ATTRIBUTES,
    AuditTable,
    Compared,
    Rates,
    attribute_rows,
    audit_table,
    contradicted,
    percent,
    rates_json,
    rates_rows,
)
from pipeline.reasons import Reason
from pipeline.records import PersonKey
from tests.curation.made_pairs import agreement, before_the_audit, caption, pair, table

RED = ["upper: red said, blue measured (0.83)"]


def test_captions_are_kept_or_counted_by_reason() -> None:
    rows = table(
        pair([caption(), caption(None, 1, Reason.CAPTION_FAILED)]),
        pair([caption("Short.", 0, Reason.CAPTION_SHORT), caption("S.", 1, Reason.CAPTION_SHORT)]),
        pair([]),
    )
    rates = audit_table([rows]).rates
    assert (rates.captions, rates.kept) == (4, 1)
    assert rates.reasons == {"caption_failed": 1, "caption_short": 2}


def test_a_captioner_is_a_model_with_a_prompt() -> None:
    rows = table(
        pair([caption(), caption(model="large")]), pair([caption(prompt="q"), caption(model="large")])
    )
    found = audit_table([rows])
    assert {who: rates.captions for who, rates in found.captioners.items()} == {
        ("small", "p"): 1,
        ("small", "q"): 1,
        ("large", "p"): 2,
    }
    assert [*found.names.values()] == ["large", "small, p", "small, q"]


def test_contradicted_captions_are_a_share_of_those_that_were_checked() -> None:
    rows = table(
        pair([caption(checked=2), caption(checked=2, contradictions=RED * 2)]),
        pair([caption(contradictions=RED), caption(checked=0)]),
    )
    rates = audit_table([rows]).rates
    assert (rates.checked, rates.contradicted) == (3, 2)
    share = rates.contradicted_share
    assert share
    assert share.value == pytest.approx(2 / 3)
    assert (share.low, share.high) == pytest.approx((0.2077, 0.9385), abs=1e-4)  # Wilson's of 2 in 3


def test_a_caption_dropped_by_its_audit_counts_as_if_it_were_only_noted() -> None:
    def rates(reason: Reason | None) -> tuple[int, int]:
        found = audit_table([table(pair([caption(reason=reason, contradictions=RED)]))]).rates
        return found.checked, found.contradicted

    assert rates(Reason.CAPTION_CONTRADICTED) == rates(None) == (1, 1)


def test_texts_that_are_no_captions_are_not_in_the_rate() -> None:
    bad = caption(reason=Reason.CAPTION_GUESSES, contradictions=RED)
    assert audit_table([table(pair([bad]))]).rates.checked == 0


def test_attributes_are_counted_as_two_captions_agree_disagree_or_one_is_silent() -> None:
    rows = table(
        pair([caption()], agreement=agreement(["gender"], ["upper colour"], ["bag"])),
        pair([caption()], agreement=agreement(["gender", "upper colour"])),
        pair([caption()]),
    )
    found = audit_table([rows])
    assert found.compared == 2
    assert found.attributes == {
        "bag": Compared(0, 0, 1),
        "gender": Compared(2, 0, 0),
        "upper colour": Compared(1, 1, 0),
    }
    assert found.attributes["bag"].disagree_share is None
    colour = found.attributes["upper colour"].disagree_share
    assert colour
    assert colour.value == 0.5


def test_how_the_tables_are_cut_does_not_matter() -> None:
    rows = [
        pair(
            [caption(contradictions=RED), caption("S.", 1, Reason.CAPTION_SHORT)], agreement=agreement(["a"])
        ),
        pair([caption(model="large", checked=1)], agreement=agreement([], ["a"])),
        pair([]),
    ]
    assert audit_table(table(row) for row in rows) == audit_table([table(*rows)])


def test_a_table_of_before_the_audit_has_captions_but_nothing_checked() -> None:
    rows = before_the_audit(table(pair([caption(contradictions=RED)], agreement=agreement(["gender"]))))
    found = audit_table([rows])
    assert (found.rates.captions, found.rates.checked, found.compared) == (1, 0, 0)
    assert contradicted(rows).num_rows == 0


def test_the_contradicted_are_found_whatever_their_slot() -> None:
    keys = [PersonKey(0, row, 0) for row in range(4)]
    rows = table(
        pair([caption(), caption(slot=1, contradictions=RED)], keys[0]),
        pair([], keys[1]),
        pair([caption(None, reason=Reason.CAPTION_FAILED), caption(slot=1)], keys[2]),
        pair([caption(contradictions=RED), caption(slot=1, contradictions=RED)], keys[3]),
    )
    assert contradicted(rows)["row"].to_pylist() == [0, 3]


def test_rates_stand_side_by_side() -> None:
    one = Rates(10, 7, Counter(caption_short=3), checked=4, contradicted=1)
    assert rates_rows({"one": one + Rates(), "other": Rates()}) == [
        ("", "one", "other"),
        ("captions", "10", "0"),
        ("kept", "7", "0"),
        ("failed: caption_short", "3", "0"),
        ("colour checked", "4", "0"),
        ("contradicted", "1", "0"),
        ("contradicted, of those checked", "25.0 % (4.6–69.9)", "–"),
    ]


def test_the_most_said_attributes_come_first_and_those_only_one_says_not_at_all() -> None:
    rows = attribute_rows({"bag": Compared(1, 1, 9), "hat": Compared(0, 0, 5), "gender": Compared(5, 0, 0)})
    assert [row[0] for row in rows] == ["attribute", "gender", "bag"]
    assert rows[2][:4] == ("bag", "1", "1", "9")
    many = attribute_rows({str(n): Compared(1) for n in range(MOST_ATTRIBUTES + 5)})
    assert len(many) == 1 + MOST_ATTRIBUTES


def test_json_holds_all_of_it() -> None:
    rows = table(pair([caption(contradictions=RED)], agreement=agreement(["gender"])))
    found = audit_table([rows]).to_json()
    (captioner,) = found["captioners"]
    assert (captioner["model_id"], captioner["prompt_id"], captioner["contradicted"]) == ("small", "p", 1)
    assert captioner["contradicted_share"]["value"] == 1
    assert found["attributes"]["gender"]["disagree_share"]["value"] == 0
    assert AuditTable().to_json() == {"captioners": [], "compared": 0, "attributes": {}}


def test_nothing_measured_is_a_dash() -> None:
    assert percent(None) == "–"


def test_reasons_can_be_written_as_json() -> None:
    rates = Rates(captions=2, reasons=Counter({"caption_refused": 2}))
    assert json.loads(json.dumps(rates_json(rates)))["reasons"] == {"caption_refused": 2}
