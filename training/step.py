"""The GA-DMS step: three views of each caption, two losses (Zheng et al., EMNLP 2025; docs/method.md).

Shapes: I images, B captions, N text positions, P image tokens, D shared width. e is a caption's end position.
"""

from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor

from training.config import TrainConfig, ViewConfig
from training.gass import score_captions
from training.losses import mtp_loss, sdm_loss
from training.masking import (
    NOT_LABELLED,
    View,
    informative_probability,
    keyed_draws,
    mask_tokens,
    noise_probability,
)
from training.model import GaDms
from training.tokens import end_positions, trim, word_positions


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Captions and the images they describe."""

    images: Tensor
    """[I, 3, H, W], normalised."""
    token_ids: Tensor
    """int64 [B, N]."""
    image_index: Tensor
    """int64 [B], the row of each caption's image; two captions may share one."""
    ids: Tensor
    """int64 [B]; an image and a caption with the same id match."""
    samples: Tensor
    """int64 [B], the captions' keys, from which their masks are drawn; stays on the CPU."""

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        names = (field.name for field in fields(self) if field.name != "samples")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Scalars that carry gradients."""

    total: Tensor
    sdm: Tensor
    mtp: Tensor


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What happened in a step on this process: scalars without gradients, on the device."""

    sdm: Tensor
    mtp: Tensor
    total: Tensor
    score: Tensor
    """Mean score of a word."""
    noise_share: Tensor
    """Share of words chosen in the noise view."""
    informative_share: Tensor
    """Share of words chosen in the informative view."""
    labels: Tensor
    """Labels of masked token prediction."""
    nonfinite: Tensor
    """Captions given up by the score."""


class Ranks(Protocol):
    """What a step asks of the other processes."""

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all ranks, in rank order; gradients flow back to every rank."""
        ...

    def mean(self, value: Tensor) -> Tensor:
        """The mean over ranks of a value without gradient."""
        ...


class Alone:
    """One process: its rows are all rows."""

    def gather(self, rows: Tensor) -> Tensor:
        return rows

    def mean(self, value: Tensor) -> Tensor:
        return value


def ga_dms_step(
    model: GaDms, batch: Batch, config: TrainConfig, epoch: int, ranks: Ranks | None = None
) -> tuple[Losses, StepReport]:
    """The losses of one batch, before the backward pass.

    Autocast, if any, is the caller's. Masks are drawn from (config.seed, epoch, sample, view). With several
    ranks, `losses.total` is such that the mean of the ranks' gradients is that of one process with all rows.
    """
    ranks = ranks or Alone()
    images = model.image_tokens(batch.images)[batch.image_index]
    features = images[:, 0]

    # Original view: the scores only.
    ids = batch.token_ids
    scores = score_captions(model.text_tower, ids, features, config.gass)
    if model.decoder_padding_mask:
        ids = trim(ids)
    s = scores.values[:, : ids.shape[1]]

    # Two masked views from untouched captions.
    noise, informative = config.masks.noise, config.masks.informative
    p_noise = noise_probability(s, noise.cap, noise.slope, noise.midpoint)
    p_informative = informative_probability(s, informative.cap, informative.slope, informative.midpoint)
    noise_ids, noise_labels = _draw(ids, p_noise, batch.samples, config.seed, epoch, View.NOISE, noise)
    word_ids, labels = _draw(
        ids, p_informative, batch.samples, config.seed, epoch, View.INFORMATIVE, informative
    )

    # The noise view alone meets the images.
    if config.mtp_weight > 0:
        texts, words = model.text_tokens(torch.cat([noise_ids, word_ids])).chunk(2)
        texts = texts[torch.arange(len(ids), device=ids.device), end_positions(ids)]
    else:
        texts = model.encode_text(noise_ids)
    sdm = sdm_loss(
        ranks.gather(features),
        ranks.gather(texts),
        ranks.gather(batch.ids),
        config.temperature,
        config.sdm_epsilon,
    )

    # The informative view gives back its words.
    count = (labels != NOT_LABELLED).sum()
    mtp = sdm.new_zeros(())
    if config.mtp_weight > 0:
        logits = model.word_logits(word_ids, labels, words, images)
        share = count / ranks.mean(count.float()).clamp(min=1e-8)
        mtp = mtp_loss(logits, labels[labels != NOT_LABELLED]) * share
    losses = Losses(total=sdm + config.mtp_weight * mtp, sdm=sdm, mtp=mtp)

    word_count = word_positions(ids).sum().clamp(min=1)
    report = StepReport(
        sdm=sdm.detach(),
        mtp=mtp.detach(),
        total=losses.total.detach(),
        score=s.sum() / word_count,
        noise_share=(noise_labels != NOT_LABELLED).sum() / word_count,
        informative_share=count / word_count,
        labels=count,
        nonfinite=scores.nonfinite.sum(),
    )
    return losses, report


def _draw(
    ids: Tensor, probability: Tensor, samples: Tensor, seed: int, epoch: int, view: View, settings: ViewConfig
) -> tuple[Tensor, Tensor]:
    draws = keyed_draws(seed, epoch, samples, view, ids.shape[1]).to(ids.device)
    return mask_tokens(ids, probability, draws, settings.force_first)
