"""GASS against a slow reference written from the text, one caption and one word at a time."""

import math

import open_clip
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.training.toys import captions, toy_clip
from training.config import GassConfig
from training.end_token import Captions, trace_end_token
from training.gass import eos_gradients, pooling_matrix, score_captions, score_tokens
from training.tokens import END


def image_features(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 48, generator=torch.Generator().manual_seed(seed))


class SlowCaption:
    """The whole forward of one unpadded caption, and a gradient by every layer's whole attention output."""

    def __init__(
        self, clip: open_clip.CLIP, ids: Tensor, image: Tensor, last_layers: int, released: bool = False
    ) -> None:
        self.e = int(ids.argmax())
        self.n = len(ids) if released else self.e + 1
        self.qkv: list[tuple[Tensor, Tensor, Tensor]] = []
        self.attention: list[Tensor] = []
        outputs: list[Tensor] = []
        x = clip.token_embedding(ids[: self.n]) + clip.positional_embedding[: self.n]
        blocks = clip.transformer.resblocks
        for depth, block in enumerate(blocks):
            head_count = 1 if released and depth >= len(blocks) - last_layers else block.attn.num_heads
            y = block.ln_1(x)
            q, k, v = (y @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, dim=-1)
            size = q.shape[1] // head_count
            heads, weights = [], []
            for h in range(head_count):
                part = slice(h * size, (h + 1) * size)
                logits = q[:, part] @ k[:, part].T / math.sqrt(size)
                logits = logits.masked_fill(torch.ones_like(logits).triu(1) > 0, -math.inf)
                weights.append(logits.softmax(dim=-1))
                heads.append(weights[-1] @ v[:, part])
            o = torch.cat(heads, dim=-1)
            outputs.append(o)
            self.qkv.append((q.detach(), k.detach(), v.detach()))
            self.attention.append(torch.stack(weights).mean(dim=0).detach())
            x = x + block.attn.out_proj(o)
            x = x + block.mlp(block.ln_2(x))
        self.feature = clip.ln_final(x)[self.e] @ clip.text_projection
        similarity = functional.cosine_similarity(self.feature, image, dim=0)
        self.gradients = [
            torch.autograd.grad(similarity, o, retain_graph=True)[0][self.e] for o in outputs[-last_layers:]
        ]
        self.qkv, self.attention = self.qkv[-last_layers:], self.attention[-last_layers:]


def slow_pooled(x: Tensor, scales: tuple[int, ...]) -> Tensor:
    """Step 2 for [n, D], in loops."""
    n = len(x)
    total = torch.zeros_like(x)
    for c in scales:
        means = torch.stack([x[start : start + c].mean(dim=0) for start in range(0, n, c)])
        m = len(means)
        assert m == math.ceil(n / c)
        for i in range(n):
            source = min(max((i + 0.5) * m / n - 0.5, 0.0), m - 1.0)
            low = int(source)
            high = min(low + 1, m - 1)
            total[i] += means[low] * (1 - (source - low)) + means[high] * (source - low)
    return total / len(scales)


def slow_importance(caption: SlowCaption, scales: tuple[int, ...] = (1, 2)) -> list[float]:
    """Steps 1 to 6: R of the words."""
    n, e, words = caption.n, caption.e, range(1, caption.e)
    total = [0.0] * n
    for (q, k, v), attention, g in zip(caption.qkv, caption.attention, caption.gradients, strict=True):
        q_pooled, k_pooled = slow_pooled(q, scales), slow_pooled(k, scales)
        a = [float(functional.cosine_similarity(q_pooled[e], k_pooled[j], dim=0)) for j in range(n)]
        span = max(a) - min(a)
        w = [(value - min(a)) / span if span else 0.0 for value in a]
        on_words = sum(float(attention[e, i]) for i in words)
        for j in words:
            s_g = w[j] * float((g * v[j]).sum())
            total[j] += s_g * (float(attention[e, j]) / on_words if on_words else 0.0)
    return [max(0.0, total[j]) for j in words]


