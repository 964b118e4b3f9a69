"""The URL list as harvest reads it: URLs, carried columns, and a reason where nothing is to be asked for.

A unit is a fixed range of the list's rows, its files in the order of their names: nothing else decides what
is in it, no pre-filter and no cluster.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.list_cache import ListCache
from curation.list_files import InputError as InputError
from curation.list_files import ListFile, find_files
from curation.list_formats import (
    Columns,
    FileIndex,
    ListFormat,
    ListRow,
    ParquetList,
    Rows,
    is_number,
    is_text,
)
from curation.list_texts import DelimitedList, JsonLines, PlainText
from curation.prefilter import IN_RECIPE, Prefilter, PrefilterSettings
from pipeline.draws import mix
from pipeline.reasons import Reason
from pipeline.recipe import fingerprint
from pipeline.units import Unit, UnitRange

INPUT_ROWS = pa.schema(
    [
        ("unit", pa.int64()),
        ("row", pa.int32()),
        ("url", pa.string()),
        ("carried", pa.string()),
        ("reason", pa.string()),
        ("error", pa.string()),
    ]
)
"""A row with a reason is passed on as it is by every stage."""

URL_CHARS = 2**20
"""A longer URL is a row that cannot be read; any text list ends there too."""
_FILES_AT_ONCE = 16
_DRAWN_AT_ONCE = 2**20

G = TypeVar("G")
T = TypeVar("T")


class InputSettings(PrefilterSettings):
    """What is read of a URL list, and which of its rows are not asked for."""

    url_column: str = "url"
    """Column with the URL; a plain text has no other."""
    columns: tuple[str, ...] = ()
    """Further columns to carry along, into table `urls`."""

    def read_columns(self) -> dict[str, str]:
        """All columns that are read, the URL's first, each with a setting that needs it."""
        carried = dict.fromkeys(self.columns, "columns")
        return {self.url_column: "url_column"} | carried | self.number_columns()


@dataclass(frozen=True)
class UrlList:
    """A list of URLs: Parquet, CSV, TSV, JSON lines or plain text, in one file or several of one format.

    The list is looked at once: by `units`, or when it is sent to workers. They go to a unit's rows directly,
    except in compressed text: there each unit decompresses its file from the start, which for n rows in units
    of u costs n / 2u passes over the file. With a `cache`, a compressed text is unpacked there at that look
    and costs its size on storage instead; and the look at a text, one pass over it, is not taken twice.
    """

    path: str | Path
    """A file, a folder, a glob, or a URI of one (s3://, gs://, file://, any that fsspec knows)."""
    settings: InputSettings = field(default_factory=InputSettings)
    limit: int | None = None
    """Only the first so many rows."""
    sample: int | None = None
    """Only so many rows, drawn by `seed` (after `limit`); the sample is a list with units of its own."""
    seed: int = 0
    cache: str | Path | None = None
    """Folder or URI that all workers can read and only one run writes to."""

    def check(self) -> None:
        """Raise InputError if the list is missing or empty, or lacks a column that the settings name."""
        Prefilter.read(self.settings)
        found = _at_once(lambda file: format_of(file).columns(file, self.settings.url_column), self._files)
        rows = _at_once(lambda file: format_of(file).index(file, 1).rows, self._files)
        if not any(rows):
            raise InputError(f"{self.path}: the list has no URLs")
        for file, columns, first in zip(self._files, found, rows, strict=True):
            if first:
                _check_columns(file.name, columns, self.settings)

    def fingerprint(self) -> str:
        """Hash of what the rows come from beside the settings: contents of list and domain files, the cut."""
        drawn = None if self.sample is None else [self.sample, self.seed]
        contents, domains = list(self._identities), self._prefilter.fingerprint()
        return fingerprint(self._files[0].format, contents, self.limit, drawn, domains)

    def list_rows(self) -> int:
        """Rows of the list, at most `limit`; a sample is drawn from them. Looks at the list as `units`."""
        return self._index.rows if self.limit is None else min(self._index.rows, self.limit)

    def units(self, rows: int) -> Sequence[Unit]:
        """Units of at most `rows` rows, the same for any settings. Raises InputError for a broken file."""
        return UnitRange(self.list_rows() if self._drawn is None else len(self._drawn), rows)

    def read(self, unit: Unit) -> pa.Table:
        """The rows of a unit, as in INPUT_ROWS. Raises InputError if the list is no longer what it was."""
        place = slice(unit.first, unit.first + unit.count)
        wanted = np.arange(place.start, place.stop) if self._drawn is None else self._drawn[place]
        rows, prefilter = self._index.read(wanted, tuple(self.settings.read_columns())), self._prefilter
        found = [self._outcome(row, prefilter) for row in rows]
        if len(found) != unit.count:
            raise InputError(f"{self.path}: has changed: unit {unit.index} had {unit.count} rows")
        columns = [[unit.index] * len(found), range(len(found)), *zip(*found, strict=True)]
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, INPUT_ROWS, strict=True)], INPUT_ROWS)

    def __getstate__(self) -> dict[str, Any]:
        """With the look at the list that was taken here, so that no worker takes another."""
        return {**self.__dict__, "_index": self._index, "_drawn": self._drawn, "_prefilter": self._prefilter}

    @cached_property
    def _files(self) -> tuple[ListFile, ...]:
        return find_files(str(self.path))

    @cached_property
    def _index(self) -> "_ListIndex":
        identities = self._identities if self.cache is not None else [""] * len(self._files)
        looked = _at_once(self._look, list(zip(self._files, identities, strict=True)))
        return _ListIndex(tuple(file for file, _ in looked), tuple(index for _, index in looked))

    def _look(self, given: tuple[ListFile, str]) -> tuple[ListFile, FileIndex]:
        """The file to read, and where its rows are."""
        file, identity = given
        if self.cache is None or file.format == "parquet":
            return file, format_of(file).index(file, self.limit)
        cache = ListCache(str(self.cache))
        file = cache.unpacked(file, identity)
        index = cache.saved_index(file, identity, self.limit)
        if index is None:
            index = format_of(file).index(file, self.limit)
            cache.save_index(file, identity, self.limit, index)
        return file, index

    @cached_property
    def _identities(self) -> tuple[str, ...]:
        return tuple(_at_once(ListFile.identity, self._files))

    @cached_property
    def _drawn(self) -> Rows | None:
        return None if self.sample is None else draw(self.list_rows(), self.sample, self.seed)

    @cached_property
    def _prefilter(self) -> Prefilter:
        return Prefilter.read(self.settings)

    def _outcome(
        self, row: ListRow, prefilter: Prefilter
    ) -> tuple[str | None, str | None, Reason | None, str | None]:
        """URL, carried columns, reason and error of a row."""
        if row.error:
            return None, None, Reason.ROW_UNREADABLE, row.error
        url, carried = None, None
        try:
            url = _url(row.values[self.settings.url_column])
            carried = _json(row.values, self.settings.columns)
            reason, error = prefilter.refusal(url, row.values) or (None, None)
        except (ValueError, RecursionError) as problem:
            reason, error = Reason.ROW_UNREADABLE, f"{row.place}: {problem}"
        return url, carried, reason, error


