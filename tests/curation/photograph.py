"""Persons for tests of what follows detection: three of Ultralytics' photograph `bus.jpg`, and a drawn one.

Boxes and keypoints of the photograph were measured once with yolo11n-pose.pt (rect=False). An eye sees:
0, at the right edge and turned away: black or nearly black navy from neck to ankle;
1, facing us, head to feet: an open black coat over some red, blue jeans;
2, facing us, head to feet: a beige (light brown) fleece coat, dark blue jeans.
"""

import functools
import importlib.util
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]

BOXES = [(669.1, 391.5, 810.0, 876.4), (221.6, 404.6, 343.8, 858.7), (48.3, 396.3, 245.8, 905.9)]
"""x1, y1, x2, y2 in pixels of the photograph."""
_KEYPOINTS = (
    "794.2 432.3 0.33, 796.5 422.2 0.45, 792.6 421.3 0.09, 800.4 428.5 0.62, 801.6 426.2 0.1,"
    "803.6 486.1 0.91, 804 479.9 0.28, 780 567.9 0.78, 779.4 561 0.04, 756.8 564.2 0.51, 758.4 550.3 0.05,"
    "794.8 636.1 0.8, 797 632.8 0.42, 761.7 729.1 0.8, 770.7 728.9 0.44, 724 839.2 0.65, 729.1 838.1 0.37",
    "292.9 451.1 0.99, 298.5 441.3 0.94, 283.4 443.7 0.99, 305.9 444.2 0.48, 265.4 448.3 0.92, 321.6 493.2 1,"
    "251.4 498.5 1, 333.2 551.8 0.96, 247.9 575.5 0.98, 286.5 534.7 0.94, 252.7 617.8 0.95, 307.8 625.4 1,"
    "262.4 625.9 1, 301.4 722.6 1, 263.2 718.5 1, 283 805.9 0.97, 259.1 806.3 0.97",
    "143.1 442.9 0.99, 148 432.1 0.9, 131.6 434.2 0.99, 150 438.2 0.28, 106.7 441.8 0.96, 159.4 490.3 0.99,"
    "89.7 500.2 1, 182.3 541.6 0.91, 105.5 573.6 0.99, 158.1 505.2 0.87, 158.2 534.7 0.97, 156.4 640.2 1,"
    "103.5 644.9 1, 175.2 745.3 0.99, 90 750.7 1, 186.8 854.6 0.98, 78.5 858.1 0.99",
)


def source_keypoints(person: int) -> Floats:
    """[17, 3]: x, y in pixels of the photograph, confidence."""
    return np.array([[float(n) for n in point.split()] for point in _KEYPOINTS[person].split(",")])


@functools.cache
def photograph() -> NDArray[np.uint8]:
    """The photograph as RGB."""
    module = importlib.util.find_spec("ultralytics")
    assert module is not None
    assert module.origin is not None
    return np.asarray(Image.open(Path(module.origin).parent / "assets" / "bus.jpg").convert("RGB"))


def crop(person: int) -> NDArray[np.uint8]:
    """The person's box, rounded outwards."""
    x1, y1, x2, y2 = BOXES[person]
    return photograph()[math.floor(y1) : math.ceil(y2), math.floor(x1) : math.ceil(x2)]


def crop_keypoints(person: int) -> Floats:
    """[17, 3]: x, y in pixels of the crop, confidence."""
    x1, y1 = BOXES[person][:2]
    return source_keypoints(person) - [math.floor(x1), math.floor(y1), 0]


def drawn_keypoints() -> Floats:
    """[17, 3] of a person who stands facing us in a picture of 160 × 400."""
    joints = [(80, 40), (88, 32), (72, 32), (98, 38), (62, 38), (110, 85), (50, 85), (125, 140), (35, 140)]
    joints += [(128, 190), (32, 190), (100, 200), (60, 200), (102, 285), (58, 285), (104, 370), (56, 370)]
    return np.array([[x, y, 0.9] for x, y in joints], dtype=np.float64)


def drawn_person(
    upper: tuple[int, int, int], lower: tuple[int, int, int], shin: tuple[int, int, int] | None = None
) -> NDArray[np.uint8]:
    """RGB [400, 160, 3]: garments in shade and noise, before a background of patches in all colours."""
    draws = np.random.default_rng(7)
    patches = draws.integers(0, 256, (25, 10, 3))
    picture = patches.repeat(16, axis=0).repeat(16, axis=1).astype(np.float64)
    picture[20:60, 60:100] = (215, 170, 145)
    picture[75:210, 40:120] = upper
    picture[200:385, 40:78] = picture[200:385, 82:120] = lower
    if shin is not None:
        picture[290:385, 40:78] = picture[290:385, 82:120] = shin
    shade = np.linspace(1.08, 0.72, 160)[None, :, None]
    return (picture * shade + draws.normal(0, 5, picture.shape)).clip(0, 255).astype(np.uint8)
