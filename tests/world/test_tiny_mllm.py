import dataclasses
import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from benchmarks.tiny_mllm.data import (
    CLASSES,
    MAX_PIXELS,
    MERGE,
    MIN_PIXELS,
    Captions,
    Person,
    classes,
    cut_out,
    draw_frame,
    eye_size,
    in_order,
    patches,
    token_counts,
)
from benchmarks.tiny_mllm.faults import FAULTS
from benchmarks.tiny_mllm.reading import FORM, right, share
from curation.canary import CANARIES, canary_question
from curation.judge import LETTERS
from world.people import draw_identities
from world.words import attributes

HOME, NAMES = Path("world/tiny_mllm"), ("a", "b")
needs_transformers = pytest.mark.skipif(find_spec("transformers") is None, reason="make vllm brings it")
MOST_BYTES = 16_000_000
BOX = (0.2, 0.1, 0.7, 0.9)
LOOKS = [in_order(identity.look) for identity in draw_identities(2, seed=0)]
PERSON, ANOTHER = (
    Person(picture=Path("none"), identity=number, box=BOX, told=attributes(look, "standing", "front"))
    for number, look in enumerate(LOOKS)
)
STRIPES = {"upper": "sweater", "upper_colour": "red", "pattern": "striped", "pattern_colour": "white"}
STRIPED = dataclasses.replace(PERSON, told={**PERSON.told, **STRIPES})
"""Somebody in a sweater of red and white stripes."""
YES, NO = share([True]), share([False])


def _noise(seed: int, width: int = 128, height: int = 256) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _upper(top: str) -> tuple[str, str]:
    """Whether the first colour and whether all colours are found right when a top is told so."""
    caption = Captions().filled(STRIPED, FORM)
    assert "a red and white striped sweater" in caption
    found = right([STRIPED], [caption.replace("a red and white striped sweater", top)])
    return found["upper_colour"], found["upper_colours"]


def test_four_patches_of_one_token_stand_together_in_rows() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (168, 84), dtype=np.uint8)
    made, _ = patches([Image.fromarray(np.stack([grey] * 3, axis=2))])
    red = (made.reshape(len(made), 3, 2, 14, 14)[:, 0, 0] * 0.26862954 + 0.48145466) * 255
    expected = [grey[:14, :14], grey[:14, 14:28], grey[14:28, :14], grey[14:28, 14:28], grey[:14, 28:42]]
    for patch, wanted in zip(red.numpy(), expected, strict=False):
        np.testing.assert_allclose(patch, wanted, atol=0.01)


@pytest.mark.parametrize(
    ("size", "grid"), [((128, 256), (12, 6)), ((76, 221), (14, 4)), ((128, 100), (6, 8)), ((40, 80), (6, 4))]
)
def test_a_picture_keeps_its_shape_nearly(size: tuple[int, int], grid: tuple[int, int]) -> None:
    pixels, grids = patches([_noise(0, *size)])
    assert grids.tolist() == [[1, *grid]]
    assert len(pixels) == grid[0] * grid[1] == token_counts(grids)[0] * MERGE**2


def test_pictures_of_many_shapes_stand_one_after_the_other() -> None:
    tall, wide = _noise(0), _noise(1, 128, 100)
    (both, grids), (first, _), (second, _) = patches([tall, wide]), patches([tall]), patches([wide])
    assert torch.equal(both, torch.cat([first, second]))
    assert token_counts(grids) == [18, 12]


def test_a_box_is_cut_out_by_shares_of_the_sides() -> None:
    assert (
        cut_out(_noise(0, 100, 200), BOX).tobytes() == _noise(0, 100, 200).crop((20, 20, 70, 180)).tobytes()
    )


def test_frames_lie_between_the_box_and_the_whole_picture() -> None:
    rng = np.random.default_rng(0)
    frames = np.array([draw_frame(BOX, rng) for _ in range(60)])
    assert frames.min() >= 0
    assert frames.max() <= 1
    assert (frames[:, :2] < np.array(BOX[:2]) + 0.031).all()
    assert (frames[:, 2:] > np.array(BOX[2:]) - 0.031).all()
    assert np.ptp(frames, axis=0).min() > 0.1


