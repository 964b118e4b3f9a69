"""Persons drawn by the made world as annotate gets them, with the truth of them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.tiny_mllm.faults import FAULTS
from curation.crops import pixels_sha256
from world.people import Look, draw_identities
from world.plans import plan_picture
from world.takes import Take, take
from world.truth import Kind

Row = dict[str, Any]
FIT = "A"


@dataclass(frozen=True, kw_only=True)
class MadePerson:
    """A row as the stage gets it, how the person looks, and the letter that a judge should say."""

    row: Row
    look: Look
    letter: str


def draw_persons(letters: Sequence[str], seed: int) -> list[MadePerson]:
    """A person for each letter: fit ones as they are drawn, the others with the letter's fault."""
    people = draw_identities(len(letters), seed)
    takes = [take(plan_picture(Kind.CURATED, person.number, [person], seed)) for person in people]
    rng = np.random.default_rng(seed)
    persons = []
    for number, (person, made, letter) in enumerate(zip(people, takes, letters, strict=True)):
        other = takes[(number + 1) % len(takes)]
        jpeg = made.jpeg if letter == FIT else _spoiled(letter, made, other, rng)
        persons.append(MadePerson(row=_row(number, jpeg, made), look=person.look, letter=letter))
    return persons


def jpeg_of(picture: Image.Image) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=95)
    return sink.getvalue()


def _spoiled(letter: str, made: Take, other: Take, rng: np.random.Generator) -> bytes:
    """Faults are made for pictures of half the size (benchmarks/tiny_mllm/data.py)."""
    return jpeg_of(FAULTS[letter](_half(made), _half(other), rng))


def _half(made: Take) -> Image.Image:
    picture = Image.open(io.BytesIO(made.jpeg)).convert("RGB")
    return picture.resize((picture.width // 2, picture.height // 2))


def _row(number: int, jpeg: bytes, made: Take) -> Row:
    """The crop is the whole picture, which is what the tiny MLLM knows; nothing is known of the person."""
    picture = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    (truth,) = made.persons
    keypoints = np.array(truth.keypoints).reshape(17, 3)
    keypoints[:, 2] = keypoints[:, 2] == 2  # hidden ones do not count
    return {
        "unit": 0,
        "row": number,
        "person": 0,
        "crop": jpeg,
        "crop_sha256": pixels_sha256(picture),
        "crop_left_px": 0,
        "crop_top_px": 0,
        "crop_width_px": picture.shape[1],
        "crop_height_px": picture.shape[0],
        "box_xyxy_px": list(truth.box_xyxy_px),
        "keypoints": keypoints.ravel().tolist(),
        "score": 0.9,
        "verdict": None,
        "captions": [],
        "colours": None,
        "refused": [],
    }
