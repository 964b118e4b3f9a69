"""The gradient-attention similarity score (GASS) of each word of a caption (docs/method.md, GASS).

Shapes: B captions, N positions, D text width, L scored layers; e is a caption's end position.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from training.config import GassConfig
from training.end_token import Captions, TextTower, Trace, trace_end_token


class Scores(NamedTuple):
    """Scores of a batch, and what went wrong with them."""

    values: Tensor
    """[B, N] in [0, 1]; 0 at start, end and padding."""
    nonfinite: Tensor
    """bool [B]: captions whose importance was not finite; their scores are 0."""


def eos_gradients(
    text_tower: TextTower, token_ids: Tensor, image_features: Tensor, last_layers: int = 8
) -> Tensor:
    """Gradient of cos(text, image) by the end token's attention output, before its projection (Grad-ECLIP).

    token_ids: [B, N]; image_features: [B, D'], one row a caption. Returns fp32 [L, B, D]; L is the tower's
    depth where that is less than last_layers. The model's own gradients stay untouched.
    """
    traces = trace_end_token(
        text_tower, Captions.without_padding(token_ids), image_features, last_layers, one_head=False
    )
    return torch.stack([trace.gradient for trace in traces])


def score_tokens(
    text_tower: TextTower,
    token_ids: Tensor,
    image_features: Tensor,
    last_layers: int = 8,
    scales: tuple[int, ...] = (1, 2),
    normalize: Literal["caption", "batch"] = "caption",
) -> Tensor:
    """The score of each word, fp32 [B, N] in [0, 1]; 0 at start, end and padding.

    Arguments as in `eos_gradients`. Padding never changes a score, and with normalize="caption" neither do
    the other captions; "batch" divides by the batch's maximum instead, as released.
    """
    settings = GassConfig(last_layers=last_layers, scales=scales, normalize=normalize)
    return score_captions(text_tower, token_ids, image_features, settings).values


def score_captions(
    text_tower: TextTower, token_ids: Tensor, image_features: Tensor, settings: GassConfig
) -> Scores:
    """`score_tokens` with all settings (the released form too), and the captions that had to be given up."""
    released = settings.form == "released"
    captions = Captions.with_padding(token_ids) if released else Captions.without_padding(token_ids)
    traces = trace_end_token(text_tower, captions, image_features, settings.last_layers, one_head=released)
    pooling = pooling_matrix(captions.lengths, captions.ids.shape[1], settings.scales)
    with torch.autocast(token_ids.device.type, enabled=False):
        total = torch.stack([_layer_importance(t, captions, pooling, released) for t in traces]).sum(dim=0)
        scores = _normalised(total, captions.words, settings.normalize)
    return scores._replace(
        values=functional.pad(scores.values, (0, token_ids.shape[1] - scores.values.shape[1]))
    )


def pooling_matrix(lengths: Tensor, size: int, scales: tuple[int, ...]) -> Tensor:
    """Multi-scale pooling as a matrix a caption: fp32 [B, size, size], mean over the scales (GASS, step 2).

    lengths: [B]. Rows and columns at and beyond a caption's length are 0, and so is what padding holds.
    """
    position = torch.arange(size, device=lengths.device)
    inside = (position < lengths[:, None]).float()
    pooled = sum(
        (_one_scale(lengths, position, scale) for scale in scales), torch.zeros((), device=inside.device)
    )
    return pooled / len(scales) * inside[:, :, None] * inside[:, None, :]


def _one_scale(lengths: Tensor, position: Tensor, scale: int) -> Tensor:
    """Means of segments of `scale` positions, then linearly resampled to n points (align_corners=False)."""
    n = lengths[:, None].float()
    m = (lengths[:, None] + scale - 1).div(scale, rounding_mode="floor")
    source = ((position + 0.5) * m / n - 0.5).clamp(min=0.0).minimum(m - 1.0)
    # Weight of segment s at point i: linear in the distance to its centre.
    weight = (1.0 - (source[:, :, None] - position).abs()).clamp(min=0.0)
    segment = position.div(scale, rounding_mode="floor")
    size = (lengths[:, None] - segment * scale).clamp(min=1, max=scale)
    return weight[:, :, segment] / size[:, None, :]


def _layer_importance(trace: Trace, captions: Captions, pooling: Tensor, released: bool) -> Tensor:
    """S_g · S_a of one layer, 0 outside words; [B, N] (steps 2 to 5)."""
    rows = torch.arange(len(pooling), device=pooling.device)
    q_end = torch.einsum("bn,bnd->bd", pooling[rows, captions.ends], trace.q)
    a = functional.cosine_similarity(q_end[:, None], pooling @ trace.k, dim=-1)
    w = _min_max(a, captions.counted)
    s_g = w * torch.einsum("bnd,bd->bn", trace.v, trace.gradient)
    attention = trace.attention.masked_fill(~captions.words, 0.0)
    if released:
        s_a = attention / (s_g.sum(dim=1, keepdim=True) + 1e-8)
    else:
        divisor = attention.sum(dim=1, keepdim=True)
        s_a = torch.where(divisor == 0, 0.0, attention / divisor)
    return (s_g * s_a).masked_fill(~captions.words, 0.0)


def _normalised(total: Tensor, words: Tensor, normalize: str) -> Scores:
    """Steps 6 and 7: total is the sum over layers, [B, N], 0 outside words."""
    nonfinite = ~total.isfinite().all(dim=1)
    importance = total.masked_fill(nonfinite[:, None], 0.0).relu()
    if normalize == "batch":
        highest = importance.max()
        return Scores(torch.where(highest > 0, importance / highest, 0.0), nonfinite)
    return Scores(_min_max(importance, words), nonfinite)


def _min_max(x: Tensor, counted: Tensor) -> Tensor:
    """(x - min) / (max - min) over the counted positions of each row; 0 elsewhere and where x is flat."""
    low = x.masked_fill(~counted, torch.inf).amin(dim=1, keepdim=True)
    high = x.masked_fill(~counted, -torch.inf).amax(dim=1, keepdim=True)
    return torch.where(counted & (high != low), (x - low) / (high - low), 0.0)
