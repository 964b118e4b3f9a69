"""What the report says of an annotate phase: verdicts, rates of captioners, disagreements, statistics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.audit_table import AuditTable, attribute_rows, audit_table, rates_rows
from curation.caption_statistics import (
    ALL,
    CaptionStatistics,
    caption_rows,
    caption_statistics,
    drawn,
    statistics_json,
    statistics_rows,
)
from curation.captioners import STAND_IN_MODEL_ID
from curation.claim_words import load_claim_words
from curation.verdict_table import verdict_table
from pipeline.report import Section
from pipeline.units import PhaseFolder

CAPTIONER = "captioner"
CHECKED_TEXT = "colours that a caption claims against those measured in the picture; intervals of 95 %"


@dataclass(frozen=True)
class Reported:
    """Sections of the report, and the same numbers as a JSON object."""

    sections: Sequence[Section]
    numbers: Mapping[str, Any]


def report_captions(annotate: PhaseFolder, captions: int) -> Reported:
    """Of the units that are done.

    captions: statistics look at about so many, drawn by person; 0: at all. Rates are of all in any case.
    """
    units = annotate.finished()
    table = audit_table(annotate.tables("pairs", units))
    verdicts = verdict_table(annotate.tables("pairs", units, ["verdict", "status"]))
    judged = {"verdicts": verdicts.to_json()} if verdicts.said else {}
    if not table.captioners:
        return Reported(verdicts.sections(), judged)
    share = share_of(table.rates.kept, captions)
    names = table.names
    pairs = annotate.tables("pairs", units)
    texts = (_named(caption_rows(drawn(rows, share)), names) for rows in pairs)
    groups = _statistics(texts)
    numbers = {**judged, **table.to_json(), "statistics": statistics_json(groups), "statistics_share": share}
    sections = [*verdicts.sections(), *_audit_sections(table), statistics_section(groups, share)]
    return Reported(sections, numbers)


def checked_text(*tables: AuditTable) -> str:
    """What rates are of, and whose say nothing."""
    stand_in = any(model == STAND_IN_MODEL_ID for table in tables for model, _ in table.captioners)
    if not stand_in:
        return CHECKED_TEXT
    return f"{CHECKED_TEXT}; {STAND_IN_MODEL_ID} writes what the audit measures: its own say nothing"


def share_of(captions: int, most: int) -> float:
    """The share of persons to draw for at most about so many captions; 0 for all of them."""
    return min(1.0, most / captions) if most and captions else 1.0


def _statistics(texts: Iterable[pa.Table]) -> dict[str, CaptionStatistics]:
    """By captioner and of all; of all alone it would be the same where there is but one."""
    groups = caption_statistics(texts, load_claim_words(), CAPTIONER)
    return {name: each for name, each in groups.items() if name != ALL or len(groups) != 2}


def statistics_section(groups: Mapping[str, CaptionStatistics], share: float) -> Section:
    """Statistics as a table, with what WebPerson published."""
    of = (
        "of all captions that count" if share >= 1 else f"of {100 * share:.2g} % of the persons, drawn by key"
    )
    text = f"{of}; a smaller sample has fewer words and fewer repeats"
    return Section("Statistics of captions", text, table=statistics_rows(groups))


def _audit_sections(table: AuditTable) -> list[Section]:
    rates = {name: table.captioners[captioner] for captioner, name in table.names.items()}
    sections = [Section("Captioners", checked_text(table), table=rates_rows(rates))]
    if any(each.disagree_share for each in table.attributes.values()):
        text = (
            f"of {table.compared:,} persons with two captions that count; leaving something out is no error"
        )
        sections.append(
            Section("What two captions disagree on", text, table=attribute_rows(table.attributes))
        )
    return sections


def _named(captions: pa.Table, names: Mapping[tuple[str, str], str]) -> pa.Table:
    """Captions with the column `captioner`."""
    columns = (captions[name].to_pylist() for name in ("model_id", "prompt_id"))
    found = [names[captioner] for captioner in zip(*columns, strict=True)]
    return captions.append_column(CAPTIONER, pa.array(found, pa.string()))
