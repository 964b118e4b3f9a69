"""Training shards straight from a folder of made pictures, without detector, gates and captioner."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.shards import DONE, SPLITS, STATISTICS, encode_shard, shard_name, shard_schema
from world.folder import FolderError, picture_path, read_truth
from world.pictures import encode_jpeg
from world.truth import Kind

VAL_SHARE, TEST_SHARE = 0.1, 0.2
"""Of the identities; all pictures of one fall into one split."""
ROWS_PER_SHARD = 1000
KINDS = frozenset({Kind.CURATED, Kind.VARIED, Kind.SCENE})
VISIBLE_SHARE = 0.8
"""People of whom less is visible make no pair."""
CAPTION_MODEL = "made-world-truth/1"


def write_shards(world: Path, out: Path, seed: int) -> int:
    """Cut the persons of a made world out at their true boxes and pair them with its captions.

    Splits by identity. Returns the number of pairs. Raises ValueError when there are too few identities for
    three splits, FolderError when the world is not whole or `out` holds other files.
    """
    rows = list(_rows(world))
    splits = split_identities({row["identity"] for row in rows}, VAL_SHARE, TEST_SHARE, seed)
    for row in rows:
        row["split"] = splits[row["identity"]]
    # Shuffled within each split by key, so that a shard is no run of one identity.
    rows.sort(key=lambda row: (SPLITS.index(row["split"]), hashlib.sha256(row["key"].encode()).digest()))
    _clear(out)
    count = -(-len(rows) // ROWS_PER_SHARD)
    for index in range(count):
        chunk = rows[index * ROWS_PER_SHARD : (index + 1) * ROWS_PER_SHARD]
        table = pa.Table.from_pylist(chunk, schema=shard_schema())
        (out / shard_name(index, count)).write_bytes(encode_shard(table, {"source": CAPTION_MODEL}))
    by_split = Counter(row["split"] for row in rows)
    captions = sum(len(row["captions"]) for row in rows)
    numbers = {
        "pictures": len(rows),
        "pictures_by_split": {split: by_split[split] for split in SPLITS},
        "captions": captions,
        "source": "made world: pictures look like a game",
    }
    (out / STATISTICS).write_text(json.dumps(numbers, indent=1))
    (out / DONE).write_text(json.dumps({"shards": count, **numbers}, indent=1))
    return len(rows)


def split_identities(identities: Iterable[int], val: float, test: float, seed: int) -> dict[int, str]:
    """Each identity's split: shares of all of them, shuffled by seed. Raises ValueError if one is empty."""
    shuffled = np.random.default_rng([seed, 0x5B]).permutation(sorted(identities)).tolist()
    tests, vals = round(test * len(shuffled)), round(val * len(shuffled))
    if min(tests, vals, len(shuffled) - tests - vals) < 1:
        raise ValueError(f"{len(shuffled)} identities are too few for the splits {', '.join(SPLITS)}")
    return {
        number: "test" if place < tests else "val" if place < tests + vals else "train"
        for place, number in enumerate(shuffled)
    }


def _clear(out: Path) -> None:
    """Make the folder, or empty it of older shards; the done-marker goes first."""
    out.mkdir(parents=True, exist_ok=True)
    ours = {out / DONE, out / STATISTICS, *out.glob("webperson-*.parquet")}
    for path in sorted(out.iterdir()):
        if path not in ours:
            raise FolderError(f"{path}: is no shard; take another folder")
    for path in sorted(ours):
        path.unlink(missing_ok=True)


def _rows(world: Path) -> Iterator[dict[str, Any]]:
    kinds = {row["picture"]: row["kind"] for row in read_truth(world, "pictures").to_pylist()}
    captions: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for caption in read_truth(world, "captions").to_pylist():
        captions.setdefault((caption["picture"], caption["person"]), []).append(caption)
    for person in read_truth(world, "persons").to_pylist():
        told = captions.get((person["picture"], person["person"]), [])
        if kinds[person["picture"]] not in KINDS or person["visible_share"] < VISIBLE_SHARE or not told:
            continue
        data = picture_path(world, person["picture"]).read_bytes()
        key = f"{person['picture']}-{person['person']:02d}"
        yield {
            "key": key,
            "image": {"bytes": _crop(data, person["box_xyxy_px"]), "path": f"{key}.jpg"},
            "captions": [caption["text"] for caption in told],
            "caption_model_ids": [CAPTION_MODEL] * len(told),
            "caption_template_ids": [caption["template_id"] for caption in told],
            "identity": person["identity"],
            "url": f"made:{person['picture']}",
            "image_sha256": hashlib.sha256(data).hexdigest(),
            "score": 1.0,
        }


def _crop(data: bytes, box: list[float]) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        left, top, right, bottom = (round(corner) for corner in box)
        return encode_jpeg(image.convert("RGB").crop((left, top, right, bottom)), quality=95)
