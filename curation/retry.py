"""Rounds of retrying: the failed rows of a harvest that is done are taken up once more.

A unit's tables are written under names of their own, then its marker is replaced by one publish: a kill
leaves the unit as it was or as it is to be. The number of the round stands in the fingerprint of the
decisions, so that all that follows is made from the new rows, and takes over what it can.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc

from curation.tables import harvest_counts, harvest_tables
from pipeline.funnel import Counts
from pipeline.reasons import Status
from pipeline.records import PERSON_ORDER
from pipeline.stage import Source
from pipeline.storage import publish_json, read_json
from pipeline.units import PhaseFolder, Unit

FILE = "retry.json"


@dataclass(frozen=True)
class RetryRound:
    """The last round of a harvest: none yet, under way, harvested, or ended with all that follows."""

    number: int = 0
    state: Literal["open", "harvested", "ended"] = "ended"
    captions: int = 0
    """How many rounds had captions to retry: annotate has a folder for each."""

    @classmethod
    def of(cls, harvest: PhaseFolder) -> Self:
        """As the harvest's folder tells. Raises StorageError if it tells of a round that cannot be read."""
        path = harvest.path / FILE
        if not path.is_file():
            return cls()
        noted = read_json(path)
        return cls(noted["number"], noted["state"], noted.get("captions", noted["number"]))

    def note(self, harvest: PhaseFolder) -> Self:
        """Write it down."""
        noted = {"number": self.number, "state": self.state, "captions": self.captions}
        publish_json(harvest.path / FILE, noted)
        return self

    def left(self, harvest: PhaseFolder, units: int) -> list[int]:
        """The units that have failed rows and were not taken up in this round."""
        return [
            marker["unit"]
            for marker in harvest.markers(range(units))
            if Counts.from_json(marker["counts"]["urls"]).failed and marker.get("round", 0) < self.number
        ]


@dataclass(frozen=True)
class FailedRows:
    """The rows of a list that a harvest could not look at."""

    urls: Source
    harvest: PhaseFolder

    def read(self, unit: Unit) -> pa.Table:
        """Rows of the list, those that failed alone."""
        table = pa.concat_tables(self.harvest.tables("urls", [unit.index], ["row", "status"]))
        failed = table.filter(pc.equal(table["status"], Status.FAILED.value))["row"]
        rows = self.urls.read(unit)
        return rows.filter(pc.is_in(rows["row"], value_set=failed.combine_chunks()))


@dataclass(frozen=True)
class RetrySink:
    """Puts retried rows in the place of those that failed."""

    harvest: PhaseFolder
    part_bytes: int
    number: int
    """Of the round."""

    def publish(self, unit: Unit, rows: pa.Table) -> Mapping[str, Any]:
        """rows: as HarvestSink takes them, of the retried rows alone."""
        fresh = harvest_tables(rows)
        orders = {"urls": [("row", "ascending")], "persons": PERSON_ORDER}
        tables = {}
        for name, order in orders.items():
            old = pa.concat_tables(self.harvest.tables(name, [unit.index]))
            retried = pc.is_in(old["row"], value_set=fresh["urls"]["row"].combine_chunks())
            merged = pa.concat_tables([old.cast(fresh[name].schema).filter(pc.invert(retried)), fresh[name]])
            tables[name] = merged.take(pc.sort_indices(merged.select([c for c, _ in order]), sort_keys=order))
        counts = harvest_counts(unit, tables["urls"], tables["persons"])
        self.harvest.replace_unit(unit, tables, counts, self.number, self.part_bytes)
        return counts
