"""Duplicates over the whole run: one pass over hashes, the same answer for any order of arrival.

Persons stand in the order of their keys. Exact duplicates have equal crops: the first of them stays. Near
duplicates are decided greedily in that order: a person is dropped if one before it, that stays, has a
perceptual hash within the radius; it names the first such. So every dropped person is near the one that it
names, and no chain of small steps leads from one picture to another one. Which of them is the best picture
does not matter. A person without a perceptual hash (a crop of next to no contrast) is no near duplicate.
"""

import hashlib
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from pipeline.recipe import Section
from pipeline.records import PERSON_KEY, PersonKey

BITS = 64
TABLES = 3
"""The index cuts a hash into so many pieces of 21 bits, and finds by any of them."""
BLOCK = 1024
"""Hashes that are looked up at once; among themselves they are compared one with another."""
ROUNDS = 8
"""How often those whom the hash calls near, and the embedding does not, are compared among themselves."""

Positions = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Alike = Callable[[Positions, Positions], NDArray[np.bool_]]
"""Of pairs of positions, [N] and [N], which are alike: [N]."""


class EmbeddingError(ValueError):
    """A file of embeddings that cannot be used; the message is one line naming it."""


class DedupSettings(Section):
    """Which persons count as copies of another one, beside those with equal pixels."""

    radius: int | None = Field(default=4, ge=0, le=16)
    """Crops whose perceptual hashes differ in so many of 64 bits at most are near duplicates; null: none are.
    benchmarks/results/dedup.json says what each radius finds, and whom it takes for another."""
    embeddings: Path | None = None
    """A Parquet with the columns unit, row, person and embedding (a list of numbers). Near duplicates are
    then only those within the radius whose embeddings are near too."""
    embedding_distance: float = Field(default=0.1, ge=0, le=2)
    """Greatest distance of such embeddings: 1 - cosine."""

    def inputs(self) -> list[str]:
        """What the decisions' fingerprint must hold beside the settings: the hash of the embeddings.

        Raises EmbeddingError naming the file if it cannot be read.
        """
        if self.embeddings is None:
            return []
        try:
            with self.embeddings.open("rb") as file:
                return [hashlib.file_digest(file, "sha256").hexdigest()]
        except OSError as error:
            raise EmbeddingError(f"{self.embeddings}: {error.strerror or error}") from None


def find_duplicates(persons: pa.Table, settings: DedupSettings) -> tuple[Positions, NDArray[np.bool_]]:
    """For each of N persons the position of the one that stays, its own if it stays itself; and who is near.

    persons: columns unit, row, person, crop_sha256, crop_phash, in the order of the keys. Returns [N] and
    [N]: of those who do not stay, True for near and False for exact duplicates. Raises EmbeddingError.
    """
    exact = exact_originals(persons["crop_sha256"])
    near = np.arange(persons.num_rows)
    if settings.radius is not None:
        hashes, known = _hashes(persons["crop_phash"])
        at = np.flatnonzero((exact == near) & known)
        near[at] = at[near_originals(hashes[at], settings.radius, _alike(persons, at, settings))]
    stays = np.arange(persons.num_rows)
    return near[exact], (exact == stays) & (near != stays)


def exact_originals(contents: pa.ChunkedArray | pa.Array) -> Positions:
    """For each of N contents the position of the first that is equal to it: [N]."""
    column = contents.combine_chunks() if isinstance(contents, pa.ChunkedArray) else contents
    codes: Positions = column.dictionary_encode().indices.to_numpy()
    first: Positions = np.unique(codes, return_index=True)[1]
    return first[codes]


def near_originals(hashes: Hashes, radius: int, alike: Alike | None = None) -> Positions:
    """For each of N hashes the position of the first that stays and is within `radius` bits of it: [N].

    alike: has the last word. Those who are unlike the one that they name are compared again, among
    themselves; who is still unlike after some rounds stays.
    """
    originals, left = np.arange(len(hashes)), np.arange(len(hashes))
    for _ in range(ROUNDS if alike else 1):
        first = left[_first_within(hashes[left], radius)]
        near = np.flatnonzero(first != left)
        if not len(near):
            break
        good = alike(left[near], first[near]) if alike else np.ones(len(near), bool)
        originals[left[near[good]]] = first[near[good]]
        left = left[near[~good]]
    return originals


def _first_within(hashes: Hashes, radius: int) -> Positions:
    """The greedy rule by hashes alone: [N]. Equal hashes are one, so that a million copies cost nothing."""
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.sort(first)
    different = order[_greedy(hashes[order], radius)]
    return different[np.searchsorted(order, first)][inverse]


