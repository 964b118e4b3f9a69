"""The audit of an annotate phase in numbers: rates of each captioner, and what two captions disagree on.

A captioner is a model with a prompt. Tables of `pairs` are looked at one by one; only counts are kept.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.plan import Estimate, wilson
from pipeline.reasons import Reason, status_of

Captioner = tuple[str, str]
"""model_id, prompt_id"""
MOST_ATTRIBUTES = 15
"""In the table of disagreements; the JSON has all."""


@dataclass
class Rates:
    """What became of some captions."""

    captions: int = 0
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Of those that are not kept."""
    checked: int = 0
    """With a colour that is both claimed and measured, of those that are kept, or would be but for it."""
    contradicted: int = 0
    """Of those checked."""

    @property
    def contradicted_share(self) -> Estimate | None:
        """Of those checked, with its interval of 95 % by Wilson; None if there are none."""
        return wilson(self.contradicted / self.checked, self.checked) if self.checked else None

    def __add__(self, other: "Rates") -> "Rates":
        return Rates(
            self.captions + other.captions,
            self.kept + other.kept,
            self.reasons + other.reasons,
            self.checked + other.checked,
            self.contradicted + other.contradicted,
        )


@dataclass(frozen=True)
class Compared:
    """How often two captions of a person say the same of an attribute."""

    agree: int = 0
    disagree: int = 0
    one_says: int = 0
    """Only one of them says anything."""

    @property
    def disagree_share(self) -> Estimate | None:
        """Where both say something, with its interval of 95 % by Wilson; None if they never do."""
        both = self.agree + self.disagree
        return wilson(self.disagree / both, both) if both else None


