"""How well two judgements of the same persons agree, estimated for all persons from a weighted sample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot

from pipeline.plan import Estimate, wilson


@dataclass(frozen=True)
class Pair:
    """One person of the sample: two outcomes, and how many persons it stands for."""

    judged: str
    labelled: str
    weight: float


@dataclass(frozen=True)
class Share(Estimate):
    """An estimated share of persons, all in [0, 1]."""

    persons: int
    """Persons of the sample that it rests on."""


@dataclass(frozen=True)
class Agreement:
    """Agreement on one outcome against all others."""

    outcome: str
    judged: int
    """Persons of the sample of whom the judge says so."""
    labelled: int
    """Persons of the sample of whom the label says so."""
    precision: Share | None
    """Of those of whom the judge says so, how many are; None if there are none in the sample, or no label can
    say so."""
    recall: Share | None
    """Of those who are, of how many the judge says so; None if there are none in the sample."""
    kappa: float | None


def agree_on(outcome: str, holds: Callable[[str], bool], pairs: Sequence[Pair]) -> Agreement:
    """Agreement on what `holds` of an outcome."""
    judged = [pair for pair in pairs if holds(pair.judged)]
    labelled = [pair for pair in pairs if holds(pair.labelled)]
    two = [Pair(str(holds(pair.judged)), str(holds(pair.labelled)), pair.weight) for pair in pairs]
    return Agreement(
        outcome,
        len(judged),
        len(labelled),
        share(judged, lambda pair: holds(pair.labelled)),
        caught(pairs, holds),
        kappa(two),
    )


def caught(pairs: Sequence[Pair], holds: Callable[[str], bool]) -> Share | None:
    """The weighted share of those who are of whom the judge says so; None if there are none.

    Those whom the judge misses stand for many persons each, those whom it catches for few: no effective size
    tells how far both together may be off. So the intervals of the labels' share among the judged and among
    the others are found apart and joined by square-and-add (Zou and Donner, 2008).
    """
    sides = [[pair for pair in pairs if holds(pair.judged) == said] for said in (True, False)]
    inside, outside = (share(side, lambda pair: holds(pair.labelled)) for side in sides)
    found = share([pair for pair in pairs if holds(pair.labelled)], lambda pair: holds(pair.judged))
    if not found or not inside or not outside:
        return found
    weights = [sum(pair.weight for pair in side) for side in sides]

    def recall(of: float, missed: float) -> float:
        hits = weights[0] * of
        return hits / (hits + weights[1] * missed) if hits else 0.0

    below = found.value - recall(inside.low, outside.value), found.value - recall(inside.value, outside.high)
    above = recall(inside.high, outside.value) - found.value, recall(inside.value, outside.low) - found.value
    low, high = max(0.0, found.value - hypot(*below)), min(1.0, found.value + hypot(*above))
    return Share(found.value, low, high, found.persons)


def share(pairs: Sequence[Pair], hit: Callable[[Pair], bool]) -> Share | None:
    """The weighted share of hits; None without pairs.

    Weights that differ tell less than as many equal ones: the interval is that of Kish's effective size,
    (Σw)² / Σw² (1965).
    """
    if not pairs:
        return None
    total = sum(pair.weight for pair in pairs)
    p = min(1.0, sum(pair.weight for pair in pairs if hit(pair)) / total)
    n = total**2 / sum(pair.weight**2 for pair in pairs)
    return Share(**vars(wilson(p, n)), persons=len(pairs))


def kappa(pairs: Sequence[Pair]) -> float | None:
    """Cohen's kappa (1960) of weighted pairs: agreement beyond chance; None where chance explains it all."""
    total = sum(pair.weight for pair in pairs)
    if not total:
        return None
    observed = sum(pair.weight for pair in pairs if pair.judged == pair.labelled) / total
    outcomes = {pair.judged for pair in pairs} & {pair.labelled for pair in pairs}
    chance = sum(
        sum(pair.weight for pair in pairs if pair.judged == outcome)
        * sum(pair.weight for pair in pairs if pair.labelled == outcome)
        for outcome in outcomes
    )
    expected = chance / total**2
    return (observed - expected) / (1 - expected) if expected < 1 - 1e-12 else None
