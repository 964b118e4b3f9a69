"""Units: the fixed slices in which a phase works, publishes and resumes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.records import content_hash
from pipeline.storage import publish_json, publish_table, read_json

PART_BYTES = 64 * 2**20
UNITS_PER_PREFIX = 1000
"""Files of a thousand units share a folder, so that no listing grows without bound."""


@dataclass(frozen=True)
class Unit:
    """A slice of a phase's input: rows of a list (harvest), harvest units (annotate), a shard (pack)."""

    index: int
    first: int
    count: int
    offset: int = 0
    """Where the slice begins in its file, where a row number alone does not say: bytes."""

    @property
    def name(self) -> str:
        """`unit-000123`, the stem of every file of the unit."""
        return f"unit-{self.index:06d}"


def slice_units(total: int, per_unit: int) -> list[Unit]:
    """Cut 0…total into units of `per_unit`, the last possibly shorter."""
    starts = range(0, total, per_unit)
    return [Unit(index, first, min(per_unit, total - first)) for index, first in enumerate(starts)]


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

    path: Path
    trace: Mapping[str, Any]

    def begin(self) -> None:
        """Write down what this folder was made with; a folder that is gone on with keeps what it says."""
        if not (self.path / "phase.json").is_file():
            publish_json(self.path / "phase.json", self.trace)

    def parts(self, table: str, unit_index: int) -> list[Path]:
        """The files of one table and one unit, in order; none before the unit is done.

        The marker says how many: a killed attempt may have left parts that the one which ended did not have.
        """
        marker = self._marker(unit_index)
        count = read_json(marker)["parts"].get(table, 0) if marker.is_file() else 0
        return [self._part(table, unit_index, number) for number in range(count)]

    def publish_unit(
        self,
        unit: Unit,
        tables: Mapping[str, pa.Table],
        counts: Mapping[str, Any],
        part_bytes: int = PART_BYTES,
    ) -> None:
        """Publish a unit's tables, then its done-marker: the last file holds counts and content hashes.

        A table above `part_bytes` is cut into numbered parts. A unit that is done stays as it is: a worker
        may die between its marker and its answer, and another one do the work again.
        """
        if self._marker(unit.index).is_file():
            return
        metadata = {"recipe_hash": str(self.trace["recipe_hash"])}
        parts = {name: list(split_by_bytes(table, part_bytes)) for name, table in tables.items()}
        for name, cut in parts.items():
            for number, part in enumerate(cut):
                publish_table(self._part(name, unit.index, number), part, metadata)
        content = {name: content_hash(table) for name, table in tables.items()}
        self.mark_done(unit, counts, content, {name: len(cut) for name, cut in parts.items()})

    def mark_done(
        self, unit: Unit, counts: Mapping[str, Any], content: Mapping[str, str], parts: Mapping[str, int]
    ) -> None:
        """Publish the done-marker of a unit whose files all stand: content hash and parts of each table."""
        publish_json(
            self._marker(unit.index),
            {"unit": unit.index, "counts": counts, "content": content, "parts": parts},
        )

    def finished(self) -> list[int]:
        """Indices of the units that are done, from one listing."""
        stems = (marker.stem.removeprefix("unit-") for marker in (self.path / "done").glob("*/unit-*.json"))
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def markers(self, units: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The done-markers of some units."""
        return (read_json(self._marker(index)) for index in units)

    def _part(self, table: str, index: int, number: int) -> Path:
        return self.path / table / _prefix(index) / f"unit-{index:06d}-{number:02d}.parquet"

    def _marker(self, index: int) -> Path:
        return self.path / "done" / _prefix(index) / f"unit-{index:06d}.json"


def _prefix(index: int) -> str:
    return f"{index // UNITS_PER_PREFIX:03d}"
