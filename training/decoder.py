"""The cross-modal decoder: words of a masked caption ask the picture, and a head names the masked ones."""

from typing import Any

import torch
from open_clip.transformer import LayerNorm, QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn

from training.masking import NOT_LABELLED


class CrossModalDecoder(nn.Module):
    """IRRA's multimodal interaction encoder and head (CVPR 2023, section 3.2), with padding masked.

    One cross-attention without a residual around it (queries: text; keys and values: image), transformer
    layers, a head to the vocabulary. `width` is D, with D / 64 heads.
    """

    def __init__(self, width: int, layers: int, vocabulary: int) -> None:
        super().__init__()
        heads = max(1, width // 64)
        self.ln_text = LayerNorm(width)
        self.ln_image = LayerNorm(width)
        self.cross_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.layers = nn.ModuleList(
            ResidualAttentionBlock(width, heads, act_layer=QuickGELU) for _ in range(layers)
        )
        self.ln_out = LayerNorm(width)
        self.head = nn.Sequential(
            nn.Linear(width, width), QuickGELU(), LayerNorm(width), nn.Linear(width, vocabulary)
        )
        self._initialise(width, layers)

    def forward(self, text: Tensor, image: Tensor, labels: Tensor, padding: Tensor | None) -> Tensor:
        """Logits [M, V] of the M labelled positions, in the order of `labels[labels != -100]`.

        text: [B, N, D]; image: [B, P, D]; labels: [B, N]; padding: bool [B, N], True where no word may look
        (None: words may look at padding).
        """
        keys = self.ln_image(image)
        x = self.cross_attention(self.ln_text(text), keys, keys, need_weights=False)[0]
        for layer in self.layers[:-1]:
            x = _decode(layer, x, x, padding)
        # Only labelled positions are read from here on; the last layer asks for no others.
        slots, used = labelled_slots(labels)
        queries = x.gather(1, slots[..., None].expand(-1, -1, x.shape[-1]))
        x = _decode(self.layers[-1], queries, x, padding)
        logits: Tensor = self.head(self.ln_out(x[used]))
        return logits

    def _initialise(self, width: int, layers: int) -> None:
        attention, output, fan = width**-0.5, width**-0.5 * (2 * layers) ** -0.5, (2 * width) ** -0.5
        blocks: list[Any] = list(self.layers)
        for module in [self.cross_attention, *(block.attn for block in blocks)]:
            nn.init.normal_(module.in_proj_weight, std=attention)
            nn.init.normal_(module.out_proj.weight, std=output)
        for block in blocks:
            nn.init.normal_(block.mlp.c_fc.weight, std=fan)
            nn.init.normal_(block.mlp.c_proj.weight, std=output)
        nn.init.normal_(self.head[0].weight, std=fan)  # type: ignore[arg-type]
        nn.init.normal_(self.head[-1].weight, std=output)  # type: ignore[arg-type]


def labelled_slots(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Labelled positions of each caption, packed to the left; [B, N] -> positions [B, m], used bool [B, m].

    m is the largest number of labels of a caption, at least 1; unused slots point at some position.
    """
    labelled = labels != NOT_LABELLED
    counts = labelled.sum(dim=1)
    size = max(1, int(counts.max()))
    positions = labelled.int().argsort(dim=1, descending=True, stable=True)[:, :size]
    return positions, torch.arange(size, device=labels.device) < counts[:, None]


def _decode(layer: Any, queries: Tensor, x: Tensor, padding: Tensor | None) -> Tensor:
    """One pre-norm transformer layer whose queries may be fewer than its keys."""
    keys = layer.ln_1(x)
    asked = keys if queries is x else layer.ln_1(queries)
    attended = layer.attn(asked, keys, keys, key_padding_mask=padding, need_weights=False)[0]
    y = queries + attended
    out: Tensor = y + layer.mlp(layer.ln_2(y))
    return out
