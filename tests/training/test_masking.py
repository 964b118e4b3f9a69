"""Dual masking: probabilities, draws, and what becomes of a chosen word."""

import pytest
import torch
from torch import Tensor

from tests.training.toys import captions
from training.masking import (
    NOT_LABELLED,
    View,
    informative_probability,
    keyed_draws,
    mask_tokens,
    noise_probability,
)
from training.tokens import END, MASK, START, end_positions, word_positions


def draws_of(first: float, second: float, shape: tuple[int, int]) -> Tensor:
    return torch.tensor([first, second]).expand(*shape, 2)


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.1, 0.1), (0.0, 0.2 / (1 + 2.718281828**-2)), (1.0, 0.2 / (1 + 2.718281828**18))],
)
def test_noise_probability_at_known_points(score: float, expected: float) -> None:
    assert float(noise_probability(torch.tensor(score))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.1, 0.15), (0.0, 0.3 / (1 + 2.718281828**2)), (1.0, 0.3 / (1 + 2.718281828**-18))],
)
def test_informative_probability_at_known_points(score: float, expected: float) -> None:
    assert float(informative_probability(torch.tensor(score))) == pytest.approx(expected, rel=1e-4)


def test_noise_falls_and_information_rises_with_the_score() -> None:
    scores = torch.linspace(0, 1, 20)
    assert noise_probability(scores).diff().lt(0).all()
    assert informative_probability(scores)[:15].diff().gt(0).all()


def test_cap_slope_and_midpoint_are_read() -> None:
    assert float(noise_probability(torch.tensor(0.4), cap=0.8, slope=1.0, midpoint=0.6)) == pytest.approx(0.4)
    assert float(
        informative_probability(torch.tensor(0.6), cap=0.8, slope=1.0, midpoint=0.6)
    ) == pytest.approx(0.4)


def test_draws_do_not_depend_on_batch_order_rank_or_length() -> None:
    whole = keyed_draws(3, 5, torch.tensor([7, 8, 9]), View.NOISE, 77)
    part = keyed_draws(3, 5, torch.tensor([9, 7]), View.NOISE, 20)
    assert torch.equal(part, whole[[2, 0], :20])


@pytest.mark.parametrize(
    "key", [(4, 5, 7, 0), (3, 6, 7, 0), (3, 5, 8, 0), (3, 5, 7, 1), (-3, 5, 7, 0), (5, 3, 7, 0)]
)
def test_draws_depend_on_every_part_of_the_key(key: tuple[int, int, int, int]) -> None:
    seed, epoch, sample, view = key
    base = keyed_draws(3, 5, torch.tensor([7]), 0, 10)
    assert not torch.isclose(keyed_draws(seed, epoch, torch.tensor([sample]), view, 10), base).any()


def test_draws_are_uniform() -> None:
    draws = keyed_draws(0, 0, torch.arange(1000), View.NOISE, 77)
    assert draws.dtype == torch.float32
    assert draws.min() >= 0
    assert draws.max() < 1
    histogram = torch.histc(draws, bins=20, min=0, max=1) / draws.numel()
    assert (histogram - 0.05).abs().max() < 0.002
    between = torch.corrcoef(draws[:, :2].reshape(1000, 4).T) - torch.eye(4)
    assert between.abs().max() < 0.15


def test_eighty_ten_ten() -> None:
    ids = captions(*[75] * 400)
    draws = keyed_draws(0, 0, torch.arange(400), View.NOISE, 77)
    view, labels = mask_tokens(ids, torch.full(ids.shape, 0.5), draws)
    chosen = labels != NOT_LABELLED
    assert chosen.sum() / (400 * 75) == pytest.approx(0.5, abs=0.01)
    masked, kept = (view == MASK) & chosen, (view == ids) & chosen
    assert masked.sum() / chosen.sum() == pytest.approx(0.8, abs=0.01)
    assert kept.sum() / chosen.sum() == pytest.approx(0.1, abs=0.01)
    randoms = view[chosen & ~masked & ~kept]
    assert len(randoms) / chosen.sum() == pytest.approx(0.1, abs=0.01)
    assert randoms.min() >= 1
    assert randoms.max() < MASK
    assert randoms.float().mean() == pytest.approx(MASK / 2, rel=0.05)
    assert randoms.float().std() == pytest.approx(MASK / 12**0.5, rel=0.05)


@pytest.mark.parametrize(("fate", "outcome"), [(0.0, MASK), (0.799, MASK), (0.901, None), (0.999, None)])
def test_second_draw_decides(fate: float, outcome: int | None) -> None:
    ids = captions(6)
    view, labels = mask_tokens(ids, torch.ones(ids.shape), draws_of(0.5, fate, (1, 77)))
    words = word_positions(ids)
    expected = ids if outcome is None else ids.masked_fill(words, outcome)
    assert torch.equal(view, expected)
    assert torch.equal(labels, ids.masked_fill(~words, NOT_LABELLED))


@pytest.mark.parametrize(("fate", "word"), [(0.80001, 5), (0.85, MASK // 2), (0.89999, MASK - 5)])
def test_random_words_run_from_one_to_below_the_mask(fate: float, word: int) -> None:
    view, _ = mask_tokens(captions(6), torch.ones(1, 77), draws_of(0.5, fate, (1, 77)))
    assert abs(int(view[0, 1]) - word) <= 5


def test_start_end_and_padding_are_never_chosen() -> None:
    ids = captions(0, 1, 30, 75)
    view, labels = mask_tokens(ids, torch.ones(ids.shape), torch.zeros(4, 77, 2))
    words = word_positions(ids)
    assert torch.equal(view[~words], ids[~words])
    assert (labels[~words] == NOT_LABELLED).all()
    assert (view[words] == MASK).all()
    assert view[:, 0].eq(START).all()
    assert view.gather(1, end_positions(ids)[:, None]).eq(END).all()


def test_no_words_come_back_unchanged_and_without_labels() -> None:
    ids = captions(0)
    view, labels = mask_tokens(ids, torch.ones(ids.shape), torch.zeros(1, 77, 2), force_first=True)
    assert torch.equal(view, ids)
    assert labels.eq(NOT_LABELLED).all()


def test_nothing_chosen_leaves_the_caption_alone() -> None:
    ids = captions(6)
    view, labels = mask_tokens(ids, torch.zeros(ids.shape), torch.zeros(1, 77, 2))
    assert torch.equal(view, ids)
    assert labels.eq(NOT_LABELLED).all()


def test_force_first_masks_position_one_where_nothing_was_chosen() -> None:
    ids = captions(6, 6)
    draws = draws_of(0.5, 0.95, (2, 77))
    probability = torch.zeros(2, 77)
    probability[1, 3] = 1.0
    view, labels = mask_tokens(ids, probability, draws, force_first=True)
    assert view[0, 1] == MASK
    assert labels[0].ne(NOT_LABELLED).nonzero().tolist() == [[1]]
    assert labels[0, 1] == ids[0, 1]
    assert torch.equal(view[1], ids[1])
    assert labels[1].ne(NOT_LABELLED).nonzero().tolist() == [[3]]


def test_the_caption_itself_is_untouched() -> None:
    ids = captions(6)
    before = ids.clone()
    mask_tokens(ids, torch.ones(ids.shape), torch.zeros(1, 77, 2))
    assert torch.equal(ids, before)
