"""Rows of runs made by hand, and the folders that hold them."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.runs import RunSink, Shares, run_schema
from pipeline.units import PhaseFolder, Unit

SHARES = Shares(seed=0, val=0.2, test=0.3)
TRACE = {"recipe_hash": "abc", "schema_version": 2}
Row = dict[str, Any]


def row(number: int, changes: Row | None = None, shares: Shares = SHARES) -> Row:
    """A row of a run; every picture shows three persons and stands at two addresses."""
    key = f"{number // 40:06d}-{number // 3 % 40:05d}-{number % 3:02d}"
    sha = f"{number // 6:064x}"
    split = shares.split_of(sha)
    captions = {"captions": ["words"], "caption_model_ids": ["m"], "caption_template_ids": ["t"]}
    image = {"bytes": f"pixels {number}".encode(), "path": f"{key}.jpg"}
    measured = {"url": "http://made/", "image_sha256": sha, "score": 0.5, "identity": None, "split": split}
    drawn = {"place": shares.place_of(key, split), "reason": None, "error": None}
    return {"key": key, "image": image, **captions, **measured, **drawn, **(changes or {})}


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=run_schema())


def publish_runs(path: Path, runs: list[list[Row]]) -> PhaseFolder:
    folder = PhaseFolder(path, TRACE)
    for index, rows in enumerate(runs):
        RunSink(folder).publish(Unit(index, index, 1), table(rows))
    return folder
