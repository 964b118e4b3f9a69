"""Captions held against pixels and against each other: what is measured, and how claims stand to it.

A colour claim is contradicted only where one colour fills most of a region, and nothing that the claim may
look like (prompts/colour-words.csv) fills a noticeable part of it. The measurements are a record, so that an
audit can be done again without pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from curation.claim_words import ColourWord, Thing
from curation.claims import Claims
from curation.colours import ColourTerms, Floats, GarmentColour, lower_colour, upper_colour
from pipeline.reasons import Reason
from pipeline.recipe import Section
from pipeline.records import F32, I32

T = TypeVar("T")


class AuditSettings(Section):
    """When a caption's colours are held to be wrong."""

    keypoint_min: float = Field(default=0.5, ge=0, le=1)
    """Confidence from which a keypoint counts as visible."""
    main_share_min: float = Field(default=0.5, ge=0, le=1)
    """Least share of a region that its main colour must fill; below it nothing is checked."""
    other_share_min: float = Field(default=0.1, ge=0, le=1)
    """Share of a region from which a colour supports a claim."""
    contradicted_max: PositiveInt | None = None
    """Contradicted regions from which a caption does not count; null only records them."""


@dataclass(frozen=True, kw_only=True)
class ColourShare:
    """A basic colour term and the share of a region's pixels that vote for it."""

    name: str
    share: F32


@dataclass(frozen=True, kw_only=True)
class GarmentColours:
    """What was measured of a person's clothing, the most first; empty where a region is not visible."""

    upper: list[ColourShare]
    lower: list[ColourShare]
    terms_id: str
    """Hash of the colour terms."""


@dataclass(frozen=True, kw_only=True)
class CaptionAudit:
    """How a caption's colours stand to what was measured."""

    checked: I32
    """Regions (upper, lower) whose colour is both claimed and measured."""
    contradicted: I32
    contradictions: list[str]
    """One line each: "upper: red said, blue measured (0.83)"."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What two captions of a person say of the same: names of attributes, each in one list at most."""

    agree: list[str]
    disagree: list[str]
    one_says: list[str]
    """Only one of them says anything."""


def measure_garments(
    picture: NDArray[np.uint8], keypoints: Floats, terms: ColourTerms, keypoint_min: float
) -> GarmentColours:
    """Colours of a crop [H, W, 3]; keypoints [17, 3]: x, y in the crop, confidence."""
    upper = upper_colour(picture, keypoints, terms, keypoint_min)
    lower = lower_colour(picture, keypoints, terms, keypoint_min, upper)
    return GarmentColours(upper=_shares(upper), lower=_shares(lower), terms_id=terms.id)


def audit(claims: Claims, measured: GarmentColours, settings: AuditSettings) -> CaptionAudit:
    """Hold the colours that a caption claims against the measured ones.

    A region is checked as a whole: of a jacket over a shirt nobody knows which one fills it, so any of their
    colours will do. A coat may hang over the legs. A dress alone counts above the waist only, for the legs
    under it may be bare. Nothing is checked where a bag that is told of, or skin under shorts or a skirt, may
    be what was measured.
    """
    upper, lower = claims.colours("upper", "long", "outfit"), claims.colours("lower")
    over = claims.colours("long", "outfit") if lower else []
    checked, contradictions = 0, []
    for region, said, shares in (("upper", upper, measured.upper), ("lower", lower + over, measured.lower)):
        if not said or not shares or shares[0].share < settings.main_share_min:
            continue
        if shares[0].name in _other_things(claims, region):
            continue
        checked += 1
        present = {each.name for each in shares if each.share >= settings.other_share_min}
        if not any(present.intersection(colour.terms) for colour in said):
            words = " and ".join(colour.word for colour in said)
            contradictions.append(
                f"{region}: {words} said, {shares[0].name} measured ({shares[0].share:.2f})"
            )
    return CaptionAudit(checked=checked, contradicted=len(contradictions), contradictions=contradictions)


def _other_things(claims: Claims, region: str) -> set[str]:
    """Colours that a region may show though nothing worn there has them."""
    if region == "upper":
        return {term for colour in claims.colours("bag") for term in colour.terms}
    short = any(garment.thing.name in _SHORT for garment in claims.of("lower"))
    return set(_SKIN) if short else set()


def decide(found: CaptionAudit, settings: AuditSettings) -> Reason | None:
    """Why a caption does not count by its audit, None if it does."""
    limit = settings.contradicted_max
    return Reason.CAPTION_CONTRADICTED if limit is not None and found.contradicted >= limit else None


def compare(one: Claims, other: Claims) -> Agreement:
    """Hold two captions of the same person against each other, attribute by attribute.

    Two that name several garments or colours of a region agree if any two of them can be the same. A pair of
    glasses that only one names is no disagreement: captions leave things out.
    """
    found: dict[str, list[str]] = {"agree": [], "disagree": [], "one_says": []}
    for name, same in _compared(one, other).items():
        if same is not None:
            found[same].append(name)
    return Agreement(**found)


_SHORT = frozenset({"shorts", "skirt"})
_SKIN = frozenset({"brown", "pink", "orange"})
"""What the colour terms make of skin."""
_REGIONS: Mapping[str, tuple[str, ...]] = {
    "upper": ("upper", "long"),
    "lower": ("lower",),
    "outfit": ("outfit",),
    "shoes": ("shoes",),
    "head": ("head",),
    "bag": ("bag",),
    "hair": ("hair",),
}


def _compared(one: Claims, other: Claims) -> dict[str, str | None]:
    """agree, disagree, one_says, or None (nobody says anything), by attribute."""
    found = {
        "gender": _same(_said(one.gender), _said(other.gender), str.__eq__),
        "hair length": _same(_said(one.hair_length), _said(other.hair_length), Thing.like),
    }
    for name, regions in _REGIONS.items():
        things = [[garment.thing for garment in claims.of(*regions)] for claims in (one, other)]
        colours = [claims.colours(*regions) for claims in (one, other)]
        if name != "hair":
            found[name] = _same(things[0], things[1], Thing.like)
        found[f"{name} colour"] = _same(colours[0], colours[1], ColourWord.like)
    worn = [{garment.thing.name for garment in claims.of("accessory")} for claims in (one, other)]
    found |= {
        name: "agree" if name in worn[0] & worn[1] else "one_says" for name in sorted(worn[0] | worn[1])
    }
    return found


def _same(one: Sequence[T], other: Sequence[T], alike: Callable[[T, T], bool]) -> str | None:
    if not one and not other:
        return None
    if not one or not other:
        return "one_says"
    return "agree" if any(alike(a, b) for a in one for b in other) else "disagree"


def _said(value: T | None) -> list[T]:
    return [] if value is None else [value]


def _shares(colour: GarmentColour | None) -> list[ColourShare]:
    return [ColourShare(name=name, share=share) for name, share in colour.shares.items()] if colour else []
