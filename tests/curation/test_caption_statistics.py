"""Statistics of captions: each number by hand on a few captions, groups apart, tables in any cut."""

import json

import pyarrow as pa
import pytest

from curation.caption_statistics import (
    CaptionStatistics,
    caption_rows,
    caption_statistics,
    drawn,
    quantile,
    statistics_json,
    statistics_rows,
)
from curation.claim_words import load_claim_words
from pipeline.reasons import Reason, Status
from pipeline.records import Caption, PairRow, to_table

WORDS = load_claim_words()
CAPTIONS = [
    ("A woman in a red coat", "t1", "a"),
    ("a woman, in a red coat!", "t1", "a"),
    ("In a red coat a woman", "t2", "b"),
    ("A man with a bag and white shoes", "t3", "b"),
]


def table(captions: list[tuple[str, str, str]]) -> pa.Table:
    text, template, model = zip(*captions, strict=True) if captions else ((), (), ())
    columns = {"text": text, "template_id": template, "model_id": model}
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def of(captions: list[tuple[str, str, str]]) -> CaptionStatistics:
    return caption_statistics([table(captions)], WORDS)["all"]


def test_words_and_pairs_are_counted_whatever_their_case() -> None:
    found = of(CAPTIONS)
    assert (found.captions, found.words, found.vocabulary) == (4, 26, 11)
    assert found.distinct_1 == pytest.approx(11 / 26)
    # Five of the first two, "coat a" of the third, seven of the last.
    assert found.distinct_2 == pytest.approx(13 / 22, abs=0.001)


def test_equal_texts_and_equal_sets_of_words_are_told() -> None:
    found = of(CAPTIONS)
    assert found.equal_share == pytest.approx(1 / 4, abs=0.001)
    assert found.alike_share == pytest.approx(2 / 4, abs=0.001)


def test_lengths_and_what_clip_cuts() -> None:
    found = of([*CAPTIONS, ("coat " * 76, "t1", "a"), ("coat " * 75, "t1", "a")])
    assert found.words_histogram == {6: 3, 8: 1, 75: 1, 76: 1}
    assert found.clip_tokens_histogram[8] == 2
    assert found.clip_tokens_histogram[78] == 1
    assert found.cut_share == pytest.approx(1 / 6)


def test_entropy_of_templates_is_one_for_equal_use_and_falls_with_a_favourite() -> None:
    even, favourite = of([CAPTIONS[0], CAPTIONS[2]]), of([CAPTIONS[0]] * 9 + [CAPTIONS[2]])
    assert even.template_entropy == pytest.approx(1)
    assert favourite.template_entropy == pytest.approx(0.469, abs=0.001)  # binary entropy of 0.1
    assert (favourite.templates, of([CAPTIONS[0]]).template_entropy) == (2, 1)


def test_coverage_is_the_share_of_captions_that_claim() -> None:
    claimed = of(CAPTIONS).claimed_shares
    assert claimed == {
        "bag": 0.25,
        "gender": 1,
        "shoes": 0.25,
        "shoes colour": 0.25,
        "upper": 0.75,
        "upper colour": 0.75,
    }


def test_groups_stand_beside_all_of_them() -> None:
    found = caption_statistics([table(CAPTIONS)], WORDS)
    assert {group: each.captions for group, each in found.items()} == {"all": 4, "a": 2, "b": 2}
    assert found["a"] == of(CAPTIONS[:2])


def test_any_column_can_part_them() -> None:
    named = table(CAPTIONS).append_column("captioner", pa.array(["x", "y", "y", "y"]))
    found = caption_statistics([named], WORDS, by="captioner")
    assert (found["x"].captions, found["y"].captions) == (1, 3)


def test_how_the_table_is_cut_does_not_matter() -> None:
    batches = [table(CAPTIONS[:1]), table([]), table(CAPTIONS[1:])]
    assert caption_statistics(batches, WORDS) == caption_statistics([table(CAPTIONS)], WORDS)


def test_no_captions_are_no_error() -> None:
    found = caption_statistics([], WORDS)
    assert (found["all"].captions, found["all"].vocabulary, found["all"].equal_share) == (0, 0, 0)
    assert len(statistics_rows(found)) > 1


def test_rows_stand_side_by_side_with_what_webperson_published() -> None:
    rows = statistics_rows(caption_statistics([table(CAPTIONS)], WORDS))
    assert rows[0] == ("", "all", "a", "b", "WebPerson")
    assert ("vocabulary", "11", "5", "11", "96,623") in rows
    assert ("says bag", "25.0 %", "0.0 %", "50.0 %", "") in rows
    assert {len(row) for row in rows} == {5}


def test_of_two_equal_captions_the_later_one_alone_counts_and_the_table_says_so() -> None:
    shown = {row[0]: row[1] for row in statistics_rows(caption_statistics([table(CAPTIONS)], WORDS))}
    assert (shown["repeats an earlier one"], shown["same words as an earlier"]) == ("25.0 %", "50.0 %")


def test_lengths_stand_in_bins_of_which_empty_ones_are_left_out() -> None:
    rows = statistics_rows(caption_statistics([table([*CAPTIONS, ("coat " * 30, "t1", "b")])], WORDS))
    assert [row for row in rows if row[0].startswith("words, ") and " to " in row[0]] == [
        ("words, 0 to 9", "80.0 %", "100.0 %", "66.7 %", ""),
        ("words, 30 to 39", "20.0 %", "0.0 %", "33.3 %", ""),
    ]


def test_a_share_of_the_persons_is_drawn_by_key_however_the_table_is_cut() -> None:
    rows = [PairRow(unit=n % 5, row=n // 5, person=0, status=Status.KEPT, captions=[]) for n in range(2000)]
    pairs = to_table(PairRow, rows)
    found = drawn(pairs, 0.3)
    assert 500 < found.num_rows < 700
    assert pa.concat_tables([drawn(pairs.slice(0, 77), 0.3), drawn(pairs.slice(77), 0.3)]) == found
    assert set(found["row"].to_pylist()) >= set(drawn(pairs, 0.1)["row"].to_pylist())
    assert drawn(pairs, 1.0) == pairs


def test_json_holds_the_groups() -> None:
    found = json.loads(json.dumps(statistics_json(caption_statistics([table(CAPTIONS)], WORDS))))
    assert found["webperson_vocabulary"] == 96_623
    assert found["groups"]["b"]["words_histogram"] == {"6": 1, "8": 1}


def test_quantiles_of_a_histogram() -> None:
    assert [quantile({3: 1, 5: 2, 9: 1}, share) for share in (0.25, 0.5, 0.95)] == [3, 5, 9]
    assert quantile({}, 0.5) == 0


def test_only_captions_that_count_are_taken_from_pairs() -> None:
    def caption(slot: int, text: str | None, reason: Reason | None = None) -> Caption:
        return Caption(
            slot=slot, text=text, reason=reason, model_id="m", prompt_id="p", template_id="t", seed=0
        )

    rows = [
        PairRow(unit=0, row=0, person=0, status=Status.KEPT, captions=[caption(0, "one"), caption(1, None)]),
        PairRow(unit=0, row=1, person=0, status=Status.REJECTED, captions=[]),
        PairRow(
            unit=0,
            row=2,
            person=0,
            status=Status.KEPT,
            captions=[caption(0, "bad", Reason.CAPTION_SHORT), caption(1, "two")],
        ),
    ]
    found = caption_rows(to_table(PairRow, rows))
    assert found.column_names == ["text", "model_id", "prompt_id", "template_id"]
    assert found["text"].to_pylist() == ["one", "two"]
