"""The schedule, Adam's coupled decay, and clipping."""

import pytest
import torch
from torch import nn

from tests.training.toy_shards import TOY_MODEL, toy_config
from training.model import build_model
from training.optimizer import adam, compile_blocks, gradient_norm, learning_rate

PAPER = toy_config(epochs=30, warmup_epochs=5.0, learning_rate=1.0)


def test_the_rate_warms_up_from_a_tenth_and_falls_as_a_cosine_to_zero() -> None:
    rates = [learning_rate(PAPER, step, epoch_steps=10) for step in range(301)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[25] == pytest.approx(0.55)
    assert rates[50] == pytest.approx(1.0)
    assert rates[175] == pytest.approx(0.5)
    assert rates[300] == pytest.approx(0.0)
    assert rates[:51] == sorted(rates[:51])
    assert rates[50:] == sorted(rates[50:], reverse=True)


def test_by_epochs_the_rate_moves_once_an_epoch_as_released() -> None:
    released = toy_config(epochs=30, warmup_epochs=5.0, learning_rate=1.0, schedule="epoch")
    rates = [learning_rate(released, step, epoch_steps=10) for step in range(300)]
    assert [rates[10 * epoch] for epoch in range(6)] == pytest.approx([0.1, 0.28, 0.46, 0.64, 0.82, 1.0])
    assert len({rates[step] for step in range(10, 20)}) == 1


def test_without_warm_up_the_first_rate_is_the_highest() -> None:
    assert learning_rate(toy_config(warmup_epochs=0.0, learning_rate=0.5), 0, 10) == 0.5


def test_decay_is_coupled_and_reaches_every_trained_parameter() -> None:
    model = nn.Linear(3, 2)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = adam(model, toy_config(weight_decay=0.1, adam_epsilon=1e-3, learning_rate=0.01))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for parameter, old in zip(model.parameters(), before, strict=True):
        gradient = 0.1 * old  # coupled: the decay goes through Adam's own scaling
        assert torch.allclose(parameter, old - 0.01 * gradient / (gradient.abs() + 1e-3), atol=1e-6)


def test_the_norm_is_measured_always_and_clipped_on_demand() -> None:
    model = nn.Linear(1, 1)
    for parameter, gradient in zip(model.parameters(), (3.0, 4.0), strict=True):
        parameter.grad = torch.full_like(parameter, gradient)
    assert gradient_norm(model, None) == pytest.approx(5)
    assert gradient_norm(model, 1.0) == pytest.approx(5)
    assert gradient_norm(model, None) == pytest.approx(1, abs=1e-4)


def test_compiled_blocks_keep_the_names_of_the_weights() -> None:
    model = build_model(TOY_MODEL)
    names = list(model.state_dict())
    compile_blocks(model)
    assert list(model.state_dict()) == names
    for tower in (model.clip.visual.transformer, model.clip.transformer):
        assert all(block._compiled_call_impl is not None for block in tower.resblocks)
