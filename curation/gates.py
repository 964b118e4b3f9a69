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
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from pipeline.reasons import Reason
from pipeline.recipe import Section

HEAD = range(5)
HIPS = (11, 12)


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
    width, height = box[2] - box[0], box[3] - box[1]
    figure = limits.boundary == "figure"
    aspect = width / height if height > 0 else float("inf")
    visible = [confidence >= limits.keypoint_confidence for confidence in keypoints[2::3]]
    head, hips = sum(visible[i] for i in HEAD), sum(visible[i] for i in HIPS)
    between = limits.aspect_min < aspect < limits.aspect_max if figure else (
        limits.aspect_min <= aspect <= limits.aspect_max
    )  # fmt: skip
    return {
        Reason.LOW_SCORE: score > limits.score_min,
        Reason.SHORT_SIDE: (width if figure else min(width, height)) > limits.short_side_min_px,
        Reason.ASPECT_RATIO: between,
        Reason.FEW_KEYPOINTS: sum(visible) >= limits.keypoints_min + figure,
        Reason.NO_HIP: hips >= limits.hips_min + figure,
        Reason.NO_HEAD: head >= limits.head_min + figure,
    }


def person_gate(
    box: Sequence[float], score: float, keypoints: Sequence[float], limits: GateLimits
) -> Reason | None:
    """The first gate that the person fails, in the order of the paper's text; None if it passes all."""
    outcomes = gate_outcomes(box, score, keypoints, limits)
    return next((reason for reason, passed in outcomes.items() if not passed), None)


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
