"""Drawn and measured persons with numbers that can be worked out by hand."""

from dataclasses import replace

from pipeline.cli.matching import Measured
from world.truth import Passes, TruthPerson

BOX = (100.0, 0.0, 200.0, 400.0)
"""100 px wide and 400 px high."""
EVERYWHERE = [150.0, 40.0, 2.0] * 17
"""All 17 keypoints visible, at one place."""

DRAWN = TruthPerson(
    picture="curated-00000",
    person=0,
    identity=7,
    sex="woman",
    build="slim",
    skin="tan",
    hair_length="long",
    hair_colour="black",
    upper="jacket",
    upper_colour="red",
    pattern="plain",
    pattern_colour=None,
    lower="long skirt",
    lower_colour="blue",
    shoe_colour="white",
    bag="none",
    bag_colour=None,
    headwear="none",
    headwear_colour=None,
    pose="stand",
    view="front",
    yaw_deg=0.0,
    box_xyxy_px=list(BOX),
    visible_share=1.0,
    keypoints=EVERYWHERE,
    passes=Passes(),
    fails=None,
)
MEASURED = Measured(
    key="000000-00000-00",
    url="http://127.0.0.1/pictures/curated-00000.jpg",
    box_xyxy_px=BOX,
    score=0.9,
    keypoints=[150.0, 40.0, 0.99] * 17,
    reason=None,
)


def drawn(left: float = 100.0, **changes: object) -> TruthPerson:
    """A drawn person whose box begins at `left`."""
    return replace(DRAWN, **({"box_xyxy_px": [left, 0.0, left + 100, 400.0]} | changes))  # type: ignore[arg-type]


def measured(left: float = 100.0, **changes: object) -> Measured:
    """A measured person whose box begins at `left`."""
    return replace(MEASURED, **({"box_xyxy_px": (left, 0.0, left + 100, 400.0)} | changes))  # type: ignore[arg-type]
