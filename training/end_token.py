"""One way through the text tower that tells how the image-text similarity hangs on the end token's attention.

With causal attention the similarity depends on a layer's attention output at the end token alone: earlier
tokens never see it. So one forward without gradients keeps queries, keys and values; then the end token by
itself goes through the read layers, as in decoding with a cache, and is differentiated: one query a layer,
one backward pass.

Shapes: B captions, N positions, D text width; e is a caption's end position.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.tokens import end_positions, trim, word_positions

TextTower = Any
"""Whatever has open_clip's text attributes; open_clip is untyped, and a whole CLIP will do."""


@dataclass(frozen=True)
class Captions:
    """A batch of captions, and which positions count."""

    ids: Tensor
    """[B, N]."""
    ends: Tensor
    """[B]."""
    lengths: Tensor
    """[B], n: how many positions count."""
    counted: Tensor
    """bool [B, N]: the first n positions."""
    words: Tensor
    """bool [B, N]: positions 1 ... e - 1."""

    @classmethod
    def without_padding(cls, token_ids: Tensor) -> "Captions":
        """Cut to the longest caption; n = e + 1, and what stood in the padding is forgotten."""
        ids = trim(token_ids)
        ends = end_positions(ids)
        counted = torch.arange(ids.shape[1], device=ids.device) <= ends[:, None]
        return cls(torch.where(counted, ids, ids[:, :1]), ends, ends + 1, counted, word_positions(ids))

    @classmethod
    def with_padding(cls, token_ids: Tensor) -> "Captions":
        """As the authors' code scores them: padding counts like any other position, n = N."""
        ends = end_positions(token_ids)
        lengths = torch.full_like(ends, token_ids.shape[1])
        counted = torch.ones_like(token_ids, dtype=torch.bool)
        return cls(token_ids, ends, lengths, counted, word_positions(token_ids))


@dataclass(frozen=True)
class Trace:
    """What one layer leaves behind for the end tokens, in fp32."""

    gradient: Tensor
    """[B, D], of the similarity by the attention output at e."""
    q: Tensor
    k: Tensor
    v: Tensor
    """[B, N, D], heads side by side."""
    attention: Tensor
    """[B, N], from e, mean over heads."""


def trace_end_token(
    tower: TextTower, captions: Captions, image_features: Tensor, last_layers: int, one_head: bool
) -> list[Trace]:
    """What each of the last layers leaves behind, first layer first.

    image_features: [B, D'], constants. one_head: attend with a single head in these layers (released).
    Raises ValueError for a tower that is not causal, and for rows that do not fit together.
    """
    if last_layers < 1:
        raise ValueError(f"last_layers: at least one layer is scored, not {last_layers}")
    if len(image_features) != len(captions.ids):
        raise ValueError(f"image_features: {len(image_features)} rows for {len(captions.ids)} captions")
    _check_tower(tower)
    memory, entry = _remember(tower, captions, last_layers, one_head)
    return _follow_end(tower, captions, image_features.detach(), memory, entry, one_head)


def _check_tower(tower: TextTower) -> None:
    if not all(isinstance(block.attn, nn.MultiheadAttention) for block in tower.transformer.resblocks):
        raise ValueError(
            "text_tower: GASS reads torch's MultiheadAttention; this tower attends in another way"
        )
    mask = tower.attn_mask
    if mask is None or not torch.equal(torch.isneginf(mask), torch.ones_like(mask, dtype=torch.bool).triu(1)):
        raise ValueError("text_tower: GASS needs causal attention, so that only the end token sees itself")


@torch.no_grad()
def _remember(
    tower: TextTower, captions: Captions, last_layers: int, one_head: bool
) -> tuple[list[tuple[Tensor, Tensor, Tensor]], Tensor]:
    """q, k, v ([B, N, D] each) of the scored layers, and the end tokens [B, D] on entering the first."""
    ids = captions.ids
    x = tower.token_embedding(ids) + tower.positional_embedding[: ids.shape[1]]
    blocks = list(tower.transformer.resblocks)
    first = max(0, len(blocks) - last_layers)
    memory = []
    for depth, block in enumerate(blocks):
        if depth == first:
            entry = x[torch.arange(len(ids), device=ids.device), captions.ends]
        projected = _project(block, x)
        if depth >= first:
            memory.append(projected)
        if depth < len(blocks) - 1:
            heads = 1 if one_head and depth >= first else block.attn.num_heads
            q, k, v = (_split(t, heads).transpose(1, 2) for t in projected)
            o = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
            x = _finish(block, x, o)
    return memory, entry


@torch.enable_grad()
def _follow_end(
    tower: TextTower,
    captions: Captions,
    image_features: Tensor,
    memory: list[tuple[Tensor, Tensor, Tensor]],
    entry: Tensor,
    one_head: bool,
) -> list[Trace]:
    """The end tokens alone through the scored layers, and the gradients at their attention outputs."""
    positions = torch.arange(captions.ids.shape[1], device=entry.device)
    is_end, beyond = positions == captions.ends[:, None], positions > captions.ends[:, None]
    x = entry
    outputs: list[Tensor] = []
    attentions: list[Tensor] = []
    for block, (_, keys, values) in zip(tower.transformer.resblocks[-len(memory) :], memory, strict=True):
        q, k, v = _project(block, x)
        # Its own key and value carry the gradient; all earlier ones are constants.
        k = torch.where(is_end[..., None], k[:, None], keys)
        v = torch.where(is_end[..., None], v[:, None], values)
        o, attention = _attend(q, k, v, beyond, 1 if one_head else block.attn.num_heads)
        if not outputs:
            o = o.detach().requires_grad_()
        outputs.append(o)
        attentions.append(attention.detach().float())
        x = _finish(block, x, o)
    text_features = project_text(tower, tower.ln_final(x))
    similarity = functional.cosine_similarity(text_features.float(), image_features.float(), dim=-1)
    gradients = torch.autograd.grad(similarity.sum(), outputs)
    return [
        Trace(gradient=g.float(), q=q.float(), k=k.float(), v=v.float(), attention=a)
        for g, (q, k, v), a in zip(gradients, memory, attentions, strict=True)
    ]


def _project(block: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    attn = block.attn
    q, k, v = functional.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=-1)
    return q, k, v


def _attend(q: Tensor, k: Tensor, v: Tensor, beyond: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """One query a caption: q [B, D], k, v [B, N, D] -> output [B, D], attention [B, N] (mean of heads)."""
    q, k, v = _split(q, heads), _split(k, heads), _split(v, heads)
    logits = torch.einsum("bhc,bnhc->bhn", q, k) * q.shape[-1] ** -0.5
    attention = logits.masked_fill(beyond[:, None], -torch.inf).softmax(dim=-1)
    return torch.einsum("bhn,bnhc->bhc", attention, v).flatten(1), attention.mean(dim=1)


def _split(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)


def _finish(block: Any, x: Tensor, o: Tensor) -> Tensor:
    """The rest of a layer after its attention: projection, residual, MLP."""
    x = x + block.ls_1(block.attn.out_proj(o))
    out: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
    return out


def project_text(tower: TextTower, x: Tensor) -> Tensor:
    """Text features after ln_final into the shared width: [..., D] -> [..., D']."""
    projection = tower.text_projection
    if projection is None:
        return x
    out: Tensor = projection(x) if isinstance(projection, nn.Linear) else x @ projection
    return out
