"""What a caption claims of a person: gender, garments with their colours, hair, accessories; without a model.

Words and what they count as are data (curation/claim_words.py). What the tables do not know claims nothing,
and a garment named for its cloth ("jeans") claims no colour.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from curation.claim_words import ANYTHING, ClaimWords, ColourWord, Thing


@dataclass(frozen=True)
class Garment:
    """Something worn or carried, with the colours that are said of it."""

    thing: Thing
    colours: tuple[ColourWord, ...] = ()


@dataclass(frozen=True)
class Claims:
    """What one caption says; what it does not say is None or empty."""

    gender: str | None
    """woman or man; None also where a text says both."""
    garments: tuple[Garment, ...]
    """In their order; hair and accessories among them."""
    hair_length: Thing | None

    def of(self, *regions: str) -> list[Garment]:
        """The garments of some regions."""
        return [garment for garment in self.garments if garment.thing.region in regions]

    def colours(self, *regions: str) -> list[ColourWord]:
        """All colours said of some regions."""
        return [colour for garment in self.of(*regions) for colour in garment.colours]


def read_claims(text: str, words: ClaimWords) -> Claims:
    """The claims of a caption, from left to right.

    Colours stand before what they colour, over adjectives and "and" ("a red and white striped T-shirt"), or
    behind it ("his shirt is red", "a coat in dark blue"); those of a detail ("with white stripes") belong to
    what was named before it. "Dressed in black" is an outfit.
    """
    reading = _Reading([], [], [])
    between: list[Piece] = []
    before = _START
    for piece in (*_joined(_pieces(text, words)), _END):
        if _is_bound(piece):
            reading.close(before, between, piece)
            before, between = piece, []
        else:
            between.append(piece)
    genders = set(reading.genders)
    return Claims(
        gender=genders.pop() if len(genders) == 1 else None,
        garments=tuple(reading.garments),
        hair_length=next(iter(reading.hair_lengths), None),
    )


@dataclass(frozen=True)
class Piece:
    """One term of a text: what the tables know of it, or just its word."""

    word: str
    colour: ColourWord | None = None
    things: Sequence[Thing] = ()

    @property
    def worn(self) -> Thing | None:
        """What it names that is worn, carried or a part of that."""
        return next((thing for thing in self.things if thing.region not in _NOT_WORN), None)

    def of(self, region: str) -> list[Thing]:
        """What it names of a region."""
        return [thing for thing in self.things if thing.region == region]


_WORD = re.compile(r"[a-z0-9]+|[.;:!?,()]")
_OWN = re.compile(r"['’]\w*")
_NOT_WORN = frozenset({"gender", "hair length", "other"})
_JOINS = frozenset({"and", ",", "or"})
_LINKS = frozenset({"in", "is", "are", "that", "which", "coloured", "colored"})
"""What may stand between a garment and a colour that is said behind it."""
_DRESSED = frozenset({"dressed", "clad", "clothed", "attired", "all"})
_STOPS = frozenset(
    """
    a an the this her his their its one with of on at to from over under beneath below above by for while who
    wears wearing worn wear has have having holds holding carries carrying . ; : ! ? ( )
    """.split()  # noqa: SIM905
)
"""No colour reaches over these to a garment."""
_OUTFIT = Thing("outfit", "uniform", frozenset({ANYTHING}))
_START = _END = Piece(".")


@dataclass(frozen=True)
class _Reading:
    """What was read so far."""

    garments: list[Garment]
    genders: list[str]
    hair_lengths: list[Thing]

    def close(self, before: Piece, between: Sequence[Piece], bound: Piece) -> None:
        """Take in what stands between two bounds, and the second one of them."""
        behind, own = _divide(before, between, bound)
        if before.worn and self.garments:
            self._colour(behind)
        elif before.word in _DRESSED and behind:
            self.garments.append(Garment(_OUTFIT, tuple(behind)))
        if any(thing and thing.region == "hair" for thing in (before.worn, bound.worn)):
            for piece in (*between, bound):
                self.hair_lengths.extend(piece.of("hair length"))
        self.genders.extend(thing.name for thing in bound.of("gender"))
        if bound.worn and bound.worn.region != "detail":
            self.garments.append(Garment(bound.worn, tuple(own)))
        elif bound.worn and self.garments:
            self._colour(own)

    def _colour(self, colours: Sequence[ColourWord]) -> None:
        last = self.garments[-1]
        self.garments[-1] = replace(last, colours=(*last.colours, *colours))


def _divide(
    before: Piece, between: Sequence[Piece], bound: Piece
) -> tuple[list[ColourWord], list[ColourWord]]:
    """The colours between two bounds: of the first one, said behind it, and of the second one.

    "A coat in dark blue and white shoes" parts at the last "and"; so does "a coat, dark blue, and shoes".
    """
    linked = bool(before.worn or before.word in _DRESSED) and bool(between) and between[0].word in _LINKS
    joins = [at for at, piece in enumerate(between) if piece.word in _JOINS]
    if not bound.worn:
        cut = len(between) if linked else 0
    elif joins and (linked or joins[-1] == len(between) - 1):
        cut = joins[-1]
    else:
        cut = 0
    behind, own = ([p.colour for p in part if p.colour] for part in (between[:cut], between[cut:]))
    return behind, own


def _is_bound(piece: Piece) -> bool:
    named = any(thing.region != "hair length" for thing in piece.things)
    return named or piece.word in _STOPS or piece.word in _DRESSED


def _pieces(text: str, words: ClaimWords) -> Iterator[Piece]:
    """The text cut into the longest terms that the tables know, and single words."""
    tokens = _WORD.findall(_OWN.sub("", text.lower()))
    at = 0
    while at < len(tokens):
        for size in range(min(words.longest, len(tokens) - at), 0, -1):
            term = tuple(tokens[at : at + size])
            colour, things = words.colours.get(term), words.things.get(term, ())
            if colour or things or size == 1:
                yield Piece(" ".join(term), colour, things)
                at += size
                break


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The pieces with "dark" and the like made one with the colour behind them."""
    held: Piece | None = None
    for piece in pieces:
        if held and held.colour and piece.colour:
            piece = _lay(held.colour, piece)
        elif held:
            yield _alone(held)
        held = piece if piece.colour and piece.colour.before is not None else None
        if held is None:
            yield piece
    if held:
        yield _alone(held)


def _lay(first: ColourWord, piece: Piece) -> Piece:
    assert piece.colour is not None
    terms = (*piece.colour.terms, *(first.before or ()))
    word = f"{first.word} {piece.colour.word}"
    return replace(
        piece, word=word, colour=replace(piece.colour, word=word, terms=tuple(dict.fromkeys(terms)))
    )


def _alone(piece: Piece) -> Piece:
    return piece if piece.colour and piece.colour.terms else replace(piece, colour=None)
