"""Pre-filters: what a URL list says of a picture decides whether it is asked for at all.

COYO-700M's columns are the defaults (docs/method.md, person filtering). A value that is null,
empty or NaN passes its limit: the list then says nothing against the row.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from curation.addresses import WebError, parse_url
from curation.list_files import InputError
from pipeline.reasons import Reason
from pipeline.recipe import Section

Share = Annotated[float, Field(ge=0, le=1)]


class PrefilterSettings(Section):
    """The limits, and the columns of the list that they read."""

    width_column: str = "width"
    """Column with the picture's width in pixels."""
    height_column: str = "height"
    """Column with the picture's height in pixels."""
    faces_column: str = "num_faces"
    """Column with the number of faces."""
    nsfw_columns: tuple[str, ...] = ("nsfw_score_opennsfw2", "nsfw_score_gantman")
    """Columns with scores of indecency; the largest counts."""
    watermark_column: str = "watermark_score"
    """Column with the score of a watermark."""
    min_width_px: PositiveInt | None = None
    """Narrower pictures are left out."""
    min_height_px: PositiveInt | None = None
    """Lower pictures are left out."""
    aspect_min: PositiveFloat | None = None
    """Pictures with a smaller width ÷ height are left out."""
    aspect_max: PositiveFloat | None = None
    """Pictures with a larger width ÷ height are left out."""
    faces_min: NonNegativeInt | None = None
    """Pictures with fewer faces are left out."""
    faces_max: NonNegativeInt | None = None
    """Pictures with more faces are left out."""
    nsfw_max: Share | None = None
    """Pictures with a larger score are left out."""
    watermark_max: Share | None = None
    """Pictures with a larger score are left out."""
    domains_allow: tuple[str, ...] | str = ()
    """If there are any, only URLs of these domains and their subdomains are asked for; the domains, or the
    path of a text file with one a line."""
    domains_deny: tuple[str, ...] | str = ()
    """URLs of these domains and their subdomains are left out; the domains, or the path of a text file."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for low, high in (("aspect_min", "aspect_max"), ("faces_min", "faces_max")):
            smallest, largest = getattr(self, low), getattr(self, high)
            if smallest is not None and largest is not None and smallest > largest:
                raise ValueError(f"{low} is above {high}: nothing would be left")
        return self

    def number_columns(self) -> tuple[str, ...]:
        """The columns that the limits which are set read; their values are numbers."""
        shape = (self.aspect_min, self.aspect_max)
        uses = (
            (self.width_column, (self.min_width_px, *shape)),
            (self.height_column, (self.min_height_px, *shape)),
            (self.faces_column, (self.faces_min, self.faces_max)),
            *((column, (self.nsfw_max,)) for column in self.nsfw_columns),
            (self.watermark_column, (self.watermark_max,)),
        )
        return tuple(dict.fromkeys(column for column, limits in uses if _any_set(limits)))


class Domains:
    """A set of domains as hashes: millions of them travel to workers as one array.

    Two domains have the same 64 bits once in 10^19 pairs: with five million listed and two billion looked up,
    one false match is expected in some 2,000 runs.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._hashes = np.unique(np.array([_hash(name) for name in names], np.uint64))

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, host: str) -> bool:
        """Whether the host or a domain above it is one of them."""
        labels = host.split(".")
        found = np.array([_hash(".".join(labels[start:])) for start in range(len(labels))], np.uint64)
        places = np.searchsorted(self._hashes, found)
        return bool((self._hashes[np.minimum(places, len(self) - 1)] == found).any()) if len(self) else False

    def fingerprint(self) -> str:
        """Hash of which domains there are, whatever file or order they came in."""
        return hashlib.sha256(self._hashes.tobytes()).hexdigest()


@dataclass(frozen=True)
class Prefilter:
    """The limits with their domain lists read."""

    settings: PrefilterSettings
    allow: Domains
    deny: Domains

    @classmethod
    def read(cls, settings: PrefilterSettings) -> Self:
        """Read the domain files. Raises InputError naming file and line."""
        lists = (settings.domains_allow, settings.domains_deny)
        return cls(settings, *(Domains(_domains(given)) for given in lists))

    def fingerprint(self) -> str:
        """What the settings do not say themselves: the contents of the domain files."""
        return f"{self.allow.fingerprint()} {self.deny.fingerprint()}"

    def reason(self, url: str | None, values: Mapping[str, Any]) -> Reason | None:
        """The first limit that a row breaks.

        values: those of `number_columns`, as numbers or as texts that spell them; raises ValueError for one
        that is neither. A URL that cannot be read is left to the download, which says why.
        """
        limits = self.settings
        numbers = {column: _number(column, values[column]) for column in self._columns}
        width, height = numbers.get(limits.width_column), numbers.get(limits.height_column)
        aspect = width / height if width and height else None
        nsfw = [numbers.get(column) for column in limits.nsfw_columns]
        found = {
            Reason.LISTED_SIZE: _outside(width, limits.min_width_px)
            or _outside(height, limits.min_height_px),
            Reason.LISTED_ASPECT: _outside(aspect, limits.aspect_min, limits.aspect_max),
            Reason.LISTED_FACES: _outside(
                numbers.get(limits.faces_column), limits.faces_min, limits.faces_max
            ),
            Reason.LISTED_NSFW: any(_outside(score, None, limits.nsfw_max) for score in nsfw),
            Reason.LISTED_WATERMARK: _outside(
                numbers.get(limits.watermark_column), None, limits.watermark_max
            ),
            Reason.DOMAIN_EXCLUDED: self._excludes(url),
        }
        return next((reason for reason, broken in found.items() if broken), None)

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        return self.settings.number_columns()

    def _excludes(self, url: str | None) -> bool:
        if not len(self.allow) and not len(self.deny):
            return False
        try:
            host = parse_url(url or "").host
        except WebError:
            return False
        return host in self.deny or (len(self.allow) > 0 and host not in self.allow)


def _any_set(limits: Sequence[float | None]) -> bool:
    return any(limit is not None for limit in limits)


def _outside(value: float | None, low: float | None, high: float | None = None) -> bool:
    return value is not None and ((low is not None and value < low) or (high is not None and value > high))


def _number(column: str, value: Any) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ValueError(f"column {column} holds {str(value)[:40]!r}, not a number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"column {column} holds {str(value)[:40]!r}, not a number") from None
    return None if math.isnan(number) else number


def _domains(given: Sequence[str] | str) -> Iterator[str]:
    if not isinstance(given, str):
        yield from (_domain(name, "domains") for name in given)
        return
    try:
        lines = Path(given).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{given}: a list of domains is UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{given}: {error.strerror}") from None
    names = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, start=1)]
    if not any(name for _, name in names):
        raise InputError(f"{given}: no domain in it")
    yield from (_domain(name, f"{given} line {number}") for number, name in names if name)


def _domain(name: str, place: str) -> str:
    """In the spelling that a URL's host has."""
    bare = name.strip().removeprefix("*.").strip(".")
    try:
        if set(bare) & set("/\\@:?# "):
            raise WebError(Reason.URL_INVALID)
        return parse_url(f"http://{bare}/").host
    except WebError:
        raise InputError(f"{place}: not a domain: {name[:80]!r}") from None


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
