"""`webperson train` and `webperson evaluate`: shards to a model, and its retrieval numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.options import CURATION_SECTIONS, Out, Overrides, RecipeName, Shards, Split, output_folder
from pipeline.cli.report import current_shards
from pipeline.progress import ShowProgress, show_progress
from pipeline.recipe import load_recipe

if TYPE_CHECKING:
    from training.evaluate import Evaluation
    from training.train import TrainOutcome


def train(recipe: RecipeName, shards: Shards, out: Out, overrides: Overrides = None) -> None:
    """Train GA-DMS on shards. Run it again to go on from the last checkpoint."""
    console = Console()
    with show_progress(console) as progress:
        outcome = run_training(recipe, overrides or [], shards, output_folder(out), progress)
    console.print(
        f"{outcome.state} at step {outcome.progress.step} of {outcome.progress.total_steps}; "
        f"{outcome.chosen_by}: {out}",
        highlight=False,
        soft_wrap=True,
    )
    if outcome.state == "stopped":
        raise typer.Exit(1)


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, or a training run's folder.")],
    shards: Shards,
    split: Annotated[Split, typer.Option(help="Which pictures to search.")] = Split.TEST,
) -> None:
    """Retrieval of pictures by captions: Recall@1/5/10, mAP and mINP, beside chance."""
    found = {"model": run_evaluation(checkpoint, shards, split)}
    print_evaluation(found, "Text → image retrieval", Console())


def run_training(
    recipe_name: str, overrides: list[str], shards: Path, out: Path, progress: ShowProgress
) -> "TrainOutcome":
    """Train by the recipe's section `train` into `out`."""
    from training.train import TrainRecipe, train

    recipe = load_recipe(TrainRecipe, recipe_name, overrides, others=CURATION_SECTIONS)
    return train(
        recipe.train,
        current_shards(shards),
        out,
        recipe.run,
        on_step=lambda step, total, _: progress("train", step, total),
    )


def run_evaluation(checkpoint: Path, shards: Path, split: str) -> "Evaluation":
    """Evaluate a checkpoint on a split and publish the numbers beside it."""
    from training.checkpoint import load_model
    from training.data import load_split
    from training.evaluate import evaluate, publish_evaluation

    model, config = load_model(checkpoint)
    folder = current_shards(shards)
    found = evaluate(model, load_split(folder, split), config.model)
    publish_evaluation(checkpoint / f"evaluation-{split}.json", found, config, checkpoint)
    return found


def print_evaluation(found: Mapping[str, "Evaluation"], title: str, console: Console) -> None:
    """The numbers of models, by name, on one split, beside a random ranking's; in percent; what they mean."""
    split = next(iter(found.values()))
    table = Table("percent")
    for name in ("R@1", "R@5", "R@10", "mAP", "mINP"):
        table.add_column(name, justify="right")
    rows = {name: evaluation.metrics for name, evaluation in found.items()} | {"chance": split.chance}
    for name, metrics in rows.items():
        values = (metrics.r1, metrics.r5, metrics.r10, metrics.map, metrics.minp)
        table.add_row(name, *(f"{value:.1f}" for value in values))
    size = f"{split.queries} captions look for their pictures among {split.gallery} (split {split.split})"
    console.print(f"{title}: {size}", highlight=False, soft_wrap=True)
    console.print(table)
    console.print(split.note, highlight=False, soft_wrap=True)
