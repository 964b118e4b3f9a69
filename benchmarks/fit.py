"""How many persons a second one core makes ready for a model: decoded, resized to 256×512, encoded.

    OMP_NUM_THREADS=1 python -m benchmarks.fit

Persons' shapes are cut out of photographs (variations of what installed packages carry). Larger ones
are resized, those that are small enough pass with only their header read. The result is written to
benchmarks/results/fit.json.
"""

import io
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from curation.fit import FitSettings, fit
from pipeline.storage import publish_json
from world.photographs import photographs

RESULT = Path(__file__).parent / "results" / "fit.json"
WIDTH_PX, HEIGHT_PX = 256, 512
REPEATS = 7
SCALES = {"small_enough": 1.0, "a_quarter_larger": 1.25, "twice_as_large": 2.0}


def main() -> None:
    """Measure, print and publish."""
    pictures = [Image.open(io.BytesIO(picture.data)).convert("RGB") for picture in photographs(seed=0)]
    result = {
        "command": "OMP_NUM_THREADS=1 python -m benchmarks.fit",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "fitted_to_px": [WIDTH_PX, HEIGHT_PX],
        "persons_per_s_on_one_core": {
            name: round(_rate([_person(picture, scale) for picture in pictures]))
            for name, scale in SCALES.items()
        },
    }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def _person(picture: Image.Image, scale: float) -> bytes:
    """A JPEG in the shape of a person, cut out of the picture."""
    sink = io.BytesIO()
    size = (round(scale * WIDTH_PX), round(scale * HEIGHT_PX))
    ImageOps.fit(picture, size).save(sink, "JPEG", quality=95)
    return sink.getvalue()


def _rate(jpegs: Sequence[bytes]) -> float:
    """Persons a second of CPU, the median of some runs."""
    settings = FitSettings(max_pixels=WIDTH_PX * HEIGHT_PX)
    seconds = []
    for _ in range(REPEATS):
        started = time.process_time()
        for jpeg in jpegs:
            fit(jpeg, settings)
        seconds.append(time.process_time() - started)
    return len(jpegs) / statistics.median(seconds)


if __name__ == "__main__":
    main()
