"""The final rows of a run, read back from its files."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.records import content_hash
from pipeline.shards import shard_paths


def phase_folder(out: Path, phase: str) -> Path:
    """The folder of a phase that the last run of `out` has noted."""
    return out / str(json.loads((out / "run.json").read_text())["phases"][phase])


def table(out: Path, phase: str, name: str) -> pa.Table:
    """A table of a phase, all units in order."""
    parts = sorted(phase_folder(out, phase).glob(f"{name}/*/*.parquet"))
    return pa.concat_tables(pq.read_table(part) for part in parts)


def row_hashes(out: Path) -> dict[str, str]:
    """A hash for each table, volatile columns left out."""
    return {
        "urls": content_hash(table(out, "harvest", "urls")),
        "persons": content_hash(table(out, "harvest", "persons")),
        "decisions": content_hash(pq.read_table(phase_folder(out, "decide") / "decisions.parquet")),
        "pairs": content_hash(table(out, "annotate", "pairs")),
        "shards": content_hash(
            pa.concat_tables(pq.read_table(path) for path in shard_paths(phase_folder(out, "pack")))
        ),
    }
