"""The cross-modal decoder: logits at labels only, no glance at padding, IRRA's first weights."""

import pytest
import torch
from torch import Tensor

from tests.training.toys import TOY_MODEL, captions, toy_model
from training.decoder import CrossModalDecoder, labelled_slots
from training.model import GaDms, build_model


def some_labels(ids: Tensor) -> Tensor:
    labels = torch.full_like(ids, -100)
    labels[0, 2], labels[0, 5], labels[2, 1] = 11, 12, 13
    return labels


def logits_of(model: GaDms, ids: Tensor, labels: Tensor) -> Tensor:
    images = torch.randn(len(ids), 3, 96, 32, generator=torch.Generator().manual_seed(0))
    return model.word_logits(ids, labels, model.text_tokens(ids), model.image_tokens(images))


def test_logits_equal_a_plain_forward_at_the_labels() -> None:
    model, ids = toy_model(), captions(9, 4, 6)
    decoder, labels = model.decoder, some_labels(ids)
    text, image = model.text_tokens(ids), torch.randn(3, 13, 64)
    padding = torch.arange(77) > ids.argmax(dim=1)[:, None]
    keys = decoder.ln_image(image)
    x = decoder.cross_attention(decoder.ln_text(text), keys, keys)[0]
    mask = torch.zeros(3, 1, 77).masked_fill(padding[:, None], -torch.inf).expand(-1, 77, -1)
    for layer in decoder.layers:
        x = layer(x, attn_mask=mask)  # one head: one mask a caption
    plain = decoder.head(decoder.ln_out(x))
    expected = torch.stack([plain[0, 2], plain[0, 5], plain[2, 1]])
    torch.testing.assert_close(decoder(text, image, labels, padding), expected, atol=1e-5, rtol=1e-5)


def test_padding_content_does_not_change_logits() -> None:
    model, ids = toy_model(), captions(9, 4, 6)
    labels = some_labels(ids)
    dirty = torch.where(torch.arange(77) > ids.argmax(dim=1)[:, None], 320, ids)
    torch.testing.assert_close(
        logits_of(model, dirty, labels), logits_of(model, ids, labels), atol=1e-5, rtol=1e-5
    )


def test_the_cut_to_the_longest_caption_does_not_change_logits() -> None:
    model, ids = toy_model(), captions(9, 4, 6)
    labels = some_labels(ids)
    cut = logits_of(model, ids[:, :11], labels[:, :11])
    torch.testing.assert_close(cut, logits_of(model, ids, labels), atol=1e-5, rtol=1e-5)


def test_without_the_padding_mask_padding_is_read() -> None:
    torch.manual_seed(0)
    model, ids = build_model(TOY_MODEL.model_copy(update={"decoder_padding_mask": False})), captions(9, 4, 6)
    labels = some_labels(ids)
    dirty = torch.where(torch.arange(77) > ids.argmax(dim=1)[:, None], 320, ids)
    assert not torch.allclose(logits_of(model, dirty, labels), logits_of(model, ids, labels), atol=1e-3)


def test_pictures_change_logits() -> None:
    model, ids = toy_model(), captions(9, 4, 6)
    labels, text = some_labels(ids), model.text_tokens(ids)
    first, second = (model.word_logits(ids, labels, text, torch.randn(3, 13, 64)) for _ in range(2))
    assert not torch.allclose(first, second, atol=1e-3)


def test_no_labels_give_no_logits_and_a_gradient() -> None:
    model, ids = toy_model(), captions(9, 4)
    logits = logits_of(model, ids, torch.full_like(ids, -100))
    assert logits.shape == (0, 49408)
    torch.autograd.backward(logits.sum())
    gradient = dict(model.decoder.named_parameters())["layers.0.attn.in_proj_weight"].grad
    assert gradient is not None
    assert gradient.eq(0).all()


def test_labelled_slots_come_first_in_order() -> None:
    labels = torch.tensor([[-100, 5, -100, 6], [-100, -100, -100, -100], [1, 2, -100, 3]])
    positions, used = labelled_slots(labels)
    assert used.tolist() == [[True, True, False], [False] * 3, [True] * 3]
    assert labels.gather(1, positions)[used].tolist() == [5, 6, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "sigma"),
    [
        ("cross_attention.in_proj_weight", 256**-0.5),
        ("layers.3.attn.in_proj_weight", 256**-0.5),
        ("layers.0.attn.out_proj.weight", 256**-0.5 * 8**-0.5),
        ("layers.0.mlp.c_fc.weight", 512**-0.5),
        ("layers.0.mlp.c_proj.weight", 256**-0.5 * 8**-0.5),
        ("head.0.weight", 512**-0.5),
        ("head.3.weight", 256**-0.5 * 8**-0.5),
    ],
)
def test_first_weights_have_the_spread_of_irra(name: str, sigma: float) -> None:
    torch.manual_seed(0)
    weights = dict(CrossModalDecoder(256, 4, 1000).named_parameters())
    assert float(weights[name].detach().std()) == pytest.approx(sigma, rel=0.02)