def slow_scores(caption: SlowCaption, scales: tuple[int, ...] = (1, 2)) -> Tensor:
    """Steps 1 to 7: [77]."""
    importance = slow_importance(caption, scales)
    scores = torch.zeros(77)
    if importance and max(importance) > min(importance):
        low, high = min(importance), max(importance)
        scores[1 : caption.e] = torch.tensor([(r - low) / (high - low) for r in importance])
    return scores


def test_slow_reference_is_the_model() -> None:
    clip, ids = toy_clip(), captions(9, 4)
    for row, image in zip(ids, image_features(2), strict=True):
        feature = SlowCaption(clip, row, image, 4).feature
        torch.testing.assert_close(feature, clip.encode_text(row[None])[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("last_layers", [1, 3, 4])
def test_gradients_equal_those_of_the_whole_forward(last_layers: int) -> None:
    clip, ids, images = toy_clip(), captions(9, 1, 30, 75), image_features(4)
    fast = eos_gradients(clip, ids, images, last_layers)
    assert fast.shape == (last_layers, 4, 64)
    for b in range(4):
        slow = torch.stack(SlowCaption(clip, ids[b], images[b], last_layers).gradients)
        torch.testing.assert_close(fast[:, b], slow, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scales", [(1, 2), (1,), (3,), (1, 2, 5)])
def test_scores_equal_the_slow_reference(scales: tuple[int, ...]) -> None:
    clip, ids, images = toy_clip(), captions(9, 4, 2, 21, 75), image_features(5)
    fast = score_tokens(clip, ids, images, last_layers=3, scales=scales)
    slow = torch.stack(
        [slow_scores(SlowCaption(clip, i, v, 3), scales) for i, v in zip(ids, images, strict=True)]
    )
    assert slow.gt(0.0).sum() > 30  # the comparison is about something
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0.0)


def test_batch_form_divides_by_the_highest_importance_of_the_batch() -> None:
    clip, ids, images = toy_clip(), captions(9, 4), image_features(2)
    slow = [slow_importance(SlowCaption(clip, i, v, 3)) for i, v in zip(ids, images, strict=True)]
    highest = max(max(row) for row in slow)
    fast = score_tokens(clip, ids, images, last_layers=3, normalize="batch")
    for row, importance in zip(fast, slow, strict=True):
        expected = torch.tensor(importance) / highest
        torch.testing.assert_close(row[1 : len(importance) + 1], expected, atol=1e-5, rtol=0.0)


def test_a_tower_with_fewer_layers_is_read_whole() -> None:
    clip, ids, images = toy_clip(layers=2), captions(9, 4), image_features(2)
    assert torch.equal(score_tokens(clip, ids, images), score_tokens(clip, ids, images, last_layers=2))


def test_padding_content_and_length_never_change_a_score() -> None:
    clip, ids, images = toy_clip(), captions(9, 4), image_features(2)
    scores = score_tokens(clip, ids, images)
    dirty = ids.clone()
    dirty[0, 11:] = torch.randint(1, END + 1, (66,))
    dirty[1, 6:] = END
    torch.testing.assert_close(score_tokens(clip, dirty, images), scores, atol=1e-6, rtol=0.0)
    torch.testing.assert_close(score_tokens(clip, ids[:, :11], images), scores[:, :11], atol=1e-6, rtol=0.0)


def test_poisoned_padding_never_changes_a_score() -> None:
    clip, ids, images = toy_clip(), captions(9, 4), image_features(2)
    scores = score_tokens(clip, ids, images)
    clip.token_embedding.weight.data[0] = torch.nan
    torch.testing.assert_close(score_tokens(clip, ids, images), scores, atol=1e-6, rtol=0.0)


def test_batch_neighbours_never_change_a_score() -> None:
    clip, ids, images = toy_clip(), captions(9, 4, 60, 0), image_features(4)
    together = score_tokens(clip, ids, images)
    for b in range(4):
        alone = score_tokens(clip, ids[b : b + 1], images[b : b + 1])
        torch.testing.assert_close(together[b : b + 1], alone, atol=1e-5, rtol=0.0)


def test_scores_span_zero_to_one_over_words_and_are_zero_elsewhere() -> None:
    ids = captions(9, 75)
    scores = score_tokens(toy_clip(), ids, image_features(2))
    assert scores.shape == ids.shape
    assert scores.dtype == torch.float32
    assert scores[:, 0].eq(0).all()
    assert scores[0, 10:].eq(0).all()
    assert scores[1, 76] == 0
    assert scores.amax(dim=1).tolist() == [1.0, 1.0]
    assert scores[0, 1:10].min() == 0


def test_no_words_and_one_word_score_zero() -> None:
    scores = score_captions(toy_clip(), captions(0, 1), image_features(2), GassConfig())
    assert scores.values.eq(0).all()
    assert not scores.nonfinite.any()


def test_equal_importance_scores_zero() -> None:
    clip = toy_clip()
    clip.text_projection.data.zero_()  # no gradient: every importance is 0
    scores = score_captions(clip, captions(9), image_features(1), GassConfig())
    assert scores.values.eq(0).all()
    assert not scores.nonfinite.any()


@pytest.mark.parametrize("normalize", ["caption", "batch"])
@pytest.mark.parametrize("form", ["paper", "released"])
def test_nonfinite_importance_gives_up_its_caption_alone_and_is_counted(normalize: str, form: str) -> None:
    settings = GassConfig.model_validate({"normalize": normalize, "form": form})
    clip, ids, images = toy_clip(), captions(9, 4, 12), image_features(3)
    others = torch.tensor([0, 2])
    expected = score_captions(clip, ids[others], images[others], settings).values
    images[1] = torch.nan
    scores = score_captions(clip, ids, images, settings)
    assert scores.nonfinite.tolist() == [False, True, False]
    assert scores.values[1].eq(0).all()
    assert scores.values[others].amax() == 1.0
    torch.testing.assert_close(scores.values[others], expected, atol=1e-5, rtol=0.0)


def test_nonfinite_weights_score_zero() -> None:
    clip = toy_clip()
    clip.transformer.resblocks[2].attn.out_proj.weight.data[0, 0] = torch.inf
    scores = score_captions(clip, captions(9, 4), image_features(2), GassConfig())
    assert scores.nonfinite.all()
    assert scores.values.eq(0).all()


def test_nothing_reaches_the_model() -> None:
    clip, ids = toy_clip(), captions(9, 4)
    clip.train()
    clip.transformer.resblocks[0].eval()
    modes = [module.training for module in clip.modules()]
    grads = [torch.randn_like(p) for p in clip.parameters()]
    for parameter, grad in zip(clip.parameters(), grads, strict=True):
        parameter.grad = grad.clone()
    images = image_features(2).requires_grad_()
    scores, gradients = score_tokens(clip, ids, images), eos_gradients(clip, ids, images)
    assert not scores.requires_grad
    assert not gradients.requires_grad
    assert images.grad is None
    assert all(torch.equal(p.grad, g) for p, g in zip(clip.parameters(), grads, strict=True))
    assert [module.training for module in clip.modules()] == modes


def test_frozen_weights_and_no_grad_change_nothing() -> None:
    clip, ids, images = toy_clip(), captions(9, 4), image_features(2)
    scores = score_tokens(clip, ids, images)
    clip.requires_grad_(False)
    with torch.no_grad():
        assert torch.equal(score_tokens(clip, ids, images), scores)


def test_bf16_autocast_gives_close_scores_in_fp32() -> None:
    clip, ids, images = toy_clip(), captions(9, 20), image_features(2)
    exact = eos_gradients(clip, ids, images)
    with torch.autocast("cpu", torch.bfloat16):
        scores, gradients = score_tokens(clip, ids, images), eos_gradients(clip, ids, images)
    assert scores.dtype == gradients.dtype == torch.float32
    assert functional.cosine_similarity(gradients.flatten(), exact.flatten(), dim=0) > 0.99
    assert scores.amax(dim=1).tolist() == [1.0, 1.0]


def test_steps_after_the_tower_run_in_fp32_under_autocast() -> None:
    clip, ids, images = toy_clip(), captions(9), image_features(1)
    with torch.autocast("cpu", torch.bfloat16):
        scores = score_tokens(clip, ids, images, scales=(2,))
        (trace, *_) = traces = trace_end_token(clip, Captions.without_padding(ids), images, 8, one_head=False)
    assert trace.k.dtype == torch.float32
    total = torch.zeros(11)
    for trace in traces:
        q, k = slow_pooled(trace.q[0], (2,)), slow_pooled(trace.k[0], (2,))
        a = functional.cosine_similarity(q[10], k, dim=-1)
        attention = trace.attention[0] / trace.attention[0, 1:10].sum()
        total += (a - a.min()) / (a.max() - a.min()) * (trace.v[0] @ trace.gradient[0]) * attention
    expected = total[1:10].relu()
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    torch.testing.assert_close(scores[0, 1:10], expected, atol=1e-4, rtol=0.0)


def test_scoring_under_autocast_leaves_the_weights_trainable() -> None:
    clip, ids = toy_clip(), captions(9, 4)
    with torch.autocast("cpu", torch.bfloat16):
        score_tokens(clip, ids, image_features(2))
        torch.autograd.backward(clip.encode_text(ids).sum())
    assert clip.transformer.resblocks[0].attn.in_proj_weight.grad is not None
    assert clip.text_projection.grad is not None


def test_a_tower_that_is_not_causal_is_refused() -> None:
    clip = toy_clip()
    clip.attn_mask.zero_()
    with pytest.raises(ValueError, match="causal"):
        score_tokens(clip, captions(3), image_features(1))


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="1 rows for 2 captions"):
        score_tokens(toy_clip(), captions(3, 4), image_features(1))


@pytest.mark.parametrize("n", [2, 3, 8, 77])
def test_pooling_matrix_resamples_as_torch_does(n: int) -> None:
    x = torch.randn(n, 5)
    means = functional.avg_pool1d(x.T[None], 2, ceil_mode=True)
    expected = functional.interpolate(means, size=n, mode="linear", align_corners=False)[0].T
    matrix = pooling_matrix(torch.tensor([n]), 80, (2,))[0]
    torch.testing.assert_close(matrix[:n, :n] @ x, expected, atol=1e-5, rtol=1e-5)
    assert matrix[n:].eq(0).all()
    assert matrix[:, n:].eq(0).all()


def test_pooling_keeps_a_constant() -> None:
    rows = pooling_matrix(torch.tensor([9, 4]), 9, (1, 2, 5)).sum(dim=2)
    torch.testing.assert_close(rows, (torch.arange(9) < torch.tensor([[9], [4]])).float())


def test_scale_one_is_the_identity() -> None:
    assert torch.equal(pooling_matrix(torch.tensor([4]), 4, (1,))[0], torch.eye(4))


def slow_released(caption: SlowCaption) -> Tensor:
    """The authors' importance of all 77 positions, before the division by the batch's maximum."""
    total = torch.zeros(caption.n)
    for (q, k, v), attention, g in zip(caption.qkv, caption.attention, caption.gradients, strict=True):
        a = functional.cosine_similarity(slow_pooled(q, (1, 2))[caption.e], slow_pooled(k, (1, 2)), dim=-1)
        s_g = (a - a.min()) / (a.max() - a.min()) * (v @ g)
        total += s_g * attention[caption.e] / (s_g.sum() + 1e-8)
    total[0] = 0
    total[caption.e :] = 0
    return total.relu()


def test_released_form_equals_its_slow_reference() -> None:
    clip, ids, images = toy_clip(), captions(9, 4, 30), image_features(3)
    settings = GassConfig(last_layers=3, form="released", normalize="batch")
    fast = score_captions(clip, ids, images, settings).values
    traced = [SlowCaption(clip, i, v, 3, released=True) for i, v in zip(ids, images, strict=True)]
    slow = torch.stack([slow_released(caption) for caption in traced])
    torch.testing.assert_close(fast, slow / slow.max(), atol=1e-4, rtol=1e-3)


def test_released_form_counts_padding_as_positions() -> None:
    clip, ids, images = toy_clip(), captions(9, 4), image_features(2)
    released = GassConfig(form="released", normalize="batch")
    clean = score_captions(clip, ids, images, released).values
    dirty = ids.clone()
    dirty[0, 11:] = 320
    assert (score_captions(clip, dirty, images, released).values[0] - clean[0]).abs().max() > 1e-4
    assert clean[:, 0].eq(0).all()
    assert clean[0, 10:].eq(0).all()