@dataclass
class AuditTable:
    """The counts of some tables `pairs`."""

    captioners: defaultdict[Captioner, Rates] = field(default_factory=lambda: defaultdict(Rates))
    said: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By attribute: how often two captions agree, disagree, or only one_says anything."""
    compared: int = 0
    """Persons with two captions that count."""

    @property
    def attributes(self) -> dict[str, Compared]:
        """By name."""
        return {name: Compared(**counts) for name, counts in sorted(self.said.items())}

    @property
    def rates(self) -> Rates:
        """Of all captioners together."""
        return sum(self.captioners.values(), Rates())

    @property
    def names(self) -> dict[Captioner, str]:
        """What the captioners are called: by their model, with the prompt where a model has several."""
        prompts = Counter(model for model, _ in self.captioners)
        return {
            (model, prompt): model if prompts[model] == 1 else f"{model}, {prompt}"
            for model, prompt in sorted(self.captioners)
        }

    def to_json(self) -> dict[str, Any]:
        """All counts and shares."""
        return {
            "captioners": [
                {"model_id": model, "prompt_id": prompt, **rates_json(rates)}
                for (model, prompt), rates in sorted(self.captioners.items())
            ],
            "compared": self.compared,
            "attributes": {
                name: {**asdict(each), "disagree_share": _share_json(each.disagree_share)}
                for name, each in self.attributes.items()
            },
        }


def audit_table(pairs: Iterable[pa.Table]) -> AuditTable:
    """Count the captions of tables `pairs`; of schemas before the audit, nothing is checked or compared."""
    table = AuditTable()
    for rows in pairs:
        _count_captions(table, rows)
        if "agreement" in rows.column_names:
            _count_attributes(table, rows["agreement"].combine_chunks())
    return table


def contradicted(pairs: pa.Table) -> pa.Table:
    """The rows of `pairs` with a caption that measured colours contradict."""
    captions = pairs["captions"].combine_chunks()
    wrong = pc.fill_null(pc.greater(_audited(captions.flatten(), "contradicted"), 0), False)
    return pairs.take(pc.unique(pc.list_parent_indices(captions).filter(wrong)))


def rates_rows(columns: Mapping[str, Rates]) -> list[tuple[str, ...]]:
    """Rates side by side: a header, then a row a number."""
    reasons = sorted({reason for rates in columns.values() for reason in rates.reasons})
    each = columns.values()
    return [
        ("", *columns),
        ("captions", *(f"{rates.captions:,}" for rates in each)),
        ("kept", *(f"{rates.kept:,}" for rates in each)),
        *(
            (f"{status_of(Reason(reason))}: {reason}", *(f"{rates.reasons[reason]:,}" for rates in each))
            for reason in reasons
        ),
        ("colour checked", *(f"{rates.checked:,}" for rates in each)),
        ("contradicted", *(f"{rates.contradicted:,}" for rates in each)),
        ("contradicted, of those checked", *(percent(rates.contradicted_share) for rates in each)),
    ]


def attribute_rows(attributes: Mapping[str, Compared]) -> list[tuple[str, ...]]:
    """What two captions of a person disagree on: a header, then an attribute a row, the most said first."""
    return [
        ("attribute", "agree", "disagree", "only one says", "disagree, where both say"),
        *(
            (name, *(f"{n:,}" for n in (c.agree, c.disagree, c.one_says)), percent(c.disagree_share))
            for name, c in ((name, attributes[name]) for name in most_said([attributes]))
        ),
    ]


def most_said(tables: Sequence[Mapping[str, Compared]]) -> list[str]:
    """The attributes of which both captions say something most often, in some tables together."""
    both: Counter[str] = Counter()
    for attributes in tables:
        both.update({name: each.agree + each.disagree for name, each in attributes.items()})
    return [name for name, count in sorted(both.items(), key=lambda item: (-item[1], item[0])) if count][
        :MOST_ATTRIBUTES
    ]


def rates_json(rates: Rates) -> dict[str, Any]:
    """Counts, and the share that is contradicted."""
    return {
        **asdict(rates),
        "reasons": dict(rates.reasons),  # asdict makes no dictionary of a Counter
        "contradicted_share": _share_json(rates.contradicted_share),
    }


def percent(found: Estimate | None) -> str:
    """`12.5 % (8.1–18.8)`."""
    if found is None:
        return "–"
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f}–{100 * found.high:.1f})"


def _share_json(found: Estimate | None) -> dict[str, float] | None:
    return asdict(found) if found else None


def _count_captions(table: AuditTable, pairs: pa.Table) -> None:
    captions = pairs["captions"].combine_chunks().flatten()
    columns = {name: pc.struct_field(captions, name) for name in ("model_id", "prompt_id", "reason")}
    for name in ("checked", "contradicted"):
        columns[name] = pc.fill_null(pc.greater(_audited(captions, name), 0), False).cast(pa.int64())
    grouped = pa.table(columns).group_by(["model_id", "prompt_id", "reason"])
    sums = [("reason", "count", pc.CountOptions(mode="all")), ("checked", "sum"), ("contradicted", "sum")]
    for row in grouped.aggregate(sums).to_pylist():
        rates = table.captioners[row["model_id"], row["prompt_id"]]
        reason, count = row["reason"], row["reason_count"]
        rates.captions += count
        if reason is None:
            rates.kept += count
        else:
            rates.reasons[reason] += count
        if reason in (None, Reason.CAPTION_CONTRADICTED):
            rates.checked += row["checked_sum"]
            rates.contradicted += row["contradicted_sum"]


def _audited(captions: pa.StructArray, name: str) -> pa.Array:
    """A number of the captions' audits; null where there is none."""
    if captions.type.get_field_index("audit") < 0:
        return pa.nulls(len(captions), pa.int32())
    return pc.struct_field(captions, ["audit", name])


def _count_attributes(table: AuditTable, agreement: pa.StructArray) -> None:
    table.compared += len(agreement) - agreement.null_count
    for said in ("agree", "disagree", "one_says"):
        for found in pc.value_counts(pc.struct_field(agreement, said).flatten()).to_pylist():
            table.said[found["values"]][said] += found["counts"]
