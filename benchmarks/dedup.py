"""What near duplicates by perceptual hash find, whom they confuse, and what a million of them cost.

    OMP_NUM_THREADS=1 python -m benchmarks.dedup

Quality is measured on the made world: planted copies, other pictures of the same person, twins (one attribute
apart), and twins in the very same shot (pose, place, light: a catalogue's pictures). Copies are made of the
picture; then the person's box moves by up to 1 % a side, as a detector's does. How many different persons
collide in a large run is estimated from hashes drawn with the waves' means and covariances (a model: the
world's figures look like a game, photographs may collide more or less). The index is timed on those, against
sorting by pieces in numpy. The result is written to benchmarks/results/dedup.json.
"""

import io
import itertools
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from curation.crops import crop_person
from curation.dedup import near_originals
from curation.hashes import perceptual_hash, slow_waves
from pipeline.storage import publish_json
from world.people import draw_identities
from world.pictures import encode_jpeg
from world.plans import plan_picture
from world.takes import take
from world.truth import Kind

RESULT = Path(__file__).parent / "results" / "dedup.json"
PEOPLE, VIEWS, TWIN_SHARE, SEED = 120, 2, 0.5, 21
RADII = range(0, 17, 2)
MOVED = 0.01
COMPARED, LARGE = 200_000, 1_000_000

Box = tuple[float, ...]
Hashes = NDArray[np.uint64]
Change = Callable[[Image.Image, Box], tuple[Image.Image, Box]]


@dataclass(frozen=True)
class Shown:
    """A made picture of one person."""

    identity: int
    twin_of: int | None
    number: int
    """Of its pictures; from VIEWS on it repeats the first one of the person that it is a twin of."""
    picture: Image.Image
    box: Box

    @property
    def same_shot(self) -> bool:
        """Whether it shows a twin as its model was shown."""
        return self.number >= VIEWS


def main() -> None:
    """Draw, measure, print and publish the numbers."""
    shown = list(_draw())
    rng = np.random.default_rng(SEED)
    originals = [_hash(each.picture, each.box) for each in shown]
    plain = [at for at, each in enumerate(shown) if not each.same_shot]
    copies = {
        name: [_moved_hash(*change(shown[at].picture, shown[at].box), rng) for at in plain]
        for name, change in _changes().items()
    }
    waves = [slow_waves(_cut(shown[at].picture, shown[at].box)) for at in plain]
    drawn = _drawn_hashes(np.array([each for each in waves if each is not None]), LARGE)
    result = {
        "command": "python -m benchmarks.dedup",
        "machine": f"{platform.machine()}, 1 of {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "pictures": len(shown),
        "radii_bits": list(RADII),
        "share_within_radius": _shares(shown, originals, plain, copies),
        "greedy_pass": {
            "without_twins_in_the_same_shot": _greedy(originals, plain, copies, plain),
            "with_them": _greedy(originals, list(range(len(shown))), copies, plain),
        },
        "different_persons_dropped_of_drawn_hashes": _collisions(drawn),
        "seconds": _seconds(drawn),
        "hashes_per_second_256x512": round(_hash_rate(shown)),
    }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def _draw() -> Iterator[Shown]:
    people = draw_identities(PEOPLE, SEED, TWIN_SHARE)
    for person in people:
        plans = [plan_picture(Kind.CURATED, VIEWS * person.number + n, [person], SEED) for n in range(VIEWS)]
        if person.twin_of is not None:
            model = plan_picture(Kind.CURATED, VIEWS * person.twin_of, [people[person.twin_of]], SEED)
            plans.append(replace(model, shots=(replace(model.shots[0], identity=person),)))
        for number, plan in enumerate(plans):
            made = take(plan)
            picture = Image.open(io.BytesIO(made.jpeg)).convert("RGB")
            box = tuple(float(side) for side in made.persons[0].box_xyxy_px)
            yield Shown(person.number, person.twin_of, number, picture, box)


