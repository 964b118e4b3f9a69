"""The truth about the persons of a drawing: boxes, keypoints, what is hidden, which gates they should pass.

Expected outcomes follow from the truth by the gates' rules (docs/method.md, person filtering); where a number
is near a limit, or hangs on the detector alone, the truth does not tell.
"""

from collections.abc import Sequence
from dataclasses import asdict
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pipeline.reasons import Reason
from world.camera import Camera
from world.figures import Figure
from world.meshes import Floats
from world.plans import Plan, view_of
from world.raster import rasterise
from world.shading import Drawing
from world.truth import Kind, Passes, TruthPerson

FAILS = {
    Kind.FAR: Reason.SHORT_SIDE,
    Kind.CUT_OFF: Reason.ASPECT_RATIO,
    Kind.HEAD_HIDDEN: Reason.NO_HEAD,
    Kind.HIPS_HIDDEN: Reason.NO_HIP,
    Kind.MOSTLY_HIDDEN: Reason.FEW_KEYPOINTS,
    Kind.PROFILE: Reason.ASPECT_RATIO,
    Kind.VAGUE: Reason.LOW_SCORE,
}
"""The gate that a picture of a kind is made to fail."""
# How deep a keypoint may lie under the surface that is seen; metres, in COCO's order.
DEPTH_M = np.array(
    [0.04, 0.05, 0.05, 0.06, 0.06, 0.16, 0.16, 0.11, 0.11, 0.1, 0.1, 0.2, 0.2, 0.13, 0.13, 0.13, 0.13]
)
SHORT_SIDE_PX, ASPECT_MIN, ASPECT_MAX, KEYPOINTS = 90, 0.25, 0.5, 8
NEAR = 0.1
"""Numbers this near to a limit, as a share of it, tell nothing."""
HEAD, HIPS = slice(0, 5), slice(11, 13)


class Seen(IntEnum):
    """What hides a keypoint."""

    OUTSIDE = 0
    COVERED = 1
    """By something else."""
    TURNED_AWAY = 2
    """By the person's own body or clothes."""
    VISIBLE = 3


def mark_persons(
    plan: Plan, figures: Sequence[Figure], camera: Camera, drawing: Drawing
) -> list[TruthPerson]:
    """The truth about each person of whom anything is seen, from left to right."""
    masks = {owner: drawing.owner == owner for owner in range(len(figures))}
    boxes = {owner: _box(mask) for owner, mask in masks.items() if mask.any()}
    persons = []
    for number, owner in enumerate(sorted(boxes, key=lambda owner: boxes[owner][0])):
        shot, dressed = plan.shots[owner], figures[owner]
        pixels, seen = _keypoints(dressed, owner, camera, drawing)
        coco = np.array([0, 1, 1, 2])[seen]
        persons.append(
            TruthPerson(
                picture=plan.name,
                person=number,
                identity=shot.identity.number,
                **asdict(shot.identity.look),
                pose=shot.pose,
                view=view_of(shot.yaw_deg),
                yaw_deg=shot.yaw_deg,
                box_xyxy_px=boxes[owner],
                visible_share=_visible_share(dressed, owner, camera, masks[owner]),
                keypoints=np.column_stack([pixels, coco]).ravel().tolist(),
                passes=expected(boxes[owner], seen, plan.kind),
                fails=FAILS.get(plan.kind),
            )
        )
    return persons


def expected(box: Sequence[float], seen: npt.NDArray[np.int_], kind: Kind) -> Passes:
    """Gate by gate, what the truth says of a box (x1, y1, x2, y2) and 17 keypoints (Seen)."""
    width, height = box[2] - box[0], box[3] - box[1]
    aspect = width / height
    ratio = _beyond(aspect, ASPECT_MIN)
    if ratio is not False:
        wide = _beyond(aspect, ASPECT_MAX)
        ratio = None if ratio is None or wide is None else not wide
    return Passes(
        low_score=True if kind is Kind.CURATED else None,
        short_side=_beyond(min(width, height), SHORT_SIDE_PX),
        aspect_ratio=ratio,
        few_keypoints=_enough(seen, KEYPOINTS),
        no_hip=_enough(seen[HIPS], 1),
        no_head=_enough(seen[HEAD], 2),
    )


def _beyond(value: float, limit: float) -> bool | None:
    return None if abs(value / limit - 1) < NEAR else value > limit


def _enough(seen: npt.NDArray[np.int_], least: int) -> bool | None:
    """Whether `least` points are seen: one more says yes (of hips one alone), for some are seen badly.

    A detector may guess a point that the body itself hides, hardly one that something else hides.
    """
    if (seen == Seen.VISIBLE).sum() > least - (least == 1):
        return True
    return False if (seen >= Seen.TURNED_AWAY).sum() < least else None


def _box(mask: npt.NDArray[np.bool_]) -> list[float]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]


def _keypoints(
    dressed: Figure, owner: int, camera: Camera, drawing: Drawing
) -> tuple[Floats, npt.NDArray[np.int_]]:
    """Pixels [17, 2] of COCO's points, and what hides each [17] (Seen)."""
    pixels, depth = camera.project(dressed.keypoints)
    column, row = np.floor(pixels).astype(int).T
    height, width = drawing.depth.shape
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    at = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
    nearer = drawing.depth[at] < depth - DEPTH_M
    seen = np.where(
        nearer, np.where(drawing.owner[at] == owner, Seen.TURNED_AWAY, Seen.COVERED), Seen.VISIBLE
    )
    return pixels, np.where(inside, seen, Seen.OUTSIDE)


def _visible_share(dressed: Figure, owner: int, camera: Camera, mask: npt.NDArray[np.bool_]) -> float:
    """Visible pixels of a person ÷ those of the same person alone, on paper large enough for all of it."""
    pixels, depth = camera.project(dressed.mesh.points)
    pixels = pixels - np.floor(pixels.min(axis=0))
    width, height = (int(extent) + 1 for extent in pixels.max(axis=0))
    alone = rasterise(pixels, depth, dressed.mesh.faces, width, height)
    mine = (alone.face >= 0) & (dressed.mesh.owner[alone.face] == owner)
    return min(1.0, float(mask.sum() / mine.sum()))
