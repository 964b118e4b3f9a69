"""URL lists made of lines: CSV and TSV with a header, JSON lines, plain text.

A blank line is no row; a line longer than `LINE_BYTES` is a row that cannot be read. A quoted field of a CSV
may hold line ends; a quote that nobody closes spoils its own line only.
"""

import csv
import io
import json
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from curation.list_files import InputError, ListFile, readable
from curation.list_formats import Columns, FileIndex, ListRow, Rows, as_text

BOM = b"\xef\xbb\xbf"
LINE_BYTES = 2**20
"""A longer line is a row that cannot be read."""
RECORD_LINES = 64
"""Lines that a quoted field may span."""
MARK_ROWS = 4096
"""Rows from one mark of an index to the next; reading begins at a mark."""
_LOOKED_AT = 1000
"""Rows of JSON lines whose keys are taken for the list's columns."""


Line = tuple[int, int, bytes, int]
"""A line of a text, or the several of a CSV record: where it begins, in bytes and in lines; its bytes with
the line end, cut at LINE_BYTES; how many they are uncut. (A plain tuple: there are hundreds of millions.)"""


def lines(stream: BinaryIO, offset: int = 0, number: int = 1) -> Iterator[Line]:
    """The lines from `offset` on, where `stream` stands.

    A byte order mark, which editors on Windows put before the first line, is no part of it.
    """
    while head := stream.readline(LINE_BYTES):
        size, last = len(head), head
        while not last.endswith(b"\n") and (last := stream.readline(LINE_BYTES)):
            size += len(last)
        if offset == 0 and head.startswith(BOM):
            head, offset, size = head[len(BOM) :], len(BOM), size - len(BOM)
        yield offset, number, head, size
        offset += size
        number += 1


class TextList:
    """What the formats made of lines share; a subclass says what a row's values are."""

    def index(self, file: ListFile, stop: int | None) -> FileIndex:
        """One pass over the text."""
        marks, rows, header = array("q"), 0, self.header(file)
        with readable(file.name), file.open() as stream:
            for offset, number, _, _ in islice(self.records(lines(stream), header), stop):
                if rows % MARK_ROWS == 0:
                    marks.extend((offset, number))
                rows += 1
        return FileIndex(rows, np.array(marks, np.int64).reshape(-1, 2), header)

    def rows(
        self, file: ListFile, index: FileIndex, wanted: Rows, columns: Sequence[str]
    ) -> Iterator[ListRow]:
        """From the last mark before each of them on; a compressed file, read from its start, is read once."""
        marks = wanted // MARK_ROWS
        if file.compression:
            marks = np.full_like(marks, marks[0])
        for mark in np.unique(marks).tolist():
            here = (wanted[marks == mark] - mark * MARK_ROWS).tolist()
            offset, number = index.marks[mark].tolist()
            with readable(file.name), file.open(offset) as stream:
                records = self.records(lines(stream, offset, number), index.header, offset)
                picked, upto = frozenset(here), here[-1] + 1
                found = [record for place, record in enumerate(islice(records, upto)) if place in picked]
            yield from (self._row(file.name, record, columns, index.header) for record in found)

    def header(self, file: ListFile) -> tuple[str, ...]:
        """The names that stand above the rows; none here."""
        return ()

    def records(self, found: Iterator[Line], header: Sequence[str], offset: int = 0) -> Iterator[Line]:
        """The rows among the lines from `offset` on."""
        return (line for line in found if not _is_blank(line))

    def values(self, text: str, columns: Sequence[str], header: Sequence[str]) -> Mapping[str, Any]:
        """What a row holds. Raises ValueError if it cannot be read."""
        raise NotImplementedError

    def _row(self, name: str, record: Line, columns: Sequence[str], header: Sequence[str]) -> ListRow:
        _, number, data, size = record
        place = f"{name} line {number}"
        if size > len(data):
            return ListRow(place, {}, f"{place}: {size} bytes long; a line may have {LINE_BYTES}")
        try:
            return ListRow(place, self.values(as_text(data), columns, header))
        except (ValueError, RecursionError, csv.Error) as error:
            return ListRow(place, {}, f"{place}: {error}")


class PlainText(TextList):
    """One URL a line."""

    def columns(self, file: ListFile, url_column: str) -> Columns:
        """The URL's, whatever it is to be called."""
        _refuse_binary(file)
        return {url_column: None}

    def values(self, text: str, columns: Sequence[str], header: Sequence[str]) -> Mapping[str, Any]:
        """The line without the white space around it."""
        return {columns[0]: text.strip()}


