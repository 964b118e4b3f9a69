"""A stand-in for the judge on machines without a model: sharpness, light, size and keypoints.

It sees whether a person can be made out, and nothing of what is shown: no drawing, no child, nobody else.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, PositiveFloat

from curation.colours import ANKLES, HIPS, KNEES, SHOULDERS, Floats
from pipeline.recipe import Section

MODEL_ID = "heuristics-stand-in/1"
HEIGHT_PX = 256
"""Pictures are brought to this height before sharpness is measured: how large a crop is must not tell."""
STEEPNESS = 8.0
HEAD, ELBOWS, WRISTS = (0, 1, 2, 3, 4), (7, 8), (9, 10)
BODY = (*SHOULDERS, *ELBOWS, *WRISTS, *HIPS, *KNEES, *ANKLES)
Pixels = NDArray[np.uint8]


class HeuristicSettings(Section):
    """Where each measurement turns: there a fault is as likely as none."""

    sharpness_min: PositiveFloat = 5.0
    """Standard deviation of the Laplacian, in levels of grey, at a height of 256 px."""
    luma_min: PositiveFloat = 25.0
    """Mean grey, of 255: darker is unclear."""
    luma_max: float = Field(default=235.0, gt=0, lt=255)
    """Mean grey: brighter is unclear."""
    contrast_min: PositiveFloat = 10.0
    """Standard deviation of grey."""
    short_side_min_px: PositiveFloat = 40.0
    """Shorter side of the crop."""
    keypoint_min: float = Field(default=0.5, ge=0, le=1)
    """Confidence from which a keypoint is seen."""
    body_min: PositiveFloat = 0.4
    """Share of shoulders, elbows, wrists, hips, knees and ankles that is seen: less is occluded."""
    ends_min: PositiveFloat = 0.3
    """Confidence of the head's and of the hips' best keypoint: less is cut off."""


@dataclass(frozen=True)
class Measured:
    """What a CPU measures of a person, in the units of HeuristicSettings."""

    sharpness: float
    luma: float
    contrast: float
    short_side_px: float
    body: float
    ends: float


def measure(picture: Pixels, keypoints: Floats, keypoint_min: float) -> Measured:
    """picture: RGB [H, W, 3]; keypoints: [17, 3], x, y there and confidence."""
    grey = Image.fromarray(picture).convert("L")
    width = max(3, round(grey.width * HEIGHT_PX / grey.height))
    levels = np.asarray(grey.resize((width, HEIGHT_PX), Image.Resampling.BICUBIC), dtype=np.float64)
    middle = levels[1:-1, 1:-1]
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    confidence = keypoints[:, 2]
    return Measured(
        sharpness=float((around - 4 * middle).std()),
        luma=float(levels.mean()),
        contrast=float(levels.std()),
        short_side_px=float(min(grey.size)),
        body=float((confidence[list(BODY)] >= keypoint_min).mean()),
        ends=float(min(confidence[list(HEAD)].max(), confidence[list(HIPS)].max())),
    )


def fault_scores(measured: Measured, settings: HeuristicSettings) -> dict[str, float]:
    """Probabilities of the letters A, D, E and F; they sum to 1, and no other letter is ever said.

    Each measurement gives its fault by a logistic of the logarithm of its ratio to the limit; A is what no
    fault takes, and the faults share the rest.
    """
    unclear = (
        _below(measured.sharpness, settings.sharpness_min),
        _below(measured.luma, settings.luma_min),
        _below(255 - measured.luma, 255 - settings.luma_max),
        _below(measured.contrast, settings.contrast_min),
        _below(measured.short_side_px, settings.short_side_min_px),
    )
    faults = {
        "D": _below(measured.ends, settings.ends_min),
        "E": _below(measured.body, settings.body_min),
        "F": 1 - math.prod(1 - fault for fault in unclear),
    }
    fit = math.prod(1 - fault for fault in faults.values())
    total = sum(faults.values())
    return {"A": fit} | {letter: (1 - fit) * fault / total for letter, fault in faults.items()}


def _below(value: float, limit: float) -> float:
    """How likely a fault is: a half at the limit, 1 in 257 at twice as much."""
    return 1 / (1 + math.pow(max(value, 0.0) / limit, STEEPNESS))
