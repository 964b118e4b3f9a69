"""Two annotate phases of one harvest side by side, over the persons that both captioned.

Two models, two prompts or two libraries write about the same pictures: then their rates, statistics and texts
can be compared. Tables of `pairs` are read unit by unit, as often as there are questions to them.
"""

import heapq
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.audit_table import AuditTable, audit_table, most_said, percent, rates_json, rates_rows
from curation.caption_report import (
    CAPTIONER,
    Reported,
    checked_text,
    share_of,
    statistics_section,
)
from curation.caption_statistics import (
    CaptionStatistics,
    caption_rows,
    caption_statistics,
    draw,
    drawn,
    statistics_json,
)
from curation.claim_words import load_claim_words
from curation.gallery import Row, caption_lines, persons_of, sample
from pipeline.records import PersonKey, of_persons, person_keys
from pipeline.report import Section
from pipeline.units import PhaseFolder

SAME = ("harvest", "units_per_unit")
"""What two annotate phases must have in common, as their `phase.json` says."""
LONGEST_VALUE = 80


class BesideError(ValueError):
    """Two phases that cannot be compared; one line."""


@dataclass(frozen=True)
class Beside:
    """Two annotate phases."""

    one: PhaseFolder
    other: PhaseFolder

    def __post_init__(self) -> None:
        """Raises BesideError."""
        if self.one.path == self.other.path:
            raise BesideError(f"{self.other.path}: it is the annotate phase of the report itself")
        for name in SAME:
            mine, theirs = self.one.trace.get(name), self.other.trace.get(name)
            if mine != theirs:
                raise BesideError(
                    f"{self.other.path}: its {name} is {theirs}, that of {self.one.path} is {mine}"
                )

    def both(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """The rows of `pairs` of the persons whom both captioned, each once, in the order of their keys."""
        for unit in sorted({*self.one.finished()} & {*self.other.finished()}):
            tables = [_captioned(folder, unit) for folder in (self.one, self.other)]
            if all(tables):
                one, other = (pa.concat_tables(parts) for parts in tables)
                yield of_persons(one, other), of_persons(other, one)


def report_beside(beside: Beside, harvest: PhaseFolder, captions: int, persons: int) -> Reported:
    """Rates, statistics and some persons with both texts.

    captions: statistics look at about so many of each phase, drawn by person; 0: at all.
    """
    one, other = (audit_table(rows[n] for rows in beside.both()) for n in (0, 1))
    names = _names(beside, one, other)
    tables = dict(zip(names, (one, other), strict=True))
    share = share_of(max(one.rates.kept, other.rates.kept), captions)
    statistics = _statistics(beside, names, share)
    count, same = _in_both(beside)
    settings = [("folder", str(beside.one.path), str(beside.other.path)), *_that_differ(beside)]
    text = f"over the {count:,} persons that both captioned; {same:,} captions are the same in both"
    rates = {name: table.rates for name, table in tables.items()}
    sections = [
        Section("Side by side", text, table=[("", *names), *settings]),
        Section("Side by side: captions", checked_text(one, other), table=rates_rows(rates)),
    ]
    if rows := _disagreement(tables):
        what = "persons whose two captions disagree, of those where both say something"
        sections.append(Section("Side by side: disagreement", what, table=rows))
    of = statistics_section(statistics, share)
    sections.append(Section("Side by side: statistics", of.text, table=of.table))
    sections.append(_gallery(beside, names, harvest, persons))
    numbers = {
        "persons": count,
        "same_captions": same,
        "settings": {name: dict(zip(names, values, strict=True)) for name, *values in settings},
        "rates": {name: rates_json(each) for name, each in rates.items()},
        "attributes": {name: table.to_json()["attributes"] for name, table in tables.items()},
        "statistics": statistics_json(statistics),
        "statistics_share": share,
    }
    return Reported(sections, numbers)


def _names(beside: Beside, *tables: AuditTable) -> tuple[str, str]:
    """What the two are called: by their models, by models and prompts where those are equal, or by folder."""
    models = [" + ".join(sorted({model for model, _ in table.captioners})) for table in tables]
    prompts = [" + ".join(f"{model}, {prompt}" for model, prompt in sorted(t.captioners)) for t in tables]
    folders = [folder.path.name for folder in (beside.one, beside.other)]
    paths = [str(folder.path) for folder in (beside.one, beside.other)]
    return next((one, other) for one, other in (models, prompts, folders, paths) if one != other)


def _statistics(beside: Beside, names: Sequence[str], share: float) -> dict[str, CaptionStatistics]:
    """By name, of the same persons."""
    texts = (
        (name, caption_rows(drawn(rows, share)))
        for both in beside.both()
        for name, rows in zip(names, both, strict=True)
    )
    named = (rows.append_column(CAPTIONER, pa.repeat(name, rows.num_rows)) for name, rows in texts)
    found = caption_statistics(named, load_claim_words(), CAPTIONER)
    return {name: found[name] for name in names if name in found}


def _in_both(beside: Beside) -> tuple[int, int]:
    """Persons, and captions that one phase took over from the other."""
    persons = captions = 0
    for both in beside.both():
        one, other = (pc.list_flatten(rows["captions"]).combine_chunks() for rows in both)
        # An id says how a caption was planned; asked for again, it has another seed.
        said = [_planned_and_said(each) for each in (one, other)]
        persons += both[0].num_rows
        captions += pc.sum(pc.is_in(said[0], value_set=said[1])).as_py() or 0
    return persons, captions


def _planned_and_said(captions: pa.StructArray) -> pa.Array:
    text = pc.fill_null(pc.struct_field(captions, "text"), "")
    return pc.binary_join_element_wise(pc.struct_field(captions, "caption_id"), text, " ")


def _captioned(folder: PhaseFolder, unit: int) -> list[pa.Table]:
    tables = folder.tables("pairs", [unit])
    return [rows.filter(pc.greater(pc.list_value_length(rows["captions"]), 0)) for rows in tables]


def _disagreement(tables: Mapping[str, AuditTable]) -> list[tuple[str, ...]]:
    attributes = [table.attributes for table in tables.values()]
    rows = [
        (name, *(percent(each[name].disagree_share if name in each else None) for each in attributes))
        for name in most_said(attributes)
    ]
    return [("attribute", *tables), *rows] if rows else []


def _gallery(beside: Beside, names: Sequence[str], harvest: PhaseFolder, persons: int) -> Section:
    """Persons drawn by key, the same in every report; both texts beside the picture."""
    drawn_rows = heapq.nsmallest(
        persons, _candidates(beside, persons), key=lambda rows: draw(PersonKey.of(rows[0]))
    )
    texts = {PersonKey.of(one): (_text(one), _text(other)) for one, other in drawn_rows}
    rows = [(sample(person), *texts[PersonKey.of(person)]) for person in persons_of(harvest, texts)]
    return Section(
        "Side by side: texts", f"{len(rows)} persons, drawn by key", table=[("person", *names), *rows]
    )


def _candidates(beside: Beside, persons: int) -> Iterator[tuple[Row, Row]]:
    """Of each unit the rows that could be drawn: those of its first persons by draw."""
    for one, other in beside.both():
        draws = [draw(key) for key in person_keys(one)]
        at = pa.array(heapq.nsmallest(persons, range(len(draws)), key=draws.__getitem__), pa.int64())
        yield from zip(one.take(at).to_pylist(), other.take(at).to_pylist(), strict=True)


def _text(pair: Row) -> str:
    """The captions that count with their contradictions, and why the others do not."""
    reasons = {f"{caption['slot']}: {caption['reason']}" for caption in pair["captions"] if caption["reason"]}
    return "\n".join([*caption_lines(pair), *sorted(reasons)])


_HOW_IT_IS_REACHED = re.compile(r"annotate\.models\.\d+\.(?!(name|revision|weight)$)")
"""Of a model's settings, those that shape no caption."""


def _that_differ(beside: Beside) -> list[tuple[str, str, str]]:
    """Settings in which the two recipes differ: name, value here, value there."""
    one, other = (dict(_settings(folder.trace.get("recipe"))) for folder in (beside.one, beside.other))
    return [
        (name, _short(one.get(name)), _short(other.get(name)))
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name) and not _HOW_IT_IS_REACHED.match(name)
    ]


def _settings(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a recipe, by dotted name."""
    if isinstance(tree, Mapping):
        items: Sequence[tuple[Any, Any]] = [*tree.items()]
    elif isinstance(tree, list) and any(isinstance(each, Mapping) for each in tree):
        items = [*enumerate(tree)]
    else:
        yield name, tree
        return
    for key, value in items:
        yield from _settings(value, f"{name}.{key}" if name else str(key))


def _short(value: Any) -> str:
    text = (
        "–" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    )
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
