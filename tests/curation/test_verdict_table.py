"""Verdicts in numbers: letters of each judge, and who of them is kept."""

from dataclasses import replace

from curation.judge import LETTERS
from curation.verdict_table import verdict_table
from pipeline.reasons import Reason, Status
from pipeline.records import PairRow, Verdict
from tests.curation.made_pairs import caption, pair, table


def judged(letter: str, reason: Reason | None = None, judge: str = "toy-vl") -> PairRow:
    verdict = Verdict(letter=letter, scores=[0.1] * len(LETTERS), model_id=judge, prompt_id="p")
    status = Status.REJECTED if reason else Status.KEPT
    return replace(pair([caption()]), verdict=verdict, status=status, reason=reason)


def test_letters_are_counted_with_those_who_are_kept() -> None:
    pairs = table(judged("A"), judged("A", Reason.JUDGED_UNSURE), judged("D", Reason.CUT_OFF), judged("A"))
    (section,) = verdict_table([pairs]).sections()
    assert section.title == "Verdicts of toy-vl"
    assert section.table[:2] == [
        ("letter", "reason", "persons", "kept"),
        ("A", "kept, if likely enough", "3", "2"),
    ]
    assert section.table[4] == ("D", "cut_off", "1", "0")


def test_every_judge_has_a_table_of_its_own() -> None:
    found = verdict_table([table(judged("A")), table(judged("B", Reason.NOT_REAL, judge="other"))])
    assert [each["judge"] for each in found.to_json()] == ["other", "toy-vl"]
    assert found.to_json()[0] == {"judge": "other", "letters": {"B": 1}, "kept": 0}


def test_persons_without_a_verdict_do_not_count() -> None:
    assert verdict_table([table(pair([caption()]))]).sections() == []
