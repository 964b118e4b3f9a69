"""What the phases read and publish: the sources and sinks of harvest and annotate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.funnel import Counts
from pipeline.reasons import Status
from pipeline.records import PERSON_KEY, PERSON_ORDER, PairRow, PersonRow, UrlRow, arrow_schema
from pipeline.storage import Place, read_ahead, read_table
from pipeline.units import PhaseFolder, Unit


@dataclass(frozen=True)
class HarvestSink:
    """Publishes a harvest unit: `urls` and `persons`, in parts below a byte cap."""

    folder: PhaseFolder
    part_bytes: int

    def publish(self, unit: Unit, rows: pa.Table) -> Mapping[str, Any]:
        """rows: `urls` with their `persons` inside (column `measured`)."""
        urls = rows.select(arrow_schema(UrlRow).names).cast(arrow_schema(UrlRow))
        schema = arrow_schema(PersonRow)
        measured = [pa.Table.from_struct_array(chunk.flatten()) for chunk in rows["measured"].chunks]
        persons = pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table in measured)])
        counts = {
            "urls": Counts.of(unit.count, urls["reason"].to_pylist()).to_json(),
            "persons": persons.num_rows,
            "bytes": pc.sum(urls["image_bytes"]).as_py() or 0,
        }
        self.folder.publish_unit(unit, {"urls": urls, "persons": persons}, counts, self.part_bytes)
        return counts


@dataclass(frozen=True)
class KeptPersons:
    """The persons of a range of harvest units whom the decisions keep."""

    harvest: PhaseFolder
    decisions: Place
    """The file of decisions."""

    def read(self, unit: Unit) -> pa.Table:
        """Rows of `persons`, pixels included, in the order of their keys."""
        kept, schema = self.keys(unit), arrow_schema(PersonRow)
        tables = [schema.empty_table()]
        for index in pc.unique(kept["unit"]).to_pylist():
            for part in self.harvest.parts("persons", index):
                tables.append(_select(read_table(part).cast(schema), kept, "left semi"))
        return pa.concat_tables(tables)

    def keys(self, unit: Unit) -> pa.Table:
        """The keys of those persons: unit, row, person."""
        in_range = (pc.field("unit") >= unit.first) & (pc.field("unit") < unit.first + unit.count)
        kept = pc.field("status") == Status.KEPT.value
        return read_table(self.decisions, columns=PERSON_KEY, filters=in_range & kept)


@dataclass(frozen=True)
class UncaptionedPersons:
    """Kept persons without the captions that an earlier run with the same caption settings has made."""

    kept: KeptPersons
    earlier: tuple[PhaseFolder, ...]

    def read(self, unit: Unit) -> pa.Table:
        """Rows of `persons` that still need captions."""
        return _select(self.kept.read(unit), self.reused(unit).select(PERSON_KEY), "left anti")

    def reused(self, unit: Unit) -> pa.Table:
        """Rows of `pairs` that are taken over."""
        schema, wanted = arrow_schema(PairRow), self.kept.keys(unit)
        found = schema.empty_table()
        for folder in self.earlier:
            for part in folder.parts("pairs", unit.index):
                pairs = read_table(part, filters=pc.field("status") == Status.KEPT.value).cast(schema)
                new = _select(_select(pairs, wanted, "left semi"), found.select(PERSON_KEY), "left anti")
                found = pa.concat_tables([found, new])
        return found


@dataclass(frozen=True)
class PairSink:
    """Publishes an annotate unit: `pairs`, one row for every kept person, made now or taken over."""

    folder: PhaseFolder
    source: UncaptionedPersons

    def publish(self, unit: Unit, rows: pa.Table) -> Mapping[str, Any]:
        """rows: `pairs` of the persons that the source gave out."""
        reused = self.source.reused(unit)
        pairs = _sorted(pa.concat_tables([rows.cast(arrow_schema(PairRow)), reused]))
        expected = self.source.kept.keys(unit).num_rows
        counts = {
            "pairs": Counts.of(expected, pairs["reason"].to_pylist()).to_json(),
            "captioned": rows.num_rows,
            "reused": reused.num_rows,
        }
        self.folder.publish_unit(unit, {"pairs": pairs}, counts)
        return counts


def measurements(harvest: PhaseFolder, units: Sequence[int], pictures: bool = False) -> Iterator[pa.Table]:
    """The persons of each harvest unit without their pixels, in the order of the units.

    pictures: with the `image_phash` of the picture that each was found in.
    """
    names = [name for name in arrow_schema(PersonRow).names if name != "crop"]

    def read(index: int) -> list[pa.Table]:
        persons = [read_table(part, columns=names) for part in harvest.parts("persons", index)]
        return [_with_pictures(table, harvest, index) for table in persons] if pictures else persons

    for tables in read_ahead(harvest.path, read, units):
        yield from tables


def _with_pictures(persons: pa.Table, harvest: PhaseFolder, index: int) -> pa.Table:
    columns = ["row", "image_phash"]
    urls = pa.concat_tables(read_table(part, columns=columns) for part in harvest.parts("urls", index))
    places = pc.index_in(persons["row"], value_set=urls["row"].combine_chunks())
    return persons.append_column("image_phash", urls["image_phash"].combine_chunks().take(places))


def _select(rows: pa.Table, keys: pa.Table, join: str) -> pa.Table:
    # Arrow joins carry no nested columns: the join picks row numbers, the rows are then taken.
    numbered = rows.select(PERSON_KEY).append_column("position", pa.array(range(rows.num_rows), pa.int64()))
    chosen = numbered.join(keys, PERSON_KEY, join_type=join, use_threads=False)["position"].to_pylist()
    return rows.take(pa.array(sorted(chosen), pa.int64()))


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.take(pc.sort_indices(rows.select(PERSON_KEY), sort_keys=PERSON_ORDER))
