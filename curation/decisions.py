"""The decisions: each measured person is kept, or has the reason why not. Numbers decide, no model runs."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.dedup import DedupSettings, find_duplicates
from curation.gates import GateLimits, person_gates
from pipeline.reasons import Reason, Status, status_of
from pipeline.records import PERSON_KEY, PERSON_ORDER, DecisionRow, PersonRow, arrow_schema

CONTENT = ["crop_sha256", "crop_phash"]
GATED = pa.schema([*(arrow_schema(PersonRow).field(n).with_nullable(True) for n in [*PERSON_KEY, *CONTENT])])
GATED = GATED.append(pa.field("reason", pa.string()))
"""What is held of every measured person; hashes of those alone who pass the gates."""

Mask = Callable[[pa.Table], pa.Array]
"""From rows of `persons` to a boolean for each."""


def decide(
    measured: Iterable[pa.Table],
    limits: GateLimits,
    dedup: DedupSettings | None = None,
    taken_down: Mask | None = None,
) -> pa.Table:
    """Takedown first, then the gates, then exact and near duplicates among those who pass.

    measured: tables with the columns of `persons` (pixels are not needed), in any order, read one by one.
    dedup: by default the settings' own defaults. taken_down: True for rows that must not be in the data.
    Returns the table `decisions`, in the order of the keys. Raises EmbeddingError.
    """
    gated = pa.concat_tables(
        [GATED.empty_table(), *(_gated(table, limits, taken_down) for table in measured)]
    )
    gated = gated.sort_by(PERSON_ORDER)
    passing = np.flatnonzero(pc.is_null(gated["reason"]).to_numpy())
    originals, near = find_duplicates(gated.take(pa.array(passing)), dedup or DedupSettings())
    dropped = np.flatnonzero(originals != np.arange(len(originals)))
    kept = np.full(gated.num_rows, -1)
    kept[passing[dropped]] = passing[originals[dropped]]
    exact = np.zeros(gated.num_rows, bool)
    exact[passing[dropped]] = ~near[dropped]
    duplicate = pa.array(np.where(exact, Reason.EXACT_DUPLICATE, Reason.NEAR_DUPLICATE), pa.string())
    reasons = pc.if_else(pa.array(kept >= 0), duplicate, gated["reason"])
    names = pa.array(kept, mask=kept < 0)
    columns = [*(gated[name] for name in PERSON_KEY), _statuses(reasons), reasons]
    schema = arrow_schema(DecisionRow)
    return pa.table([*columns, *(gated[name].take(names) for name in PERSON_KEY)], schema=schema)


def _statuses(reasons: pa.ChunkedArray) -> pa.Array:
    codes = reasons.combine_chunks().dictionary_encode()
    statuses = [status_of(Reason(reason)).value for reason in codes.dictionary.to_pylist()]
    return pc.fill_null(pa.array(statuses, pa.string()).take(codes.indices), Status.KEPT.value)


def _gated(persons: pa.Table, limits: GateLimits, taken_down: Mask | None) -> pa.Table:
    reasons = person_gates(
        _matrix(persons["box_xyxy_px"]), persons["score"].to_numpy(), _matrix(persons["keypoints"]), limits
    )
    if taken_down is not None:
        reasons = pc.if_else(taken_down(persons), Reason.TAKEN_DOWN.value, reasons)
    passed = pc.is_null(reasons)
    content = [pc.if_else(passed, persons[name], pa.scalar(None, persons[name].type)) for name in CONTENT]
    return pa.table([*(persons[name] for name in PERSON_KEY), *content, reasons], schema=GATED)


def _matrix(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column of lists of a fixed size: [N, size]."""
    matrix: NDArray[Any] = column.combine_chunks().flatten().to_numpy()
    return matrix.reshape(-1, column.type.list_size)
