"""Evaluation: who counts as a match, what stands beside the numbers, and what is written."""

import json
from pathlib import Path

import pytest
import torch

from tests.training.toy_shards import TOY_MODEL, outfit_row, toy_config, write_shards
from training.data import ShardSplit, load_captions, load_pictures, load_split
from training.evaluate import evaluate, identity_note, publish_evaluation
from training.metrics import chance_metrics, retrieval_metrics
from training.model import GaDms, build_model
from training.tokens import CaptionTokenizer


@pytest.fixture(scope="module")
def model() -> GaDms:
    torch.manual_seed(0)
    return build_model(TOY_MODEL)


def split_with(folder: Path, identities: list[int | None]) -> ShardSplit:
    rows = [outfit_row("test", number, identity) for number, identity in enumerate(identities)]
    return load_split(write_shards(folder, rows), "test")


def test_the_numbers_are_those_of_the_whole_cosine_matrix(model: GaDms, tmp_path: Path) -> None:
    split = split_with(tmp_path, [0, 0, 1, 2, 2, 2, 3])
    found = evaluate(model, split, TOY_MODEL, batch_size=3)
    with torch.no_grad():
        pictures = model.eval().encode_image(torch.cat(list(load_pictures(split, (32, 16), 99, 0))))
        texts = model.encode_text(CaptionTokenizer().encode(next(load_captions(split, 99))))
    cosine = torch.nn.functional.cosine_similarity(texts[:, None], pictures[None], dim=2)
    expected = retrieval_metrics(cosine, split.ids[split.rows], split.ids)
    assert vars(found.metrics) == pytest.approx(vars(expected))
    assert found.chance == chance_metrics(split.ids[split.rows], split.ids)
    assert (found.queries, found.gallery, found.persons) == (14, 7, 4)


def test_the_note_says_whether_identities_are_known(tmp_path: Path) -> None:
    assert identity_note(split_with(tmp_path / "all", [0, 0])).startswith("identities are known")
    some = identity_note(split_with(tmp_path / "some", [0, None, None]))
    assert some.startswith("only 1 of 3 identities are known: every other picture counts as its own person")
    none = identity_note(split_with(tmp_path / "none", [None, None]))
    assert none.startswith("no identity is known: every picture counts as its own person")


def test_the_model_comes_back_in_the_mode_it_was_in(model: GaDms, tmp_path: Path) -> None:
    split = split_with(tmp_path, [0, 1])
    for mode in (True, False):
        evaluate(model.train(mode), split, TOY_MODEL)
        assert model.training is mode


def test_an_evaluation_is_published_with_its_recipe_and_the_level_of_chance(
    model: GaDms, tmp_path: Path
) -> None:
    found = evaluate(model, split_with(tmp_path / "shards", [None] * 4), TOY_MODEL)
    publish_evaluation(tmp_path / "evaluation.json", found, toy_config(), tmp_path / "step-1")
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["recipe_hash"] == toy_config().fingerprint()
    assert written["evaluation"]["metrics"]["r1"] == found.metrics.r1
    assert written["evaluation"]["chance"]["r1"] == pytest.approx(25)
    assert written["evaluation"]["note"] == found.note
