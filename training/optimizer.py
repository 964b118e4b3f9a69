"""Adam, its learning rate at each step, the gradient's norm, and compiled blocks."""

import math

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from training.config import TrainConfig


def adam(model: nn.Module, config: TrainConfig) -> torch.optim.Adam:
    """Adam with coupled weight decay on every parameter, one learning rate for all; fused where torch can."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.Adam(
        parameters,
        lr=config.learning_rate,
        betas=config.adam_betas,
        eps=config.adam_epsilon,
        weight_decay=config.weight_decay,
        fused=all(parameter.device.type in ("cpu", "cuda") for parameter in parameters),
    )


def learning_rate(config: TrainConfig, step: int, epoch_steps: int) -> float:
    """The rate of step `step` (from 0): linear warm-up, then a cosine to 0. (docs/method.md, two recipes)"""
    epoch = step / epoch_steps if config.schedule == "step" else float(step // epoch_steps)
    if epoch < config.warmup_epochs:
        share = config.warmup_start + (1 - config.warmup_start) * epoch / config.warmup_epochs
    else:
        gone = (epoch - config.warmup_epochs) / (config.epochs - config.warmup_epochs)
        share = (1 + math.cos(math.pi * gone)) / 2
    return config.learning_rate * share


def gradient_norm(model: nn.Module, clip_norm: float | None) -> float:
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if clip_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
    return norm.item()


def compile_blocks(model: nn.Module) -> None:
    """Compile the transformer blocks in place: a small graph each, and the weights keep their names."""
    for module in model.modules():
        if isinstance(module, ResidualAttentionBlock):
            module.compile()