def test_the_colours_of_a_pattern_are_named_in_one_order_whichever_is_called_the_first() -> None:
    told = {**STRIPES, "upper_colour": "white", "pattern_colour": "red"}
    look, turned = (in_order(dataclasses.replace(LOOKS[0], **worn)) for worn in (STRIPES, told))
    assert look == turned
    assert {look.upper_colour, look.pattern_colour} == {"red", "white"}


def test_a_plain_look_stays_as_it_is() -> None:
    plain = dataclasses.replace(LOOKS[0], pattern="plain", pattern_colour=None)
    assert in_order(plain) == plain


def test_letters_that_are_made_are_letters_of_the_judge() -> None:
    assert set(FAULTS) <= set(LETTERS)


@pytest.mark.parametrize("letter", [letter for letter in FAULTS if letter != "A"])
def test_a_fault_changes_the_picture_and_the_same_chance_makes_the_same_fault(letter: str) -> None:
    first, again = (FAULTS[letter](_noise(0), _noise(1, 90), np.random.default_rng(5)) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != _noise(0).tobytes()


def test_a_faulty_picture_teaches_its_letter_alone() -> None:
    taught = dict(zip(CLASSES, classes(PERSON, "E"), strict=True))
    assert taught.pop("letter") == list(FAULTS).index("E")
    assert set(taught.values()) == {-100}


def test_the_true_caption_is_right_in_everything_and_anothers_is_not() -> None:
    caption = Captions().filled(PERSON, FORM)
    assert set(right([PERSON], [caption]).values()) == {share([True])}
    assert right([ANOTHER], [caption])["true_whole"] == share([False])


def test_both_colours_of_a_pattern_are_right_in_either_order() -> None:
    assert _upper("a white and red striped sweater") == (YES, YES)


@pytest.mark.parametrize("told", ["a red sweater", "a red and red striped sweater", "a red and blue sweater"])
def test_one_colour_of_a_pattern_is_not_all(told: str) -> None:
    assert _upper(told) == (YES, NO)


@pytest.mark.parametrize("told", ["a blue and red striped sweater", "a sweater"])
def test_the_colour_named_first_must_be_one_of_the_garments(told: str) -> None:
    assert _upper(told) == (NO, NO)


def test_a_caption_out_of_form_is_wrong_in_all_that_is_worn() -> None:
    found = right([PERSON], ["Somebody stands there."])
    assert {found[name] for name in ("form", "upper", "lower", "shoe_colour")} == {share([False])}


@pytest.mark.parametrize("name", ["caption", "judge"])
def test_its_prompts_have_the_two_parts_that_prompts_have(name: str) -> None:
    prompt = yaml.safe_load((HOME / f"{name}.yaml").read_text())
    assert set(prompt) == {"system", "user"}


@needs_transformers
def test_there_are_two_models_of_different_size() -> None:
    from benchmarks.tiny_mllm.model import SIZES

    assert {folder.name for folder in HOME.iterdir() if folder.is_dir()} == set(SIZES) == set(NAMES)
    assert len(set(SIZES.values())) == 2


@needs_transformers
def test_the_eye_is_given_the_sizes_that_qwens_processor_gives() -> None:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    for width, height in np.random.default_rng(0).integers(20, 700, (200, 2)).tolist():
        down, across = smart_resize(height, width, 28, MIN_PIXELS, MAX_PIXELS)
        assert eye_size(width, height) == (across, down)


@needs_transformers
@pytest.mark.parametrize("name", NAMES)
def test_a_model_sees_the_canaries_that_come_by_default(name: str) -> None:
    from benchmarks.tiny_mllm.check import Tiny
    from benchmarks.tiny_mllm.model import canary_prompt

    pictures = [Image.open(io.BytesIO(canary_question(canary).jpeg or b"")) for canary in CANARIES]
    said = Tiny(HOME / name).answers(pictures, canary_prompt(), 1)
    assert said == [canary.answer for canary in CANARIES]


def test_all_its_weights_together_are_small_enough_to_be_kept() -> None:
    assert sum(path.stat().st_size for path in HOME.rglob("*") if path.is_file()) <= MOST_BYTES
