"""The model: CLIP on a tall grid, its tokens in the shared width, and the cross-modal decoder.

Shapes: B captions, I images, N text positions, P image tokens (class first), D shared width, V vocabulary.
"""

from typing import Any

import open_clip
import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from training.config import ModelConfig, ToyConfig
from training.decoder import CrossModalDecoder
from training.end_token import project_text
from training.tokens import END, VOCABULARY, end_positions, trim


class ModelError(ValueError):
    """A model that cannot be built; the message is one line naming the setting."""


class GaDms(nn.Module):
    """CLIP and the decoder; knows nothing of scores, masks, losses and processes."""

    def __init__(self, clip: Any, config: ModelConfig) -> None:
        super().__init__()
        self.clip = clip
        width = clip.visual.output_dim
        self.decoder = CrossModalDecoder(width, config.decoder_layers, clip.vocab_size)
        self.decoder_padding_mask = config.decoder_padding_mask
        # The temperature is fixed: CLIP's own is not trained, and not decayed.
        clip.logit_scale.requires_grad_(False)

    @property
    def text_tower(self) -> Any:
        """What carries open_clip's text attributes."""
        return self.clip

    def encode_image(self, images: Tensor) -> Tensor:
        """[I, 3, H, W] -> [I, D], the class token; not normalised."""
        features: Tensor = self.clip.encode_image(images)
        return features

    def encode_text(self, token_ids: Tensor) -> Tensor:
        """[B, N] -> [B, D], the end token; not normalised. The batch is cut to its longest caption."""
        token_ids = trim(token_ids)
        hidden = _at(self._text_hidden(token_ids), end_positions(token_ids))
        return project_text(self.clip, self.clip.ln_final(hidden))

    def image_tokens(self, images: Tensor) -> Tensor:
        """[I, 3, H, W] -> [I, P, D]: ln_post and projection on every token; token 0 is `encode_image`."""
        visual = self.clip.visual
        found = visual.forward_intermediates(
            images, indices=1, normalize_intermediates=True, intermediates_only=True,
            output_fmt="NLC", output_extra_tokens=True,
        )  # fmt: skip
        tokens = torch.cat([found["image_intermediates_prefix"][0], found["image_intermediates"][0]], dim=1)
        projected: Tensor = tokens @ visual.proj
        return projected

    def text_tokens(self, token_ids: Tensor) -> Tensor:
        """[B, N] -> [B, N, D]: ln_final and projection on every token; token e is `encode_text`."""
        return project_text(self.clip, self.clip.ln_final(self._text_hidden(token_ids)))

    def word_logits(
        self, token_ids: Tensor, labels: Tensor, text_tokens: Tensor, image_tokens: Tensor
    ) -> Tensor:
        """Logits [M, V] of the M labelled positions, in the order of `labels[labels != -100]`.

        token_ids, labels: [B, N]; text_tokens: [B, N, D]; image_tokens: [B, P, D].
        """
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        padding = positions > end_positions(token_ids)[:, None] if self.decoder_padding_mask else None
        logits: Tensor = self.decoder(text_tokens, image_tokens, labels, padding)
        return logits

    def _text_hidden(self, token_ids: Tensor) -> Tensor:
        clip, length = self.clip, token_ids.shape[1]
        x = clip.token_embedding(token_ids) + clip.positional_embedding[:length]
        hidden: Tensor = clip.transformer(x, attn_mask=clip.attn_mask[:length, :length])
        return hidden


def _at(x: Tensor, positions: Tensor) -> Tensor:
    """One position of each row: [B, N, D], [B] -> [B, D]."""
    return x[torch.arange(len(x), device=x.device), positions]


def build_model(config: ModelConfig) -> GaDms:
    """The model of a recipe, fp32, on the CPU; random parts are drawn from torch's generator.

    Raises ModelError for an unknown architecture, weights that cannot be had, or a tower of another kind.
    """
    clip = _toy(config.toy, config.patch_dropout) if config.toy else _named(config)
    visual = clip.visual if isinstance(clip, open_clip.CLIP) else None
    if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None or visual.pool_type != "tok":
        raise ModelError(
            f"model.architecture: {config.architecture} has no class token to read a picture from"
        )
    if clip.attn_mask is None or clip.vocab_size <= END:
        raise ModelError(
            f"model.architecture: {config.architecture} has no causal text tower with CLIP's vocabulary"
        )
    resize_positions(visual, config)
    if config.gradient_checkpointing:
        clip.set_grad_checkpointing()
    return GaDms(clip, config)


def _named(config: ModelConfig) -> Any:
    try:
        return open_clip.create_model(
            config.architecture, pretrained=config.pretrained, force_patch_dropout=config.patch_dropout
        )
    except (RuntimeError, OSError) as error:
        cause = str(error).splitlines()[0][:200]
        raise ModelError(
            f"model: cannot load {config.architecture} with weights {config.pretrained}: {cause}"
        ) from error


def _toy(toy: ToyConfig, patch_dropout: float) -> Any:
    vision = {
        "image_size": 4 * toy.patch_px, "patch_size": toy.patch_px, "patch_dropout": patch_dropout,
        "layers": toy.layers, "width": toy.width, "head_width": toy.width // toy.heads,
    }  # fmt: skip
    text = {"vocab_size": VOCABULARY, "layers": toy.layers, "width": toy.width, "heads": toy.heads}
    return open_clip.CLIP(toy.embed_dim, vision, text, quick_gelu=True)


def resize_positions(visual: Any, config: ModelConfig) -> None:
    """Fit the position embedding of an image tower to the recipe's picture size, in place.

    Raises ModelError if the picture is not a whole number of patches.
    """
    (patch_height, patch_width), size = visual.patch_size, (config.image_height_px, config.image_width_px)
    if size[0] % patch_height or size[1] % patch_width:
        raise ModelError(
            f"model.image_height_px, image_width_px: {size} is not a multiple of the patch {patch_height}"
        )
    grid = (size[0] // patch_height, size[1] // patch_width)
    if grid != tuple(visual.grid_size):
        old = visual.positional_embedding.detach()
        mode = {"bicubic_antialias": "bicubic", "bilinear": "bilinear"}[config.position_resize]
        image = old[1:].T.reshape(1, -1, *visual.grid_size)
        image = functional.interpolate(
            image, size=grid, mode=mode, antialias=mode == "bicubic", align_corners=False
        )
        visual.positional_embedding = nn.Parameter(torch.cat([old[:1], image[0].flatten(1).T]))
    visual.image_size, visual.grid_size = size, grid
