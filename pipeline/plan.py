"""The plan: what a list will yield and cost, from the harvest of a sample of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.funnel import Counts
from pipeline.progress import duration

Z95 = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""


@dataclass(frozen=True)
class Estimate:
    """A number estimated from a sample, with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Estimate":
        """The estimate of a multiple."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Sampled:
    """What the harvest of a sample has shown."""

    list_rows: int
    """Rows of the whole list."""
    urls: Counts
    """What became of the sample's URLs."""
    kept_persons: Sequence[int]
    """How many persons of each URL the decisions keep: duplicates within the sample are left out."""
    urls_per_s: tuple[float, float] | None
    """Rates on this cluster with these pools: over the whole sample, which start and loading slow down, and
    from its first finished unit on, behind which others have piled up meanwhile. None if it was too short."""
    fetched_bytes: int
    stored_bytes: int


def wilson(found: float, size: float) -> Estimate:
    """A share found in a sample of so many, with Wilson's score interval (1927)."""
    middle = found + Z95**2 / (2 * size)
    reach = Z95 * math.sqrt(found * (1 - found) / size + Z95**2 / (4 * size**2))
    low, high = ((middle + side * reach) / (1 + Z95**2 / size) for side in (-1, 1))
    return Estimate(found, max(0.0, min(found, low)), min(1.0, max(found, high)))


def share(count: int, of: int, population: int) -> Estimate:
    """Share of a population with a property that `count` of `of` sampled rows have: Wilson's score interval.

    Rows are drawn without replacement: a sample of the whole population leaves nothing uncertain.
    Raises ValueError unless 0 ≤ count ≤ of ≤ population and of > 0.
    """
    if not 0 <= count <= of <= population or of == 0:
        raise ValueError(f"{count} of {of} sampled rows of {population}")
    found = count / of
    if of == population:
        return Estimate(found, found, found)
    return wilson(found, of * (population - 1) / (population - of))


def mean(values: Sequence[int], population: int) -> Estimate:
    """Mean over a population of which `values` are a sample without replacement, from 0 up.

    The normal interval, and at least that of the share of rows which have any: a sample in which all rows are
    alike, such as all 0, does not say that there are no others. Raises ValueError for no values, or more than
    the population has.
    """
    size = len(values)
    if not 0 < size <= population:
        raise ValueError(f"{size} sampled rows of {population}")
    found = sum(values) / size
    spread = sum((value - found) ** 2 for value in values) / max(1, size - 1)
    left = (population - size) / max(1, population - 1)
    reach = Z95 * math.sqrt(spread / size * left)
    some = sum(value > 0 for value in values)
    least = share(some, size, population).times(sum(values) / some if some else 1.0)
    return Estimate(found, max(0.0, min(found - reach, least.low)), max(found + reach, least.high))


def plan_text(sampled: Sampled, captions: int) -> str:
    """The expected yield by reason, and what the whole list takes in hours, traffic and storage.

    captions: how many each kept person gets.
    """
    rows, total = sampled.urls.rows_in, sampled.list_rows
    fates = {"kept": sampled.urls.kept, **sampled.urls.rejected, **sampled.urls.failed}
    width = max(map(len, fates))
    lines = [f"From {rows:,} of {total:,} URLs, with 95 % intervals:"]
    for fate, count in sorted(fates.items(), key=lambda item: (item[0] != "kept", -item[1], item[0])):
        part = share(count, rows, total).times(100)
        found = f"{part.value:5.1f} %  ({part.low:.1f} to {part.high:.1f} %)"
        lines.append(f"  {fate:<{width}}  {found}  about {round(part.value / 100 * total):,} URLs")
    persons = mean(sampled.kept_persons, total).times(total)
    between = f"{_rounded(persons.low)} to {_rounded(persons.high)}"
    lines.append(f"Persons kept: {_rounded(persons.value)} ({between}); the whole list has more duplicates")
    lines.append(f"Captions to be written: at most {_rounded(persons.high * captions)}, {captions} a person")
    lines.append(_hours(sampled))
    for name, taken in (
        ("Traffic of pictures", sampled.fetched_bytes),
        ("Storage of harvest", sampled.stored_bytes),
    ):
        lines.append(f"{name}: {_bytes(taken / rows)} a URL, {_bytes(taken / rows * total)} in all")
    return "\n".join(lines)


def _hours(sampled: Sampled) -> str:
    if sampled.urls_per_s is None:
        found = "the sample was harvested before, or has too few units to measure one"
        return f"Rate: {found}; take a larger --sample or a smaller harvest.unit_rows"
    slow, fast = sampled.urls_per_s
    most, least = (duration(sampled.list_rows / rate) for rate in sampled.urls_per_s)
    return (
        f"Rate: {slow:,.1f} to {fast:,.1f} URLs/s with these pools here, with and without start and loading: "
        f"{least} to {most} for the list; a larger --sample tells it better"
    )


def _rounded(number: float) -> str:
    """Two leading digits are all that a sample can tell."""
    if number < 10:
        return f"{number:.1f}"
    digits = len(str(int(number)))
    return f"{round(number, 2 - digits):,.0f}"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:  # which three digits would round up to 1e+03
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
