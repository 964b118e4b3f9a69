"""Captions held against pixels and against each other: what is measured, and how claims stand to it.

A colour claim is contradicted only where one colour fills most of a region, and nothing that the claim may
look like (prompts/colour-words.csv) fills a noticeable part of it. The measurements are a record, so that an
audit can be done again without pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from curation.claim_words import ClaimWords, ColourWord, Thing, load_claim_words
from curation.claims import Claims, read_claims
from curation.colours import (
    ColourTerms,
    Floats,
    GarmentColour,
    load_colour_terms,
    lower_colour,
    upper_colour,
)
from curation.validate import Finding
from pipeline.reasons import Reason
from pipeline.recipe import Section, fingerprint
from pipeline.records import Agreement, CaptionAudit, ColourShare, GarmentColours

T = TypeVar("T")


class AuditSettings(Section):
    """When a caption's colours are held to be wrong."""

    keypoint_min: float = Field(default=0.5, ge=0, le=1)
    """Confidence from which a keypoint counts as visible."""
    main_share_min: float = Field(default=0.5, ge=0, le=1)
    """Least share of a region that its main colour must fill; below it nothing is checked."""
    other_share_min: float = Field(default=0.1, ge=0, le=1)
    """Share of a region from which a colour supports a claim."""
    contradicted: Literal["record", "drop", "recaption"] = "record"
    """What becomes of a contradicted caption: it stands with its audit, does not count, or is asked for again
    and does not count if it still is after the last attempt."""
    contradicted_min: PositiveInt = 1
    """Contradicted regions from which a caption is a contradicted one."""


@dataclass(frozen=True)
class Auditor:
    """The audit with the tables that it reads."""

    settings: AuditSettings
    words: ClaimWords
    terms: ColourTerms

    @classmethod
    def load(cls, settings: AuditSettings) -> Self:
        """With the packaged tables."""
        return cls(settings, load_claim_words(), load_colour_terms())

    @property
    def measured_id(self) -> str:
        """Of the measurements that it makes."""
        return _measured_id(self.terms, self.settings.keypoint_min)

    def measure(self, picture: NDArray[np.uint8], keypoints: Floats) -> GarmentColours:
        """Colours of a crop [H, W, 3]; keypoints [17, 3]: x, y in the crop, confidence."""
        return measure_garments(picture, keypoints, self.terms, self.settings.keypoint_min)

    def audit(self, text: str, measured: GarmentColours) -> CaptionAudit:
        """Hold a caption's colours against the measured ones."""
        return audit(read_claims(text, self.words), measured, self.settings)

    def problem(self, text: str, measured: GarmentColours) -> Finding | None:
        """Why a caption does not count by its audit."""
        if self.settings.contradicted == "record":
            return None
        found = self.audit(text, measured)
        if found.contradicted < self.settings.contradicted_min:
            return None
        return Finding(Reason.CAPTION_CONTRADICTED, "; ".join(found.contradictions))

    def agreement(self, texts: Sequence[str]) -> Agreement | None:
        """Between the first two of some captions; None if there are fewer."""
        claims = [read_claims(text, self.words) for text in texts[:2]]
        return compare(*claims) if len(claims) == 2 else None


def measure_garments(
    picture: NDArray[np.uint8], keypoints: Floats, terms: ColourTerms, keypoint_min: float
) -> GarmentColours:
    """Colours of a crop [H, W, 3]; keypoints [17, 3]: x, y in the crop, confidence."""
    upper = upper_colour(picture, keypoints, terms, keypoint_min)
    lower = lower_colour(picture, keypoints, terms, keypoint_min, upper)
    return GarmentColours(
        upper=_shares(upper), lower=_shares(lower), measured_id=_measured_id(terms, keypoint_min)
    )


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


def stored_colours(stored: Mapping[str, Any]) -> GarmentColours:
    """Measurements as a table holds them."""
    upper, lower = ([ColourShare(**share) for share in stored[name]] for name in ("upper", "lower"))
    return GarmentColours(upper=upper, lower=lower, measured_id=stored["measured_id"])


def _measured_id(terms: ColourTerms, keypoint_min: float) -> str:
    return fingerprint(terms.id, keypoint_min)


def _other_things(claims: Claims, region: str) -> set[str]:
    """Colours that a region may show though nothing worn there has them."""
    if region == "upper":
        return {term for colour in claims.colours("bag") for term in colour.terms}
    short = any(garment.thing.name in _SHORT for garment in claims.of("lower"))
    return set(_SKIN) if short else set()


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
