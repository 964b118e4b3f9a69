"""What the engine costs: curation of the small web through Ray, against the same stages in a bare loop.

    python -m benchmarks.chain

Both runs do the same units with the same stages and publish the same files; the bare loop is one process
without Ray. The result is written to benchmarks/results/chain.json.
"""

import json
import os
import platform
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from curation.inputs import UrlList
from curation.phase_work import RunUnits
from curation.phases import Curation
from curation.recipe import CurateRecipe
from pipeline.cli.demo import DEADLINE_S, OVERRIDES
from pipeline.cli.options import TRAINING_SECTIONS, Phase
from pipeline.recipe import load_recipe, trace
from pipeline.runner import Cluster, pool_cpus
from pipeline.storage import publish_json
from tests.chain.conftest import run_here
from world.pages import build_web
from world.photographs import photographs
from world.web import serve

RESULT = Path(__file__).parent / "results" / "chain.json"
REPEATS = 3


def main() -> None:
    """Time both, print and publish the numbers."""
    recipe = load_recipe(CurateRecipe, "laptop", OVERRIDES, others=TRAINING_SECTIONS)
    cpus = max(pool_cpus(pools) for pools in recipe.pools())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        web = build_web(photographs(seed=0), seed=0, silence_s=10 * DEADLINE_S)
        running = stack.enter_context(serve(web))
        urls = Path(folder) / "urls.txt"
        urls.write_text("".join(f"{url}\n" for url in running.urls))
        cluster = stack.enter_context(Cluster(None, cpus, recipe.object_store_bytes))
        bare, ray = [], []
        for repeat in range(REPEATS + 1):
            bare.append(_time(recipe, urls, Path(folder) / f"bare-{repeat}", run_here))
            ray.append(_time(recipe, urls, Path(folder) / f"ray-{repeat}", cluster.run_units))
        result = {
            "command": "python -m benchmarks.chain",
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
            "urls": len(running.urls),
            "seconds_bare": [round(seconds, 1) for seconds in bare[1:]],
            "seconds_ray": [round(seconds, 1) for seconds in ray[1:]],
            "seconds_ray_first_with_cluster_start": round(ray[0], 1),
            "ratio_ray_to_bare": round(min(ray[1:]) / min(bare[1:]), 2),
        }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def _time(recipe: CurateRecipe, urls: Path, out: Path, run_units: RunUnits) -> float:
    phases = frozenset(str(phase) for phase in Phase)
    started = time.monotonic()
    Curation(recipe, trace(recipe), UrlList(urls), out, run_units, phases, lambda *_: None).run()
    return time.monotonic() - started


if __name__ == "__main__":
    main()
