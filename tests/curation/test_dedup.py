"""Exact duplicates: the first by key stays, whatever the order in which persons arrive."""

import random

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curation.dedup import exact_duplicates

SCHEMA = pa.schema(
    [("unit", pa.int64()), ("row", pa.int32()), ("person", pa.int32()), ("crop_sha256", pa.string())]
)
Row = tuple[int, int, int, str]
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2), st.sampled_from("abcde")),
    unique_by=lambda row: row[:3],
)


def table(rows: list[Row]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * 4
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def duplicates(rows: list[Row]) -> list[tuple[int, ...]]:
    return [tuple(row.values()) for row in exact_duplicates(table(rows)).to_pylist()]


def test_the_first_by_key_stays() -> None:
    rows = [(1, 0, 0, "a"), (0, 9, 1, "a"), (0, 10, 0, "a"), (0, 9, 0, "b")]
    assert duplicates(rows) == [(0, 10, 0, 0, 9, 1), (1, 0, 0, 0, 9, 1)]


def test_persons_who_are_all_different_have_no_duplicates() -> None:
    assert duplicates([(0, n, 0, str(n)) for n in range(5)]) == []


def test_of_persons_who_are_all_equal_one_stays() -> None:
    rows = [(n // 3, n % 3, 0, "same") for n in range(9)]
    assert duplicates(rows) == [(n // 3, n % 3, 0, 0, 0, 0) for n in range(1, 9)]


def test_two_persons_of_one_picture_may_be_equal() -> None:
    assert duplicates([(0, 0, 1, "a"), (0, 0, 0, "a")]) == [(0, 0, 1, 0, 0, 0)]


def test_nobody_has_no_duplicates() -> None:
    assert duplicates([]) == []


@given(rows=ROWS, seed=st.integers(0, 99))
def test_the_order_of_arrival_does_not_matter(rows: list[Row], seed: int) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert duplicates(shuffled) == duplicates(rows)


@given(rows=ROWS)
def test_one_of_each_content_stays_and_the_others_name_it(rows: list[Row]) -> None:
    content = {row[:3]: row[3] for row in rows}
    dropped = {row[:3]: row[3:] for row in duplicates(rows)}
    staying = [key for key in content if key not in dropped]
    assert sorted(content[key] for key in staying) == sorted(set(content.values()))
    for key, kept in dropped.items():
        assert content[key] == content[kept]  # type: ignore[index]
        assert kept in staying
        assert kept < key


def test_chunks_do_not_matter() -> None:
    rows: list[Row] = [(1, 0, 0, "a"), (0, 0, 0, "a"), (2, 0, 0, "a")]
    chunked = pa.concat_tables([table([row]) for row in rows])
    assert exact_duplicates(chunked).equals(exact_duplicates(table(rows)))
