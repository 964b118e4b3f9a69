"""What earlier runs already know of persons: verdicts and captions made in the way that is asked for now."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.caption_plan import PlannedCaption
from curation.judge import decide
from pipeline.reasons import Reason
from pipeline.records import PERSON_KEY, PairRow, PersonKey, arrow_schema
from pipeline.storage import read_table
from pipeline.units import PhaseFolder, Unit

ASK_AGAIN = frozenset({Reason.ENDPOINT_UNREACHABLE, Reason.CAPTION_FAILED, Reason.CRASHED})
"""Reasons that say nothing of the caption: the endpoint's, not the model's."""


@dataclass(frozen=True)
class PersonPlan:
    """What is wanted of a person: the id of the verdict ("" for none), and the captions."""

    verdict_id: str
    captions: list[PlannedCaption]
    keep_min: float = 0.0
    """Whom the judge gives less gets no captions."""


@dataclass(frozen=True)
class Known:
    """What of it stands: the verdict, and captions by slot, as rows of `pairs` hold them."""

    verdict: Mapping[str, Any] | None
    captions: Mapping[int, Mapping[str, Any]]

    def missing(self, plan: PersonPlan) -> tuple[int, int]:
        """How many verdicts and captions are still to be asked for; without a verdict, as if it were kept."""
        if self.verdict is not None and decide(self.verdict["scores"], plan.keep_min):
            return 0, 0
        verdicts = int(bool(plan.verdict_id) and self.verdict is None)
        return verdicts, len(plan.captions) - len(self.captions)


@dataclass(frozen=True)
class Earlier:
    """Folders of earlier annotate phases on the same harvest and in the same units; the first wins."""

    folders: tuple[PhaseFolder, ...]

    def rows(self, unit: Unit) -> dict[PersonKey, list[dict[str, Any]]]:
        """Their rows of `pairs` in a unit, by person."""
        found: dict[PersonKey, list[dict[str, Any]]] = {}
        schema = arrow_schema(PairRow)
        for folder in self.folders:
            for part in folder.parts("pairs", unit.index):
                for row in read_table(part).cast(schema).to_pylist():
                    found.setdefault(PersonKey(*(row[name] for name in PERSON_KEY)), []).append(row)
        return found


def known(plan: PersonPlan, rows: Iterable[Mapping[str, Any]]) -> Known:
    """What of a person's plan stands in some rows of `pairs`; of two answers to one question, the first."""
    verdict = None
    captions: dict[int, Mapping[str, Any]] = {}
    wanted = {caption.key.slot: caption.caption_id for caption in plan.captions}
    for row in rows:
        if verdict is None and row["verdict"] and row["verdict"]["verdict_id"] == plan.verdict_id:
            verdict = row["verdict"]
        for caption in row["captions"]:
            stands = (
                caption["caption_id"] == wanted.get(caption["slot"]) and caption["reason"] not in ASK_AGAIN
            )
            if stands and caption["slot"] not in captions:
                captions[caption["slot"]] = caption
    return Known(verdict, captions)


def known_columns(rows: pa.Table, known_of: Iterable[Known]) -> pa.Table:
    """Persons with the columns `verdict` and `captions` of table `pairs`, holding what is known."""
    schema, known_of = arrow_schema(PairRow), list(known_of)
    columns = {
        "verdict": [k.verdict for k in known_of],
        "captions": [[k.captions[slot] for slot in sorted(k.captions)] for k in known_of],
    }
    for name, values in columns.items():
        field = schema.field(name)
        rows = rows.append_column(field, pa.array(values, field.type))
    return rows
