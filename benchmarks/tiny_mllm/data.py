"""Pictures of the made world as the tiny MLLM sees them, with what is to be said of them."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.tiny_mllm.faults import FAULTS, Rng
from pipeline.templates import Template, fill, load_library
from world.captions import fitting
from world.folder import picture_path, read_truth
from world.people import ATTRIBUTES, CLOTH, Look
from world.words import ACTIONS, FACINGS, attributes, phrases

PATCH_PX, MERGE = 14, 2
"""Side of a patch, and patches a side that one token stands for."""
TOKEN_PX = PATCH_PX * MERGE
MIN_PIXELS, MAX_PIXELS = 56 * 56, 84 * 168 + 100
"""Of the picture that the eye is given. The most is a little above what a picture of 1:2 becomes: rounding
must not take a row of patches away."""
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


Box = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of a picture's sides."""
WHOLE: Box = (0, 0, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Person:
    """One person alone in a picture, and all that can be told of it."""

    picture: Path
    identity: int
    box: Box
    told: Mapping[str, str]


def read_people(world: Path, unseen: bool) -> list[Person]:
    """Those of a made world (world/folder.py) that stand alone and whole; `unseen`: those for the check."""
    return [
        _person(world, row)
        for row in read_truth(world, "persons").to_pylist()
        if row["picture"].startswith(("curated", "varied")) and (row["identity"] % UNSEEN_OF == 0) == unseen
    ]


def _person(world: Path, row: dict[str, Any]) -> Person:
    look = in_order(Look(**{name: row[name] for name in ATTRIBUTES}))
    path = picture_path(world, row["picture"])
    with Image.open(path) as picture:
        sides = np.array([*picture.size, *picture.size])
    left, top, right, bottom = (float(share) for share in row["box_xyxy_px"] / sides)
    told = attributes(look, row["pose"], row["view"])
    return Person(picture=path, identity=row["identity"], box=(left, top, right, bottom), told=told)


def in_order(look: Look) -> Look:
    """A look that names the two colours of a pattern in the order of CLOTH.

    Both cover as much of the cloth, so no picture tells which of them is called the first.
    """
    if look.pattern_colour is None:
        return look
    first, second = sorted((look.upper_colour, look.pattern_colour), key=list(CLOTH).index)
    return dataclasses.replace(look, upper_colour=first, pattern_colour=second)


def read_picture(path: Path) -> Image.Image:
    """A made picture at half its size: nothing finer reaches the eye."""
    with Image.open(path) as picture:
        picture.draft("RGB", (picture.width // 2, picture.height // 2))
        return picture.convert("RGB")


def cut_out(picture: Image.Image, box: Box) -> Image.Image:
    """A part of a picture."""
    width, height = picture.size
    left, top, right, bottom = box
    return picture.crop(
        (round(left * width), round(top * height), round(right * width), round(bottom * height))
    )


def draw_frame(box: Box, rng: Rng) -> Box:
    """Around a box, drawn: as narrow as harvest cuts a person out, the whole picture, or between them."""
    reach = rng.choice([0.0, 1.0, rng.random()])
    sides = (1 - reach) * np.array(box) + reach * np.array(WHOLE) + rng.uniform(-0.03, 0.03, 4)
    left, top, right, bottom = (float(side) for side in sides.clip(0, 1))
    return left, top, right, bottom


def relight(picture: Image.Image, rng: Rng) -> Image.Image:
    """A little other light."""
    gain = rng.uniform(0.9, 1.08) * rng.uniform(0.97, 1.03, 3)
    return Image.fromarray(np.clip(np.asarray(picture) * gain, 0, 255).astype(np.uint8))


def patches(pictures: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
    """As Qwen2.5-VL's picture processor gives them to the eye, each picture in nearly its own shape.

    Returns pixel values [patches of all pictures, 3 × 2 × 14 × 14], and how many patches a picture has in
    time, down and across [pictures, 3].
    """
    cut = [_patches(picture) for picture in pictures]
    return torch.from_numpy(np.concatenate([one for one, _ in cut])), torch.tensor([grid for _, grid in cut])


def eye_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of whole tokens, the shape nearly kept: how Qwen2.5-VL's picture processor rounds."""
    across, down = round(width / TOKEN_PX), round(height / TOKEN_PX)
    pixels = across * down * TOKEN_PX**2
    if pixels > MAX_PIXELS:
        tokens = math.sqrt(MAX_PIXELS / (width * height)) / TOKEN_PX
        across, down = max(1, math.floor(width * tokens)), max(1, math.floor(height * tokens))
    elif pixels < MIN_PIXELS:
        tokens = math.sqrt(MIN_PIXELS / (width * height)) / TOKEN_PX
        across, down = math.ceil(width * tokens), math.ceil(height * tokens)
    return across * TOKEN_PX, down * TOKEN_PX


def _patches(picture: Image.Image) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
    width, height = eye_size(*picture.size)
    sized = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    values = (sized / 255 - MEAN) / STD
    cut = values.reshape(height // TOKEN_PX, MERGE, PATCH_PX, width // TOKEN_PX, MERGE, PATCH_PX, 3)
    cut = cut.transpose(0, 3, 1, 4, 6, 2, 5)  # row, column, in the token, colour, pixel
    flat = cut.reshape(-1, 3, 1, PATCH_PX * PATCH_PX).repeat(2, axis=2)
    return flat.reshape(len(flat), -1).astype(np.float32), (1, height // PATCH_PX, width // PATCH_PX)


def token_counts(grids: Tensor) -> list[int]:
    """How many tokens stand for each picture."""
    counts: list[int] = (grids.prod(dim=1) // MERGE**2).tolist()
    return counts


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


def shuffled(count: int, rng: Rng) -> Iterator[int]:
    """Without end: indices below `count`, each once an epoch."""
    while True:
        yield from rng.permutation(count).tolist()
