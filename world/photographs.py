"""The photographs that installed packages carry, and what is made of them: a picture source for the web.

* Ultralytics (AGPL-3.0, extra `curate`), `ultralytics/assets`: bus.jpg, a street with four people of whom two
  are seen whole; zidane.jpg, two men from the waist up.
* scikit-image (extra `curate`), `skimage/data`, facts as its docstrings state them. Public domain: astronaut
  (NASA), rocket (SpaceX), clock_motion (S. van der Walt). CC0: camera (L. Varshney), chelsea (S. van der
  Walt), coffee (R. Michetti), brick, grass, gravel (CC0 Textures). coins: "no known copyright restrictions".

Only bus.jpg holds people whom the gates of docs/method.md let through. It is varied by view, size, mirror and
light; its two men stay the same men in the same clothes. Photographs show that the chain works on real ones;
what can be learned and told apart is made (world/people.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from world.pictures import Box, Picture, encode_jpeg, relight


class PhotographMissingError(RuntimeError):
    """A package that carries photographs is missing; the message is one line naming package and extra."""


@dataclass(frozen=True)
class View:
    """A way to frame bus.jpg: its window, how far each side may grow, and how far the cut is scaled."""

    name: str
    window: Box
    margin_px: tuple[int, int]
    scale: tuple[float, float]
    count: int


# The two whole persons, by yolo11n-pose.pt on bus.jpg (Ultralytics 8.4.190, rect=False, 640 px), rounded:
# (48, 396, 246, 906) with score 0.880 and (222, 405, 344, 859) with score 0.881. Below a scale of 0.74 the
# narrower one is under 90 px wide, below 0.45 the other one too.
BUS_VIEWS = (
    View("street", (0, 0, 810, 1080), (0, 0), (0.8, 1.1), 5),
    View("pair", (20, 380, 370, 920), (0, 160), (0.9, 1.3), 5),
    View("left", (48, 396, 246, 906), (8, 40), (1.0, 1.4), 4),
    View("right", (222, 405, 344, 859), (20, 70), (1.0, 1.5), 3),
    View("far", (0, 0, 810, 1080), (0, 0), (0.3, 0.7), 2),
)

# People whom a gate rejects (shape of the box, hips out of sight), and how many variations of each.
WAIST_UP = {
    ("ultralytics", "assets/zidane.jpg"): 2,
    ("skimage", "data/astronaut.png"): 1,
    ("skimage", "data/camera.png"): 1,
}
# Nobody to be seen; yolo11n-pose.pt finds nothing above 0.06 in these, but sees a person in the cat, at 0.59.
NOBODY: Mapping[str, bool | None] = {
    "brick.png": False,
    "chelsea.png": None,
    "clock_motion.png": False,
    "coffee.png": False,
    "coins.png": False,
    "grass.png": False,
    "gravel.png": False,
    "rocket.jpg": False,
}


def photographs(seed: int) -> Iterator[Picture]:
    """The photographs themselves and their variations, drawn by `seed`: 32 in a fixed order.

    Raises PhotographMissingError when a package that carries them is not installed.
    """
    bus = find("ultralytics", "assets/bus.jpg")
    yield Picture("bus", bus.read_bytes(), people=True)
    yield from _bus_variations(Image.open(bus).convert("RGB"), seed)
    for kind, ((package, path), count) in enumerate(WAIST_UP.items()):
        image = Image.open(find(package, path)).convert("RGB")
        for number in range(count):
            rng = np.random.default_rng([seed, 1, kind, number])
            scale = rng.uniform(0.6, 1.0)
            size = round(scale * image.width), round(scale * image.height)
            yield Picture(f"{Path(path).stem}-{number:02d}", _finish(image, size, rng), people=True)
    for name, people in NOBODY.items():
        image = Image.open(find("skimage", f"data/{name}")).convert("RGB")
        yield Picture(Path(name).stem, encode_jpeg(image), people)


def find(package: str, path: str) -> Path:
    """A file inside an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PhotographMissingError(
            f"{package}: not installed, but carries the photographs; install webperson[curate]"
        )
    file = Path(spec.submodule_search_locations[0]) / path
    if not file.is_file():
        raise PhotographMissingError(f"{package}: installed, but without {path}; install webperson[curate]")
    return file


def _bus_variations(bus: Image.Image, seed: int) -> Iterator[Picture]:
    for kind, view in enumerate(BUS_VIEWS):
        for number in range(view.count):
            rng = np.random.default_rng([seed, 0, kind, number])
            yield Picture(f"bus-{view.name}-{number:02d}", _bus_variation(bus, view, rng), people=True)


def _bus_variation(bus: Image.Image, view: View, rng: np.random.Generator) -> bytes:
    grow = rng.integers(*view.margin_px, size=4, endpoint=True)
    left, top, right, bottom = view.window
    window = (
        max(0, left - int(grow[0])),
        max(0, top - int(grow[1])),
        min(bus.width, right + int(grow[2])),
        min(bus.height, bottom + int(grow[3])),
    )
    scale = rng.uniform(*view.scale)
    size = round(scale * (window[2] - window[0])), round(scale * (window[3] - window[1]))
    return _finish(bus.crop(window), size, rng)


def _finish(image: Image.Image, size_px: tuple[int, int], rng: np.random.Generator) -> bytes:
    """Size, mirror and light, drawn by `rng`, as JPEG."""
    image = image.resize(size_px, Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    gain = rng.uniform(0.9, 1.1, size=3).tolist()
    return encode_jpeg(relight(image, gain, gamma=rng.uniform(0.75, 1.35), slope=rng.uniform(-0.2, 0.2)))
