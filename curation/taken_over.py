"""Units taken over from the harvest of another list: one that has grown is fetched only where it is new.

A unit is taken over if each of its rows, as the list gives it now, is what the other harvest began with:
address, carried columns, and what the pre-filters said. Files are copied, and never change afterwards.
"""

from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.reasons import Reason
from pipeline.stage import Source
from pipeline.storage import DamagedError, copy
from pipeline.units import PhaseFolder, Unit

SAID_BY_THE_LIST = (
    Reason.ROW_UNREADABLE,
    Reason.DOMAIN_EXCLUDED,
    Reason.LISTED_SIZE,
    Reason.LISTED_ASPECT,
    Reason.LISTED_FACES,
    Reason.LISTED_NSFW,
    Reason.LISTED_WATERMARK,
)
"""Reasons that a row comes with; any other is given on its way."""


def take_over(
    units: Sequence[Unit],
    urls: Source,
    folder: PhaseFolder,
    others: Sequence[PhaseFolder],
    taken: Callable[[int], None],
) -> int:
    """Copy the units that one of the other harvests, made with the same settings, has done; how many.

    taken: called with their number so far.
    """
    finished = [(other, set(other.finished())) for other in others]
    count = 0
    for unit in units:
        holders = [other for other, done in finished if unit.index in done]
        rows = urls.read(unit) if holders else None
        for other in sorted(holders, key=lambda other: _failed(other, unit)):
            if _began_with(other, unit, rows):
                folder.adopt_unit(unit, other, copy)
                count += 1
                taken(count)
                break
    return count


def _failed(harvest: PhaseFolder, unit: Unit) -> int:
    (marker,) = harvest.markers([unit.index])
    return sum(marker["counts"].get("urls", {}).get("failed", {}).values())


def _began_with(harvest: PhaseFolder, unit: Unit, rows: pa.Table) -> bool:
    columns = ["row", "url", "carried", "reason"]
    try:
        stands = pa.concat_tables(harvest.tables("urls", [unit.index], columns))
    except DamagedError:
        return False
    return bool(_beginning(stands).equals(_beginning(rows.select(columns))))


def _beginning(rows: pa.Table) -> pa.Table:
    """What the list says of each row; no address is "", as in `urls`."""
    reason = rows["reason"].cast(pa.string())
    said = pc.is_in(reason, value_set=pa.array([str(reason) for reason in SAID_BY_THE_LIST]))
    columns = {
        "row": rows["row"].cast(pa.int32()),
        "url": pc.fill_null(rows["url"].cast(pa.string()), ""),
        "carried": rows["carried"].cast(pa.string()),
        "reason": pc.if_else(said, reason, None),
    }
    return pa.table(columns).combine_chunks()
