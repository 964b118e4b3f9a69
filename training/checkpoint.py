"""Checkpoints: weights as safetensors, the training state apart, and a JSON that is written last.

A checkpoint is a folder `step-00000020`; it exists when its `checkpoint.json` does. A run keeps the newest,
to go on from, and the best, to use.
"""

import io
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from pipeline.recipe import parse_recipe, trace
from pipeline.records import SCHEMA_VERSION
from pipeline.storage import publish, publish_json, read_json
from training.config import TrainConfig
from training.model import GaDms, build_model

WEIGHTS = "weights.safetensors"
STATE = "state.pt"
MARKER = "checkpoint.json"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the message is one line naming folder, file or tensor."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    step: int
    """Steps done, over all epochs."""
    total_steps: int
    """Steps of the whole run."""
    data: str
    """Fingerprint of the training split."""
    best_step: int | None = None
    """Step of the best checkpoint so far; None before the first was chosen."""
    best_score: float | None = None
    """Its R@1 on the val split in percent; None where there is no val split and the last counts as best."""


def save_checkpoint(
    run: Path, model: nn.Module, config: TrainConfig, progress: Progress, state: dict[str, Any]
) -> Path:
    """Publish `run/step-…`, then drop the checkpoints that are neither newest nor best.

    `state` is what only training needs (optimizer, random numbers): tensors in dicts and lists.
    """
    folder = run / f"step-{progress.step:08d}"
    (folder / MARKER).unlink(missing_ok=True)
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    publish(folder / WEIGHTS, safetensors.torch.save(weights))
    buffer = io.BytesIO()
    torch.save(state, buffer)
    publish(folder / STATE, buffer.getvalue())
    publish_json(folder / MARKER, {**trace(config), "progress": vars(progress)})
    for old in checkpoints(run):
        if old != folder and old.name != f"step-{progress.best_step or 0:08d}":
            (old / MARKER).unlink()  # from here on it does not exist, wherever the removal may be cut short
            shutil.rmtree(old)
    return folder


def checkpoints(run: Path) -> list[Path]:
    """The finished checkpoints of a run's folder, oldest first."""
    return sorted(marker.parent for marker in run.glob(f"step-*/{MARKER}"))


def read_progress(checkpoint: Path) -> Progress:
    """How far the run had come at a checkpoint."""
    return Progress(**_read_marker(checkpoint)["progress"])


def read_config(checkpoint: Path) -> TrainConfig:
    """The recipe that a checkpoint was trained by."""
    return parse_recipe(TrainConfig, _read_marker(checkpoint)["recipe"], source=str(checkpoint / MARKER))


def progress_of(config: TrainConfig, data: str, run: Path) -> Progress | None:
    """How far a run of this recipe on this data (its fingerprint) has come; None if it has no checkpoint yet.

    Raises CheckpointError if the folder was begun with another recipe or other data.
    """
    found = checkpoints(run)
    if not found:
        return None
    began, now = read_config(found[-1]).result_settings(), config.result_settings()
    if key := _difference(began, now):
        raise CheckpointError(f"{run}: begun with another recipe ({key}); take another output folder")
    progress = read_progress(found[-1])
    if progress.data != data:
        raise CheckpointError(f"{run}: begun with other shards; take another output folder")
    return progress


def load_model(folder: Path, device: torch.device | str = "cpu") -> tuple[GaDms, TrainConfig]:
    """The model of a checkpoint, or the best one of a run's folder, ready to encode; no hub is asked.

    Raises CheckpointError in one line: what is missing, or which tensor does not fit.
    """
    checkpoint = _best(folder)
    config = read_config(checkpoint)
    model = build_model(config.model.model_copy(update={"pretrained": None}))
    load_weights(model, checkpoint)
    return model.to(device).eval(), config


def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Copy a checkpoint's weights into a model of the same shape.

    Raises CheckpointError naming the file, or the first tensor that is missing, unknown or of another shape.
    """
    weights = _read_weights(checkpoint / WEIGHTS)
    wanted = model.state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        if name not in weights or name not in wanted:
            lacking = checkpoint / WEIGHTS if name not in weights else "the model"
            raise CheckpointError(f"{checkpoint / WEIGHTS}: {lacking} has no tensor {name}")
        if weights[name].shape != wanted[name].shape:
            raise CheckpointError(
                f"{checkpoint / WEIGHTS}: tensor {name} is {list(weights[name].shape)},"
                f" the model wants {list(wanted[name].shape)}"
            )
    model.load_state_dict(weights)


def load_state(checkpoint: Path) -> dict[str, Any]:
    """The training state that `save_checkpoint` was given, on the CPU."""
    path = checkpoint / STATE
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from None
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise CheckpointError(f"{path}: cannot be read: {_one_line(error)}") from None
    return state


def _difference(began: dict[str, Any], now: dict[str, Any], prefix: str = "") -> str | None:
    """The first setting that differs between two resolved recipes."""
    for key, value in now.items():
        before = began.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := _difference(before, value, f"{prefix}{key}."):
                return inner
        elif before != value:
            return f"{prefix}{key} was {before}, is {value}"
    return None


def _best(folder: Path) -> Path:
    if (folder / MARKER).is_file():
        return folder
    found = checkpoints(folder)
    if not found:
        raise CheckpointError(f"{folder}: neither a checkpoint nor a run's folder with one")
    best = folder / f"step-{read_progress(found[-1]).best_step or 0:08d}"
    return best if best in found else found[-1]


def _read_marker(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / MARKER
    marker = read_json(path)
    if marker.get("schema_version") != SCHEMA_VERSION:
        raise CheckpointError(
            f"{path}: schema_version {marker.get('schema_version')}, this program reads {SCHEMA_VERSION}"
        )
    for key in ("recipe", "recipe_hash", "progress"):
        if key not in marker:
            raise CheckpointError(f"{path}: no {key}")
    return marker


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from None
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: not safetensors: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
