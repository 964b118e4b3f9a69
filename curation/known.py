"""What earlier runs know of persons: what was made in the way that is asked for now, and still counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curation.audit import stored_colours
from curation.caption_check import CaptionCheck
from curation.caption_plan import PlannedCaption
from curation.judge import decide
from pipeline.reasons import Reason
from pipeline.recipe import fingerprint
from pipeline.records import GarmentColours, PairRow, PersonKey, arrow_schema
from pipeline.storage import DamagedError, Place, read_table
from pipeline.units import PhaseFolder, Unit

Row = Mapping[str, Any]
ASK_AGAIN = frozenset({Reason.CAPTION_FAILED, Reason.VERDICT_FAILED, Reason.CRASHED})
"""Reasons that say nothing of person or caption: the endpoint's fault, or ours."""


@dataclass(frozen=True)
class PersonPlan:
    """What is wanted of a person: the id of the verdict ("" for none), and the captions."""

    verdict_id: str
    captions: list[PlannedCaption]
    check: CaptionCheck
    """What counts as a caption."""
    keep_min: float = 0.0
    """Whom the judge gives less gets no captions."""
    attempts: int = 1
    """How often a caption may be asked for until it counts; 0 where asking again gives the same."""
    crop_sha256: str = ""
    templates: frozenset[str] = frozenset()
    """Ids of the library's, of which any attempt may take one; empty where none is drawn."""

    @property
    def colours_id(self) -> str:
        """Hash of all that shapes the measured colours, the crop included."""
        return fingerprint(self.check.auditor.measured_id, self.crop_sha256)


@dataclass(frozen=True)
class Need:
    """What models have to be asked for: verdicts, and captions if the judge keeps everybody."""

    verdicts: int = 0
    captions: int = 0
    audits: int = 0
    """Captions that stand, but will be written anew if pixels, not measured yet, contradict them."""

    def __add__(self, other: "Need") -> "Need":
        return Need(
            self.verdicts + other.verdicts, self.captions + other.captions, self.audits + other.audits
        )

    def __bool__(self) -> bool:
        return bool(self.verdicts or self.captions or self.audits)

    def __str__(self) -> str:
        audits = f", {self.audits} to audit that may be written anew" if self.audits else ""
        return f"{self.verdicts} verdicts and {self.captions} captions{audits}"


@dataclass(frozen=True)
class Known:
    """What of a plan stands: the verdict, captions by slot as they count today, and measured colours."""

    plan: PersonPlan
    verdict: Row | None
    captions: Mapping[int, Row]
    colours: Row | None
    refused: Mapping[int, Row] = field(default_factory=dict)
    """By slot, what does not count and is asked for once more, as it was: another question than that."""

    @property
    def rejected(self) -> bool:
        """Whether the verdict says that nothing more is wanted."""
        return self.verdict is not None and decide(self.verdict["scores"], self.plan.keep_min) is not None

    @property
    def need(self) -> Need:
        """What is still to be asked for; without a verdict, as if it were kept."""
        if self.rejected:
            return Need()
        verdicts = int(bool(self.plan.verdict_id) and self.verdict is None)
        counting = sum(caption["reason"] is None for caption in self.captions.values())
        audits = counting if self.plan.check.rewrites and self.plan.attempts and self.colours is None else 0
        return Need(verdicts, len(self.plan.captions) - len(self.captions), audits)

    @property
    def needs_pixels(self) -> bool:
        """Whether the person is still to be looked at."""
        return bool(self.need) or (self.colours is None and not self.rejected)


