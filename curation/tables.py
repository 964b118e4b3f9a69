"""What the phases read and publish: the sources and sinks of harvest and annotate."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from curation.known import ASK_AGAIN, Earlier, Known, Need, PersonPlan, known, known_columns
from curation.recaption import Rounds
from pipeline.funnel import Counts
from pipeline.reasons import Status
from pipeline.records import (
    PERSON_KEY,
    PERSON_ORDER,
    PairRow,
    PersonKey,
    PersonRow,
    UrlRow,
    arrow_schema,
    of_persons,
    person_keys,
)
from pipeline.storage import Place, read_ahead, read_table
from pipeline.units import PhaseFolder, Unit


@dataclass(frozen=True)
class HarvestSink:
    """Publishes a harvest unit: `urls` and `persons`, in parts below a byte cap."""

    folder: PhaseFolder
    part_bytes: int

    def publish(self, unit: Unit, rows: pa.Table) -> Mapping[str, Any]:
        """rows: `urls` with their `persons` inside (column `measured`)."""
        tables = harvest_tables(rows)
        counts = harvest_counts(unit, tables["urls"], tables["persons"])
        self.folder.publish_unit(unit, tables, counts, self.part_bytes)
        return counts


def harvest_tables(rows: pa.Table) -> dict[str, pa.Table]:
    """`urls` and `persons` of rows as the last stage of harvest hands them on."""
    urls = rows.select(arrow_schema(UrlRow).names).cast(arrow_schema(UrlRow))
    schema = arrow_schema(PersonRow)
    measured = [pa.Table.from_struct_array(chunk.flatten()) for chunk in rows["measured"].chunks]
    persons = pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table in measured)])
    return {"urls": urls, "persons": persons}


def harvest_counts(unit: Unit, urls: pa.Table, persons: pa.Table) -> dict[str, Any]:
    """What a unit's done-marker says of it."""
    return {
        "urls": Counts.of(unit.count, urls["reason"].to_pylist()).to_json(),
        "persons": persons.num_rows,
        "bytes": pc.sum(urls["image_bytes"]).as_py() or 0,
    }


@dataclass(frozen=True)
class KeptPersons:
    """The persons of a range of harvest units whom the decisions keep."""

    harvest: PhaseFolder
    decisions: Place
    """The file of decisions."""

    def read(self, unit: Unit, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of `persons` in the order of their keys: all columns, pixels too, or some of them."""
        schema = arrow_schema(PersonRow)
        if columns:
            schema = pa.schema([schema.field(name) for name in columns])
        kept, tables = self.keys(unit), [schema.empty_table()]
        for persons in self.harvest.tables("persons", pc.unique(kept["unit"]).to_pylist(), columns):
            tables.append(of_persons(persons.cast(schema), kept))
        return pa.concat_tables(tables)

    def keys(self, unit: Unit | None = None) -> pa.Table:
        """The keys of those persons: unit, row, person; without a range, of all."""
        kept = pc.field("status") == Status.KEPT.value
        if unit:
            kept &= (pc.field("unit") >= unit.first) & (pc.field("unit") < unit.first + unit.count)
        return read_table(self.decisions, columns=PERSON_KEY, filters=kept)


Plan = Callable[[PersonKey, str], PersonPlan]
"""From a person's key and crop_sha256 to what is wanted."""


class Planner(Protocol):
    """Settings that know how persons are annotated."""

    def plan(self, rounds: Rounds | None = None) -> Plan:
        """Files are read once, here; rounds of writing anew too, if they are not given."""
        ...


@dataclass(frozen=True)
class PersonsToAnnotate:
    """Kept persons, each with what earlier runs know of them that is still wanted."""

    kept: KeptPersons
    earlier: Earlier
    planner: Planner
    rounds: Rounds | None = None
    """Read once, for every worker."""

    def read(self, unit: Unit) -> pa.Table:
        """Rows of `persons` with the columns of `known_columns`.

        Pixels are read where one of them is still to be looked at.
        """
        light = self.kept.read(unit, columns=[n for n in arrow_schema(PersonRow).names if n != "crop"])
        known_of = self._known(unit, light, self.planner.plan(self.rounds))
        if any(known.needs_pixels for known in known_of):
            return known_columns(self.kept.read(unit), known_of)
        schema = arrow_schema(PersonRow)
        crops = pa.nulls(light.num_rows, schema.field("crop").type)
        return known_columns(light.append_column("crop", crops).select(schema.names).cast(schema), known_of)

    def needs(self, units: Sequence[Unit]) -> list[Need]:
        """What is missing in each of some units; no pixels are read."""
        plan = self.planner.plan(self.rounds)
        light = (self.kept.read(unit, columns=[*PERSON_KEY, "crop_sha256"]) for unit in units)
        return [
            sum((known.need for known in self._known(unit, persons, plan)), Need())
            for unit, persons in zip(units, light, strict=True)
        ]

    def _known(self, unit: Unit, persons: pa.Table, plan: Plan) -> list[Known]:
        earlier = self.earlier.rows(unit)
        return [
            known(plan(key, crop_sha256), earlier.get(key, ()))
            for key, crop_sha256 in zip(person_keys(persons), persons["crop_sha256"].to_pylist(), strict=True)
        ]


@dataclass(frozen=True)
class PairSink:
    """Publishes an annotate unit: `pairs`, one row for every kept person."""

    folder: PhaseFolder
    kept: KeptPersons

    def publish(self, unit: Unit, rows: pa.Table) -> Mapping[str, Any]:
        """rows: `pairs` of the unit's persons."""
        pairs = _sorted(rows.cast(arrow_schema(PairRow)))
        captions = [caption for row in pairs["captions"].to_pylist() for caption in row]
        reasons = pairs["reason"].to_pylist()
        written = pc.sum(pairs["written"]).as_py() or 0
        counts = {
            "pairs": Counts.of(self.kept.keys(unit).num_rows, reasons).to_json(),
            "written": written,
            "taken_over": len(captions) - written,
            "unusable": sum(caption["reason"] is not None for caption in captions),
            "lost": sum(reason in ASK_AGAIN for reason in reasons)
            + sum(caption["reason"] in ASK_AGAIN for caption in captions),
            "requests": pc.sum(pairs["requests"]).as_py() or 0,
            "tokens": pc.sum(pairs["tokens"]).as_py() or 0,
        }
        self.folder.publish_unit(unit, {"pairs": pairs}, counts)
        return counts


def measurements(harvest: PhaseFolder, units: Sequence[int], pictures: bool = False) -> Iterator[pa.Table]:
    """The persons of each harvest unit without their pixels, in the order of the units.

    pictures: with the `image_phash` of the picture that each was found in.
    """
    names = [name for name in arrow_schema(PersonRow).names if name != "crop"]

    def read(index: int) -> list[pa.Table]:
        persons = list(harvest.tables("persons", [index], names))
        return [_with_pictures(table, harvest, index) for table in persons] if pictures else persons

    for tables in read_ahead(harvest.path, read, units):
        yield from tables


def _with_pictures(persons: pa.Table, harvest: PhaseFolder, index: int) -> pa.Table:
    urls = pa.concat_tables(harvest.tables("urls", [index], ["row", "image_phash"]))
    places = pc.index_in(persons["row"], value_set=urls["row"].combine_chunks())
    return persons.append_column("image_phash", urls["image_phash"].combine_chunks().take(places))


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.take(pc.sort_indices(rows.select(PERSON_KEY), sort_keys=PERSON_ORDER))
