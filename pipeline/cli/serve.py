"""`webperson serve`: the recipe's models by vLLM on the Ray cluster, until it is stopped."""

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    TRAINING_SECTIONS,
    Address,
    Overrides,
    RecipeName,
    UsageError,
    require_curation,
    require_module,
)
from pipeline.recipe import load_recipe

if TYPE_CHECKING:
    from curation.mllm import ModelSettings
    from pipeline.serving import ServedModel


def serve(
    recipe: RecipeName,
    address: Address = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the address of all models.")] = 8000,
    start_s: Annotated[
        float, typer.Option(min=1, help="Longest wait until every model answers, in seconds.")
    ] = 1800.0,
    overrides: Overrides = None,
) -> None:
    """Serve the recipe's models behind one OpenAI-compatible address, until Ctrl-C or SIGTERM.

    A plain `vllm serve` does as well: the recipe only names addresses.
    """
    require_curation("serve")
    require_module("vllm", "serve", "gpu")
    from curation.recipe import CurateRecipe
    from pipeline.serving import served

    models = load_recipe(CurateRecipe, recipe, overrides or [], others=TRAINING_SECTIONS).annotate.models
    if not models:
        raise UsageError(f"{recipe}: annotate.models is empty: nothing to serve")
    with served([served_model(model) for model in models], address, port, start_s) as url:
        print(f"serving {', '.join(model.name for model in models)}")
        print(f"urls: [{url}]", flush=True)
        with suppress(KeyboardInterrupt):  # this is how it is meant to end
            threading.Event().wait()
        print("stopping", flush=True)


def served_model(model: "ModelSettings") -> "ServedModel":
    """What the engine is told of a recipe's model."""
    from pipeline.serving import ServedModel

    settings = model.serve
    engine = {
        "max_model_len": settings.max_model_len,
        "limit_mm_per_prompt": {"image": settings.images_per_prompt, "video": 0},
        "mm_processor_kwargs": {"min_pixels": settings.min_pixels, "max_pixels": settings.max_pixels},
        "enable_prefix_caching": settings.prefix_caching,
        "mm_processor_cache_gb": settings.cache_gb,
    }
    return ServedModel(
        name=model.name,
        source=settings.source or model.name,
        revision=model.revision,
        replicas=settings.replicas,
        max_replicas=settings.max_replicas,
        gpus=settings.gpus,
        cpus=settings.cpus,
        requests_at_once=model.concurrency * 4,
        engine=engine | settings.engine,
        environment={"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"},
    )
