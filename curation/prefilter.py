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
from curation.list_files import FORMATS, InputError
from pipeline.reasons import Reason
from pipeline.recipe import Section

Share = Annotated[float, Field(ge=0, le=1)]
IN_RECIPE = "harvest.input"
"""Where a recipe has these settings: errors name them by it."""
Limit = tuple[Reason, str, float | None, float | None, float | None]
"""Reason, name and value of what is limited; the smallest and the largest value that pass."""


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

    def number_columns(self) -> dict[str, str]:
        """The columns that the limits which are set read, each with the first of those limits.

        Their values are numbers.
        """
        shape = ("aspect_min", "aspect_max")
        uses = (
            (self.width_column, ("min_width_px", *shape)),
            (self.height_column, ("min_height_px", *shape)),
            (self.faces_column, ("faces_min", "faces_max")),
            *((column, ("nsfw_max",)) for column in self.nsfw_columns),
            (self.watermark_column, ("watermark_max",)),
        )
        found: dict[str, str] = {}
        for column, limits in uses:
            for limit in limits:
                if getattr(self, limit) is not None:
                    found.setdefault(column, limit)
        return found


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
        """Read the domain files. Raises InputError naming setting, file and line."""
        names = ("domains_allow", "domains_deny")
        return cls(settings, *(Domains(_domains(getattr(settings, n), f"{IN_RECIPE}.{n}")) for n in names))

    def fingerprint(self) -> str:
        """What the settings do not say themselves: the contents of the domain files."""
        return f"{self.allow.fingerprint()} {self.deny.fingerprint()}"

    def refusal(self, url: str | None, values: Mapping[str, Any]) -> tuple[Reason, str] | None:
        """The first limit that a row breaks, and how: `height 20 < 100`.

        values: those of `number_columns`, as numbers or as texts that spell them; raises ValueError for one
        that is neither. A URL that cannot be read is left to the download, which says why.
        """
        numbers = {column: _number(column, values[column]) for column in self._columns}
        for reason, name, value, low, high in self._limits(numbers):
            if broken := _outside(value, low, high):
                return reason, f"{name} {broken}"
        excluded = self._excluded(url)
        return (Reason.DOMAIN_EXCLUDED, excluded) if excluded else None

    def _limits(self, numbers: Mapping[str, float | None]) -> Iterator[Limit]:
        limits = self.settings
        width, height = numbers.get(limits.width_column), numbers.get(limits.height_column)
        aspect = width / height if width and height else None
        shape = f"{limits.width_column} / {limits.height_column}"
        faces, watermark = limits.faces_column, limits.watermark_column
        yield Reason.LISTED_SIZE, limits.width_column, width, limits.min_width_px, None
        yield Reason.LISTED_SIZE, limits.height_column, height, limits.min_height_px, None
        yield Reason.LISTED_ASPECT, shape, aspect, limits.aspect_min, limits.aspect_max
        yield Reason.LISTED_FACES, faces, numbers.get(faces), limits.faces_min, limits.faces_max
        for column in limits.nsfw_columns:
            yield Reason.LISTED_NSFW, column, numbers.get(column), None, limits.nsfw_max
        yield Reason.LISTED_WATERMARK, watermark, numbers.get(watermark), None, limits.watermark_max

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        return tuple(self.settings.number_columns())

    def _excluded(self, url: str | None) -> str | None:
        if not len(self.allow) and not len(self.deny):
            return None
        try:
            host = parse_url(url or "").host
        except WebError:
            return None
        if host in self.deny:
            return f"{host} is in domains_deny"
        if len(self.allow) and host not in self.allow:
            return f"{host} is not in domains_allow"
        return None


def _outside(value: float | None, low: float | None, high: float | None) -> str | None:
    """How a value breaks its limits."""
    if value is not None and low is not None and value < low:
        return f"{value:.12g} < {low:.12g}"
    if value is not None and high is not None and value > high:
        return f"{value:.12g} > {high:.12g}"
    return None


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


def _domains(given: Sequence[str] | str, setting: str) -> Iterator[str]:
    if not isinstance(given, str):
        yield from (_domain(name, setting) for name in given)
        return
    try:
        lines = Path(given).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{setting}: {given}: a list of domains is UTF-8 text") from None
    except FileNotFoundError:
        is_path = "/" in given or Path(given).suffix.lower() in FORMATS
        hint = "" if is_path else f"; for one domain write [{given}]"
        raise InputError(f"{setting}: {given}: no such file{hint}") from None
    except OSError as error:
        raise InputError(f"{setting}: {given}: {error.strerror}") from None
    names = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, start=1)]
    if not any(name for _, name in names):
        raise InputError(f"{setting}: {given}: no domain in it")
    yield from (_domain(name, f"{setting}: {given} line {number}") for number, name in names if name)


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
