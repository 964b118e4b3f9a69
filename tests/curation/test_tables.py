"""Sources and sinks: what stands in a unit's files, and whom the next phase is given."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.audit import AuditSettings
from curation.caption_check import CaptionCheck
from curation.caption_plan import PlannedCaption, Writer
from curation.known import Earlier, Need, PersonPlan
from curation.persons import PersonSettings, measure_rows
from curation.recaption import Rounds
from curation.tables import HarvestSink, KeptPersons, PairSink, PersonsToAnnotate, Plan, measurements
from curation.validate import CaptionLimits
from pipeline.reasons import Reason, Status, status_of
from pipeline.records import (
    Caption,
    CaptionKey,
    DecisionRow,
    GarmentColours,
    PairRow,
    PersonKey,
    PersonRow,
    UrlRow,
    Verdict,
    arrow_schema,
    to_table,
)
from pipeline.storage import publish_table
from pipeline.units import PhaseFolder, Unit
from tests.curation.made_run import DownloadStandIn, FirstPixelDetector, keys

TRACE = {"recipe_hash": "abc", "units_per_unit": 3}
LOOSE = CaptionLimits(words_min=1, english_share_min=0.0, sibling_overlap_max=1.0)
CHECK = CaptionCheck.load(LOOSE, AuditSettings())
COLOURS = GarmentColours(upper=[], lower=[], measured_id=PersonPlan("", [], CHECK).colours_id)
UNITS = [
    ["http://made/person/1", "http://made/dns/1", "http://made/two/2"],
    ["http://made/none/1"],
    ["http://made/two/3"],
]
PERSONS = [(0, 0, 0), (0, 2, 0), (0, 2, 1), (2, 0, 0), (2, 0, 1)]


def measured(unit: int, urls: list[str]) -> pa.Table:
    """Rows of a unit as the last stage of harvest hands them on."""
    rows = pa.table(
        {
            "unit": pa.array([unit] * len(urls), pa.int64()),
            "row": pa.array(range(len(urls)), pa.int32()),
            "url": urls,
        }
    )
    with DownloadStandIn().open() as process:
        downloaded = process(rows)
    return measure_rows(downloaded, FirstPixelDetector(), PersonSettings())


@pytest.fixture
def harvest(tmp_path: Path) -> PhaseFolder:
    """Three harvested units; the second one shows nobody."""
    folder = PhaseFolder(tmp_path / "harvest", TRACE)
    for index, urls in enumerate(UNITS):
        HarvestSink(folder, 64 * 2**20).publish(Unit(index, 0, len(urls)), measured(index, urls))
    return folder


def kept_persons(harvest: PhaseFolder, kept: list[tuple[int, int, int]]) -> KeptPersons:
    rows = [
        DecisionRow(
            unit=unit,
            row=row,
            person=person,
            status=Status.KEPT if (unit, row, person) in kept else Status.REJECTED,
            reason=None if (unit, row, person) in kept else Reason.LOW_SCORE,
        )
        for unit, row, person in PERSONS
    ]
    path = harvest.path.parent / f"decisions-{len(kept)}.parquet"
    publish_table(path, to_table(DecisionRow, rows))
    return KeptPersons(harvest, path)


def pair(
    key: tuple[int, int, int], text: str | None, reason: Reason | None = None, caption_id: str = "c"
) -> PairRow:
    caption = Caption(
        slot=0,
        text=text,
        reason=reason,
        model_id="m",
        prompt_id="p",
        template_id="t",
        seed=1,
        caption_id=caption_id,
        attempts=1,
    )
    return PairRow(
        unit=key[0],
        row=key[1],
        person=key[2],
        status=status_of(reason),
        reason=reason,
        captions=[caption],
        colours=COLOURS,
    )


class OneCaption:
    """Wants one caption of everybody, made in the way `c`, and a verdict where it has an id."""

    def __init__(self, verdict_id: str = "", keep_min: float = 0.0) -> None:
        self.verdict_id, self.keep_min = verdict_id, keep_min

    def plan(self, rounds: Rounds | None = None) -> Plan:
        def person(key: PersonKey, crop_sha256: str) -> PersonPlan:
            caption_key = CaptionKey(key.unit, key.row, key.person, 0)
            planned = [PlannedCaption(caption_key, Writer("m"), None, 1, "c")]
            return PersonPlan(self.verdict_id, planned, CHECK, self.keep_min)

        return person


def to_annotate(
    kept: KeptPersons, *earlier: PhaseFolder, verdict_id: str = "", keep_min: float = 0.0
) -> PersonsToAnnotate:
    return PersonsToAnnotate(kept, Earlier(earlier), OneCaption(verdict_id, keep_min))


def known(rows: pa.Table) -> dict[tuple[int, ...], list[Any]]:
    """Texts of the captions that each person comes with."""
    return {
        key: [caption["text"] for caption in captions]
        for key, captions in zip(keys(rows), rows["captions"].to_pylist(), strict=True)
    }


def annotated(path: Path, unit: Unit, pairs: list[PairRow]) -> PhaseFolder:
    folder = PhaseFolder(path, TRACE)
    folder.publish_unit(unit, {"pairs": to_table(PairRow, pairs)}, {})
    return folder


def test_a_harvest_unit_has_a_row_for_each_url_and_each_person(harvest: PhaseFolder) -> None:
    (urls,) = (pq.read_table(part) for part in harvest.parts("urls", 0))
    (persons,) = (pq.read_table(part) for part in harvest.parts("persons", 0))
    assert urls.schema.equals(arrow_schema(UrlRow))
    assert persons.schema.equals(arrow_schema(PersonRow))
    assert urls["persons"].to_pylist() == [1, 0, 2]
    assert keys(persons) == PERSONS[:3]


def test_a_harvest_unit_counts_urls_by_reason_and_persons(harvest: PhaseFolder) -> None:
    (marker,) = harvest.markers([0])
    (urls,) = (pq.read_table(part) for part in harvest.parts("urls", 0))
    assert marker["counts"] == {
        "urls": {"rows_in": 3, "kept": 2, "rejected": {}, "failed": {"dns_failed": 1}},
        "persons": 3,
        "bytes": sum(size for size in urls["image_bytes"].to_pylist() if size),
    }


def test_a_row_that_a_stage_lost_shows_in_the_counts(tmp_path: Path) -> None:
    rows = measured(0, UNITS[0]).slice(1)
    counts = HarvestSink(PhaseFolder(tmp_path, TRACE), 2**20).publish(Unit(0, 0, 3), rows)
    assert counts["urls"] == {"rows_in": 3, "kept": 1, "rejected": {}, "failed": {"dns_failed": 1}}


def test_a_unit_with_nobody_has_an_empty_file_of_persons(harvest: PhaseFolder) -> None:
    (persons,) = (pq.read_table(part) for part in harvest.parts("persons", 1))
    assert persons.num_rows == 0
    assert persons.schema.equals(arrow_schema(PersonRow))


def test_persons_above_the_byte_cap_stand_in_parts(tmp_path: Path) -> None:
    folder = PhaseFolder(tmp_path, TRACE)
    HarvestSink(folder, 1000).publish(Unit(0, 0, 3), measured(0, UNITS[0]))
    parts = [pq.read_table(part) for part in folder.parts("persons", 0)]
    assert [part.num_rows for part in parts] == [1, 1, 1]
    assert keys(pa.concat_tables(parts)) == PERSONS[:3]


def test_measurements_come_without_pixels_in_the_order_of_the_units(harvest: PhaseFolder) -> None:
    tables = list(measurements(harvest, [0, 1, 2]))
    assert keys(pa.concat_tables(tables)) == PERSONS
    assert "crop" not in tables[0].schema.names


@pytest.mark.parametrize("kept", [PERSONS, PERSONS[1:4], PERSONS[3:], []], ids=len)
def test_kept_persons_come_with_their_pixels_in_the_order_of_their_keys(
    kept: list[tuple[int, int, int]], harvest: PhaseFolder
) -> None:
    source = kept_persons(harvest, kept)
    rows = source.read(Unit(0, 0, 3))
    assert rows.schema.equals(arrow_schema(PersonRow))
    assert keys(rows) == keys(source.keys(Unit(0, 0, 3))) == kept
    assert rows["crop"].null_count == 0


def test_a_range_of_units_gives_its_own_persons_only(harvest: PhaseFolder) -> None:
    source = kept_persons(harvest, PERSONS)
    assert keys(source.read(Unit(0, 0, 2))) == PERSONS[:3]
    assert keys(source.read(Unit(1, 2, 1))) == PERSONS[3:]
    assert keys(source.read(Unit(9, 9, 1))) == []


def test_without_an_earlier_run_nothing_is_known_of_anybody(harvest: PhaseFolder) -> None:
    source = to_annotate(kept_persons(harvest, PERSONS))
    assert known(source.read(Unit(0, 0, 3))) == {key: [] for key in PERSONS}
    assert source.needs([Unit(0, 0, 3)]) == [Need(verdicts=0, captions=5)]


def test_captions_made_in_the_wanted_way_are_known(tmp_path: Path, harvest: PhaseFolder) -> None:
    pairs = [pair(PERSONS[0], "a"), pair(PERSONS[1], "other prompt", caption_id="d")]
    source = to_annotate(
        kept_persons(harvest, PERSONS[:2]), annotated(tmp_path / "one", Unit(0, 0, 3), pairs)
    )
    assert known(source.read(Unit(0, 0, 3))) == {PERSONS[0]: ["a"], PERSONS[1]: []}
    assert source.needs([Unit(0, 0, 3)]) == [Need(captions=1)]


def test_what_a_model_wrote_stands_whatever_was_found_wrong_with_it(
    tmp_path: Path, harvest: PhaseFolder
) -> None:
    pairs = [
        pair(PERSONS[0], "possibly", Reason.CAPTION_GUESSES),
        pair(PERSONS[1], None, Reason.CAPTION_FAILED),
    ]
    source = to_annotate(
        kept_persons(harvest, PERSONS[:2]), annotated(tmp_path / "one", Unit(0, 0, 3), pairs)
    )
    assert known(source.read(Unit(0, 0, 3))) == {PERSONS[0]: ["possibly"], PERSONS[1]: []}


def test_of_several_earlier_runs_the_first_one_wins_and_the_others_fill_up(
    tmp_path: Path, harvest: PhaseFolder
) -> None:
    one = annotated(tmp_path / "one", Unit(0, 0, 3), [pair(PERSONS[0], "a")])
    two = annotated(tmp_path / "two", Unit(0, 0, 3), [pair(PERSONS[0], "other"), pair(PERSONS[1], "b")])
    rows = to_annotate(kept_persons(harvest, PERSONS[:2]), one, two).read(Unit(0, 0, 3))
    assert known(rows) == {PERSONS[0]: ["a"], PERSONS[1]: ["b"]}


def test_a_unit_that_an_earlier_run_did_not_finish_gives_nothing(
    tmp_path: Path, harvest: PhaseFolder
) -> None:
    earlier = annotated(tmp_path / "one", Unit(1, 3, 3), [pair(PERSONS[0], "a")])
    assert to_annotate(kept_persons(harvest, PERSONS), earlier).needs([Unit(0, 0, 3)]) == [Need(captions=5)]


def test_a_verdict_on_another_question_is_asked_for_again(tmp_path: Path, harvest: PhaseFolder) -> None:
    verdict = Verdict(letter="A", scores=[1.0] + [0.0] * 9, model_id="m", prompt_id="p", verdict_id="v")
    judged = [replace(pair(PERSONS[0], "a"), verdict=verdict)]
    earlier = annotated(tmp_path / "one", Unit(0, 0, 3), judged)
    kept = kept_persons(harvest, PERSONS[:1])
    assert to_annotate(kept, earlier, verdict_id="v").needs([Unit(0, 0, 3)]) == [Need()]
    assert to_annotate(kept, earlier, verdict_id="w").needs([Unit(0, 0, 3)]) == [Need(verdicts=1)]


def test_whom_a_known_verdict_rejects_needs_nothing(tmp_path: Path, harvest: PhaseFolder) -> None:
    verdict = Verdict(letter="B", scores=[0.1, 0.9] + [0.0] * 8, model_id="m", prompt_id="p", verdict_id="v")
    judged = [replace(pair(PERSONS[0], None), captions=[], verdict=verdict)]
    earlier = annotated(tmp_path / "one", Unit(0, 0, 3), judged)
    source = to_annotate(kept_persons(harvest, PERSONS[:1]), earlier, verdict_id="v", keep_min=0.5)
    assert source.needs([Unit(0, 0, 3)]) == [Need()]


def test_pixels_are_read_only_where_somebody_is_still_to_be_looked_at(
    tmp_path: Path, harvest: PhaseFolder
) -> None:
    earlier = annotated(tmp_path / "one", Unit(0, 0, 3), [pair(key, "a") for key in PERSONS[:4]])
    known_all = to_annotate(kept_persons(harvest, PERSONS[:4]), earlier).read(Unit(0, 0, 3))
    one_missing = to_annotate(kept_persons(harvest, PERSONS), earlier).read(Unit(0, 0, 3))
    assert known_all.schema.equals(one_missing.schema)
    assert known_all["crop"].null_count == 4
    assert one_missing["crop"].null_count == 0


def test_pairs_are_published_in_the_order_of_their_keys_and_counted(
    tmp_path: Path, harvest: PhaseFolder
) -> None:
    folder = PhaseFolder(tmp_path / "new", TRACE)
    made = [
        replace(pair(key, "new"), written=n % 2, requests=2, tokens=9) for n, key in enumerate(PERSONS[::-1])
    ]
    counts = PairSink(folder, kept_persons(harvest, PERSONS)).publish(Unit(0, 0, 3), to_table(PairRow, made))
    assert counts == {
        "pairs": {"rows_in": 5, "kept": 5, "rejected": {}, "failed": {}},
        "written": 2,
        "taken_over": 3,
        "unusable": 0,
        "lost": 0,
        "requests": 10,
        "tokens": 45,
    }
    (pairs,) = (pq.read_table(part) for part in folder.parts("pairs", 0))
    assert keys(pairs) == PERSONS


def test_a_person_whose_pair_was_lost_shows_in_the_counts(tmp_path: Path, harvest: PhaseFolder) -> None:
    made = to_table(PairRow, [pair(key, "new") for key in PERSONS[1:]])
    sink = PairSink(PhaseFolder(tmp_path / "new", TRACE), kept_persons(harvest, PERSONS))
    counts = sink.publish(Unit(0, 0, 3), made)
    assert counts["pairs"]["rows_in"] == 5
    assert counts["pairs"]["kept"] == 4


def test_nobody_kept_is_an_empty_file_of_pairs(tmp_path: Path, harvest: PhaseFolder) -> None:
    folder = PhaseFolder(tmp_path / "new", TRACE)
    counts = PairSink(folder, kept_persons(harvest, [])).publish(Unit(0, 0, 3), to_table(PairRow, []))
    assert counts["pairs"]["rows_in"] == 0
    assert [pq.read_table(part).num_rows for part in folder.parts("pairs", 0)] == [0]
