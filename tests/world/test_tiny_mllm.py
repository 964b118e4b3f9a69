from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from benchmarks.tiny_mllm.data import CLASSES, GRID, HEIGHT_PX, WIDTH_PX, Captions, Person, classes, patches
from benchmarks.tiny_mllm.faults import FAULTS
from benchmarks.tiny_mllm.reading import FORM, right, share
from curation.judge import LETTERS
from world.people import draw_identities
from world.words import attributes

HOME = Path("world/tiny_mllm")
MOST_BYTES = 16_000_000
LOOKS = [identity.look for identity in draw_identities(2, seed=0)]
PERSON, ANOTHER = (
    Person(picture=Path("none"), identity=number, told=attributes(look, "standing", "front"))
    for number, look in enumerate(LOOKS)
)


def _noise(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (256, 128, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_four_patches_of_one_token_stand_together_in_rows() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (HEIGHT_PX, WIDTH_PX), dtype=np.uint8)
    made = patches([Image.fromarray(np.stack([grey] * 3, axis=2))])
    red = (made.reshape(len(made), 3, 2, 14, 14)[:, 0, 0] * 0.26862954 + 0.48145466) * 255
    expected = [grey[:14, :14], grey[:14, 14:28], grey[14:28, :14], grey[14:28, 14:28], grey[:14, 28:42]]
    for patch, wanted in zip(red.numpy(), expected, strict=False):
        np.testing.assert_allclose(patch, wanted, atol=0.01)


def test_every_picture_has_as_many_patches_as_its_grid() -> None:
    assert len(patches([_noise(0), _noise(1)])) == 2 * GRID[1] * GRID[2]


def test_letters_that_are_made_are_letters_of_the_judge() -> None:
    assert set(FAULTS) <= set(LETTERS)


@pytest.mark.parametrize("letter", [letter for letter in FAULTS if letter != "A"])
def test_a_fault_changes_the_picture_and_the_same_chance_makes_the_same_fault(letter: str) -> None:
    first, again = (FAULTS[letter](_noise(0), _noise(1), np.random.default_rng(5)) for _ in range(2))
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


def test_a_caption_out_of_form_is_wrong_in_all_that_is_worn() -> None:
    found = right([PERSON], ["Somebody stands there."])
    assert {found[name] for name in ("form", "upper", "lower", "shoe_colour")} == {share([False])}


@pytest.mark.parametrize("name", ["caption", "judge"])
def test_its_prompts_have_the_two_parts_that_prompts_have(name: str) -> None:
    prompt = yaml.safe_load((HOME / f"{name}.yaml").read_text())
    assert set(prompt) == {"system", "user"}


def test_all_its_weights_together_are_small_enough_to_be_kept() -> None:
    assert sum(path.stat().st_size for path in HOME.rglob("*") if path.is_file()) <= MOST_BYTES
