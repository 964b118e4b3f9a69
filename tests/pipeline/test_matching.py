"""Who is who: overlaps worked out by hand, and the tables of a run read back."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.phase_work import PhaseReport
from pipeline.cli.matching import (
    Pair,
    identities_of,
    match_persons,
    match_web,
    read_captions,
    read_measured,
    read_verdicts,
)
from pipeline.funnel import Counts, Line
from pipeline.reasons import Reason, Status
from pipeline.records import Caption, DecisionRow, PairRow, PersonRow, Verdict, to_table
from pipeline.storage import publish_table
from pipeline.units import PhaseFolder, Unit
from tests.pipeline.made_people import drawn, measured
from world.web import Entry


def test_a_person_is_matched_to_the_one_that_it_overlaps_most() -> None:
    left, right, seen = drawn(100), drawn(130), measured(124)
    assert match_persons([left, right], [seen]) == [Pair(right, seen), Pair(left, None)]


def test_the_higher_score_chooses_first_and_nobody_is_taken_twice() -> None:
    person, sure, unsure = drawn(100), measured(120, score=0.9), measured(100, score=0.3)
    assert match_persons([person], [unsure, sure]) == [Pair(person, sure), Pair(None, unsure)]


def test_too_little_overlap_is_no_match() -> None:
    person, near, far = drawn(100), measured(133), measured(134)
    assert match_persons([person], [near]) == [Pair(person, near)]  # 67 / 133 = 0.504
    assert match_persons([person], [far]) == [Pair(None, far), Pair(person, None)]  # 66 / 134 = 0.493


def test_an_empty_picture_has_only_what_was_measured_by_mistake() -> None:
    assert match_persons([], []) == []
    assert match_persons([], [measured()]) == [Pair(None, measured())]


def entry(picture: str | None, address: str, same_as: str | None = None) -> Entry:
    return Entry("picture", address, (None,), True, same_as, picture)


def test_every_address_of_a_made_picture_is_matched_and_no_other() -> None:
    entries = {
        "u1": entry("a", "u1"),
        "u2": entry("a", "u2", same_as="u1"),
        "u3": entry("bus", "u3"),
        "u4": entry("empty", "u4"),
        "u5": entry(None, "u5"),
    }
    people = [measured(url=url, key=url) for url in ("u1", "u2", "u3", "u4")]
    shown = match_web(entries, ["a", "empty"], [drawn(picture="a")], people)
    assert [picture.entry.address for picture in shown] == ["u1", "u2", "u4"]
    assert [[(p.truth is not None, p.measured and p.measured.key) for p in s.pairs] for s in shown] == [
        [(True, "u1")],
        [(True, "u2")],
        [(False, "u4")],
    ]
    assert identities_of(shown) == {"u1": 7, "u2": 7}


class Tables:
    """The published tables of a run with two units."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def report(self, phase: str, tables: dict[int, dict[str, pa.Table]]) -> PhaseReport:
        folder = PhaseFolder(self.out / phase, {"recipe_hash": "0"})
        for index, named in tables.items():
            folder.publish_unit(Unit(index, 0, 1), named, {})
        return PhaseReport(phase, folder, len(tables), 0, Line(phase, "rows", Counts()))


def person(unit: int, **changes: Any) -> PersonRow:
    fields: dict[str, Any] = {
        "unit": unit,
        "row": 3,
        "person": 1,
        "url": f"u{unit}",
        "image_sha256": "",
        "image_width_px": 256,
        "image_height_px": 512,
        "box_xyxy_px": [1.0, 2.0, 3.0, 4.0],
        "score": 0.5,
        "keypoints": [float(n) for n in range(51)],
        "crop_sha256": "",
        "crop_width_px": 2,
        "crop_height_px": 2,
        "crop": None,
        "model_id": "m",
    }
    return PersonRow(**(fields | changes))


def test_measured_persons_are_read_with_their_decisions(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    persons = {unit: {"persons": to_table(PersonRow, [person(unit)])} for unit in (0, 1)}
    decisions = tables.report("decisions", {})
    rows = [
        DecisionRow(unit=1, row=3, person=1, status=Status.REJECTED, reason=Reason.NO_HIP),
        DecisionRow(unit=0, row=3, person=1, status=Status.KEPT),
    ]
    publish_table(decisions.folder.path / "decisions.parquet", to_table(DecisionRow, rows))
    first, second = read_measured(tables.report("harvest", persons), decisions)
    assert (first.key, first.url, first.reason) == ("000000-00003-01", "u0", None)
    assert (second.key, second.url, second.reason) == ("000001-00003-01", "u1", "no_hip")
    assert list(first.box_xyxy_px) == [1, 2, 3, 4]
    assert list(first.keypoints) == list(range(51))


def test_captions_are_read_by_model_and_person_without_those_that_do_not_count(tmp_path: Path) -> None:
    ids: dict[str, Any] = {"prompt_id": "p", "seed": 0}
    captions = [
        Caption(slot=0, text=None, reason=Reason.CAPTION_EMPTY, template_id="t0", model_id="b", **ids),
        Caption(slot=1, text="A person.", template_id="t1", model_id="b", **ids),
        Caption(slot=2, text="Sorry.", reason=Reason.CAPTION_REFUSED, template_id="t2", model_id="a", **ids),
        Caption(slot=3, text="Somebody.", template_id="t3", model_id="a", **ids),
    ]
    pair = PairRow(unit=4, row=3, person=1, status=Status.KEPT, captions=captions)
    report = Tables(tmp_path).report("annotate", {0: {"pairs": to_table(PairRow, [pair])}})
    found = read_captions(report)
    assert found == {
        "a": {"000004-00003-01": [("Somebody.", "t3")]},
        "b": {"000004-00003-01": [("A person.", "t1")]},
    }
    assert list(found) == ["a", "b"]


def test_verdicts_are_read_of_those_who_were_judged(tmp_path: Path) -> None:
    verdict = Verdict(letter="F", scores=[0.0] * 10, model_id="m", prompt_id="p")
    judged = PairRow(unit=4, row=3, person=1, status=Status.REJECTED, captions=[], verdict=verdict)
    pairs = [judged, PairRow(unit=4, row=3, person=2, status=Status.KEPT, captions=[])]
    report = Tables(tmp_path).report("annotate", {0: {"pairs": to_table(PairRow, pairs)}})
    assert read_verdicts(report) == {"000004-00003-01": "F"}
