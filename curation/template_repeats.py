"""Templates that say nearly the same: the Jaccard similarity of their pairs of neighbouring words."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

from pipeline.templates import Template

NEAR = 0.8
"""Above this similarity a template repeats another one."""

Pair = tuple[str, str]
_WORD = re.compile(r"\[[^\[\]]*\]|[\w'-]+")


def word_pairs(template: Template) -> frozenset[Pair]:
    """Pairs of neighbouring words, lower case; a placeholder counts as one word."""
    words = _WORD.findall(template.text.lower())
    return frozenset(pairwise(words))


def similarity(one: frozenset[Pair], other: frozenset[Pair]) -> float:
    """Jaccard similarity, 0 to 1."""
    return len(one & other) / len(one | other) if one or other else 1.0


def near_repeats(templates: Sequence[Template], near: float = NEAR) -> dict[str, str]:
    """Id of each template that repeats an earlier one that stays, and the id of that one.

    Exact: sets more similar than `near` share one of the first few members in any common order (prefix
    filtering; Chaudhuri, Ganti and Kaushik, 2006). The order is by rarity, so few pairs are compared.
    """
    sets = {template.id: word_pairs(template) for template in templates}
    counts = Counter(pair for pairs in sets.values() for pair in pairs)
    holders: dict[Pair, list[str]] = defaultdict(list)
    repeats: dict[str, str] = {}
    for id_, pairs in sets.items():
        rarest = sorted(pairs, key=lambda pair: (counts[pair], pair))
        prefix = rarest[: len(rarest) - math.ceil(near * len(rarest)) + 1]
        candidates = dict.fromkeys(other for pair in prefix for other in holders[pair])
        twin = next((other for other in candidates if similarity(pairs, sets[other]) > near), None)
        if twin is not None:
            repeats[id_] = twin
            continue
        for pair in prefix:
            holders[pair].append(id_)
    return repeats
