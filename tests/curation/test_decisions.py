"""Decisions: the gates first, then duplicates among those who pass, a row for every person."""

import dataclasses
import random
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation.decisions import decide
from curation.dedup import DedupSettings
from curation.gates import GateLimits, person_gate, person_gates
from pipeline.funnel import Counts
from pipeline.reasons import Reason
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


def near(unit: int, row: int, crop: str, phash: int | None, score: float = 0.95) -> PersonRow:
    data = None if phash is None else phash.to_bytes(8)
    return dataclasses.replace(person(unit, row, 0, crop, score), crop_phash=data)


def test_a_near_duplicate_names_the_person_who_stays() -> None:
    assert decided([near(0, 0, "a", 0), near(0, 1, "b", 1), near(1, 0, "b", 1)]) == {
        (0, 0, 0): ("kept", None, None, None, None),
        (0, 1, 0): ("rejected", "near_duplicate", 0, 0, 0),
        (1, 0, 0): ("rejected", "exact_duplicate", 0, 0, 0),
    }


def test_whoever_is_named_is_kept_whatever_the_order_of_arrival() -> None:
    draws = random.Random(1)
    rows = [near(n // 9, n % 9, draws.choice("abcdefgh"), draws.getrandbits(6), 0.8) for n in range(60)]
    rows = [dataclasses.replace(row, score=draws.choice([0.8, 0.9])) for row in rows]
    expected = decided(rows)
    for key, (status, reason, *named) in expected.items():
        if reason in ("exact_duplicate", "near_duplicate"):
            assert status == "rejected"
            assert expected[tuple(named)][0] == "kept"
            assert tuple(named) < key
        else:
            assert named == [None] * 3
    assert {row[1] for row in expected.values()} == {None, "low_score", "exact_duplicate", "near_duplicate"}
    for _ in range(3):
        draws.shuffle(rows)
        assert decided(rows[:20], rows[20:21], rows[21:]) == expected


def test_who_fails_a_gate_is_no_original_of_a_near_duplicate() -> None:
    found = decided([near(0, 0, "a", 0, 0.5), near(0, 1, "b", 0)])
    assert [row[1] for row in found.values()] == ["low_score", None]


def test_the_radius_is_a_setting() -> None:
    rows = to_table(PersonRow, [near(0, 0, "a", 0), near(0, 1, "b", 0b11111)])
    for radius, kept in ((5, 1), (4, 2), (None, 2)):
        reasons = decide([rows], GateLimits(), DedupSettings(radius=radius))["reason"].to_pylist()
        assert reasons.count(None) == kept


def test_a_taken_down_person_is_so_before_all_else_and_no_original_of_anybody() -> None:
    rows = to_table(PersonRow, [near(0, 0, "a", 0), near(0, 1, "a", 0), near(0, 2, "b", 0, 0.1)])
    decisions = decide([rows], GateLimits(), taken_down=lambda t: pc.not_equal(t["row"], 1))
    assert decisions["reason"].to_pylist() == ["taken_down", None, "taken_down"]
    assert decisions["status"].to_pylist() == ["rejected", "kept", "rejected"]


def test_every_row_in_is_a_row_out() -> None:
    rows = [near(0, n, "ab"[n % 2], n, 0.8 + n % 3 / 10) for n in range(30)]
    decisions = decide([to_table(PersonRow, rows)], GateLimits())
    counts = Counts.of(30, decisions["reason"].to_pylist())
    assert counts.rows_in == counts.kept + sum(counts.rejected.values())


@pytest.mark.parametrize("boundary", ["text", "figure"])
def test_gates_over_columns_are_the_gates_of_each_person(boundary: Literal["text", "figure"]) -> None:
    rng = np.random.default_rng(0)
    sides = rng.choice([0.0, 90, 100, 180, 200, 400, -5], (4000, 2)).astype(np.float32)
    boxes = np.concatenate([np.full((4000, 2), 7, np.float32), 7 + sides], axis=1)
    scores = rng.choice([0.85, 0.9, 0.95], 4000).astype(np.float32)  # 0.85 of 32 bits is above the limit
    keypoints = rng.choice([0.4, 0.5, 0.6, 0.9], (4000, 51)).astype(np.float32)
    limits = GateLimits(boundary=boundary)
    expected = [
        person_gate(box, score, points, limits)
        for box, score, points in zip(boxes.tolist(), scores.tolist(), keypoints.tolist(), strict=True)
    ]
    assert person_gates(boxes, scores, keypoints, limits).to_pylist() == expected
    assert {None, Reason.SHORT_SIDE, Reason.ASPECT_RATIO, Reason.NO_HEAD} <= set(expected)
