"""The gates: which measured persons are good enough to caption. Numbers in, reasons out; no model.

| rule (docs/method.md, person filtering)      | paper's text         | paper's figure   |
|----------------------------------------------|----------------------|------------------|
| confidence of the person detector            | > 0.85               | > 0.85           |
| size of the person box                       | shorter side > 90 px | width > 90 px    |
| width : height                               | 1:4 to 1:2           | inside (1:4, 1:2)|
| visible keypoints of COCO's 17               | at least 8           | more than 8      |
| visible hips                                 | at least 1           | more than 1      |
| visible head points (nose, eyes, ears)       | at least 2           | more than 2      |
"""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from pipeline.reasons import Reason
from pipeline.recipe import Section

HEAD = range(5)
HIPS = (11, 12)
Numbers = NDArray[np.floating[Any] | np.integer[Any]]


class GateLimits(Section):
    """The limits of the gates; by default the paper's, in the reading of its text."""

    score_min: float = Field(default=0.85, ge=0, le=1)
    """A person's detector confidence must exceed this."""
    short_side_min_px: NonNegativeFloat = 90.0
    """The shorter side of the box (the width, in the figure's reading) must exceed this; pixels."""
    aspect_min: NonNegativeFloat = 0.25
    """Least width ÷ height of the box."""
    aspect_max: PositiveFloat = 0.5
    """Greatest width ÷ height of the box."""
    keypoints_min: int = Field(default=8, ge=0, le=17)
    """Visible keypoints of 17."""
    hips_min: int = Field(default=1, ge=0, le=2)
    """Visible hips of 2."""
    head_min: int = Field(default=2, ge=0, le=5)
    """Visible head points of 5."""
    keypoint_confidence: float = Field(default=0.5, ge=0, le=1)
    """From this confidence on a keypoint counts as visible; the paper does not say."""
    boundary: Literal["text", "figure"] = "text"
    """The paper's text includes the limits of ratio and counts, its figure excludes them."""

    @model_validator(mode="after")
    def _some_ratio_passes(self) -> Self:
        if self.aspect_min > self.aspect_max:
            raise ValueError(f"aspect_min {self.aspect_min} is above aspect_max {self.aspect_max}")
        return self


def gate_outcomes(
    box: Sequence[float], score: float, keypoints: Sequence[float], limits: GateLimits
) -> dict[Reason, bool]:
    """Each gate by itself: True where the person passes.

    box: x1, y1, x2, y2 in pixels; keypoints: 51 numbers, x, y, confidence for each of COCO's 17.
    """
    outcomes = _outcomes(np.array([box]), np.array([score]), np.array([keypoints]), limits)
    return {reason: bool(passed[0]) for reason, passed in outcomes.items()}


def person_gate(
    box: Sequence[float], score: float, keypoints: Sequence[float], limits: GateLimits
) -> Reason | None:
    """The first gate that the person fails, in the order of the paper's text; None if it passes all."""
    outcomes = gate_outcomes(box, score, keypoints, limits)
    return next((reason for reason, passed in outcomes.items() if not passed), None)


def person_gates(boxes: Numbers, scores: Numbers, keypoints: Numbers, limits: GateLimits) -> pa.StringArray:
    """For each of N persons the first gate that it fails; null where it passes all.

    boxes: [N, 4]; scores: [N]; keypoints: [N, 51].
    """
    outcomes = _outcomes(boxes, scores, keypoints, limits)
    passed = np.stack(list(outcomes.values()))
    first = pa.array(passed.argmin(axis=0), pa.int8(), mask=passed.all(axis=0))
    return pa.array([reason.value for reason in outcomes], pa.string()).take(first)


def _outcomes(
    boxes: Numbers, scores: Numbers, keypoints: Numbers, limits: GateLimits
) -> dict[Reason, NDArray[np.bool_]]:
    """Which of N persons pass each gate: [N, 4], [N], [N, 51] to [N] each."""
    # Numbers of 32 bits would draw the limits down to theirs.
    boxes, scores, keypoints = (each.astype(np.float64) for each in (boxes, scores, keypoints))
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    figure = limits.boundary == "figure"
    aspect = np.divide(width, height, out=np.full_like(width, np.inf), where=height > 0)
    visible = keypoints[:, 2::3] >= limits.keypoint_confidence
    between = (
        (limits.aspect_min < aspect) & (aspect < limits.aspect_max)
        if figure
        else (limits.aspect_min <= aspect) & (aspect <= limits.aspect_max)
    )
    return {
        Reason.LOW_SCORE: scores > limits.score_min,
        Reason.SHORT_SIDE: (width if figure else np.minimum(width, height)) > limits.short_side_min_px,
        Reason.ASPECT_RATIO: between,
        Reason.FEW_KEYPOINTS: visible.sum(axis=1) >= limits.keypoints_min + figure,
        Reason.NO_HIP: visible[:, HIPS].sum(axis=1) >= limits.hips_min + figure,
        Reason.NO_HEAD: visible[:, HEAD].sum(axis=1) >= limits.head_min + figure,
    }


def looser_than(limits: GateLimits, floor: GateLimits) -> str | None:
    """The first limit that would let through a person whom `floor` stops; None if there is none."""
    for name in ("score_min", "aspect_min", "keypoints_min", "hips_min", "head_min", "keypoint_confidence"):
        if getattr(limits, name) < getattr(floor, name):
            return name
    # The figure bounds the width alone: the height is then at least width ÷ aspect_max.
    flat = max(1.0, limits.aspect_max) if limits.boundary == "figure" and floor.boundary == "text" else 1.0
    if limits.short_side_min_px / flat < floor.short_side_min_px:
        return "short_side_min_px"
    if limits.aspect_max > floor.aspect_max:
        return "aspect_max"
    return "boundary" if (limits.boundary, floor.boundary) == ("text", "figure") else None
