"""Rows of `pairs` made by hand, and annotate phases that hold them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.reasons import Reason, Status
from pipeline.records import Agreement, Caption, CaptionAudit, PairRow, PersonKey, to_table
from pipeline.units import PhaseFolder, Unit

FIRST = PersonKey(0, 0, 0)
TRACE = {"recipe_hash": "abc", "harvest": "harvest-made", "units_per_unit": 1, "recipe": {}}


def caption(
    text: str | None = "A man.",
    slot: int = 0,
    reason: Reason | None = None,
    model: str = "small",
    prompt: str = "p",
    checked: int = 0,
    contradictions: Sequence[str] = (),
    caption_id: str = "",
) -> Caption:
    """A caption; audited if it has a text, in so many regions (of which so many are contradicted)."""
    found = CaptionAudit(
        checked=max(checked, len(contradictions)),
        contradicted=len(contradictions),
        contradictions=list(contradictions),
    )
    return Caption(
        slot=slot,
        text=text,
        reason=reason,
        model_id=model,
        prompt_id=prompt,
        template_id="t",
        seed=0,
        caption_id=caption_id,
        audit=None if text is None else found,
    )


def pair(captions: Sequence[Caption], key: PersonKey = FIRST, agreement: Agreement | None = None) -> PairRow:
    """A person; kept if it has captions."""
    status = Status.KEPT if captions else Status.REJECTED
    return PairRow(
        unit=key.unit,
        row=key.row,
        person=key.person,
        status=status,
        captions=list(captions),
        agreement=agreement,
    )


def agreement(
    agree: Sequence[str] = (), disagree: Sequence[str] = (), one_says: Sequence[str] = ()
) -> Agreement:
    return Agreement(agree=list(agree), disagree=list(disagree), one_says=list(one_says))


def table(*rows: PairRow) -> pa.Table:
    return to_table(PairRow, list(rows))


def before_the_audit(pairs: pa.Table) -> pa.Table:
    """As an older schema had them: without audit, colours and agreement."""
    kept = pairs.drop_columns(["colours", "agreement"])
    rows = kept.to_pylist()
    for row in rows:
        for each in row["captions"]:
            del each["audit"]
    fields = [f for f in pairs.schema.field("captions").type.value_type if f.name != "audit"]
    at = kept.schema.get_field_index("captions")
    return pa.Table.from_pylist(rows, kept.schema.set(at, pa.field("captions", pa.list_(pa.struct(fields)))))


def annotate_phase(
    path: Path, units: Sequence[Sequence[PairRow]], trace: Mapping[str, Any] | None = None
) -> PhaseFolder:
    """A finished annotate phase of these units."""
    folder = PhaseFolder(path, {**TRACE, **(trace or {})})
    folder.begin()
    for index, rows in enumerate(units):
        folder.publish_unit(Unit(index, index, 1), {"pairs": table(*rows)}, {})
    return folder
