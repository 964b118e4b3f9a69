"""The truth about made pictures: one table of pictures, one of persons, one of captions.

Schemas derive from the dataclasses (pipeline/records.py). The numbers hold for made pictures: they look like
a game, and nothing here says how photographs behave.
"""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.reasons import Reason
from pipeline.records import F32, I32, I64, BoxXyxy, Keypoints
from world.people import Look


class Kind(StrEnum):
    """What a picture is made for."""

    CURATED = "curated"
    """One person in a pose and view that the gates let through."""
    VARIED = "varied"
    """One person in any pose and view."""
    SCENE = "scene"
    """One to four people in a wide picture."""
    EMPTY = "empty"
    """A background without anybody."""
    FAR = "far"
    """Too small."""
    CUT_OFF = "cut_off"
    """From the waist up: the picture ends there."""
    HEAD_HIDDEN = "head_hidden"
    HIPS_HIDDEN = "hips_hidden"
    MOSTLY_HIDDEN = "mostly_hidden"
    PROFILE = "profile"
    """A narrow standing figure, seen from the side."""
    VAGUE = "vague"
    """Far away and out of focus: too little to be sure of."""
    BLURRED = "blurred"
    """Out of focus: the gates let it through, a judge should not."""
    DARK = "dark"
    """Hardly any light: a case for the judge as well."""


class Label(StrEnum):
    """What a word of a caption is worth."""

    TRUE = "true"
    """It tells something of the person that is so."""
    FALSE = "false"
    """It tells something that is not so, or not of the person."""
    NEUTRAL = "neutral"
    """It holds the sentence together."""


class Lie(StrEnum):
    """The kinds of planted errors."""

    COLOUR = "wrong_colour"
    GARMENT = "wrong_garment"
    ACCESSORY = "invented_accessory"
    BACKGROUND = "background_chatter"


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Gates by themselves: True where the person passes, None where the truth does not tell.

    Names are the reasons of the gates (pipeline/reasons.py).
    """

    low_score: bool | None = None
    short_side: bool | None = None
    aspect_ratio: bool | None = None
    few_keypoints: bool | None = None
    no_hip: bool | None = None
    no_head: bool | None = None


@dataclass(frozen=True, kw_only=True)
class TruthPicture:
    """Table `truth-pictures`: one row per made picture."""

    picture: str
    """Its name: that of the file without suffix."""
    kind: Kind
    width_px: I32
    height_px: I32
    background: str
    persons: I32
    blur_px: F32
    """Standard deviation of the blur; 0 is sharp."""
    brightness: F32
    """Factor on the light; 1 is daylight."""
    image_sha256: str


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """An identity in a picture: the columns that stand before the attributes."""

    picture: str
    person: I32
    """From left to right, from 0."""
    identity: I64


@dataclass(frozen=True, kw_only=True)
class TruthPerson(Look, Appearance):
    """Table `truth-persons`: one row per person of a made picture, with the attributes of a look."""

    pose: str
    view: str
    yaw_deg: F32
    """0 faces the camera; positive turns to the picture's right."""
    box_xyxy_px: BoxXyxy
    """Around what is visible of the person, clothes and hair; bags do not count."""
    visible_share: F32
    """Visible pixels ÷ those that nothing in front and no picture's edge would hide."""
    keypoints: Keypoints
    """COCO 17 from the rig: x, y, and 2 visible, 1 hidden, 0 outside the picture."""
    passes: Passes
    fails: Reason | None
    """The gate that this picture was made to fail; None if it was made for none."""


@dataclass(frozen=True, kw_only=True)
class Word:
    """One word of a caption: the characters `start` to `end`, and what it is worth."""

    start: I32
    end: I32
    label: Label
    lie: Lie | None = None


@dataclass(frozen=True, kw_only=True)
class TruthCaption:
    """Table `truth-captions`: a caption of a person, each of its words labelled."""

    picture: str
    person: I32
    slot: I32
    text: str
    template_id: str
    words: list[Word]
