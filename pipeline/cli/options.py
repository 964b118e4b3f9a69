"""What commands have in common: their options, and the packages they need."""

import importlib.util
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.storage import Place, StorageError, place


class UsageError(ValueError):
    """A command that cannot be carried out as given; the message is one line."""


class Phase(StrEnum):
    """The durable phases of curation."""

    HARVEST = "harvest"
    ANNOTATE = "annotate"
    PACK = "pack"


class Split(StrEnum):
    """The splits of shards."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A YAML file, or a packaged recipe's name.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, such as gates.score_min=0.9."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")]
OutPlace = Annotated[
    str,
    typer.Option(
        "--out", metavar="PLACE", help="Folder for everything, or s3://bucket/folder, gs://bucket/…"
    ),
]
Urls = Annotated[
    str,
    typer.Option(
        metavar="PLACE",
        help="List of URLs: a file, folder, glob or URI; Parquet, CSV, TSV, JSON lines or text.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(envvar="RAY_ADDRESS", help="An existing Ray cluster; without it one is started here."),
]
Shards = Annotated[
    Path, typer.Option("--shards", help="A finished folder of shards, or the output folder of `curate`.")
]

CURATION_SECTIONS = frozenset(
    {"seed", "harvest", "gates", "dedup", "takedown", "annotate", "pack", "object_store_bytes"}
)
"""Sections of a recipe that curation types; the others are training's."""
TRAINING_SECTIONS = frozenset({"train", "run"})


def require_curation(command: str) -> None:
    """Raise UsageError naming the extra if a package that curation needs is not installed."""
    for module in (
        "ray",
        "img2dataset",
        "ultralytics",
        "skimage",
        "aiohttp",
        "obstore",
        "protego",
        "faiss",
    ):
        require_module(module, command, "curate")


def require_module(module: str, command: str, extra: str) -> None:
    """Raise UsageError naming the extra if a package is not installed."""
    if importlib.util.find_spec(module) is None:
        raise UsageError(f"{command} needs the package {module}: pip install 'webperson[{extra}]'")


def output_place(text: str) -> Place:
    """Where output goes: an object store's folder, or an absolute local one. Raises UsageError."""
    out = read_place(text)
    return output_folder(out) if isinstance(out, Path) else out


def read_place(text: str) -> Place:
    """A place that a command is given. Raises UsageError if it is malformed or its bucket does not answer."""
    try:
        return place(text)
    except StorageError as error:
        raise UsageError(str(error)) from None


def is_object_store(path: Path) -> bool:
    """Whether an object store's folder was named where only a local one will do."""
    return path.parts[:1] in (("s3:",), ("gs:",))


def output_folder(out: Path) -> Path:
    """The absolute output folder.

    Raises UsageError for an object store's, which a path would take for a folder of that name here, and for a
    relative one inside a Ray job, whose working directory is thrown away.
    """
    if is_object_store(out):
        raise UsageError(f"--out {out}: not a local folder; only curate and plan write to s3://bucket/folder")
    if not out.is_absolute() and "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        raise UsageError(f"--out {out}: inside a Ray job a relative folder is lost; give an absolute one")
    return out.absolute()
