"""Toy models and batches with random weights, for the tests of training."""

import open_clip
import torch
from torch import Tensor

from training.config import ModelConfig, ToyConfig, TrainConfig
from training.model import GaDms, build_model
from training.step import Batch
from training.tokens import END, START

TOY_MODEL = ModelConfig(
    toy=ToyConfig(width=64, layers=3, heads=4, embed_dim=64),
    image_height_px=96,
    image_width_px=32,
    decoder_layers=2,
)


def toy_clip(layers: int = 4, seed: int = 0) -> open_clip.CLIP:
    """A CLIP of width 64, its text weights large enough for attention to differ between positions."""
    torch.manual_seed(seed)
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    clip = open_clip.CLIP(48, vision, {"layers": layers, "width": 64, "heads": 4}, quick_gelu=True)
    torch.nn.init.normal_(clip.token_embedding.weight, std=0.5)
    for block in clip.transformer.resblocks:
        torch.nn.init.normal_(block.attn.in_proj_weight, std=0.3)
        torch.nn.init.normal_(block.attn.in_proj_bias, std=0.1)
        torch.nn.init.normal_(block.attn.out_proj.weight, std=0.2)
        torch.nn.init.normal_(block.ln_1.bias, std=0.1)
    return clip


def toy_model(seed: int = 0) -> GaDms:
    """GA-DMS of a three-layer toy CLIP; 6 × 2 patches."""
    torch.manual_seed(seed)
    return build_model(TOY_MODEL)


def captions(*word_counts: int, length: int = 77, seed: int = 0) -> Tensor:
    """Ids of random captions with these numbers of words, [B, length]."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(len(word_counts), length, dtype=torch.int64)
    for row, count in zip(ids, word_counts, strict=True):
        words = torch.randint(1, 40000, (count,), generator=generator)
        row[: count + 2] = torch.tensor([START, *words.tolist(), END])
    return ids


def toy_batch(*word_counts: int, images: int | None = None, seed: int = 0) -> Batch:
    """Random pictures and captions; captions are dealt to the images in turn."""
    count, images = len(word_counts), images or len(word_counts)
    generator = torch.Generator().manual_seed(seed)
    index = torch.arange(count) % images
    return Batch(
        images=torch.randn(images, 3, 96, 32, generator=generator),
        token_ids=captions(*word_counts, seed=seed),
        image_index=index,
        ids=index + 100,
        samples=torch.arange(count) + 1000,
    )


def toy_recipe(**changes: object) -> TrainConfig:
    """The paper's recipe on the toy model."""
    return TrainConfig.model_validate({"model": TOY_MODEL, "batch_size": 4, **changes})