@dataclass(frozen=True, eq=False)
class _ListIndex:
    """The files of a list, and where their rows are."""

    files: tuple[ListFile, ...]
    indexes: tuple[FileIndex, ...]

    @property
    def rows(self) -> int:
        return sum(index.rows for index in self.indexes)

    def read(self, wanted: Rows, columns: Sequence[str]) -> Iterator[ListRow]:
        """Rows by their numbers in the whole list, rising."""
        starts = np.cumsum([0, *(index.rows for index in self.indexes)])
        cuts = np.searchsorted(wanted, starts)
        for number in np.flatnonzero(np.diff(cuts)).tolist():
            file, index = self.files[number], self.indexes[number]
            inner = wanted[cuts[number] : cuts[number + 1]] - starts[number]
            yield from format_of(file).rows(file, index, inner, columns)


def format_of(file: ListFile) -> ListFormat:
    """What reads a file."""
    formats: dict[str, ListFormat] = {
        "parquet": ParquetList(),
        "csv": DelimitedList(","),
        "tsv": DelimitedList("\t"),
        "jsonl": JsonLines(),
        "text": PlainText(),
    }
    return formats[file.format]


def draw(total: int, wanted: int, seed: int) -> Rows:
    """The rows of 0…total whose hash of (seed, row) is among the `wanted` smallest, rising.

    A larger sample holds the smaller one; no two rows have one hash. Memory: O(wanted), not O(total).
    """
    key = _hash(np.array([seed % 2**64], np.uint64))
    rows, at_once = np.empty(0, np.int64), max(wanted, _DRAWN_AT_ONCE)
    for start in range(0, total, at_once):
        rows = np.concatenate([rows, np.arange(start, min(start + at_once, total), dtype=np.int64)])
        if len(rows) > wanted:
            rows = rows[np.argpartition(_hash(rows.astype(np.uint64) ^ key), wanted)[:wanted]]
    return np.sort(rows)


def _hash(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output for a state: one to one."""
    return mix(numbers + np.uint64(0x9E3779B97F4A7C15))


def _check_columns(name: str, columns: Columns, settings: InputSettings) -> None:
    for column, setting in settings.read_columns().items():
        if column not in columns:
            needed = f"no column {column}, needed by {IN_RECIPE}.{setting}"
            raise InputError(f"{name}: {needed}; it has {', '.join(columns) or 'none'}")
    url = columns[settings.url_column]
    if url is not None and not is_text(url):
        raise InputError(f"{name}: the column {settings.url_column} holds {url}, not text")
    for column, setting in settings.number_columns().items():
        arrow = columns[column]
        if arrow is not None and not (is_number(arrow) or is_text(arrow)):
            needed = f"not the numbers that {IN_RECIPE}.{setting} needs"
            raise InputError(f"{name}: the column {column} holds {arrow}, {needed}")


def _at_once(work: Callable[[G], T], given: Sequence[G]) -> list[T]:
    """Object stores answer slowly, and many at once."""
    with ThreadPoolExecutor(min(_FILES_AT_ONCE, len(given))) as pool:
        return list(pool.map(work, given))


def _url(given: Any) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str):
        raise ValueError(f"the URL is of type {type(given).__name__}, not a text")
    if len(given) > URL_CHARS:
        raise ValueError(f"a URL of {len(given)} characters; it may have {URL_CHARS}")
    return _clean(given).strip()


def _json(values: Mapping[str, Any], columns: Sequence[str]) -> str | None:
    """The carried columns as one JSON object; what JSON does not know is null (NaN) or text (a date)."""
    if not columns:
        return None
    found = {name: values[name] for name in columns}
    plain = json.loads(json.dumps(found, default=str), parse_constant=lambda _: None)
    return _clean(json.dumps(plain, sort_keys=True, ensure_ascii=False))


def _clean(text: str) -> str:
    """Halves of surrogate pairs, which JSON can spell and UTF-8 cannot, become question marks."""
    return text.encode("utf-8", errors="replace").decode()
