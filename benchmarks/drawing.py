"""How fast the made world is drawn: pictures of one person a second and core, and wide scenes.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.drawing

One process, one thread. Beside each rate stands its ratio to the bare baseline, which only fills the
triangles of the same figures (world/raster.py): no bodies, clothes, light, background, truth or JPEG. The
result is written to benchmarks/results/drawing.json.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pipeline.storage import publish_json
from world.camera import Camera
from world.people import draw_identities
from world.plans import Plan, plan_picture
from world.raster import rasterise
from world.takes import place, take
from world.truth import Kind

RESULT = Path(__file__).parent / "results" / "drawing.json"
PICTURES, REPEATS = 60, 3


def main() -> None:
    """Time, print and publish the numbers."""
    identities = draw_identities(4 * PICTURES, seed=3)
    single = [plan_picture(Kind.CURATED, n, [identities[n]], seed=3) for n in range(PICTURES)]
    crowd = [plan_picture(Kind.SCENE, n, identities[4 * n : 4 * n + 4], seed=3) for n in range(PICTURES // 4)]
    for plan in (*single[:20], *crowd[:2]):
        take(plan)  # garments are cut and photographs decoded once a process
    bare = _rate(single, _bare(single))
    rates = {
        "single_256x512": _rate(single, take),
        "single_256x512_supersample_2": _rate(single, lambda plan: take(plan, 2)),
        "four_people_640x480": _rate(crowd, take),
    }
    result = {
        "command": "python -m benchmarks.drawing",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "pictures_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "triangles_alone_per_second": round(bare, 2),
        "share_of_triangles_alone": {name: round(rate / bare, 3) for name, rate in rates.items()},
    }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def _rate(plans: Sequence[Plan], draw: Callable[[Plan], object]) -> float:
    """Plans a second, the best of some repeats."""
    seconds = []
    for _ in range(REPEATS):
        started = time.monotonic()
        for plan in plans:
            draw(plan)
        seconds.append(time.monotonic() - started)
    return len(plans) / min(seconds)


def _bare(plans: Sequence[Plan]) -> Callable[[Plan], object]:
    """Fills the triangles of figures that stand there already."""
    meshes = {plan.name: place(plan.shots[0], 0, np.random.default_rng(0)).mesh for plan in plans}
    camera = Camera((0.0, 0.95, 7.0), 0.0, 256, 512, 1700.0, (128.0, 256.0))

    def fill(plan: Plan) -> object:
        mesh = meshes[plan.name]
        return rasterise(*camera.project(mesh.points), mesh.faces, 256, 512)

    return fill


if __name__ == "__main__":
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        if os.environ.get(name) != "1":
            raise SystemExit(f"{name}: set it to 1, so that one core is measured")
    main()
