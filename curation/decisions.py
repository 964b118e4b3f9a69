"""The decisions: each measured person is kept, or has the reason why not. Numbers decide, no model runs."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from curation.dedup import exact_duplicates
from curation.gates import GateLimits, person_gate
from pipeline.reasons import Reason, status_of
from pipeline.records import PERSON_KEY, PERSON_ORDER, DecisionRow, arrow_schema

GATED = pa.schema(
    [
        ("unit", pa.int64()),
        ("row", pa.int32()),
        ("person", pa.int32()),
        ("crop_sha256", pa.string()),
        ("reason", pa.string()),
    ]
)


def decide(measured: Iterable[pa.Table], limits: GateLimits) -> pa.Table:
    """Gates first, then exact duplicates among those who pass: the first by key stays.

    measured: tables with the columns of `persons` (pixels are not needed). Returns the table `decisions`, in
    the order of the keys.
    """
    gated = pa.concat_tables([GATED.empty_table(), *(_gated(table, limits) for table in measured)])
    duplicates = exact_duplicates(gated.filter(pc.is_null(gated["reason"])))
    joined = gated.join(duplicates, PERSON_KEY, join_type="left outer", use_threads=False)
    joined = joined.sort_by(PERSON_ORDER)
    duplicate = pc.is_valid(joined["kept_unit"])
    reasons = pc.if_else(duplicate, Reason.EXACT_DUPLICATE.value, joined["reason"]).to_pylist()
    statuses = [status_of(Reason(reason) if reason else None) for reason in reasons]
    columns = {
        "status": pa.array(statuses, pa.string()),
        "reason": pa.array(reasons, pa.string()),
        **{name: joined[name] for name in joined.column_names if name not in ("reason", "crop_sha256")},
    }
    schema = arrow_schema(DecisionRow)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _gated(persons: pa.Table, limits: GateLimits) -> pa.Table:
    reasons = [
        person_gate(row["box_xyxy_px"], row["score"], row["keypoints"], limits)
        for row in persons.select(["box_xyxy_px", "score", "keypoints"]).to_pylist()
    ]
    columns = [*(persons[name] for name in GATED.names[:-1]), pa.array(reasons, pa.string())]
    return pa.table(columns, schema=GATED)
