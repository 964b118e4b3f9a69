"""Dual masking: two views of a caption, one without its likely noise, one without its informative words."""

from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from training.tokens import MASK, word_positions

NOT_LABELLED = -100
_MASKED_SHARE = 0.8
_KEPT_SHARE = 0.1


class View(IntEnum):
    """The masked views; a part of the key of their draws."""

    NOISE = 0
    INFORMATIVE = 1


def noise_probability(scores: Tensor, cap: float = 0.2, slope: float = 20.0, midpoint: float = 0.9) -> Tensor:
    """Probability of masking a word in the noise view: high where the score is low; [...] -> [...]."""
    return cap * torch.sigmoid(slope * ((1.0 - scores) - midpoint))


def informative_probability(
    scores: Tensor, cap: float = 0.3, slope: float = 20.0, midpoint: float = 0.1
) -> Tensor:
    """Probability of masking a word in the informative view: high where the score is high; [...] -> [...]."""
    return cap * torch.sigmoid(slope * (scores - midpoint))


def keyed_draws(seed: int, epoch: int, samples: Tensor, view: int, length: int) -> Tensor:
    """Uniform numbers in [0, 1), float32 [B, N, 2], on the device of `samples`.

    samples: int64 [B], the captions' keys. A caption's numbers depend on (seed, epoch, sample, view) and
    the position alone: not on its place in the batch, the rank, or the padded length N = `length`.
    """
    word = 2**64 - 1
    draws = np.empty((len(samples), length, 2), dtype=np.float32)
    for row, sample in zip(draws, samples.tolist(), strict=True):
        # Philox is counter-based: the key goes in as it is, and two keys never share a number. The lowest
        # word of the counter counts the numbers drawn.
        key, counter = [seed & word, epoch & word], [0, view & word, sample & word, 0]
        source = np.random.Philox(key=np.array(key, np.uint64), counter=np.array(counter, np.uint64))
        np.random.Generator(source).random(dtype=np.float32, out=row)
    return torch.from_numpy(draws).to(samples.device)


def mask_tokens(
    token_ids: Tensor, probability: Tensor, draws: Tensor, force_first: bool = False
) -> tuple[Tensor, Tensor]:
    """One masked view (docs/method.md, dual masking).

    token_ids: [B, N]; probability: [B, N]; draws: uniforms [B, N, 2]. The first draw chooses among the words
    (never start, end or padding), the second makes a chosen word the mask (80 %), a random word (10 %), or
    leaves it (10 %). force_first: where no word was chosen, position 1 becomes the mask.
    Returns new ids [B, N], and labels [B, N]: the original id where chosen, -100 elsewhere.
    """
    words = word_positions(token_ids)
    chosen = words & (draws[..., 0] < probability)
    fate = draws[..., 1]
    masked = chosen & (fate < _MASKED_SHARE)
    replaced = chosen & ~masked & (fate < 1.0 - _KEPT_SHARE)
    if force_first:
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        forced = words & (positions == 1) & ~chosen.any(dim=1, keepdim=True)
        chosen, masked = chosen | forced, masked | forced
    view = torch.where(replaced, _random_words(fate), token_ids).masked_fill(masked, MASK)
    return view, token_ids.masked_fill(~chosen, NOT_LABELLED)


def _random_words(fate: Tensor) -> Tensor:
    """Ids 1 ... MASK - 1, even over the draws that replace: those between 0.8 and 0.9."""
    share = (fate - _MASKED_SHARE) / (1.0 - _KEPT_SHARE - _MASKED_SHARE)
    return (1 + (share * (MASK - 1)).long()).clamp(1, MASK - 1)
