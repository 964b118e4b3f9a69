"""Colours of clothing, measured: regions from keypoints, pixels named by basic colour terms in CIELAB."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab
from skimage.draw import polygon

from curation.packaged import packaged_hash, packaged_rows

Floats = NDArray[np.floating]
Polygon = Floats
"""Corners in crop pixels, [C, 2] as x, y."""

SHOULDERS, HIPS, KNEES, ANKLES = (5, 6), (11, 12), (13, 14), (15, 16)
FACE = (0, 1, 2)
TERMS = "colour-terms.csv"
LIGHTNESS_WEIGHT = 0.5
"""Light and shade change lightness first, so that it counts half beside hue and chroma."""
LIT_LIGHTNESS, LIT_SHARE = 8.0, 0.1
"""Pixels darker than this look black to people and hold only a camera's tint; they vote for a hue only where
this share of the region shows the same hue in better light (dark jeans with lit folds)."""
MOST_PIXELS = 2000
LEAST_PIXELS = 60
SKIN_DISTANCE = 15.0
"""Pixels of a shin this near to the face's colour are taken for skin."""


@dataclass(frozen=True)
class GarmentColour:
    """What most pixels of a region vote for: the term and its share."""

    name: str
    share: float
    shares: Mapping[str, float]
    """Of every term that got votes, the most first."""


@dataclass(frozen=True, eq=False)
class ColourTerms:
    """Reference colours: `names[i]` is the term of `lab[i]`; `id` is the hash of the file they come from."""

    id: str
    names: tuple[str, ...]
    lab: Floats

    def name_pixels(self, lab: Floats) -> NDArray[np.str_]:
        """Terms of CIELAB pixels [P, 3], by the nearest reference."""
        scale = np.sqrt([LIGHTNESS_WEIGHT, 1.0, 1.0])
        pixels, references = lab * scale, self.lab * scale
        # |p - r|² without |p|², which is the same for every reference.
        distance = (references**2).sum(axis=1) - 2 * pixels @ references.T
        named: NDArray[np.str_] = np.array(self.names)[distance.argmin(axis=1)]
        return named


def load_colour_terms() -> ColourTerms:
    """The packaged basic colour terms."""
    rows = list(packaged_rows(TERMS))
    srgb = np.array([list(bytes.fromhex(row["srgb"].removeprefix("#"))) for row in rows], dtype=np.uint8)
    names = tuple(row["term"] for row in rows)
    return ColourTerms(packaged_hash(TERMS), names, rgb2lab(srgb[None])[0])


def upper_colour(
    crop: NDArray[np.uint8], keypoints: Floats, terms: ColourTerms, keypoint_min: float
) -> GarmentColour | None:
    """Colour of the upper clothing in an RGB crop [H, W, 3]; keypoints [17, 3]: x, y, confidence.

    None if the torso is not visible or too small.
    """
    torso = torso_polygon(keypoints, keypoint_min)
    return None if torso is None else _vote(region_lab(crop, [torso]), terms)


def lower_colour(
    crop: NDArray[np.uint8],
    keypoints: Floats,
    terms: ColourTerms,
    keypoint_min: float,
    upper: GarmentColour | None = None,
) -> GarmentColour | None:
    """Colour of the lower clothing; as `upper_colour`. Bare shins, as far as the face tells, do not vote.

    Where thighs and shins disagree, the thighs are believed, for shins may be bare; but the shins where the
    thighs have the colour of the `upper` clothing, for that may be a coat.
    """
    thighs, shins = leg_polygons(keypoints, keypoint_min)
    thigh_lab, shin_lab = region_lab(crop, thighs), region_lab(crop, shins)
    skin = _skin(crop, keypoints, keypoint_min)
    if skin is not None:
        shin_lab = shin_lab[np.linalg.norm(shin_lab - skin, axis=1) > SKIN_DISTANCE]
    at_thighs, at_shins = _vote(thigh_lab, terms), _vote(shin_lab, terms)
    if at_thighs is None or at_shins is None:
        return at_thighs or at_shins
    if at_thighs.name == at_shins.name:
        return _vote(np.concatenate([thigh_lab, shin_lab]), terms)
    return at_shins if upper is not None and at_thighs.name == upper.name else at_thighs


