"""URL lists: plain text (one URL a line) or Parquet with a column `url`, cut into units."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.units import Unit, slice_units

BOM = b"\xef\xbb\xbf"
INPUT_ROWS = pa.schema([("unit", pa.int64()), ("row", pa.int32()), ("url", pa.string())])


class InputError(ValueError):
    """A URL list that cannot be read; the message is one line naming the file."""


@dataclass(frozen=True)
class UrlList:
    """A file of URLs; blank lines of a text list are no rows, everything else is."""

    path: Path
    """Absolute, since workers read it too."""

    def check(self) -> None:
        """Raise InputError if the list is missing, empty or without a column of URLs."""
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such URL list")
        if not self._is_parquet and b"\0" in self._head(4096):
            raise InputError(f"{self.path}: neither Parquet nor UTF-8 text (compressed lists are not read)")
        if self._is_parquet:
            try:
                schema = pq.read_schema(self.path)
            except pa.ArrowInvalid as error:
                raise InputError(f"{self.path}: not Parquet: {error}") from None
            if "url" not in schema.names:
                raise InputError(f"{self.path}: no column url; it has {', '.join(schema.names)}")
            if not _is_text(schema.field("url").type):
                raise InputError(f"{self.path}: the column url holds {schema.field('url').type}, not text")
        if not self.units(1_000_000):
            raise InputError(f"{self.path}: the list has no URLs")

    def fingerprint(self) -> str:
        """Hash of the file's bytes."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def units(self, rows: int) -> list[Unit]:
        """Cut the list into units of at most `rows` rows; nothing else than the list decides where."""
        if self._is_parquet:
            return slice_units(pq.read_metadata(self.path).num_rows, rows)
        starts, total = [], 0
        for offset, _ in self._lines(0):
            if total % rows == 0:
                starts.append(offset)
            total += 1
        return [
            Unit(unit.index, unit.first, unit.count, offset)
            for unit, offset in zip(slice_units(total, rows), starts, strict=True)
        ]

    def read(self, unit: Unit) -> pa.Table:
        """The rows of a unit: unit, row, url."""
        urls = self._parquet_urls(unit) if self._is_parquet else self._text_urls(unit)
        columns = [[unit.index] * len(urls), range(len(urls)), urls]
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, INPUT_ROWS, strict=True)], INPUT_ROWS)

    @property
    def _is_parquet(self) -> bool:
        return self._head(4) == b"PAR1" or self.path.suffix == ".parquet"

    def _head(self, size: int) -> bytes:
        with self.path.open("rb") as file:
            return file.read(size)

    def _text_urls(self, unit: Unit) -> list[str]:
        lines = (line for _, line in self._lines(unit.offset))
        return [_text(line) for _, line in zip(range(unit.count), lines, strict=False)]

    def _lines(self, offset: int) -> Iterator[tuple[int, bytes]]:
        with self.path.open("rb") as file:
            # What editors on Windows put before the first line is no part of its URL.
            offset = offset or (len(BOM) if file.read(len(BOM)) == BOM else 0)
            file.seek(offset)
            for line in file:
                if line.strip():
                    yield offset, line
                offset += len(line)

    def _parquet_urls(self, unit: Unit) -> list[str | None]:
        urls: list[str | None] = []
        start, end, seen = unit.first, unit.first + unit.count, 0
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if seen < end and seen + size > start:
                    column = file.read_row_group(group, columns=["url"])["url"]
                    first = max(0, start - seen)
                    found = pc.cast(column, pa.large_binary()).slice(first, end - seen - first).to_pylist()
                    urls += [None if url is None else _text(url) for url in found]
                seen += size
        return urls


def _text(url: bytes) -> str:
    """One bad byte spoils its own row only."""
    return url.decode("utf-8", errors="replace").strip()


def _is_text(arrow: pa.DataType) -> bool:
    values = arrow.value_type if pa.types.is_dictionary(arrow) else arrow
    return any(
        is_kind(values) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
    )
