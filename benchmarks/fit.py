"""How many persons a second one core makes ready for a model: decoded, resized to 256×512, encoded.

    OMP_NUM_THREADS=1 python -m benchmarks.fit

Persons' shapes are cut out of photographs (variations of what installed packages carry). Larger ones
are resized, those that are small enough pass with only their header read. Beside it stands what Pillow
alone takes to decode them, at the smaller scale that a JPEG offers. The result is written to
benchmarks/results/fit.json.
"""

import io
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageOps

from curation.fit import FitSettings, fit
from pipeline.storage import publish_json
from world.photographs import photographs

RESULT = Path(__file__).parent / "results" / "fit.json"
WIDTH_PX, HEIGHT_PX = 256, 512
REPEATS = 7
SCALES = {
    "small_enough": 1.0,
    "a_quarter_larger": 1.25,
    "half_as_large_again": 1.5,
    "twice_as_large": 2.0,
    "three_times_as_large": 3.0,
}
"""Sides, in those of the fitted picture. From twice on a JPEG is decoded at half its size."""


def main() -> None:
    """Measure, print and publish."""
    pictures = [Image.open(io.BytesIO(picture.data)).convert("RGB") for picture in photographs(seed=0)]
    settings = FitSettings(max_pixels=WIDTH_PX * HEIGHT_PX)
    persons = {name: [_person(picture, scale) for picture in pictures] for name, scale in SCALES.items()}
    result = {
        "command": "OMP_NUM_THREADS=1 python -m benchmarks.fit",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "fitted_to_px": [WIDTH_PX, HEIGHT_PX],
        "persons_per_s_on_one_core": {
            name: round(_rate(lambda jpeg: fit(jpeg, settings), jpegs)) for name, jpegs in persons.items()
        },
        "decoded_by_pillow_alone": {name: round(_rate(_decoded, jpegs)) for name, jpegs in persons.items()},
    }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def _person(picture: Image.Image, scale: float) -> bytes:
    """A JPEG in the shape of a person, cut out of the picture."""
    sink = io.BytesIO()
    size = (round(scale * WIDTH_PX), round(scale * HEIGHT_PX))
    ImageOps.fit(picture, size).save(sink, "JPEG", quality=95)
    return sink.getvalue()


def _decoded(jpeg: bytes) -> None:
    with Image.open(io.BytesIO(jpeg)) as picture:
        picture.draft("RGB", (WIDTH_PX, HEIGHT_PX))
        picture.load()


def _rate(prepare: Callable[[bytes], object], jpegs: Sequence[bytes]) -> float:
    """Persons a second of CPU, the median of some runs."""
    prepare(jpegs[0])  # loads what is loaded once
    seconds = []
    for _ in range(REPEATS):
        started = time.process_time()
        for jpeg in jpegs:
            prepare(jpeg)
        seconds.append(time.process_time() - started)
    return len(jpegs) / statistics.median(seconds)


if __name__ == "__main__":
    main()