def torso_polygon(keypoints: Floats, keypoint_min: float) -> Polygon | None:
    """The inner part between shoulders and hips; a strip where one side is hidden or turned away.

    None without a shoulder and a hip on the same side.
    """
    sides = [
        keypoints[[shoulder, hip], :2]
        for shoulder, hip in zip(SHOULDERS, HIPS, strict=True)
        if keypoints[[shoulder, hip], 2].min() >= keypoint_min
    ]
    if not sides:
        return None
    axis = np.mean(sides, axis=0)
    width = np.linalg.norm(sides[0][0] - sides[-1][0])
    if width < 0.25 * np.linalg.norm(axis[1] - axis[0]):
        return _strip(axis[0], axis[1], start=0.15, stop=0.9, width=0.25)
    (shoulder_a, hip_a), (shoulder_b, hip_b) = sides
    corners = np.array([shoulder_a, shoulder_b, hip_b, hip_a])
    # Arms and background lie at the sides, neck and belt at the ends.
    ends = np.array([_between(corners[0], corners[3], t) for t in (0.15, 0.9)])
    others = np.array([_between(corners[1], corners[2], t) for t in (0.15, 0.9)])
    left, right = _between(ends, others, 0.15), _between(ends, others, 0.85)
    return np.array([left[0], right[0], right[1], left[1]])


def leg_polygons(keypoints: Floats, keypoint_min: float) -> tuple[list[Polygon], list[Polygon]]:
    """Strips along the visible thighs and shins: (thighs, shins); long tops and shoes are left out."""
    thighs, shins = [], []
    for hip, knee, ankle in zip(HIPS, KNEES, ANKLES, strict=True):
        seen = keypoints[:, 2] >= keypoint_min
        if seen[hip] and seen[knee]:
            thighs.append(_strip(keypoints[hip, :2], keypoints[knee, :2], start=0.4, stop=1.0, width=0.2))
        if seen[knee] and seen[ankle]:
            shins.append(_strip(keypoints[knee, :2], keypoints[ankle, :2], start=0.0, stop=0.75, width=0.16))
    return thighs, shins


def region_lab(crop: NDArray[np.uint8], polygons: Sequence[Polygon]) -> Floats:
    """CIELAB colours [P, 3] of the pixels inside the polygons, evenly thinned out to at most MOST_PIXELS."""
    inside = np.zeros(crop.shape[:2], dtype=bool)
    for corners in polygons:
        inside[polygon(corners[:, 1], corners[:, 0], inside.shape)] = True
    pixels = crop[inside]
    pixels = pixels[:: max(1, -(-len(pixels) // MOST_PIXELS))]
    return rgb2lab(pixels[None])[0] if len(pixels) else np.empty((0, 3))


def _vote(lab: Floats, terms: ColourTerms) -> GarmentColour | None:
    if len(lab) < LEAST_PIXELS:
        return None
    votes = terms.name_pixels(lab)
    lit = lab[:, 0] >= LIT_LIGHTNESS
    for name in np.unique(votes):
        if (lit & (votes == name)).mean() < LIT_SHARE:
            votes[~lit & (votes == name)] = "black"
    names, counts = np.unique(votes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shares = {str(names[at]): float(counts[at] / len(lab)) for at in order}
    winner = next(iter(shares))
    return GarmentColour(winner, shares[winner], shares)


def _skin(crop: NDArray[np.uint8], keypoints: Floats, keypoint_min: float) -> Floats | None:
    """Median CIELAB colour of a face seen with both eyes, from the triangle of eyes and nose."""
    if keypoints[list(FACE), 2].min() < keypoint_min:
        return None
    lab = region_lab(crop, [keypoints[list(FACE), :2]])
    return np.median(lab, axis=0) if len(lab) else None


def _strip(a: Floats, b: Floats, start: float, stop: float, width: float) -> Polygon:
    """A strip along a → b, between two fractions of the way, `width` of the length wide."""
    along = b - a
    half = np.array([-along[1], along[0]]) * width / 2
    first, last = a + along * start, a + along * stop
    return np.array([first - half, first + half, last + half, last - half])


def _between(a: Floats, b: Floats, t: float) -> Floats:
    return np.asarray(a + (b - a) * t)
