"""Text → image retrieval on one split: the numbers, what chance would score, and what they mean."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipeline.recipe import trace
from pipeline.storage import publish_json
from training.config import ModelConfig, TrainConfig
from training.data import ShardSplit, load_captions, load_pictures
from training.metrics import RetrievalMetrics, chance_metrics, retrieval_metrics_of_features
from training.model import GaDms
from training.tokens import CaptionTokenizer


@dataclass(frozen=True)
class Evaluation:
    """Retrieval on one split: every caption is a query, every picture stands once in the gallery."""

    shards: str
    split: str
    queries: int
    gallery: int
    persons: int
    """Different persons in the gallery, as far as anybody knows."""
    metrics: RetrievalMetrics
    chance: RetrievalMetrics
    """What a random ranking scores on the same queries and gallery."""
    note: str
    """Whether the identities are known."""


def evaluate(
    model: GaDms, split: ShardSplit, config: ModelConfig, batch_size: int = 64, threads: int = 0
) -> Evaluation:
    """Encode a split in fp32 and score it by cosine; the model comes back in the mode it was in.

    `batch_size`: pictures, and captions, encoded at once; `threads` decode pictures ahead.
    Raises ShardError for a picture that cannot be decoded, MetricsError for features that are not finite.
    """
    training = model.training
    model.eval()
    try:
        texts, pictures = _features(model, split, config, batch_size, threads)
    finally:
        model.train(training)
    query_ids = split.ids[split.rows]
    return Evaluation(
        shards=str(split.folder),
        split=split.name,
        queries=split.samples,
        gallery=split.pictures,
        persons=len(set(split.ids.tolist())),
        metrics=retrieval_metrics_of_features(texts, pictures, query_ids, split.ids),
        chance=chance_metrics(query_ids, split.ids),
        note=identity_note(split),
    )


def publish_evaluation(path: Path, evaluation: Evaluation, config: TrainConfig, checkpoint: Path) -> None:
    """Write an evaluation as JSON, with the recipe that trained the checkpoint."""
    publish_json(path, {**trace(config), "checkpoint": str(checkpoint), "evaluation": asdict(evaluation)})


def identity_note(split: ShardSplit) -> str:
    """One sentence that every table of this split has to carry."""
    known, pictures = split.known_identities, split.pictures
    if known == pictures:
        return "identities are known: every picture of the described person is a match"
    if known == 0:
        return "no identity is known: every picture counts as its own person, and its captions match it alone"
    return f"only {known} of {pictures} identities are known: every other picture counts as its own person"


@torch.inference_mode()
def _features(
    model: GaDms, split: ShardSplit, config: ModelConfig, batch_size: int, threads: int
) -> tuple[Tensor, Tensor]:
    """Features of all captions [samples, D] and of all pictures [pictures, D], fp32, on the CPU."""
    device = next(model.parameters()).device
    encode = CaptionTokenizer().encode
    texts = [
        model.encode_text(encode(captions).to(device)).cpu() for captions in load_captions(split, batch_size)
    ]
    size = (config.image_height_px, config.image_width_px)
    pictures = [
        model.encode_image(images.to(device)).cpu()
        for images in load_pictures(split, size, batch_size, threads)
    ]
    return torch.cat(texts), torch.cat(pictures)
