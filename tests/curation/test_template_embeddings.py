import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from curation.template_embeddings import fit_tfidf, make_encoder
from pipeline.templates import TemplateError, load_library

TEXTS = [template.text for template in load_library("starter").templates]


def test_vectors_have_length_one_and_equal_texts_have_equal_ones() -> None:
    encode = make_encoder(TEXTS)
    vectors = encode([*TEXTS, TEXTS[5]])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert vectors[-1] == pytest.approx(vectors[5], abs=1e-6)


def test_like_texts_lie_closer_than_unlike_ones() -> None:
    encode = make_encoder(TEXTS)
    one, like, unlike = encode(
        [
            "On [his/her] feet the [person] has [colored shoes].",
            "The feet of the [person] are in [colored shoes].",
            "[hair color] hair and [accessory] above [colored outerwear].",
        ]
    )
    assert one @ like > one @ unlike + 0.1


def test_the_directions_are_the_singular_ones_the_strongest_first() -> None:
    vectors = fit_tfidf(TEXTS, width=4000)(TEXTS)  # all of them: nothing is lost, so lengths were one before
    along = np.linalg.norm(vectors, axis=0)[:20]
    assert along == pytest.approx(np.linalg.svd(vectors, compute_uv=False)[:20], rel=1e-3)
    assert fit_tfidf(TEXTS, width=20)(TEXTS).shape == (len(TEXTS), 20)


def test_a_text_of_unknown_words_has_no_direction() -> None:
    assert np.linalg.norm(make_encoder(TEXTS)(["xyzzy"])) == 0
    assert make_encoder(TEXTS)([]).shape[0] == 0


def test_open_clip_needs_weights_and_an_error_names_the_model() -> None:
    with pytest.raises(TemplateError, match="ViT-B-32: weights are needed"):
        make_encoder(TEXTS, "ViT-B-32")
    with pytest.raises(TemplateError, match=r"ViT-B-32 with nosuch\.pt"):
        make_encoder(TEXTS, "ViT-B-32", "nosuch.pt")


TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


def test_open_clip_reads_a_checkpoint_and_gives_its_text_features(tmp_path: Path) -> None:
    (tmp_path / "tiny-for-templates.json").write_text(json.dumps(TINY), encoding="utf-8")
    open_clip.add_model_config(tmp_path)
    clip = open_clip.create_model("tiny-for-templates").eval()
    torch.save(clip.state_dict(), tmp_path / "tiny.pt")
    vectors = make_encoder(TEXTS, "tiny-for-templates", str(tmp_path / "tiny.pt"))(TEXTS[:300])
    with torch.inference_mode():
        expected = clip.encode_text(open_clip.tokenize(TEXTS[298:300]), normalize=True)
    assert vectors.shape == (300, 16)
    assert vectors[298:300] == pytest.approx(expected.numpy(), abs=1e-5)