def _changes() -> Mapping[str, Change]:
    """The planted copies."""
    return {
        "jpeg_quality_85": lambda picture, box: (_encoded(picture, 85), box),
        "jpeg_quality_70": lambda picture, box: (_encoded(picture, 70), box),
        "size_0.75": lambda picture, box: _resized(picture, box, 0.75),
        "size_0.5": lambda picture, box: _resized(picture, box, 0.5),
        "crop_2_percent_a_side": lambda picture, box: (picture, _inset(box, 0.02)),
        "crop_5_percent_a_side": lambda picture, box: (picture, _inset(box, 0.05)),
        "brightness_0.9": lambda picture, box: (_lit(picture, 0.9), box),
        "brightness_1.1": lambda picture, box: (_lit(picture, 1.1), box),
        "mirrored": lambda picture, box: (ImageOps.mirror(picture), _mirrored(picture, box)),
    }


def _shares(
    shown: Sequence[Shown],
    originals: Sequence[int],
    plain: Sequence[int],
    copies: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    """For each kind of pair, how many there are and which share each radius calls near."""
    pairs: dict[str, list[int]] = {f"copy: {name}": [] for name in copies}
    for name, hashes in copies.items():
        pairs[f"copy: {name}"] = [_bits(originals[a], b) for a, b in zip(plain, hashes, strict=True)]
    for one, other in itertools.combinations(range(len(shown)), 2):
        kind = _kind(shown[one], shown[other])
        if kind:
            pairs.setdefault(kind, []).append(_bits(originals[one], originals[other]))
    return {
        name: {"pairs": len(bits), "shares": [round(sum(b <= r for b in bits) / len(bits), 5) for r in RADII]}
        for name, bits in pairs.items()
    }


def _kind(one: Shown, other: Shown) -> str | None:
    """`one` was drawn before `other`."""
    if other.same_shot:
        return "twin, same shot" if (other.twin_of, 0) == (one.identity, one.number) else None
    if one.same_shot:
        return None
    if one.identity == other.identity:
        return "same person, another picture"
    return "twin, another picture" if one.identity == other.twin_of else "different persons"


def _greedy(
    originals: Sequence[int], base: Sequence[int], copies: Mapping[str, Sequence[int]], plain: Sequence[int]
) -> dict[str, Any]:
    """The pass over pictures and their copies (but mirrored ones): precision and recall of what it drops."""
    sources, hashes = list(base), [originals[at] for at in base]
    for name, found in copies.items():
        if name != "mirrored":
            sources += plain
            hashes += found
    source, known = np.array(sources), np.array(hashes, np.uint64)
    rows = []
    for radius in RADII:
        named = near_originals(known, radius)
        dropped = named != np.arange(len(named))
        right = int((dropped & (source[named] == source)).sum())
        rows.append((right / max(int(dropped.sum()), 1), right / (len(source) - len(base))))
    return {
        "pictures": len(base),
        "copies": len(source) - len(base),
        "precision": [round(precision, 4) for precision, _ in rows],
        "recall": [round(recall, 4) for _, recall in rows],
    }


def _drawn_hashes(waves: NDArray[np.int64], count: int) -> Hashes:
    """Hashes of persons who never were, their waves [N, 8, 8] distributed like these."""
    flat = waves.reshape(len(waves), -1).astype(np.float64)
    flat /= np.linalg.norm(flat[:, 1:], axis=1, keepdims=True)
    mean, covariance = flat.mean(axis=0), np.cov(flat.T)
    root = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(mean)))
    rng, parts = np.random.default_rng(SEED), []
    for _ in range(0, count, 100_000):
        drawn = rng.normal(size=(100_000, len(mean))) @ root.T + mean
        parts.append(np.packbits(drawn > np.median(drawn, axis=1, keepdims=True), axis=1).view(np.uint64))
    return np.concatenate(parts).ravel()[:count]


def _collisions(drawn: Hashes) -> dict[str, Any]:
    """Which share of so many different persons would be dropped."""
    sizes = (50_000, COMPARED)
    return {
        f"{size} persons": {
            f"radius {radius}": round(
                float((near_originals(drawn[:size], radius) != np.arange(size)).mean()), 6
            )
            for radius in (2, 4, 6)
        }
        for size in sizes
    }


