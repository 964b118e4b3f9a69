"""The losses of GA-DMS as pure functions: similarity distribution matching, masked token prediction."""

import torch
from torch import Tensor
from torch.nn import functional

from training.masking import NOT_LABELLED


def sdm_loss(
    image_features: Tensor,
    text_features: Tensor,
    ids: Tensor,
    temperature: float = 0.02,
    epsilon: float = 1e-8,
) -> Tensor:
    """Similarity distribution matching, both directions, in fp32 (IRRA, CVPR 2023, equations 2-4).

    image_features, text_features: [B, D], of any length; ids: [B], pairs with equal ids match. Scalar.
    KL(p || q) of p = softmax(cosine / temperature) against q = the matches of a row, shared evenly.
    """
    with torch.autocast(image_features.device.type, enabled=False):
        images = functional.normalize(image_features.float(), dim=-1)
        texts = functional.normalize(text_features.float(), dim=-1)
        logits = images @ texts.T / temperature
        matches = (ids[:, None] == ids[None, :]).float()
        log_targets = torch.log(matches / matches.sum(dim=1, keepdim=True) + epsilon)
        return _divergence(logits, log_targets) + _divergence(logits.T, log_targets)


def _divergence(logits: Tensor, log_targets: Tensor) -> Tensor:
    log_p = logits.log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_targets)).sum(dim=1).mean()


def mtp_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Masked token prediction: cross-entropy in fp32, mean over the labels. Scalar.

    logits: [..., V]; labels: [...], -100 is not a label. Without a label the loss and its gradient are 0.
    """
    total = functional.cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), ignore_index=NOT_LABELLED, reduction="sum"
    )
    return total / (labels != NOT_LABELLED).sum().clamp(min=1)
