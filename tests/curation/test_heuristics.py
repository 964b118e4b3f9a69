"""The judge's stand-in: sharpness, light, size and keypoints of a photograph, and of the same spoilt."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from curation.heuristics import HeuristicSettings, Measured, Pixels, fault_scores, measure
from tests.curation.photograph import Floats, crop, crop_keypoints

SETTINGS = HeuristicSettings()


def scores(picture: Pixels, keypoints: Floats) -> dict[str, float]:
    return fault_scores(measure(picture, keypoints, SETTINGS.keypoint_min), SETTINGS)


def blurred(picture: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(picture.shape[0] / 45)))


@pytest.mark.parametrize("person", [0, 1, 2])
def test_people_in_a_photograph_are_fit(person: int) -> None:
    found = scores(crop(person), crop_keypoints(person))
    assert found["A"] > 0.8
    assert sum(found.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "spoil",
    [
        blurred,
        lambda picture: (picture * 0.1).astype(np.uint8),
        lambda picture: (255 - picture * 0.03).astype(np.uint8),
        lambda picture: (110 + picture * 0.02).astype(np.uint8),
        lambda picture: np.asarray(Image.fromarray(picture).resize((24, 90))),
    ],
    ids=["blurred", "dark", "bright", "flat", "small"],
)
def test_a_spoilt_photograph_is_unclear(spoil: Callable[[Pixels], Pixels]) -> None:
    found = scores(spoil(crop(1)), crop_keypoints(1))
    assert max(found, key=found.__getitem__) == "F"
    assert found["F"] > 0.5


@pytest.mark.parametrize(
    ("limit", "spoil"),
    [
        ("sharpness_min", blurred),
        ("luma_min", lambda picture: (40 * (picture / 255.0) ** 0.5).astype(np.uint8)),
        ("short_side_min_px", lambda picture: np.asarray(Image.fromarray(picture).resize((24, 90)))),
    ],
)
def test_a_limit_that_is_loosened_keeps(limit: str, spoil: Callable[[Pixels], Pixels]) -> None:
    measured = measure(spoil(crop(1)), crop_keypoints(1), SETTINGS.keypoint_min)
    loose = SETTINGS.model_copy(update={limit: 1.0, "contrast_min": 1.0})
    strict = loose.model_copy(update={limit: getattr(SETTINGS, limit)})
    assert fault_scores(measured, loose)["A"] > 0.5 > fault_scores(measured, strict)["A"]


@pytest.mark.parametrize(
    ("name", "value", "letter"),
    [
        ("sharpness", 2.5, "F"),
        ("luma", 12.5, "F"),
        ("luma", 245.0, "F"),
        ("contrast", 5.0, "F"),
        ("short_side_px", 20.0, "F"),
        ("body", 0.2, "E"),
        ("ends", 0.15, "D"),
    ],
)
def test_half_of_one_limit_is_a_fault_whatever_the_rest(name: str, value: float, letter: str) -> None:
    good = Measured(sharpness=50, luma=100, contrast=70, short_side_px=200, body=1, ends=1)
    assert fault_scores(good, SETTINGS)["A"] > 0.99
    assert fault_scores(replace(good, **{name: value}), SETTINGS)[letter] > 0.98


def test_hidden_limbs_are_occluded() -> None:
    keypoints = crop_keypoints(1)
    keypoints[7:11, 2] = keypoints[13:, 2] = 0.1
    assert scores(crop(1), keypoints)["E"] > 0.5


@pytest.mark.parametrize("missing", [slice(0, 5), slice(11, 13)], ids=["head", "hips"])
def test_without_head_or_hips_a_person_is_cut_off(missing: slice) -> None:
    keypoints = crop_keypoints(1)
    keypoints[missing, 2] = 0.05
    found = scores(crop(1), keypoints)
    assert max(found, key=found.__getitem__) == "D"


def test_sharpness_does_not_depend_on_the_size_of_the_crop() -> None:
    large, keypoints = crop(2), crop_keypoints(2)
    twice = np.asarray(Image.fromarray(large).resize((2 * large.shape[1], 2 * large.shape[0])))
    one, two = (measure(picture, keypoints, 0.5).sharpness for picture in (large, twice))
    assert two == pytest.approx(one, rel=0.2)


def test_a_single_colour_breaks_nothing() -> None:
    found = scores(np.full((200, 80, 3), 255, np.uint8), crop_keypoints(1))
    assert found["F"] > 0.5
