"""What every format of a URL list can do, and Parquet, the one that is not made of lines."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.list_files import InputError, ListFile, readable

Rows = NDArray[np.int64]
"""Numbers of rows, rising."""
Columns = Mapping[str, pa.DataType | None]
"""Names of columns, with their types where the format has types."""
_BATCH_ROWS = 8192


@dataclass(frozen=True, eq=False)
class FileIndex:
    """How many rows a file has and where a reader may begin."""

    rows: int
    marks: NDArray[np.int64]
    """[n, 2]: byte and line of every so many rows of a text; Parquet has none."""
    header: tuple[str, ...] = ()
    """Names of the fields of a CSV or TSV."""


@dataclass(frozen=True)
class ListRow:
    """One row of a list: the values asked for, or why there are none."""

    place: str
    """For errors: its file and line, or its file and row."""
    values: Mapping[str, Any]
    error: str | None = None


class ListFormat(Protocol):
    """What a format can do with a file. All raise InputError where the file as a whole cannot be read."""

    def columns(self, file: ListFile, url_column: str) -> Columns:
        """The columns that can be asked for: those whose names stand once."""
        ...

    def index(self, file: ListFile, stop: int | None) -> FileIndex:
        """Count the rows (at most `stop`), in bounded memory but for the marks."""
        ...

    def rows(
        self, file: ListFile, index: FileIndex, wanted: Rows, columns: Sequence[str]
    ) -> Iterator[ListRow]:
        """The rows of those numbers, in order; the first column is the URL's."""
        ...


class ParquetList:
    """Row groups are read one at a time, from their start to the last row wanted."""

    def columns(self, file: ListFile, url_column: str) -> Columns:
        """As the schema in the footer says."""
        with _opened(file) as parquet:
            schema = parquet.schema_arrow
        return {field.name: field.type for field in schema if schema.names.count(field.name) == 1}

    def index(self, file: ListFile, stop: int | None) -> FileIndex:
        """From the footer."""
        with _opened(file) as parquet:
            rows = parquet.metadata.num_rows
        return FileIndex(rows if stop is None else min(rows, stop), np.empty((0, 2), np.int64))

    def rows(
        self, file: ListFile, index: FileIndex, wanted: Rows, columns: Sequence[str]
    ) -> Iterator[ListRow]:
        """Dictionaries, large and view types come out as values; a bad byte spoils its own value only.

        Rows of a row group that is there but cannot be decoded are rows that cannot be read.
        """
        with _opened(file) as parquet:
            groups = [parquet.metadata.row_group(number) for number in range(parquet.num_row_groups)]
            bounds = np.concatenate([[0], np.cumsum([group.num_rows for group in groups])]).astype(np.int64)
            cuts = np.searchsorted(wanted, bounds)
            for group, (first, last) in enumerate(pairwise(cuts)):
                if first < last:
                    inner = wanted[first:last] - bounds[group]
                    found = _GroupReader(file, group, list(dict.fromkeys(columns))).rows(parquet, inner)
                    for row, (values, error) in zip(wanted[first:last].tolist(), found, strict=True):
                        place = f"{file.name} row {row}"
                        yield ListRow(place, values, error and f"{place}: {error}")


@dataclass(frozen=True)
class _GroupReader:
    """Some columns of one row group."""

    file: ListFile
    group: int
    columns: list[str]

    def rows(self, parquet: pq.ParquetFile, wanted: Rows) -> Iterator[tuple[dict[str, Any], str | None]]:
        """Values, or an error, of the rows by their numbers in the group."""
        found: list[dict[str, Any]] = []
        try:
            self._decode(parquet, wanted, found)
        except (OSError, pa.ArrowException):
            found, error = self._once_more(wanted)
            yield from ((values, None) for values in found)
            yield from (({}, error) for _ in range(len(wanted) - len(found)))
        else:
            yield from ((values, None) for values in found)

    def _once_more(self, wanted: Rows) -> tuple[list[dict[str, Any]], str | None]:
        """Storage that fails raises; bytes that are there and fail twice are broken."""
        found: list[dict[str, Any]] = []
        with closing(self.file.open_raw()) as raw, readable(self.file.name):
            raw.read()
        with _opened(self.file) as parquet:
            try:
                self._decode(parquet, wanted, found)
            except (OSError, pa.ArrowException) as error:
                return found, f"row group {self.group} is broken: {' '.join(str(error).split())}"
        return found, None

    def _decode(self, parquet: pq.ParquetFile, wanted: Rows, found: list[dict[str, Any]]) -> None:
        """Append the values of the rows wanted, until one cannot be had."""
        start = 0
        batches = parquet.iter_batches(_BATCH_ROWS, row_groups=[self.group], columns=self.columns)
        while len(wanted):
            batch = next(batches)
            here = wanted[: np.searchsorted(wanted, start + batch.num_rows)]
            places = pa.array(here - start)
            columns = [_values(batch.column(name), places) for name in self.columns]
            found += [dict(zip(self.columns, row, strict=True)) for row in zip(*columns, strict=True)]
            wanted, start = wanted[len(here) :], start + batch.num_rows


def is_text(arrow: pa.DataType) -> bool:
    """Whether a column of this type holds texts, encoded as a dictionary or not."""
    values = arrow.value_type if pa.types.is_dictionary(arrow) else arrow
    kinds = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
    return str(values) in kinds


def is_number(arrow: pa.DataType) -> bool:
    """Whether a column of this type holds numbers, or nothing but nulls."""
    kinds = pa.types
    return bool(
        kinds.is_integer(arrow) or kinds.is_floating(arrow) or kinds.is_decimal(arrow) or kinds.is_null(arrow)
    )


def as_text(data: bytes) -> str:
    """One bad byte spoils its own row only."""
    return data.decode("utf-8", errors="replace")


def _opened(file: ListFile) -> pq.ParquetFile:
    """Open, with the footer read."""
    raw = file.open_raw()
    try:
        return pq.ParquetFile(raw)
    except pa.ArrowInvalid as error:
        raw.close()
        raise InputError(f"{file.name}: not Parquet: {' '.join(str(error).split())}") from None


def _values(column: pa.Array, places: pa.Array) -> list[Any]:
    """Python values; texts by way of their bytes, since a string column may hold bytes that are no UTF-8."""
    if str(column.type) in ("string_view", "binary_view"):  # Arrow cannot take from these
        column = pc.cast(column, pa.large_binary())
    taken = column.take(places)
    if pa.types.is_dictionary(taken.type):
        taken = taken.dictionary_decode()
    values: list[Any] = (pc.cast(taken, pa.large_binary()) if is_text(taken.type) else taken).to_pylist()
    return [as_text(value) if isinstance(value, bytes) else value for value in values]