def _greedy(hashes: Hashes, radius: int) -> Positions:
    """The greedy rule for different hashes: [N]. Only those who stay are in the index."""
    # Exact: of 3 pieces, one has at most a third of the differing bits, and so many are flipped to find it.
    index = faiss.IndexBinaryMultiHash(BITS, TABLES, BITS // TABLES)
    index.nflip = radius // TABLES
    originals, kept = np.arange(len(hashes)), np.empty(len(hashes), np.int64)
    for start in range(0, len(hashes), BLOCK):
        at = np.arange(start, min(start + BLOCK, len(hashes)))
        if index.ntotal:
            found = _first_indexed(index, hashes[at], radius)
            named = found >= 0
            originals[at[named]] = kept[found[named]]
            at = at[~named]
        originals[at] = at[_greedy_within(hashes[at], radius)]
        stay = at[originals[at] == at]
        kept[index.ntotal : index.ntotal + len(stay)] = stay
        index.add(_codes(hashes[stay]))
    return originals


def _first_indexed(index: faiss.IndexBinaryMultiHash, hashes: Hashes, radius: int) -> Positions:
    """For each of N hashes the first of the index within the radius, -1 if there is none: [N]."""
    limits, _, found = index.range_search(_codes(hashes), radius + 1)
    limits = limits.astype(np.int64)
    first = np.full(len(hashes), -1)
    some = np.flatnonzero(np.diff(limits))
    if len(some):
        first[some] = np.minimum.reduceat(found, limits[some])
    return first


def _greedy_within(hashes: Hashes, radius: int) -> Positions:
    """The greedy rule for a few hashes, each compared with each: [N]."""
    near = np.triu(np.bitwise_count(hashes[:, None] ^ hashes[None]) <= radius, 1)
    originals = np.arange(len(hashes))
    free = np.ones(len(hashes), bool)
    for position in np.flatnonzero(near.any(axis=1)):
        if free[position]:
            dropped = near[position] & free
            originals[dropped] = position
            free &= ~dropped
    return originals


def _codes(hashes: Hashes) -> NDArray[np.uint8]:
    return hashes.view(np.uint8).reshape(-1, BITS // 8)


def _hashes(column: pa.ChunkedArray) -> tuple[Hashes, NDArray[np.bool_]]:
    """Nullable hashes of 8 bytes as numbers, and which of them are there: [N] and [N]."""
    known = pc.is_valid(column).to_numpy()
    filled = pc.fill_null(column, pa.scalar(bytes(BITS // 8), column.type)).combine_chunks()
    data = np.frombuffer(filled.buffers()[1] or b"", np.uint64)
    return data[filled.offset : filled.offset + len(filled)], known


def _alike(persons: pa.Table, at: Positions, settings: DedupSettings) -> Alike | None:
    """What compares by embeddings, positions counted in `at`; None if there are none."""
    path = settings.embeddings
    if path is None:
        return None
    keys = persons.select(PERSON_KEY)

    def alike(some: Positions, others: Positions) -> NDArray[np.bool_]:
        wanted, inverse = np.unique(np.stack([some, others]), return_inverse=True)
        vectors = _read_embeddings(path, keys.take(pa.array(at[wanted])))
        left, right = inverse.reshape(2, -1)
        good = np.empty(len(some), bool)
        for start in range(0, len(some), BLOCK):
            block = slice(start, start + BLOCK)
            cosine = np.einsum("nd,nd->n", vectors[left[block]], vectors[right[block]])
            good[block] = 1 - cosine <= settings.embedding_distance
        return good

    return alike


def _read_embeddings(path: Path, keys: pa.Table) -> NDArray[np.float32]:
    """The embeddings of some persons, each of length 1: [N, D]. Raises EmbeddingError."""
    wanted = keys.append_column("at", pa.array(range(keys.num_rows), pa.int64()))
    columns = [*PERSON_KEY, "embedding"]
    try:
        with pq.ParquetFile(path) as file:
            absent = set(columns).difference(file.schema_arrow.names)
            if absent:
                raise EmbeddingError(f"{path}: no column {min(absent)}")
            empty = file.schema_arrow.empty_table()
            batches = map(pa.Table.from_batches, ([b] for b in file.iter_batches(columns=columns)))
            tables = [_pick(batch, wanted) for batch in chain([empty], batches)]
    except (OSError, pa.ArrowException) as error:
        raise EmbeddingError(f"{path}: {' '.join(str(error).split())[:200]}") from None
    found = pa.concat_tables(tables)
    wrong = np.bincount(found["at"].to_numpy(), minlength=keys.num_rows) != 1
    if wrong.any():
        first = PersonKey(**keys.slice(int(wrong.argmax()), 1).to_pylist()[0])
        raise EmbeddingError(f"{path}: not one embedding of {wrong.sum()} persons, first of {first}")
    lists = found.sort_by("at")["embedding"].combine_chunks()
    if pc.count_distinct(pc.fill_null(pc.list_value_length(lists), 0)).as_py() != 1:
        raise EmbeddingError(f"{path}: an embedding is not as long as the others")
    numbers: NDArray[np.float32] = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    vectors = numbers.reshape(len(lists), -1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and lengths.all()):
        raise EmbeddingError(f"{path}: an embedding is zero or not finite")
    vectors /= lengths
    return vectors


def _pick(batch: pa.Table, wanted: pa.Table) -> pa.Table:
    """The rows of a batch that are wanted: where they belong (`at`), and their embeddings."""
    # Arrow joins carry no nested columns: the join picks row numbers, the rows are then taken.
    numbered = batch.select(PERSON_KEY).cast(wanted.select(PERSON_KEY).schema)
    numbered = numbered.append_column("from", pa.array(range(batch.num_rows), pa.int64()))
    chosen = numbered.join(wanted, PERSON_KEY, join_type="inner", use_threads=False)
    return pa.table({"at": chosen["at"], "embedding": batch["embedding"].take(chosen["from"])})