def _seconds(drawn: Hashes) -> dict[str, Any]:
    """The index against sorting, and a million with its memory (peak over what stood before)."""
    same, sorting = _timed(lambda: _by_sorting(drawn[:COMPARED], 4))
    found, index = _timed(lambda: near_originals(drawn[:COMPARED], 4))
    assert np.array_equal(found, same)
    _, equal = _timed(lambda: near_originals(np.zeros(100_000, np.uint64), 4))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    large, seconds = _timed(lambda: near_originals(drawn, 4))
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return {
        "radius_4_200000_faiss": round(index, 2),
        "radius_4_200000_numpy_sorting": round(sorting, 2),
        "radius_4_100000_equal": round(equal, 3),
        "radius_4_1000000_faiss": round(seconds, 1),
        "radius_4_1000000_dropped_share": round(float((large != np.arange(len(large))).mean()), 6),
        "radius_4_1000000_bytes_a_row": round(grown / len(drawn)),
    }


def _by_sorting(hashes: Hashes, radius: int) -> NDArray[np.int64]:
    """The same rule by pairs: of radius + 2 pieces, two agree; quadratic in a neighbourhood."""
    edges = np.linspace(0, 64, radius + 3).astype(int)
    pieces = [np.uint64(sum(1 << bit for bit in range(*edge))) for edge in itertools.pairwise(edges.tolist())]
    pairs = []
    for one, other in itertools.combinations(pieces, 2):
        order = np.argsort(hashes & (one | other), kind="stable")
        keys, at, step = (hashes & (one | other))[order], np.arange(len(hashes)), 0
        while len(at):
            step += 1
            at = at[at + step < len(hashes)]
            at = at[keys[at] == keys[at + step]]
            near = np.bitwise_count(hashes[order[at]] ^ hashes[order[at + step]]) <= radius
            pairs.append(np.stack([order[at[near]], order[at[near] + step]], axis=1))
    originals = np.arange(len(hashes))
    for first, second in np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0).tolist():
        if originals[first] == first and originals[second] == second:
            originals[second] = first
    return originals


def _timed(work: Callable[[], NDArray[np.int64]]) -> tuple[NDArray[np.int64], float]:
    """Processor time: other processes of the machine do not count."""
    started = time.process_time()
    return work(), time.process_time() - started


def _hash_rate(shown: Sequence[Shown]) -> float:
    pixels = np.asarray(shown[0].picture)
    started = time.process_time()
    for _ in range(500):
        perceptual_hash(pixels)
    return 500 / (time.process_time() - started)


def _cut(picture: Image.Image, box: Box) -> NDArray[np.uint8]:
    return crop_person(np.asarray(picture), box)


def _hash(picture: Image.Image, box: Box) -> int:
    found = perceptual_hash(_cut(picture, box))
    assert found is not None
    return int.from_bytes(found)


def _moved_hash(picture: Image.Image, box: Box, rng: np.random.Generator) -> int:
    width, height = box[2] - box[0], box[3] - box[1]
    moves = rng.uniform(-MOVED, MOVED, 4) * (width, height, width, height)
    return _hash(picture, tuple(side + float(move) for side, move in zip(box, moves, strict=True)))


def _bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def _encoded(picture: Image.Image, quality: int) -> Image.Image:
    return Image.open(io.BytesIO(encode_jpeg(picture, quality))).convert("RGB")


def _resized(picture: Image.Image, box: Box, scale: float) -> tuple[Image.Image, Box]:
    size = round(scale * picture.width), round(scale * picture.height)
    small = picture.resize(size, Image.Resampling.BICUBIC)
    return _encoded(small, 85), tuple(scale * side for side in box)


def _lit(picture: Image.Image, factor: float) -> Image.Image:
    return _encoded(ImageEnhance.Brightness(picture).enhance(factor), 85)


def _inset(box: Box, share: float) -> Box:
    x, y = share * (box[2] - box[0]), share * (box[3] - box[1])
    return box[0] + x, box[1] + y, box[2] - x, box[3] - y


def _mirrored(picture: Image.Image, box: Box) -> Box:
    return picture.width - box[2], box[1], picture.width - box[0], box[3]


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise SystemExit("OMP_NUM_THREADS: set it to 1, so that one core is measured")
    main()
