"""What a CPU can honestly say of a person: colours of the clothing, and what the keypoints show.

Placeholder values for `pipeline.templates`; what was not measured has no value. Nothing here knows a gender,
a kind of garment or an action.
"""

import numpy as np
from numpy.typing import NDArray

from curation.colours import ANKLES, HIPS, KNEES, SHOULDERS, ColourTerms, Floats, lower_colour, upper_colour

NOSE, EYES, EARS, WRISTS = 0, (1, 2), (3, 4), (9, 10)


def measure(
    picture: NDArray[np.uint8], keypoints: Floats, terms: ColourTerms, keypoint_min: float, share_min: float
) -> dict[str, str]:
    """Values by placeholder name, from a crop [H, W, 3] and keypoints [17, 3]: x, y there, confidence.

    A keypoint counts from `keypoint_min` on; a colour when at least `share_min` of its region votes for it.
    """
    upper = upper_colour(picture, keypoints, terms, keypoint_min)
    lower = lower_colour(picture, keypoints, terms, keypoint_min, upper)
    values = {"facing": _facing(keypoints, keypoint_min), "framing": _framing(keypoints, keypoint_min)}
    values["arms"] = _arms(keypoints, keypoint_min)
    if upper is not None and upper.share >= share_min:
        values |= {"top color": upper.name, "colored top": f"a {upper.name} top"}
    if lower is not None and lower.share >= share_min:
        values |= {"bottom color": lower.name, "colored bottom": f"{lower.name} bottoms"}
    return {name: value for name, value in values.items() if value}


def _facing(keypoints: Floats, keypoint_min: float) -> str:
    """The body's front shows the person's left shoulder on the picture's right."""
    seen = keypoints[:, 2] >= keypoint_min
    left, right = SHOULDERS
    if not seen[list(SHOULDERS)].all():
        return ""
    front = keypoints[left, 0] > keypoints[right, 0]
    if front and seen[[NOSE, *EYES]].all():
        return "facing the camera"
    if not front and not seen[[NOSE, *EYES]].any():
        return "seen from behind"
    return ""


def _framing(keypoints: Floats, keypoint_min: float) -> str:
    seen = keypoints[:, 2] >= keypoint_min
    if not seen[[NOSE, *EYES, *EARS]].any():
        return ""
    for joints, words in (
        (ANKLES, "from head to feet"),
        (KNEES, "down to the knees"),
        (HIPS, "down to the hips"),
    ):
        if seen[list(joints)].any():
            return f"visible {words}" if seen[list(joints)].all() else ""
    return ""


def _arms(keypoints: Floats, keypoint_min: float) -> str:
    """Raised is a wrist higher than its shoulder; anything else is not said."""
    raised = sum(
        keypoints[[wrist, shoulder], 2].min() >= keypoint_min and keypoints[wrist, 1] < keypoints[shoulder, 1]
        for wrist, shoulder in zip(WRISTS, SHOULDERS, strict=True)
    )
    return ("", "one arm raised", "both arms raised")[raised]
