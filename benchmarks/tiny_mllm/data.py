"""Pictures of the made world as the tiny MLLM sees them, with what is to be said of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.tiny_mllm.faults import FAULTS, Rng
from pipeline.templates import Template, fill, load_library
from world.captions import fitting
from world.folder import picture_path, read_truth
from world.people import ATTRIBUTES, Look
from world.words import ACTIONS, FACINGS, attributes, phrases

WIDTH_PX, HEIGHT_PX, PATCH_PX, MERGE = 84, 168, 14, 2
"""Size of the picture that the eye is given, side of a patch, patches a side that one token stands for."""
GRID = (1, HEIGHT_PX // PATCH_PX, WIDTH_PX // PATCH_PX)
IMAGE_TOKENS = GRID[1] * GRID[2] // MERGE**2
MEAN = np.array((0.48145466, 0.4578275, 0.40821073), np.float32)
STD = np.array((0.26862954, 0.26130258, 0.27577711), np.float32)
"""CLIP's, which Qwen2.5-VL's picture processor takes away and divides by."""
UNSEEN_OF = 10
"""One identity in so many is kept for the check."""
CLASSES: Mapping[str, Sequence[str]] = {
    **{name: values for name, values in ATTRIBUTES.items() if name != "skin"},
    "pose": tuple(ACTIONS),
    "view": tuple(FACINGS),
    "letter": tuple(FAULTS),
}
"""What the eye learns to tell, with every value."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """One person alone in a picture, and all that can be told of it."""

    picture: Path
    identity: int
    told: Mapping[str, str]


def read_people(world: Path, unseen: bool) -> list[Person]:
    """Those of a made world (world/folder.py) that stand alone and whole; `unseen`: those for the check."""
    return [
        _person(world, row)
        for row in read_truth(world, "persons").to_pylist()
        if row["picture"].startswith(("curated", "varied")) and (row["identity"] % UNSEEN_OF == 0) == unseen
    ]


def _person(world: Path, row: dict[str, Any]) -> Person:
    look = Look(**{name: row[name] for name in ATTRIBUTES})
    told = attributes(look, row["pose"], row["view"])
    return Person(picture=picture_path(world, row["picture"]), identity=row["identity"], told=told)


def read_picture(path: Path) -> Image.Image:
    """A made picture at half its size: nothing finer reaches the eye."""
    with Image.open(path) as picture:
        picture.draft("RGB", (picture.width // 2, picture.height // 2))
        return picture.convert("RGB")


def vary(picture: Image.Image, rng: Rng) -> Image.Image:
    """Another framing and a little other light. No mirror: views tell left from right."""
    width, height = picture.size
    left, top = rng.uniform(-0.04, 0.12) * width, rng.uniform(-0.03, 0.04) * height
    right, bottom = width - rng.uniform(-0.04, 0.12) * width, height - rng.uniform(-0.03, 0.04) * height
    box = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    framed = picture.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC, box=box)
    gain = rng.uniform(0.9, 1.08) * rng.uniform(0.97, 1.03, 3)
    return Image.fromarray(np.clip(np.asarray(framed) * gain, 0, 255).astype(np.uint8))


def patches(pictures: Sequence[Image.Image]) -> Tensor:
    """Pixel values [pictures × patches, 3 × 2 × 14 × 14] in the order of Qwen2.5-VL's picture processor."""
    sized = [picture.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC) for picture in pictures]
    values = (np.stack([np.asarray(picture, np.float32) for picture in sized]) / 255 - MEAN) / STD
    rows, columns = GRID[1] // MERGE, GRID[2] // MERGE
    cut = values.reshape(-1, rows, MERGE, PATCH_PX, columns, MERGE, PATCH_PX, 3)
    cut = cut.transpose(0, 1, 4, 2, 5, 7, 3, 6)  # picture, row, column, in the token, colour, pixel
    flat = cut.reshape(-1, 3, 1, PATCH_PX * PATCH_PX).repeat(2, axis=2)
    return torch.from_numpy(flat.reshape(len(flat), -1).astype(np.float32))


def classes(person: Person, letter: str) -> list[int]:
    """The index of each value of CLASSES; -100 for what a person lacks or a faulty picture does not show."""
    told = {**(person.told if letter == "A" else {}), "letter": letter}
    return [values.index(told[name]) if name in told else -100 for name, values in CLASSES.items()]


class Captions:
    """Sentence forms of the made world and how they are filled for a person."""

    def __init__(self) -> None:
        self._library = load_library("world")

    def forms(self, person: Person) -> list[Template]:
        """The forms that can be filled for a person."""
        return fitting(self._library, person.told)

    def filled(self, person: Person, form: Template) -> str:
        """The true caption of a person in a form."""
        said = phrases(person.told)
        return fill(form, {name: " ".join(word for word, _ in said[name]) for name in form.placeholders})


def draw_letter(rng: Rng, fit_share: float) -> str:
    """A letter: A with `fit_share`, otherwise any, A too."""
    return "A" if rng.random() < fit_share else str(rng.choice(list(FAULTS)))


def batches(count: int, size: int, rng: Rng) -> Iterator[list[int]]:
    """Without end: indices below `count`, each once an epoch, in lots of `size`."""
    while True:
        order = rng.permutation(count)
        for first in range(0, count - size + 1, size):
            yield [int(index) for index in order[first : first + size]]
