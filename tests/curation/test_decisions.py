"""Decisions: the gates first, then duplicates among those who pass, a row for every person."""

import random
from typing import Any

import pyarrow as pa

from curation.decisions import decide
from curation.gates import GateLimits
from pipeline.records import DecisionRow, PersonRow, arrow_schema, to_table

MEASURED = arrow_schema(PersonRow).remove(arrow_schema(PersonRow).get_field_index("crop"))


def person(unit: int, row: int, number: int, crop: str, score: float = 0.95) -> PersonRow:
    return PersonRow(
        unit=unit,
        row=row,
        person=number,
        url="http://a/",
        image_sha256="ab",
        image_width_px=640,
        image_height_px=480,
        box_xyxy_px=[0.0, 0.0, 100.0, 300.0],
        score=score,
        keypoints=[1.0, 1.0, 0.9] * 17,
        crop_sha256=crop,
        crop_width_px=100,
        crop_height_px=300,
        crop=None,
        model_id="made",
    )


def decided(*tables: list[PersonRow]) -> dict[tuple[int, int, int], tuple[Any, ...]]:
    measured = [to_table(PersonRow, rows).select(MEASURED.names) for rows in tables]
    decisions = decide(measured, GateLimits())
    assert decisions.schema.equals(arrow_schema(DecisionRow))
    rows = [tuple(row.values()) for row in decisions.to_pylist()]
    assert [row[:3] for row in rows] == sorted(row[:3] for row in rows)
    return {row[:3]: row[3:] for row in rows}


def test_every_person_is_decided_once_in_the_order_of_the_keys() -> None:
    assert decided([person(1, 0, 0, "a"), person(0, 5, 1, "b")], [person(0, 5, 0, "c", 0.5)]) == {
        (0, 5, 0): ("rejected", "low_score", None, None, None),
        (0, 5, 1): ("kept", None, None, None, None),
        (1, 0, 0): ("kept", None, None, None, None),
    }


def test_a_duplicate_names_the_person_who_stays() -> None:
    found = decided([person(0, 0, 0, "a"), person(0, 1, 0, "a")], [person(1, 0, 0, "a")])
    assert found == {
        (0, 0, 0): ("kept", None, None, None, None),
        (0, 1, 0): ("rejected", "exact_duplicate", 0, 0, 0),
        (1, 0, 0): ("rejected", "exact_duplicate", 0, 0, 0),
    }


def test_who_fails_a_gate_is_no_original_of_a_duplicate() -> None:
    found = decided([person(0, 0, 0, "a", 0.5), person(0, 1, 0, "a"), person(0, 2, 0, "a", 0.6)])
    assert [row[1] for row in found.values()] == ["low_score", None, "low_score"]


def test_the_order_of_the_tables_does_not_matter() -> None:
    tables = [[person(unit, row, 0, "ab"[row % 2]) for row in range(4)] for unit in range(5)]
    expected = decided(*tables)
    for seed in range(3):
        assert decided(*random.Random(seed).sample(tables, 5)) == expected


def test_nobody_measured_is_an_empty_table() -> None:
    assert decided() == decided([]) == {}
    assert decide([], GateLimits()).schema.equals(arrow_schema(DecisionRow))


def test_nobody_who_passes_is_a_table_of_reasons() -> None:
    assert decided([person(0, 0, 0, "a", 0.5)]) == {(0, 0, 0): ("rejected", "low_score", None, None, None)}


def test_decisions_are_one_table_however_they_are_chunked() -> None:
    one = to_table(PersonRow, [person(0, n, 0, "a") for n in range(3)])
    chunked = pa.concat_tables([one.slice(n, 1) for n in range(3)])
    assert decide([one], GateLimits()).equals(decide([chunked], GateLimits()))
