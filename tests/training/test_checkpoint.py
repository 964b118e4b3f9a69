"""Checkpoints: what is written can be loaded, appears whole, and what cannot be used is named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from pipeline.records import SCHEMA_VERSION
from pipeline.storage import StorageError
from tests.training.toy_shards import TOY_MODEL, toy_config
from training.checkpoint import (
    MARKER,
    STATE,
    WEIGHTS,
    CheckpointError,
    Progress,
    checkpoints,
    load_model,
    load_state,
    load_weights,
    progress_of,
    read_progress,
    save_checkpoint,
)
from training.config import TrainConfig
from training.model import GaDms, build_model

CONFIG = toy_config()
PROGRESS = Progress(step=3, total_steps=9, data="abc")


@pytest.fixture(scope="module")
def model() -> GaDms:
    return build_model(TOY_MODEL)


@pytest.fixture
def checkpoint(model: GaDms, tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path, model, CONFIG, PROGRESS, {"numbers": torch.arange(3)})


def test_a_loaded_model_encodes_exactly_as_the_saved_one(model: GaDms, checkpoint: Path) -> None:
    loaded, config = load_model(checkpoint)
    images, ids = torch.randn(2, 3, 32, 16), torch.tensor([[49406, 5, 49407, 0], [49406, 6, 7, 49407]])
    model.eval()
    assert torch.equal(loaded.encode_image(images), model.encode_image(images))
    assert torch.equal(loaded.encode_text(ids), model.encode_text(ids))
    assert config == CONFIG
    assert not loaded.training


def test_the_marker_tells_recipe_versions_revision_and_step(checkpoint: Path) -> None:
    marker = json.loads((checkpoint / MARKER).read_text())
    assert marker["recipe_hash"] == CONFIG.fingerprint()
    assert TrainConfig.model_validate(marker["recipe"]) == CONFIG
    assert marker["packages"]["torch"]
    assert {"schema_version", "source_revision"} <= marker.keys()
    assert read_progress(checkpoint) == PROGRESS
    assert load_state(checkpoint)["numbers"].tolist() == [0, 1, 2]


def test_a_checkpoint_without_its_marker_does_not_exist(checkpoint: Path) -> None:
    (checkpoint / MARKER).unlink()
    assert checkpoints(checkpoint.parent) == []
    with pytest.raises(CheckpointError, match="neither a checkpoint nor a run's folder"):
        load_model(checkpoint.parent)


def test_a_run_keeps_the_newest_and_the_best_and_loads_the_best(model: GaDms, tmp_path: Path) -> None:
    for step, best in ((1, 1), (2, 2), (3, 2), (4, 2)):
        progress = replace(PROGRESS, step=step, best_step=best)
        with torch.no_grad():
            model.clip.ln_final.bias.fill_(step)
        save_checkpoint(tmp_path, model, CONFIG, progress, {})
    assert [folder.name for folder in sorted(tmp_path.iterdir())] == ["step-00000002", "step-00000004"]
    loaded, _ = load_model(tmp_path)
    assert loaded.clip.ln_final.bias[0] == 2


def test_a_missing_file_is_named(checkpoint: Path) -> None:
    (checkpoint / WEIGHTS).unlink()
    (checkpoint / STATE).unlink()
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS}: No such file"):
        load_model(checkpoint)
    with pytest.raises(CheckpointError, match=rf"{STATE}: No such file"):
        load_state(checkpoint)


def test_a_file_that_is_cut_off_is_named_in_one_line(checkpoint: Path) -> None:
    for name in (WEIGHTS, STATE):
        data = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS}: not safetensors: [^\n]+$"):
        load_model(checkpoint)
    with pytest.raises(CheckpointError, match=rf"{STATE}: cannot be read: [^\n]+$"):
        load_state(checkpoint)
    (checkpoint / MARKER).write_text("{")
    with pytest.raises(StorageError, match=MARKER):
        load_model(checkpoint)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(model: GaDms, checkpoint: Path) -> None:
    weights = safetensors.torch.load_file(checkpoint / WEIGHTS)
    weights["clip.ln_final.bias"] = torch.zeros(7)
    safetensors.torch.save_file(weights, checkpoint / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"clip.ln_final.bias is \[7\], the model wants \[32\]"):
        load_weights(model, checkpoint)


def test_a_missing_and_an_unknown_tensor_are_named(model: GaDms, checkpoint: Path) -> None:
    weights = safetensors.torch.load_file(checkpoint / WEIGHTS)
    safetensors.torch.save_file({**weights, "zebra": torch.zeros(1)}, checkpoint / WEIGHTS)
    with pytest.raises(CheckpointError, match="the model has no tensor zebra"):
        load_weights(model, checkpoint)
    del weights["clip.ln_final.bias"]
    safetensors.torch.save_file(weights, checkpoint / WEIGHTS)
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS} has no tensor clip.ln_final.bias"):
        load_weights(model, checkpoint)


def test_a_checkpoint_of_another_schema_version_is_refused(checkpoint: Path) -> None:
    marker = json.loads((checkpoint / MARKER).read_text())
    (checkpoint / MARKER).write_text(json.dumps({**marker, "schema_version": 99}))
    with pytest.raises(CheckpointError, match=f"schema_version 99, this program reads {SCHEMA_VERSION}"):
        load_model(checkpoint)


def test_a_run_goes_on_with_the_same_recipe_and_data_only(checkpoint: Path) -> None:
    run = checkpoint.parent
    assert progress_of(CONFIG, "abc", run) == PROGRESS
    faster = toy_config(compile=True)
    assert progress_of(faster, "abc", run) == PROGRESS
    with pytest.raises(CheckpointError, match=r"another recipe \(augment.flip was 0.5, is 0.25\)"):
        progress_of(toy_config(augment={**CONFIG.augment.model_dump(), "flip": 0.25}), "abc", run)
    with pytest.raises(CheckpointError, match="begun with other shards"):
        progress_of(CONFIG, "abd", run)
    assert progress_of(CONFIG, "abc", run / "elsewhere") is None
