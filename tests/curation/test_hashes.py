"""Perceptual hashes: near pictures have near hashes, flat ones have none."""

import imagehash
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curation.crops import encode_jpeg
from curation.decode import decode
from curation.hashes import perceptual_hash

Pixels = NDArray[np.uint8]


def picture(seed: int, height: int = 512, width: int = 256) -> Pixels:
    """Soft coloured patches with a little noise."""
    rng = np.random.default_rng(seed)
    patches = Image.fromarray(rng.integers(0, 255, (9, 7, 3), dtype=np.uint8))
    soft = np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC))
    return np.clip(soft + rng.normal(0, 4, soft.shape), 0, 255).astype(np.uint8)


def bits_apart(one: Pixels, other: Pixels) -> int:
    hashes = [perceptual_hash(pixels) for pixels in (one, other)]
    assert hashes[0] is not None
    assert hashes[1] is not None
    return (int.from_bytes(hashes[0]) ^ int.from_bytes(hashes[1])).bit_count()


def test_a_hash_has_64_bits_and_half_of_them_are_set() -> None:
    found = perceptual_hash(picture(0))
    assert found is not None
    assert len(found) == 8
    assert int.from_bytes(found).bit_count() == 32


@pytest.mark.parametrize("seed", range(8))
def test_the_bits_are_those_of_imagehash_but_for_two(seed: int) -> None:
    pixels = picture(seed, height=200 + 61 * seed, width=90 + 31 * seed)
    theirs = int(str(imagehash.phash(Image.fromarray(pixels))), 16)
    ours = perceptual_hash(pixels)
    assert ours is not None
    assert (int.from_bytes(ours) ^ theirs).bit_count() <= 2


@pytest.mark.parametrize("seed", range(8))
def test_a_copy_at_half_the_size_and_low_quality_is_near(seed: int) -> None:
    pixels = picture(seed)
    half = np.asarray(Image.fromarray(pixels).resize((128, 256)))
    assert bits_apart(pixels, decode(encode_jpeg(half, 60), 10**6)) <= 4


def test_a_darker_copy_is_near() -> None:
    pixels = picture(1)
    assert bits_apart(pixels, (0.9 * pixels).astype(np.uint8)) <= 2


def test_different_pictures_are_far_apart() -> None:
    assert min(bits_apart(picture(0), picture(seed)) for seed in range(1, 20)) > 12


def test_a_picture_of_one_colour_has_no_hash() -> None:
    assert perceptual_hash(np.full((300, 100, 3), 77, np.uint8)) is None


def test_noise_on_one_colour_has_no_hash() -> None:
    noise = np.random.default_rng(0).normal(128, 8, (300, 100, 3))
    assert perceptual_hash(noise.astype(np.uint8)) is None


def test_a_picture_of_bars_has_no_chance_bits() -> None:
    bars = np.repeat(picture(3)[:, :1], 256, axis=1)  # equal columns: no wave runs across
    found = perceptual_hash(bars)
    assert found is not None
    assert all(byte & 0b0111_1111 == 0 for byte in found)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (2, 3)], ids=str)
def test_any_size_is_hashed_or_flat(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    found = perceptual_hash(pixels)
    assert (found is None) == (shape == (1, 1))
    assert found == perceptual_hash(pixels.copy())


def test_a_picture_cut_out_of_another_one_hashes_as_its_copy() -> None:
    cut = picture(5)[100:400, 20:200]
    assert perceptual_hash(cut) == perceptual_hash(np.ascontiguousarray(cut))