@dataclass(frozen=True)
class Earlier:
    """Folders of earlier annotate phases on harvests with the same units; the first wins."""

    folders: tuple[PhaseFolder, ...]

    def rows(self, unit: Unit) -> dict[PersonKey, list[dict[str, Any]]]:
        """Their rows of `pairs` of a unit's persons, by person; a unit is a range of harvest units."""
        found: dict[PersonKey, list[dict[str, Any]]] = {}
        harvested = range(unit.first, unit.first + unit.count)
        for folder in self.folders:
            for index in sorted({number // folder.trace["units_per_unit"] for number in harvested}):
                for row in (row for part in folder.parts("pairs", index) for row in _read(part)):
                    if row["unit"] in harvested:
                        found.setdefault(PersonKey.of(row), []).append(row)
        return found


def _read(part: Place) -> list[dict[str, Any]]:
    """None of a file that is damaged: nobody needs it but for what it spares, which is asked for again."""
    try:
        rows: list[dict[str, Any]] = read_table(part).cast(arrow_schema(PairRow)).to_pylist()
    except DamagedError:
        return []
    return rows


def known(plan: PersonPlan, rows: Iterable[Row]) -> Known:
    """What of a person's plan stands in some rows of `pairs`; of two answers to one question, the first."""
    verdict = colours = None
    found: dict[int, list[Row]] = {}
    wanted = {caption.key.slot: caption.caption_id for caption in plan.captions}
    for row in rows:
        if verdict is None and row["verdict"] and row["verdict"]["verdict_id"] == plan.verdict_id:
            verdict = row["verdict"]
        if colours is None and row["colours"] and row["colours"]["measured_id"] == plan.colours_id:
            colours = row["colours"]
        for caption in row["captions"]:
            lost = caption["text"] is None and caption["reason"] in ASK_AGAIN
            gone = plan.templates and caption["template_id"] not in plan.templates
            if caption["caption_id"] == wanted.get(caption["slot"]) and not lost and not gone:
                found.setdefault(caption["slot"], []).append(caption)
    standing, refused = _sorted_out(plan, found, stored_colours(colours) if colours else None)
    return Known(plan, verdict, standing, colours, refused)


def _sorted_out(
    plan: PersonPlan, found: Mapping[int, Sequence[Row]], colours: GarmentColours | None
) -> tuple[dict[int, Row], dict[int, Row]]:
    """By slot: the first that counts today, else the first that fails and is not asked for again; where
    there is none, the one that was asked for most often, as it was.
    """
    standing: dict[int, Row] = {}
    refused: dict[int, Row] = {}
    texts: list[str] = []
    for slot, captions in sorted(found.items()):
        today = [_today(plan, caption, texts, colours) for caption in captions]
        stands = [each for each in today if each]
        if stands:
            standing[slot] = next((each for each in stands if each["reason"] is None), stands[0])
            if standing[slot]["reason"] is None:
                texts.append(standing[slot]["text"])
        else:
            refused[slot] = max(captions, key=lambda each: int(each["attempts"]))
    return standing, refused


def _today(
    plan: PersonPlan, caption: Row, siblings: Sequence[str], colours: GarmentColours | None
) -> Row | None:
    """A caption with today's reason; None if it is to be written anew."""
    # A text whose further attempts were lost may have counted before, at its last attempt.
    failed = caption["reason"] is not None and caption["reason"] not in ASK_AGAIN
    given_up = not plan.attempts or (failed and caption["attempts"] >= plan.attempts)
    if caption["text"] is None:
        return caption if given_up else None
    problem = plan.check.problem(caption["text"], siblings, colours)
    if problem and plan.check.asks_again(problem) and not given_up:
        return None
    reason, detail = (problem.reason, problem.detail) if problem else (None, None)
    return {**caption, "reason": reason, "error": detail}


def known_columns(rows: pa.Table, known_of: Sequence[Known]) -> pa.Table:
    """Persons with the columns `verdict`, `captions` and `colours` of `pairs`, holding what is known, and
    `refused`: captions that are asked for once more.
    """
    schema = arrow_schema(PairRow)
    columns = {
        "verdict": [k.verdict for k in known_of],
        "captions": [[k.captions[slot] for slot in sorted(k.captions)] for k in known_of],
        "colours": [k.colours for k in known_of],
        "refused": [[k.refused[slot] for slot in sorted(k.refused)] for k in known_of],
    }
    for name, values in columns.items():
        kind = schema.field("captions" if name == "refused" else name).type
        rows = rows.append_column(name, pa.array(values, kind))
    return rows
