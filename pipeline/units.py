"""Units: the fixed slices in which a phase works, publishes and resumes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.storage import publish_json, publish_table, read_json

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
    per_row = table.nbytes / max(1, table.num_rows)
    rows = max(1, int(cap_bytes / per_row)) if per_row else max(1, table.num_rows)
    yield table.slice(0, rows)
    for start in range(rows, table.num_rows, rows):
        yield table.slice(start, rows)


@dataclass(frozen=True)
class PhaseFolder:
    """The output of one phase under one fingerprint: tables cut into unit files, and done-markers.

    `path/<table>/<prefix>/unit-000123-00.parquet`, `path/done/<prefix>/unit-000123.json`, `path/phase.json`.
    """

    path: Path
    trace: Mapping[str, Any]

    def begin(self) -> None:
        """Write down what this folder was made with."""
        publish_json(self.path / "phase.json", self.trace)

    def parts(self, table: str, unit_index: int) -> list[Path]:
        """The files of one table and one unit, in order."""
        folder = self.path / table / _prefix(unit_index)
        return sorted(folder.glob(f"unit-{unit_index:06d}-*.parquet"))

    def publish_unit(
        self, unit: Unit, tables: Mapping[str, Iterable[pa.Table]], counts: Mapping[str, Any]
    ) -> None:
        """Publish a unit's tables in numbered parts, then its done-marker: the last file holds the counts."""
        metadata = {"recipe_hash": str(self.trace["recipe_hash"])}
        files = []
        for table, parts in tables.items():
            for number, part in enumerate(parts):
                path = self.path / table / _prefix(unit.index) / f"{unit.name}-{number:02d}.parquet"
                publish_table(path, part, metadata)
                files.append(str(path.relative_to(self.path)))
        publish_json(self._marker(unit.index), {"unit": unit.index, "counts": counts, "files": files})

    def finished(self) -> list[int]:
        """Indices of the units that are done, from one listing."""
        return sorted(
            int(marker.stem.removeprefix("unit-")) for marker in (self.path / "done").glob("*/unit-*.json")
        )

    def markers(self, units: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The done-markers of some units."""
        return (read_json(self._marker(index)) for index in units)

    def _marker(self, index: int) -> Path:
        return self.path / "done" / _prefix(index) / f"unit-{index:06d}.json"


def _prefix(index: int) -> str:
    return f"{index // UNITS_PER_PREFIX:03d}"
