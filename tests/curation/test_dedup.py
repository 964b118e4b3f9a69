"""Duplicates: the first by key stays, whatever the order of arrival, and nothing is quadratic."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curation.dedup import (
    BLOCK,
    DedupSettings,
    EmbeddingError,
    exact_originals,
    find_duplicates,
    near_originals,
)

LOW = [(1 << bits) - 1 for bits in range(20)]
"""LOW[a] and LOW[b] differ in |a - b| bits."""


def near(hashes: Sequence[int], radius: int) -> list[int]:
    return [int(position) for position in near_originals(np.array(hashes, np.uint64), radius)]


def slowly(hashes: Sequence[int], radius: int) -> list[int]:
    """The rule as its docstring says it, person by person."""
    originals: list[int] = []
    for position, one in enumerate(hashes):
        kept = (o for o in range(position) if originals[o] == o and (hashes[o] ^ one).bit_count() <= radius)
        originals.append(next(kept, position))
    return originals


def clusters(count: int, seed: int, flips: int) -> list[int]:
    """Hashes in the neighbourhood of a few, some of them equal."""
    rng = np.random.default_rng(seed)
    centres = [int(n) for n in rng.integers(0, 2**63, 1 + count // 8)]
    hashes = []
    for _ in range(count):
        hash_ = centres[rng.integers(len(centres))]
        for bit in rng.integers(0, 64, rng.integers(flips + 1)):
            hash_ ^= 1 << int(bit)
        hashes.append(hash_)
    return hashes


def table(contents: Sequence[str], hashes: Sequence[int | None]) -> pa.Table:
    rows = range(len(contents))
    columns = {
        "unit": pa.array([row // 2 for row in rows], pa.int64()),
        "row": pa.array([row % 2 for row in rows], pa.int32()),
        "person": pa.array([0 for _ in rows], pa.int32()),
        "crop_sha256": pa.array(contents, pa.string()),
        "crop_phash": pa.array(
            [None if h is None else h.to_bytes(8, "little") for h in hashes], pa.binary(8)
        ),
    }
    return pa.table(columns)


def duplicates(
    contents: Sequence[str], hashes: Sequence[int | None], settings: DedupSettings
) -> list[tuple[int, bool]]:
    originals, are_near = find_duplicates(table(contents, hashes), settings)
    return list(zip(originals.tolist(), are_near.tolist(), strict=True))


def test_the_first_of_equal_contents_stays() -> None:
    assert exact_originals(pa.array(["b", "a", "b", "a", "c", "b"])).tolist() == [0, 1, 0, 1, 4, 0]


def test_nobody_has_no_duplicates() -> None:
    assert exact_originals(pa.array([], pa.string())).tolist() == []
    assert near([], 4) == []
    assert duplicates([], [], DedupSettings()) == []


@given(contents=st.lists(st.sampled_from("abcde")))
def test_equal_contents_name_their_first(contents: list[str]) -> None:
    assert exact_originals(pa.array(contents, pa.string())).tolist() == [contents.index(c) for c in contents]


def test_chunks_do_not_matter() -> None:
    contents = pa.chunked_array([["a"], ["b", "a"], ["b"]])
    assert exact_originals(contents).tolist() == [0, 1, 0, 1]


def test_hashes_within_the_radius_are_near_and_those_beyond_are_not() -> None:
    assert near([LOW[0], LOW[4], LOW[5]], 4) == [0, 0, 2]


def test_radius_0_finds_equal_hashes_alone() -> None:
    assert near([7, 6, 7, 6], 0) == [0, 1, 0, 1]


def test_a_chain_of_small_steps_does_not_join_its_ends() -> None:
    assert near([LOW[bits] for bits in range(0, 20, 3)], 4) == [0, 0, 2, 2, 4, 4, 6]


def test_the_first_that_stays_is_named_though_a_later_one_is_nearer() -> None:
    assert near([LOW[0], LOW[6], LOW[4]], 4) == [0, 1, 0]


def test_somebody_dropped_drops_nobody() -> None:
    assert near([LOW[3], LOW[0], LOW[7]], 4) == [0, 0, 0]
    assert near([LOW[0], LOW[4], LOW[8]], 4) == [0, 0, 2]


@pytest.mark.parametrize("radius", range(17))
def test_the_index_misses_nothing_at_any_radius(radius: int) -> None:
    hashes = clusters(2 * BLOCK + 100, seed=radius, flips=radius + 2)
    assert near(hashes, radius) == slowly(hashes, radius)


@given(
    hashes=st.lists(st.sampled_from(LOW) | st.integers(0, 2**64 - 1), max_size=40),
    radius=st.integers(0, 16),
)
@settings(max_examples=60)
def test_who_stays_is_far_from_all_others_who_stay(hashes: list[int], radius: int) -> None:
    originals = near(hashes, radius)
    staying = [position for position, original in enumerate(originals) if position == original]
    for one, other in itertools.combinations(staying, 2):
        assert (hashes[one] ^ hashes[other]).bit_count() > radius
    for position, original in enumerate(originals):
        assert original in staying
        assert (hashes[position] ^ hashes[original]).bit_count() <= radius
    assert originals == slowly(hashes, radius)


def test_a_hundred_thousand_equal_hashes_are_one() -> None:
    originals = near_originals(np.zeros(100_000, np.uint64), 16)
    assert not originals.any()


def test_a_hundred_thousand_different_hashes_in_one_neighbourhood_are_one() -> None:
    bits = itertools.islice(itertools.combinations(range(64), 4), 100_000)
    hashes = np.array([0, *(sum(1 << bit for bit in chosen) for chosen in bits)], np.uint64)
    assert not near_originals(hashes, 4).any()


def test_a_near_duplicate_is_told_from_an_exact_one() -> None:
    assert duplicates(["a", "b", "a"], [0, 1, 0], DedupSettings()) == [(0, False), (0, True), (0, False)]


def test_an_exact_copy_of_somebody_dropped_names_the_one_that_stays() -> None:
    found = duplicates(["a", "b", "b"], [LOW[0], LOW[2], LOW[2]], DedupSettings())
    assert found == [(0, False), (0, True), (0, False)]


def test_persons_without_a_hash_are_no_near_duplicates() -> None:
    found = duplicates(["a", "b", "c", "d"], [None, 0, None, 0], DedupSettings())
    assert [original for original, _ in found] == [0, 1, 2, 1]


def test_without_a_radius_only_equal_contents_count() -> None:
    found = duplicates(["a", "b", "a"], [0, 0, 0], DedupSettings(radius=None))
    assert [original for original, _ in found] == [0, 1, 0]


def test_slices_and_chunks_of_hashes_are_read_right() -> None:
    whole = table("abcdef", [9, None, 9, LOW[19], None, LOW[19]])
    parts = pa.concat_tables([whole.slice(1, 2), whole.slice(3, 3)])
    assert find_duplicates(parts, DedupSettings())[0].tolist() == [0, 1, 2, 3, 2]


@pytest.mark.parametrize("radius", [-1, 17])
def test_a_radius_that_finds_nothing_or_everything_is_refused(radius: int) -> None:
    with pytest.raises(ValidationError):
        DedupSettings(radius=radius)


def embedded(path: Path, persons: pa.Table, vectors: Sequence[Sequence[float]]) -> DedupSettings:
    columns = persons.select(["unit", "row", "person"])
    pq.write_table(columns.append_column("embedding", pa.array(vectors, pa.list_(pa.float32()))), path)
    return DedupSettings(embeddings=path, embedding_distance=0.1)


def test_embeddings_have_the_last_word(tmp_path: Path) -> None:
    persons = table("abcd", [0, 0, 0, 0])
    settings = embedded(tmp_path / "e.parquet", persons, [[1, 0], [0, 1], [3, 0.1], [0, 0.2]])
    assert find_duplicates(persons, settings)[0].tolist() == [0, 1, 0, 1]


def test_embeddings_that_are_near_join_no_hashes_that_are_far(tmp_path: Path) -> None:
    persons = table("ab", [LOW[0], LOW[19]])
    settings = embedded(tmp_path / "e.parquet", persons, [[1, 0], [1, 0]])
    assert find_duplicates(persons, settings)[0].tolist() == [0, 1]


def test_the_order_of_embeddings_in_their_file_does_not_matter(tmp_path: Path) -> None:
    persons = table("abcdef", [0, 0, LOW[19], 0, LOW[19], 0])
    vectors = np.random.default_rng(0).normal(size=(6, 3)).tolist()
    expected = find_duplicates(persons, embedded(tmp_path / "e.parquet", persons, vectors))[0].tolist()
    shuffled = [3, 1, 5, 0, 2, 4]
    settings = embedded(tmp_path / "e.parquet", persons.take(shuffled), [vectors[at] for at in shuffled])
    assert find_duplicates(persons, settings)[0].tolist() == expected


def test_unlike_persons_of_one_hash_stay_in_bounded_time(tmp_path: Path) -> None:
    persons = table([str(n) for n in range(40)], [0] * 40)
    settings = embedded(tmp_path / "e.parquet", persons, np.eye(40).tolist())
    assert find_duplicates(persons, settings)[0].tolist() == list(range(40))


def test_a_person_with_two_embeddings_is_refused(tmp_path: Path) -> None:
    persons = table("ab", [0, 0])
    settings = embedded(tmp_path / "e.parquet", persons.take([0, 1, 1]), [[1, 0]] * 3)
    with pytest.raises(EmbeddingError, match="not one embedding of 1 persons, first of 000000-00001-00"):
        find_duplicates(persons, settings)


def test_a_file_without_rows_has_nobodys_embedding(tmp_path: Path) -> None:
    persons = table("ab", [0, 0])
    settings = embedded(tmp_path / "e.parquet", persons.slice(0, 0), [])
    with pytest.raises(EmbeddingError, match="not one embedding of 2 persons"):
        find_duplicates(persons, settings)


def test_nobody_near_needs_no_embedding(tmp_path: Path) -> None:
    settings = DedupSettings(embeddings=tmp_path / "missing.parquet")
    assert find_duplicates(table("ab", [LOW[0], LOW[19]]), settings)[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1, 0]], "not one embedding of 1 persons, first of 000000-00001-00"),
        ([[1, 0], [0, 0]], "an embedding is zero or not finite"),
        ([[1, 0], [float("nan"), 0]], "an embedding is zero or not finite"),
        ([[1, 0], [1, 0, 0]], "an embedding is not as long as the others"),
    ],
    ids=["missing", "zero", "nan", "lengths"],
)
def test_embeddings_that_cannot_be_used_are_refused_in_one_line(
    tmp_path: Path, vectors: list[list[float]], message: str
) -> None:
    persons = table("ab", [0, 0])
    path = tmp_path / "e.parquet"
    settings = embedded(path, persons.slice(0, len(vectors)), vectors)
    with pytest.raises(EmbeddingError, match=f"^{path}: {message}"):
        find_duplicates(persons, settings)


@pytest.mark.parametrize("content", [None, b"no parquet"], ids=["absent", "garbage"])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "e.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EmbeddingError, match=f"^{path}: "):
        find_duplicates(table("ab", [0, 0]), DedupSettings(embeddings=path))


def test_a_file_without_the_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    pq.write_table(table("ab", [0, 0]), path)
    with pytest.raises(EmbeddingError, match=f"^{path}: no column embedding$"):
        find_duplicates(table("ab", [0, 0]), DedupSettings(embeddings=path))


def test_other_embeddings_under_the_same_name_are_another_input(tmp_path: Path) -> None:
    assert DedupSettings().inputs() == []
    path = tmp_path / "e.parquet"
    one = embedded(path, table("ab", [0, 0]), [[1, 0], [1, 0]]).inputs()
    assert one == DedupSettings(embeddings=path).inputs()
    assert one != embedded(path, table("ab", [0, 0]), [[1, 0], [0, 1]]).inputs()
    with pytest.raises(EmbeddingError, match="missing: No such file"):
        DedupSettings(embeddings=tmp_path / "missing").inputs()
