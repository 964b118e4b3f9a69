"""Whether the made world teaches anything: retrieval of identities never trained on, by true captions.

    python -m benchmarks.retrieval

A small model is trained from nothing on shards of the made world, once with its true captions and once with
captions of other identities; both are measured on the same unseen identities. The result is written to
benchmarks/results/retrieval.json. Pictures look like a game: these are no numbers about photographs.
"""

import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.cli.labelled import permute_captions
from pipeline.cli.options import CURATION_SECTIONS
from pipeline.recipe import load_recipe
from pipeline.shards import encode_shard, shard_paths
from pipeline.storage import publish, publish_json
from training.checkpoint import load_model
from training.data import load_split
from training.evaluate import evaluate
from training.train import RunSettings, TrainRecipe, train
from world.folder import World, make_world
from world.shards import write_shards

RESULT = Path(__file__).parent / "results" / "retrieval.json"
WORLD = World(people=500, views=2, others=0, captions=3, seed=11)
SEED = 0
OVERRIDES = [
    *("train.model.toy.width=128", "train.model.toy.layers=4", "train.model.toy.heads=4"),
    *("train.model.toy.embed_dim=128", "train.batch_size=96", "train.epochs=16"),
    *("train.model.image_height_px=96", "train.model.image_width_px=48", "train.augment.pad_px=2"),
]
"""The recipe's toy, larger in all ways: there is more to learn from than in the demo."""


def main() -> None:
    """Make, train twice, measure, print and publish the numbers."""
    with tempfile.TemporaryDirectory() as folder:
        made, shards, permuted = (Path(folder) / name for name in ("world", "true", "permuted"))
        make_world(WORLD, made)
        write_shards(made, shards, SEED)
        _permute(shards, permuted)
        found = {"true captions": _train(shards), "permuted captions": _train(permuted)}
    result = {
        "command": "python -m benchmarks.retrieval",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "world": f"{WORLD.people} identities, {WORLD.views} views, {WORLD.captions} captions a picture",
        **found,
    }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def _train(shards: Path) -> dict[str, Any]:
    out, started = shards / "model", time.monotonic()
    config = load_recipe(TrainRecipe, "laptop", OVERRIDES, others=CURATION_SECTIONS).train
    outcome = train(config, shards, out, RunSettings(device="cpu"))
    seconds = time.monotonic() - started
    model, trained = load_model(out)
    found = evaluate(model, load_split(shards, "test"), trained.model)
    return {
        "steps": outcome.progress.step,
        "seconds": round(seconds),
        "gallery": found.gallery,
        "percent": {name: round(value, 1) for name, value in vars(found.metrics).items()},
        "chance_percent": {name: round(value, 1) for name, value in vars(found.chance).items()},
    }


def _permute(shards: Path, out: Path) -> None:
    """The same shards with each training picture's captions taken from another identity's."""
    out.mkdir()
    paths = shard_paths(shards)
    rows = permute_captions(pa.concat_tables(map(pq.read_table, paths)), SEED)
    first = 0
    for path in paths:
        count = pq.read_metadata(path).num_rows
        publish(out / path.name, encode_shard(rows.slice(first, count)))
        first += count
    for name in ("statistics.json", "done.json"):
        publish(out / name, (shards / name).read_bytes())


if __name__ == "__main__":
    main()
