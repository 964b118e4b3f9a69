"""Made shards for tests: flat pictures of two colours, and captions that name them."""

import io
import itertools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from pipeline.records import ShardImage, ShardRow, to_table
from pipeline.shards import DONE, encode_shard, shard_name
from pipeline.storage import publish, publish_json
from training.config import AugmentConfig, ModelConfig, ToyConfig, TrainConfig

COLOURS = {
    "red": (200, 30, 30),
    "green": (30, 160, 40),
    "blue": (40, 50, 200),
    "white": (240, 240, 240),
    "black": (15, 15, 15),
}
OUTFITS = list(itertools.product(COLOURS, COLOURS))
"""Coat and trousers; an outfit's place in this list is the identity of whoever wears it."""
TOY_MODEL = ModelConfig(
    toy=ToyConfig(width=32, layers=2, heads=2, patch_px=8, embed_dim=32),
    image_height_px=32,
    image_width_px=16,
    decoder_layers=1,
)


def toy_config(epochs: int = 2, batch_size: int = 8, **changes: object) -> TrainConfig:
    """A small recipe in fp32, gentle augmentation and a rate at which a toy learns in some dozen steps."""
    settings: dict[str, object] = {
        "model": TOY_MODEL,
        "augment": AugmentConfig(pad_px=1, erase=0.0),
        "batch_size": batch_size,
        "epochs": epochs,
        "warmup_epochs": 1.0,
        "learning_rate": 3e-3,
        "adam_epsilon": 1e-8,
        "temperature": 0.1,
        "mtp_weight": 0.1,
        "precision": "fp32",
    }
    return TrainConfig.model_validate({**settings, **changes})


def outfit_row(split: str, number: int, identity: int | None = None, captions: int = 2) -> ShardRow:
    """One picture of outfit `number` (counted round), its colours a little off, different in each split."""
    coat, trousers = OUTFITS[number % len(OUTFITS)]
    texts = [
        f"a person in a {coat} coat and {trousers} trousers",
        f"somebody with {trousers} trousers who wears a {coat} coat",
    ]
    return shard_row(f"{split}-{number}", split, _picture(coat, trousers, split), texts[:captions], identity)


def shard_row(
    key: str, split: str, picture: bytes, captions: Sequence[str], identity: int | None = None
) -> ShardRow:
    """A row of given picture bytes and captions; all else is made up."""
    return ShardRow(
        key=key,
        image=ShardImage(bytes=picture, path=f"{key}.png"),
        captions=list(captions),
        caption_model_ids=["made"] * len(captions),
        caption_template_ids=["made"] * len(captions),
        identity=identity,
        split=split,
        url="made",
        image_sha256="made",
        score=1.0,
    )


def write_shards(folder: Path, *shards: Sequence[ShardRow]) -> Path:
    """A finished folder of the given shards."""
    for index, rows in enumerate(shards):
        table = to_table(ShardRow, list(rows))
        publish(folder / shard_name(index, len(shards)), encode_shard(table))
    publish_json(folder / DONE, {"rows": sum(len(rows) for rows in shards)})
    return folder


def write_outfits(folder: Path, counts: Mapping[str, int], permute: bool = False) -> Path:
    """One shard with `counts` pictures in each split; `permute`: in train, captions of other pictures."""
    rows = [
        outfit_row(split, number, identity=number % len(OUTFITS))
        for split, count in counts.items()
        for number in range(count)
    ]
    if permute:
        texts = [row.captions for row in rows if row.split == "train"]
        random.Random(0).shuffle(texts)
        others = iter(texts)
        rows = [
            shard_row(row.key, row.split, row.image.bytes, next(others), row.identity)
            if row.split == "train"
            else row
            for row in rows
        ]
    return write_shards(folder, rows)


def _picture(coat: str, trousers: str, salt: str) -> bytes:
    draws = random.Random(f"{coat} {trousers} {salt}")
    image = Image.new("RGB", (16, 32))
    for name, box in ((coat, (0, 0, 16, 16)), (trousers, (0, 16, 16, 32))):
        image.paste(tuple(min(255, max(0, c + draws.randint(-12, 12))) for c in COLOURS[name]), box)
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()
