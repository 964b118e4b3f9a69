"""What the report says of an annotate phase: rates, disagreements, statistics; of all or of a draw."""

from dataclasses import replace
from pathlib import Path

import pytest

from curation.caption_report import report_captions, share_of
from curation.captioners import STAND_IN_MODEL_ID
from curation.judge import LETTERS
from pipeline.reasons import Reason
from pipeline.records import PersonKey, Verdict
from pipeline.units import PhaseFolder
from tests.curation.made_pairs import agreement, annotate_phase, caption, pair


@pytest.fixture
def phase(tmp_path: Path) -> PhaseFolder:
    """Two units; two models, of which one writes something that is no caption."""
    one = [caption("A man in red trousers."), caption("A man in blue trousers.", 1, model="large", checked=1)]
    other = [caption("I guess.", 0, Reason.CAPTION_GUESSES), caption("A woman.", 1, model="large")]
    first = pair(one, agreement=agreement(["gender"], ["lower colour"]))
    return annotate_phase(tmp_path, [[first], [pair(other, PersonKey(1, 0, 0))]])


def test_captioners_disagreements_and_statistics_have_a_section_each(phase: PhaseFolder) -> None:
    found = {section.title: section for section in report_captions(phase, 0).sections}
    assert [*found] == ["Captioners", "What two captions disagree on", "Statistics of captions"]
    captioners, disagreements, statistics = (section.table for section in found.values())
    assert captioners[:4] == [
        ("", "large", "small"),
        ("captions", "2", "2"),
        ("kept", "2", "1"),
        ("failed: caption_guesses", "0", "1"),
    ]
    assert disagreements[1:] == [
        ("gender", "1", "0", "0", "0.0 % (0.0–79.3)"),
        ("lower colour", "0", "1", "0", "100.0 % (20.7–100.0)"),
    ]
    assert statistics[:3] == [
        ("", "all", "small", "large", "WebPerson"),
        ("captions", "3", "1", "2", ""),
        ("vocabulary", "7", "5", "6", "96,623"),
    ]


def test_numbers_are_those_of_the_tables(phase: PhaseFolder) -> None:
    numbers = report_captions(phase, 0).numbers
    assert [each["kept"] for each in numbers["captioners"]] == [2, 1]
    assert numbers["attributes"]["lower colour"]["disagree"] == 1
    assert numbers["statistics"]["groups"]["all"]["vocabulary"] == 7
    assert (numbers["statistics_share"], numbers["statistics"]["webperson_vocabulary"]) == (1, 96_623)


def test_with_one_captioner_there_is_no_column_of_all(tmp_path: Path) -> None:
    *_, statistics = report_captions(annotate_phase(tmp_path, [[pair([caption()])]]), 0).sections
    assert statistics.table[0] == ("", "small", "WebPerson")


def test_rates_of_the_stand_in_are_said_to_say_nothing(tmp_path: Path, phase: PhaseFolder) -> None:
    stand_in = annotate_phase(tmp_path / "other", [[pair([caption(model=STAND_IN_MODEL_ID)])]])
    of_stand_in, of_models = (report_captions(each, 0).sections[0].text for each in (stand_in, phase))
    assert of_stand_in.endswith("attributes-stand-in/1 writes what the audit measures: its own say nothing")
    assert "stand-in" not in of_models


def test_without_attributes_there_is_no_table_of_them(tmp_path: Path) -> None:
    phase = annotate_phase(tmp_path, [[pair([caption(), caption(slot=1)], agreement=agreement())]])
    assert [s.title for s in report_captions(phase, 0).sections] == ["Captioners", "Statistics of captions"]


def test_nobody_captioned_says_nothing(tmp_path: Path) -> None:
    found = report_captions(annotate_phase(tmp_path, [[pair([])]]), 0)
    assert (found.sections, found.numbers) == ([], {})


def test_statistics_of_a_draw_say_so_and_rates_stay_whole(tmp_path: Path) -> None:
    rows = [pair([caption(f"A man {row}.")], PersonKey(0, row, 0)) for row in range(1000)]
    found = report_captions(annotate_phase(tmp_path, [rows]), 100)
    captioners, statistics = found.sections
    assert captioners.table[1] == ("captions", "1,000")
    assert statistics.text.startswith("of 10 % of the persons, drawn by key")
    assert 70 < found.numbers["statistics"]["groups"]["small"]["captions"] < 130


def test_a_draw_is_a_share_unless_all_are_wanted_or_there_are_fewer() -> None:
    assert [share_of(200, 50), share_of(200, 0), share_of(20, 50), share_of(0, 50)] == [0.25, 1, 1, 1]


def test_units_that_are_not_done_are_left_out(phase: PhaseFolder) -> None:
    (phase.path / "done/000/unit-000001.json").unlink()
    assert [each["captions"] for each in report_captions(phase, 0).numbers["captioners"]] == [1, 1]


def test_verdicts_stand_first_even_where_nobody_has_a_caption(tmp_path: Path) -> None:
    verdict = Verdict(letter="B", scores=[0.1] * len(LETTERS), model_id="toy-vl", prompt_id="p")
    rejected = replace(pair([]), verdict=verdict, reason=Reason.NOT_REAL)
    only = report_captions(annotate_phase(tmp_path / "a", [[rejected]]), 0)
    assert [section.title for section in only.sections] == ["Verdicts of toy-vl"]
    assert only.numbers["verdicts"][0]["letters"] == {"B": 1}
    both = report_captions(annotate_phase(tmp_path / "b", [[rejected, pair([caption()])]]), 0)
    assert [section.title for section in both.sections][:2] == ["Verdicts of toy-vl", "Captioners"]
