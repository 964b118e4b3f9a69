"""The photographs that installed packages carry, and what is made of them: a picture source for the web.

* Ultralytics (AGPL-3.0, extra `curate`), `ultralytics/assets`: bus.jpg, a street with four people of whom two
  are seen whole; zidane.jpg, two men from the waist up.
* scikit-image (extra `curate`), `skimage/data`, facts as its docstrings state them. Public domain: astronaut
  (NASA), rocket (SpaceX), clock_motion (S. van der Walt). CC0: camera (L. Varshney), chelsea (S. van der
  Walt), coffee (R. Michetti), brick, grass, gravel (CC0 Textures). coins: "no known copyright restrictions".

Only bus.jpg holds people whom the gates of docs/method.md let through. It is varied by view, size, mirror,
light and garment colours; its two men stay the same men, so nothing learned from it says how well people are
told apart.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from world.pictures import COLOURS, Box, Mask, Outline, Picture, cloth_mask, encode_jpeg, recolour, relight


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
    View("street", (0, 0, 810, 1080), (0, 0), (0.8, 1.1), 24),
    View("pair", (20, 380, 370, 920), (0, 160), (0.9, 1.3), 20),
    View("left", (48, 396, 246, 906), (8, 40), (1.0, 1.4), 20),
    View("right", (222, 405, 344, 859), (20, 70), (1.0, 1.5), 12),
    View("far", (0, 0, 810, 1080), (0, 0), (0.3, 0.7), 6),
)

# Garments of the two, traced by hand along the cloth on an enlarged bus.jpg, from the shoulder keypoints to
# the ankles: polygons between the keypoints themselves miss half of a wide coat.
# fmt: off
BUS_GARMENTS: Mapping[str, Outline] = {
    "left upper": (
        (100, 447), (97, 458), (95, 468), (80, 480), (66, 495), (62, 510), (63, 530), (62, 548),
        (60, 560), (64, 578), (62, 600), (60, 640), (59, 680), (59, 694), (72, 698), (100, 700),
        (125, 701), (150, 700), (163, 696), (163, 655), (161, 645), (168, 655), (176, 680), (183, 690),
        (193, 688), (192, 660), (188, 630), (180, 602), (188, 597), (198, 590), (201, 575), (200, 555),
        (193, 543), (184, 530), (181, 520), (183, 510), (176, 500), (172, 487), (162, 475), (150, 466),
        (146, 475), (148, 497), (146, 500), (138, 485), (128, 478), (115, 462), (107, 452),
    ),
    "left lower": (
        (73, 698), (74, 720), (75, 745), (72, 755), (78, 775), (79, 795), (70, 805), (61, 812),
        (60, 840), (60, 848), (84, 850), (88, 820), (92, 800), (97, 778), (107, 765), (113, 735),
        (119, 702), (125, 702), (134, 715), (143, 740), (150, 760), (156, 780), (163, 810), (171, 835),
        (176, 856), (200, 848), (198, 830), (194, 800), (188, 770), (186, 750), (183, 735), (181, 715),
        (178, 702), (177, 690), (175, 678), (168, 657), (164, 655), (164, 697), (150, 701), (125, 702),
        (100, 701),
    ),
    "right upper": (
        (273, 470), (258, 482), (245, 492), (240, 502), (238, 510), (238, 530), (240, 540), (240, 560),
        (236, 570), (236, 590), (240, 600), (236, 620), (231, 640), (228, 670), (224, 697), (245, 703),
        (285, 707), (287, 690), (289, 670), (291, 650), (294, 635), (297, 610), (299, 580), (304, 575),
        (303, 585), (307, 595), (309, 620), (309, 650), (311, 670), (316, 694), (327, 692), (339, 686),
        (335, 660), (331, 635), (329, 615), (326, 590), (322, 575), (320, 562), (322, 567), (335, 566),
        (340, 556), (342, 545), (339, 533), (335, 520), (337, 510), (335, 495), (328, 486), (318, 483),
        (308, 479), (302, 472), (302, 480), (302, 500), (300, 520), (295, 522), (290, 510), (287, 490),
        (282, 478),
    ),
    "right lower": (
        (243, 703), (243, 730), (246, 755), (250, 785), (256, 812), (258, 818), (278, 820), (279, 800),
        (281, 780), (290, 770), (305, 755), (318, 742), (330, 730), (339, 720), (340, 705), (336, 690),
        (316, 695), (310, 680), (308, 650), (305, 645), (293, 650), (290, 680), (287, 707), (265, 706),
    ),
}
# fmt: on

# People whom a gate rejects (shape of the box, hips out of sight), and how many variations of each.
WAIST_UP = {
    ("ultralytics", "assets/zidane.jpg"): 5,
    ("skimage", "data/astronaut.png"): 3,
    ("skimage", "data/camera.png"): 2,
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
    """The photographs themselves and their variations, drawn by `seed`: about 100 in a fixed order.

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
            f"{package}: not installed, but carries photographs of the demo; install webperson[curate]"
        )
    file = Path(spec.submodule_search_locations[0]) / path
    if not file.is_file():
        raise PhotographMissingError(f"{package}: installed, but without {path}; install webperson[curate]")
    return file


def _bus_variations(bus: Image.Image, seed: int) -> Iterator[Picture]:
    masks = {garment: cloth_mask(bus, outline) for garment, outline in BUS_GARMENTS.items()}
    for kind, view in enumerate(BUS_VIEWS):
        for number in range(view.count):
            rng = np.random.default_rng([seed, 0, kind, number])
            yield Picture(f"bus-{view.name}-{number:02d}", _bus_variation(bus, masks, view, rng), people=True)


def _bus_variation(
    bus: Image.Image, masks: Mapping[str, Mask], view: View, rng: np.random.Generator
) -> bytes:
    pixels = np.asarray(bus)
    for mask in masks.values():
        colour = rng.choice(list(COLOURS))
        if rng.random() < 0.85:  # now and then a garment stays as it was photographed
            pixels = recolour(pixels, mask, COLOURS[colour])
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
    return _finish(Image.fromarray(pixels).crop(window), size, rng)


def _finish(image: Image.Image, size_px: tuple[int, int], rng: np.random.Generator) -> bytes:
    """Size, mirror and light, drawn by `rng`, as JPEG."""
    image = image.resize(size_px, Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    gain = rng.uniform(0.9, 1.1, size=3).tolist()
    return encode_jpeg(relight(image, gain, gamma=rng.uniform(0.75, 1.35), slope=rng.uniform(-0.2, 0.2)))