class JsonLines(TextList):
    """One JSON object a line."""

    def columns(self, file: ListFile, url_column: str) -> Columns:
        """The keys of the first objects."""
        _refuse_binary(file)
        if file.head(64).removeprefix(BOM).lstrip().startswith(b"["):
            raise InputError(f"{file.name}: one JSON array; a list has one JSON object a line")
        keys: dict[str, pa.DataType | None] = {}
        with readable(file.name), file.open() as stream:
            for _, _, data, _ in islice(self.records(lines(stream), ()), _LOOKED_AT):
                with suppress(ValueError, RecursionError):
                    keys |= dict.fromkeys(_json_object(as_text(data)))
        return keys

    def values(self, text: str, columns: Sequence[str], header: Sequence[str]) -> Mapping[str, Any]:
        """The object's values; a key that it lacks is null, but for the URL's."""
        found = _json_object(text)
        if columns[0] not in found:
            raise ValueError(f"the object has no {columns[0]}")
        return {name: found.get(name) for name in columns}


@dataclass(frozen=True)
class DelimitedList(TextList):
    """CSV or TSV with a header; a row has as many fields as the header."""

    delimiter: str

    def columns(self, file: ListFile, url_column: str) -> Columns:
        """The header's; a name that stands twice is left out, since nobody can ask for it."""
        _refuse_binary(file)
        header = self.header(file)
        if (times := header.count(url_column)) > 1:
            raise InputError(f"{file.name}: the header has {url_column} {times} times")
        return {name: None for name in header if header.count(name) == 1}

    def header(self, file: ListFile) -> tuple[str, ...]:
        """The first line that is not blank."""
        with readable(file.name), file.open() as stream:
            first = next(self._joined(lines(stream), None), None)
        try:
            fields = self._fields(as_text(first[2])) if first else []
        except csv.Error as error:
            raise InputError(f"{file.name}: the header cannot be read: {error}") from None
        return tuple(name.strip() for name in fields)

    def records(self, found: Iterator[Line], header: Sequence[str], offset: int = 0) -> Iterator[Line]:
        """Without the header, with the lines of a quoted field joined."""
        records = self._joined(found, len(header))
        return islice(records, 0 if offset else 1, None)

    def values(self, text: str, columns: Sequence[str], header: Sequence[str]) -> Mapping[str, Any]:
        """Texts; an empty field is null."""
        fields = self._fields(text)
        if len(fields) != len(header):
            raise ValueError(f"{len(fields)} fields where the header has {len(header)}")
        row = dict(zip(header, fields, strict=True))
        return {name: row[name] or None for name in columns}

    def _joined(self, found: Iterator[Line], width: int | None) -> Iterator[Line]:
        """Lines to records. What does not end up with `width` fields is left as the lines that it was."""
        pending: deque[Line] = deque()

        def following() -> Line | None:
            return pending.popleft() if pending else next(found, None)

        while (line := following()) is not None:
            if _is_blank(line):
                continue
            if b'"' not in line[2] or self._ends(line[2]):
                yield line
                continue
            taken, fields = self._take(line, following)
            if fields and width in (None, fields):
                data = b"".join(part for _, _, part, _ in taken)
                yield line[0], line[1], data, sum(size for _, _, _, size in taken)
            else:
                pending.extendleft(reversed(taken[1:]))
                yield line

    def _ends(self, data: bytes) -> bool:
        """Whether no quote stays open at the end of a line: then the reader does not ask for another."""
        reader = csv.reader((as_text(data), "\n"), delimiter=self.delimiter)
        try:
            next(reader)
        except csv.Error:
            return True
        return reader.line_num == 1

    def _take(self, first: Line, following: Callable[[], Line | None]) -> tuple[list[Line], int]:
        """The lines up to the end of the quoted field that `first` opens, and their fields; 0: no end."""
        taken = [first]

        def feed() -> Iterator[str]:
            yield as_text(first[2])
            while len(taken) < RECORD_LINES and (line := following()) is not None:
                taken.append(line)
                yield as_text(line[2])
            raise csv.Error("the quote is not closed")  # the reader asks for what there is not

        try:
            return taken, len(next(csv.reader(feed(), delimiter=self.delimiter)))
        except csv.Error:
            return taken, 0

    def _fields(self, text: str) -> list[str]:
        return next(csv.reader(io.StringIO(text, newline="\n"), delimiter=self.delimiter), [])


def _is_blank(line: Line) -> bool:
    _, _, data, size = line
    return not data.strip() and size == len(data)


def _refuse_binary(file: ListFile) -> None:
    if b"\0" in file.head(4096):
        raise InputError(f"{file.name}: neither Parquet nor UTF-8 text (.gz and .zst are known by name)")


def _json_object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"a JSON {type(found).__name__}, not an object")
    return found
