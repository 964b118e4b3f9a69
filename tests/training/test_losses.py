"""The losses against loops, and against a case done by hand."""

import math

import pytest
import torch
from torch import Tensor

from training.losses import mtp_loss, sdm_loss


def slow_sdm(images: Tensor, texts: Tensor, ids: list[int], temperature: float, epsilon: float) -> float:
    count, total = len(ids), 0.0
    for queries, gallery in ((images, texts), (texts, images)):
        for i in range(count):
            cosines = [float(torch.cosine_similarity(queries[i], gallery[j], dim=0)) for j in range(count)]
            weights = [math.exp((c - max(cosines)) / temperature) for c in cosines]
            matches = sum(ids[i] == ids[j] for j in range(count))
            for j in range(count):
                p, q = weights[j] / sum(weights), (ids[i] == ids[j]) / matches
                if p > 0:
                    total += p * (math.log(p) - math.log(q + epsilon)) / count
    return total


@pytest.mark.parametrize("ids", [[0, 1, 2, 3, 4], [7, 7, 3, 7, 3], [1, 1, 1, 1, 1]])
@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_sdm_equals_loops(ids: list[int], temperature: float) -> None:
    torch.manual_seed(0)
    images, texts = torch.randn(5, 8) * 3, torch.randn(5, 8)
    fast = float(sdm_loss(images, texts, torch.tensor(ids), temperature))
    assert fast == pytest.approx(slow_sdm(images, texts, ids, temperature, 1e-8), rel=1e-4)


def test_sdm_of_two_orthogonal_pairs_by_hand() -> None:
    # cosines are the identity; p = (a, b) = (1, e^-1) / (1 + e^-1) in every row and direction, q = (1, 0).
    a = 1 / (1 + math.exp(-1))
    row = a * (math.log(a) - math.log(1 + 0.1)) + (1 - a) * (math.log(1 - a) - math.log(0.1))
    loss = sdm_loss(torch.eye(2) * 5, torch.eye(2) * 2, torch.tensor([4, 9]), temperature=1.0, epsilon=0.1)
    assert float(loss) == pytest.approx(2 * row, rel=1e-6)


def test_sdm_is_small_for_perfect_matches_and_large_for_swapped_ones() -> None:
    features, ids = torch.eye(4), torch.arange(4)
    assert float(sdm_loss(features, features, ids)) == pytest.approx(0.0, abs=1e-5)
    assert float(sdm_loss(features, features.flip(0), ids)) > 30


def test_sdm_stays_fp32_under_autocast() -> None:
    torch.manual_seed(0)
    images, texts, ids = torch.randn(6, 32), torch.randn(6, 32), torch.arange(6)
    exact = sdm_loss(images, texts, ids)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sdm_loss(images, texts, ids), exact)


def test_mtp_is_the_mean_over_labels() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 11), torch.tensor([[4, -100, -100], [10, -100, 0]])
    chosen = [(0, 0, 4), (1, 0, 10), (1, 2, 0)]
    slow = [-math.log(float(logits[b, n].softmax(-1)[word])) for b, n, word in chosen]
    assert float(mtp_loss(logits, labels)) == pytest.approx(sum(slow) / 3, rel=1e-5)


@pytest.mark.parametrize("rows", [0, 3])
def test_mtp_without_labels_is_zero_with_a_gradient(rows: int) -> None:
    logits = torch.randn(rows, 11, requires_grad=True)
    loss = mtp_loss(logits, torch.full((rows,), -100))
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0.0
    assert logits.grad is not None
    assert logits.grad.eq(0).all()
