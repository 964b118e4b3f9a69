"""Shards with identities: what was packed, with who is seen in each picture, as the made world knows it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.pack import ShardSink, publish_statistics
from pipeline.recipe import fingerprint
from pipeline.shards import DONE, SPLITS, shard_paths
from pipeline.storage import read_json
from pipeline.units import PhaseFolder, UnitRange
from world.shards import split_identities

VAL_SHARE, TEST_SHARE = 0.1, 0.3
"""Of the identities; all pictures of one fall into one split."""
CAPTION_COLUMNS = ("captions", "caption_model_ids", "caption_template_ids")
ROWS_PER_SHARD = 1000


class LabelError(ValueError):
    """Shards that cannot get identities; one line."""


def label_shards(packed: Path, identities: Mapping[str, int], out: Path, seed: int, permuted: bool) -> Path:
    """Write the rows of a finished shard folder whose identity is known as another finished one below `out`.

    identities: by row key. `permuted` gives the training rows captions of other identities. Returns the
    folder; one that stands there already, from the same rows, is left as it is. Raises LabelError.
    """
    name = "permuted" if permuted else "true"
    inputs = (packed.name, seed, VAL_SHARE, TEST_SHARE, sorted(identities.items()))
    trace = {**read_json(packed / "phase.json"), "labelled": {"packed": packed.name, "captions": name}}
    path = out / f"shards-{name}-{fingerprint(inputs)}"
    if (path / DONE).is_file():
        return path
    rows = label(pa.concat_tables(map(pq.read_table, shard_paths(packed))), identities, seed)
    rows = permute_captions(rows, seed) if permuted else rows
    folder = PhaseFolder(path, trace)
    folder.begin()
    units = UnitRange(rows.num_rows, ROWS_PER_SHARD)
    sink = ShardSink(folder, len(units))
    publish_statistics(folder, [sink.publish(unit, rows.slice(unit.first, unit.count)) for unit in units])
    return path


def label(rows: pa.Table, identities: Mapping[str, int], seed: int) -> pa.Table:
    """The shard rows whose identity is known (by key), with it and with a split drawn by identity.

    Splits stand together, in the order of SPLITS. Raises LabelError if a split would be without identity.
    """
    numbers = [identities.get(key) for key in rows["key"].to_pylist()]
    known = {number for number in numbers if number is not None}
    try:
        splits = split_identities(known, VAL_SHARE, TEST_SHARE, seed)
    except ValueError as error:
        raise LabelError(str(error)) from None
    columns = {
        "identity": pa.array(numbers, pa.int64()),
        "split": pa.array(
            [splits.get(number, "") if number is not None else "" for number in numbers], pa.string()
        ),
    }
    for name, column in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
    return pa.concat_tables(rows.filter(pc.equal(rows["split"], split)) for split in SPLITS)


def permute_captions(rows: pa.Table, seed: int) -> pa.Table:
    """The captions of the training rows dealt out anew, to each those of another identity's picture.

    Other splits stay as they are. Raises LabelError if one identity has more than half of the rows.
    """
    training = np.flatnonzero(pc.equal(rows["split"], "train").to_numpy())
    owners = rows["identity"].to_numpy()[training]
    rng = np.random.default_rng([seed, 0xCA])
    order = rng.permutation(len(owners))
    for row, owner in enumerate(owners):
        if owners[order[row]] == owner:
            free = np.flatnonzero((owners[order] != owner) & (owners != owner))
            if not len(free):
                raise LabelError(f"captions cannot be permuted: identity {owner} has more than half of them")
            other = rng.choice(free)
            order[[row, other]] = order[[other, row]]
    source = np.arange(rows.num_rows)
    source[training] = training[order]
    for name in CAPTION_COLUMNS:
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(name), rows[name].take(pa.array(source)))
    return rows
