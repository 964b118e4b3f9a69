"""Units: the fixed slices in which a phase works, publishes and resumes."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import pyarrow as pa

from pipeline.records import content_hash
from pipeline.storage import (
    Place,
    folders,
    listing,
    publish_json,
    publish_table,
    read_ahead,
    read_json,
    read_json_or_none,
    read_table,
    remove,
    sizes,
)

PART_BYTES = 64 * 2**20
UNITS_PER_PREFIX = 1000
"""Files of a thousand units share a folder, so that no listing grows without bound."""


@dataclass(frozen=True)
class Unit:
    """A slice of what a phase works on: rows of a list, harvest units (annotate), annotate units (pack)."""

    index: int
    first: int
    count: int
    offset: int = 0
    """Where the slice begins in its file, where a row number alone does not say: bytes."""

    @property
    def name(self) -> str:
        """`unit-000123`, the stem of every file of the unit."""
        return f"unit-{self.index:06d}"

    def file(self, table: str, part: int = 0, ending: str = "") -> str:
        """`table/000/unit-000123-00.parquet`, in the folder of its phase."""
        return f"{table}/{_prefix(self.index)}/{self.name}-{part:02d}{ending}.parquet"


@dataclass(frozen=True)
class UnitRange(Sequence[Unit]):
    """Units of equal size, made as they are asked for: a million cost no memory."""

    total: int
    """Rows."""
    rows: int
    """In a unit; the last may have fewer."""

    def __len__(self) -> int:
        return -(-self.total // self.rows)

    @overload
    def __getitem__(self, place: int) -> Unit: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Unit]: ...
    def __getitem__(self, place: int | slice) -> Unit | Sequence[Unit]:
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(len(self)))]
        index = range(len(self))[place]
        first = index * self.rows
        return Unit(index, first, min(self.rows, self.total - first))


def split_by_bytes(table: pa.Table, cap_bytes: int) -> Iterator[pa.Table]:
    """Cut a table into parts of at most `cap_bytes` where single rows allow it; never fewer than one part."""
    if table.num_rows <= 1 or table.nbytes <= cap_bytes:
        yield table
        return
    half = table.num_rows // 2
    yield from split_by_bytes(table.slice(0, half), cap_bytes)
    yield from split_by_bytes(table.slice(half), cap_bytes)


@dataclass(frozen=True)
class PhaseFolder:
    """The output of one phase under one fingerprint: tables cut into unit files, and done-markers.

    `path/<table>/<prefix>/unit-000123-00.parquet`, `path/done/<prefix>/unit-000123.json`, `path/phase.json`.
    """

    path: Place
    trace: Mapping[str, Any]

    def begin(self) -> None:
        """Write down what this folder was made with; a folder that is gone on with keeps what it says."""
        if read_json_or_none(self.path / "phase.json") is None:
            publish_json(self.path / "phase.json", self.trace)

    def beside(self, *names: str) -> list["PhaseFolder"]:
        """Other folders of this phase in the same place, made with what this one says of these names."""
        phase, found = self.path.name.partition("-")[0], []
        for path in folders(self.path.parent):
            if path.name.startswith(f"{phase}-") and path != self.path:
                trace = read_json_or_none(path / "phase.json") or {}
                if all(trace.get(name) == self.trace[name] for name in names):
                    found.append(PhaseFolder(path, trace))
        return found

    def parts(self, table: str, unit_index: int) -> list[Place]:
        """The files of one table and one unit, in order; none before the unit is done.

        The marker names them: a killed attempt may have left parts that the one which ended did not have.
        """
        marker = self._read_marker(unit_index)
        names = [name for name in (marker["files"] if marker else ()) if name.startswith(f"{table}/")]
        return [self.path / name for name in sorted(names, key=lambda name: (len(name), name))]

    def tables(
        self, table: str, units: Iterable[int], columns: Sequence[str] | None = None, filters: Any = None
    ) -> Iterator[pa.Table]:
        """One table of some units, part by part; columns and filters: as `read_table` takes them."""
        for unit in units:
            for part in self.parts(table, unit):
                yield read_table(part, columns, filters)

    def publish_unit(
        self,
        unit: Unit,
        tables: Mapping[str, pa.Table],
        counts: Mapping[str, Any],
        part_bytes: int = PART_BYTES,
    ) -> None:
        """Publish a unit's tables, then its done-marker: the last file holds counts and content hashes.

        A table above `part_bytes` is cut into numbered parts. A unit that is done and whole stays as it is: a
        worker may die between its marker and its answer, and another one do the work again.
        """
        marker = self._marker(unit.index)
        if marker.is_file():
            if self._whole([unit.index]):
                return
            remove(marker)  # it speaks of other files than those that are written now
        files = self._publish_tables(unit, tables, part_bytes)
        content = {name: content_hash(table) for name, table in tables.items()}
        self.mark_done(unit, counts, content, files)

    def replace_unit(
        self,
        unit: Unit,
        tables: Mapping[str, pa.Table],
        counts: Mapping[str, Any],
        number: int,
        part_bytes: int = PART_BYTES,
    ) -> None:
        """Publish other tables of a unit that is done, as round `number`; readers see old or new ones.

        A unit that this round has replaced already stays as it is.
        """
        before = self._read_marker(unit.index) or {"files": {}}
        if before.get("round", 0) >= number and self._whole([unit.index]):
            return
        files = self._publish_tables(unit, tables, part_bytes, f"-round-{number}")
        content = {name: content_hash(table) for name, table in tables.items()}
        self.mark_done(unit, counts, content, files, number)
        for name in before["files"].keys() - files.keys():
            remove(self.path / name)

    def adopt_unit(self, unit: Unit, other: "PhaseFolder", copy: Callable[[Place, Place], None]) -> None:
        """Publish a unit that another folder holds, by copies of its files."""
        marker, files = read_json(other._marker(unit.index)), {}
        for name, size in marker["files"].items():
            own = re.sub(r"-round-\d+", "", name)  # this folder's rounds count from their own beginning
            copy(other.path / name, self.path / own)
            files[own] = size
        self.mark_done(unit, marker["counts"], marker["content"], files)

    def mark_done(
        self,
        unit: Unit,
        counts: Mapping[str, Any],
        content: Mapping[str, str],
        files: Mapping[str, int],
        number: int = 0,
    ) -> None:
        """Publish the done-marker of a unit whose files all stand.

        content: the hash of each table; files: the bytes of each file, by its name in this folder. number:
        the round that they were made in.
        """
        marker = {"unit": unit.index, "counts": counts, "content": content, "files": files}
        publish_json(self._marker(unit.index), {**marker, **({"round": number} if number else {})})

    def finished(self) -> list[int]:
        """Indices of the units that are done and whole: every file that the marker names has its size.

        One pass over listings, a thousand units at a time; markers are read, tables are not opened.
        """
        done: list[int] = []
        for folder in folders(self.path / "done"):
            stems = (m.name.removeprefix("unit-").removesuffix(".json") for m in listing(folder, ".json"))
            done += self._whole([int(stem) for stem in stems if stem.isdigit()])
        return sorted(done)

    def markers(self, units: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The done-markers of some units, in their order. Raises StorageError if one cannot be read."""
        return read_ahead(self.path, lambda index: read_json(self._marker(index)), units)

    def totals(self, units: Iterable[int]) -> dict[str, Any]:
        """The counts of some units' markers, added up field by field; they are never all held."""
        return self.summary(units)[0]

    def summary(self, units: Iterable[int]) -> tuple[dict[str, Any], str]:
        """Totals, and the hash of what the units' tables hold without what equal runs may differ in."""
        totals: dict[str, Any] = {}
        digest = hashlib.sha256()
        for marker in self.markers(units):
            _add(totals, marker["counts"])
            digest.update(json.dumps(marker["content"], sort_keys=True).encode())
        return totals, digest.hexdigest()

    def _publish_tables(
        self, unit: Unit, tables: Mapping[str, pa.Table], part_bytes: int, ending: str = ""
    ) -> dict[str, int]:
        """Publish a unit's tables in parts; the bytes of each file, by its name. ending: of their names."""
        metadata, files = {"recipe_hash": str(self.trace["recipe_hash"])}, {}
        for table, rows in tables.items():
            for number, part in enumerate(split_by_bytes(rows, part_bytes)):
                name = unit.file(table, number, ending)
                files[name] = publish_table(self.path / name, part, metadata)
        return files

    def _whole(self, units: Sequence[int]) -> list[int]:
        """Those of some units whose marker can be read and whose files have the sizes that it says."""
        markers = dict(zip(units, read_ahead(self.path, self._read_marker, units), strict=True))
        wanted = {index: marker["files"] for index, marker in markers.items() if marker}
        there: dict[str, int] = {}
        for folder in {name.rpartition("/")[0] for files in wanted.values() for name in files}:
            for name, size in sizes(self.path / folder).items():
                there[f"{folder}/{name}" if folder else name] = size
        return [index for index, files in wanted.items() if files.items() <= there.items()]

    def _read_marker(self, index: int) -> dict[str, Any] | None:
        """A unit's done-marker; None if there is none, or none that can be read: the unit is not done."""
        marker = read_json_or_none(self._marker(index)) or {}
        return marker if isinstance(marker.get("files"), dict) else None

    def _marker(self, index: int) -> Place:
        return self.path / "done" / _prefix(index) / f"unit-{index:06d}.json"


def _add(totals: dict[str, Any], counts: Mapping[str, Any]) -> None:
    for name, count in counts.items():
        if isinstance(count, Mapping):
            _add(totals.setdefault(name, {}), count)
        else:
            totals[name] = totals.get(name, 0) + count


def _prefix(index: int) -> str:
    return f"{index // UNITS_PER_PREFIX:03d}"
