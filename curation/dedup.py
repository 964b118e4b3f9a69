"""Duplicates over the whole run: one pass over hashes, the same answer for any order of arrival."""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.records import PERSON_KEY, PERSON_ORDER


def exact_duplicates(persons: pa.Table) -> pa.Table:
    """For each person whose crop another person has too, which one stays: the first by key.

    persons: columns unit, row, person, crop_sha256. Returns a row per duplicate (those that stay have none):
    unit, row, person, kept_unit, kept_row, kept_person, in the order of the keys.
    """
    ordered = persons.select([*PERSON_KEY, "crop_sha256"]).sort_by(PERSON_ORDER)
    first = (
        ordered.group_by("crop_sha256", use_threads=False)
        .aggregate([(name, "first") for name in PERSON_KEY])
        .rename_columns({f"{name}_first": f"kept_{name}" for name in PERSON_KEY})
    )
    joined = ordered.join(first, "crop_sha256", use_threads=False)
    stays = [pc.equal(joined[name], joined[f"kept_{name}"]) for name in PERSON_KEY]
    dropped = joined.filter(pc.invert(pc.and_(pc.and_(stays[0], stays[1]), stays[2])))
    columns = [*PERSON_KEY, *(f"kept_{name}" for name in PERSON_KEY)]
    return dropped.select(columns).sort_by(PERSON_ORDER)
