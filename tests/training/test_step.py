"""The GA-DMS step: what it computes, what it leaves alone, and that it learns."""

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from tests.training.toys import toy_batch, toy_model, toy_recipe
from training.gass import score_tokens
from training.losses import mtp_loss, sdm_loss
from training.masking import View, informative_probability, keyed_draws, mask_tokens, noise_probability
from training.step import Batch, ga_dms_step


def test_the_step_is_the_method_written_out_without_cuts() -> None:
    model, batch, config = toy_model(), toy_batch(9, 4, 20, 1), toy_recipe(seed=3)
    losses, _ = ga_dms_step(model, batch, config, epoch=2)
    images, ids = model.image_tokens(batch.images), batch.token_ids
    scores = score_tokens(model.text_tower, ids, images[:, 0])
    views = []
    for view, probability, first in (
        (View.NOISE, noise_probability(scores), False),
        (View.INFORMATIVE, informative_probability(scores), True),
    ):
        views.append(mask_tokens(ids, probability, keyed_draws(3, 2, batch.samples, view, 77), first))
    (noise_ids, _), (word_ids, labels) = views
    sdm = sdm_loss(images[:, 0], model.encode_text(noise_ids), batch.ids)
    logits = model.word_logits(word_ids, labels, model.text_tokens(word_ids), images)
    mtp = mtp_loss(logits, labels[labels != -100])
    torch.testing.assert_close(losses.sdm, sdm, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(losses.mtp, mtp, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(losses.total, sdm + 0.4 * mtp, atol=1e-5, rtol=1e-4)


def test_repeated_steps_on_one_batch_lower_the_loss() -> None:
    model, batch, config = toy_model(), toy_batch(9, 4, 20, 7), toy_recipe()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(15):
        losses, report = ga_dms_step(model, batch, config, epoch=0)
        optimizer.zero_grad()
        torch.autograd.backward(losses.total)
        optimizer.step()
        totals.append(float(report.total))
    assert totals[-1] < 0.5 * totals[0]


def test_equal_keys_give_equal_losses_and_another_epoch_others() -> None:
    model, batch, config = toy_model(), toy_batch(9, 14, 20, 17), toy_recipe()
    first, again, later = (
        float(ga_dms_step(model, batch, config, epoch=e)[0].mtp.detach()) for e in (0, 0, 1)
    )
    assert first == again
    assert first != later


def test_order_of_the_batch_does_not_matter() -> None:
    model, batch, config = toy_model(), toy_batch(9, 14, 20, 17), toy_recipe()
    order = torch.tensor([2, 0, 3, 1])
    turned = Batch(
        images=batch.images,
        **{f.name: getattr(batch, f.name)[order] for f in fields(Batch) if f.name != "images"},
    )
    here, there = (ga_dms_step(model, b, config, epoch=0)[0].total for b in (batch, turned))
    torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)


def test_two_captions_of_one_image_equal_the_image_given_twice() -> None:
    model, config = toy_model(), toy_recipe()
    shared = toy_batch(9, 14, 20, 17, images=2)
    repeated = replace(shared, images=shared.images[shared.image_index], image_index=torch.arange(4))
    here, there = (ga_dms_step(model, b, config, epoch=0)[0].total for b in (shared, repeated))
    torch.testing.assert_close(here, there, atol=1e-5, rtol=1e-5)


def test_without_mtp_the_decoder_rests() -> None:
    model = toy_model()
    losses, _ = ga_dms_step(model, toy_batch(9, 4), toy_recipe(mtp_weight=0.0), epoch=0)
    torch.autograd.backward(losses.total)
    assert float(losses.mtp) == 0.0
    assert all(p.grad is None for p in model.decoder.parameters())
    assert model.clip.text_projection.grad is not None


def test_captions_without_words_train_sdm_alone() -> None:
    model = toy_model()
    losses, report = ga_dms_step(model, toy_batch(0, 0), toy_recipe(), epoch=0)
    torch.autograd.backward(losses.total)
    assert float(losses.mtp.detach()) == 0.0
    assert int(report.labels) == 0
    assert torch.isfinite(losses.sdm)


def test_the_released_recipe_steps() -> None:
    masks = {"noise": {"cap": 0.2, "midpoint": 0.9, "force_first": True}}
    config = toy_recipe(gass={"form": "released", "normalize": "batch"}, masks=masks)
    losses, report = ga_dms_step(toy_model(), toy_batch(9, 4), config, epoch=0)
    assert torch.isfinite(losses.total)
    assert float(report.noise_share) > 0


def test_report_counts_captions_given_up() -> None:
    batch = toy_batch(9, 4)
    batch.images[1] = torch.nan
    _, report = ga_dms_step(toy_model(), batch, toy_recipe(), epoch=0)
    assert int(report.nonfinite) == 1


def test_report_carries_no_gradient() -> None:
    _, report = ga_dms_step(toy_model(), toy_batch(9, 4), toy_recipe(), epoch=0)
    assert not any(getattr(report, f.name).requires_grad for f in fields(report))


def test_bf16_step_trains_every_weight() -> None:
    model = toy_model()
    with torch.autocast("cpu", torch.bfloat16):
        losses, _ = ga_dms_step(model, toy_batch(9, 14), toy_recipe(), epoch=0)
    torch.autograd.backward(losses.total)
    assert losses.total.dtype == torch.float32
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


class HalfOfTwo:
    """Stand-in for two ranks in one process: this rank's rows, and the other's, handed over from before."""

    def __init__(self, others: list[Tensor], count: float) -> None:
        self.others, self.count, self.seen = others, count, 0

    def gather(self, rows: Tensor) -> Tensor:
        self.seen += 1
        return torch.cat([rows, self.others[self.seen - 1]])

    def mean(self, value: Tensor) -> Tensor:
        return (value + self.count) / 2


@pytest.mark.parametrize("other_labels", [0.0, 5.0])
def test_mtp_of_a_rank_is_its_part_of_the_global_mean(other_labels: float) -> None:
    model, batch, config = toy_model(), toy_batch(9, 14), toy_recipe()
    alone, report = ga_dms_step(model, batch, config, epoch=0)
    others = [torch.randn(2, 64), torch.randn(2, 64), torch.tensor([7, 8])]
    losses, _ = ga_dms_step(model, batch, config, epoch=0, ranks=HalfOfTwo(others, other_labels))
    expected = alone.mtp * 2 * report.labels / (report.labels + other_labels)
    torch.testing.assert_close(losses.mtp, expected)
    assert not torch.isclose(losses.sdm, alone.sdm)
