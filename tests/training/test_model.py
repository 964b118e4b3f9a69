"""The model: shapes, agreement with open_clip, and the picture grid."""

import open_clip
import pytest
import torch
from open_clip.model import resize_pos_embed

from tests.training.toys import TOY_MODEL, captions, toy_model
from training.config import ModelConfig
from training.model import ModelError, build_model, resize_positions


def test_shapes() -> None:
    model, ids = toy_model(), captions(9, 4)
    images = torch.randn(2, 3, 96, 32)
    assert model.encode_image(images).shape == (2, 64)
    assert model.encode_text(ids).shape == (2, 64)
    assert model.image_tokens(images).shape == (2, 13, 64)
    assert model.text_tokens(ids).shape == (2, 77, 64)


def test_encoders_equal_open_clip() -> None:
    model, ids = toy_model(), captions(9, 4, 75, 0)
    torch.testing.assert_close(model.encode_text(ids), model.clip.encode_text(ids), atol=1e-5, rtol=1e-5)


def test_class_and_end_tokens_are_the_features() -> None:
    model, ids, images = toy_model(), captions(9, 4), torch.randn(2, 3, 96, 32)
    torch.testing.assert_close(
        model.image_tokens(images)[:, 0], model.encode_image(images), atol=1e-5, rtol=1e-5
    )
    ends = model.text_tokens(ids)[torch.arange(2), ids.argmax(dim=1)]
    torch.testing.assert_close(ends, model.encode_text(ids), atol=1e-5, rtol=1e-5)


def test_equal_seeds_give_equal_weights() -> None:
    first, second = toy_model(3), toy_model(3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_default_picture_has_193_tokens() -> None:
    config = TOY_MODEL.model_copy(update={"image_height_px": 384, "image_width_px": 128})
    assert build_model(config).image_tokens(torch.zeros(1, 3, 384, 128)).shape[1] == 193


def test_position_embedding_is_resized_as_open_clip_does() -> None:
    visual = toy_model().clip.visual
    square = torch.randn(1 + 14 * 14, 64)
    visual.positional_embedding, visual.grid_size = torch.nn.Parameter(square), (14, 14)
    state = {"visual.positional_embedding": square.clone()}
    resize_positions(visual, TOY_MODEL)
    resize_pos_embed(state, toy_model().clip)
    assert visual.grid_size == (6, 2)
    torch.testing.assert_close(visual.positional_embedding.detach(), state["visual.positional_embedding"])


def test_bilinear_resize_differs_and_keeps_the_class_token() -> None:
    resized = []
    for mode in ("bicubic_antialias", "bilinear"):
        torch.manual_seed(0)
        config = ModelConfig.model_validate({**TOY_MODEL.model_dump(), "position_resize": mode})
        resized.append(build_model(config).clip.visual.positional_embedding.detach())
    assert torch.equal(resized[0][0], resized[1][0])
    assert not torch.allclose(resized[0][1:], resized[1][1:], atol=1e-3)


def test_weights_from_a_local_file_are_loaded(tmp_path: object) -> None:
    path = f"{tmp_path}/clip.pt"
    torch.manual_seed(5)
    clip = open_clip.create_model("ViT-S-32-alt")
    torch.save(clip.state_dict(), path)
    config = ModelConfig(architecture="ViT-S-32-alt", pretrained=path, decoder_layers=1)
    model = build_model(config)
    assert torch.equal(model.clip.text_projection, clip.text_projection)
    assert model.clip.visual.positional_embedding.shape[0] == 1 + 12 * 4


def test_a_picture_of_broken_patches_is_refused() -> None:
    with pytest.raises(ModelError, match="not a multiple of the patch 16"):
        build_model(TOY_MODEL.model_copy(update={"image_height_px": 100}))


def test_an_unknown_architecture_is_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match="cannot load ViT-none") as caught:
        build_model(ModelConfig(architecture="ViT-none", pretrained=None))
    assert "\n" not in str(caught.value)


def test_a_tower_without_class_token_is_refused() -> None:
    with pytest.raises(ModelError, match="RN50"):
        build_model(ModelConfig(architecture="RN50", pretrained=None))


def test_all_trainable_parameters_take_part() -> None:
    model, ids = toy_model(), captions(9, 4)
    labels = torch.full_like(ids, -100)
    labels[0, 3] = 7
    texts, images = model.text_tokens(ids), model.image_tokens(torch.randn(2, 3, 96, 32))
    torch.autograd.backward(model.word_logits(ids, labels, texts, images).sum() + texts.sum() + images.sum())
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    assert not model.clip.logit_scale.requires_grad
