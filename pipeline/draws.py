"""Rendezvous hashing: which templates and models a caption gets.

Every id has a score for every key, and the best one wins (Thaler and Ravishankar, 1998). An id that comes or
goes moves only the draws that it wins or won.
"""

import hashlib
from collections.abc import Iterable, Mapping
from math import isfinite

import numpy as np
from numpy.typing import NDArray

_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31, _SHIFT_11 = (np.uint64(bits) for bits in (30, 27, 31, 11))


class Draw:
    """A set of ids to draw from, built once: an id is hashed once, a draw then mixes numbers."""

    def __init__(self, ids: Iterable[str], weights: Mapping[str, float] | None = None) -> None:
        """`weights`: how often an id is drawn, relative to the others; one without has 1.

        Raises ValueError naming the id if a weight is not above zero, or is of an id that is not there.
        """
        self.ids = sorted(set(ids))
        self._hashes = np.array([_hash(id_) for id_ in self.ids], dtype=np.uint64)
        self._weights = _weights(self.ids, weights) if weights else None

    def choose(self, key: str, n: int) -> list[str]:
        """Draw `n` different ids for a key; all of them, if there are fewer.

        Slot s is drawn with the key `<key>-<s>` (a person's key becomes a caption's) from what earlier slots
        left: an id added to k others takes about 1 in k + 1 of each slot's draws and moves hardly any other.
        """
        drawn: list[int] = []
        for slot in range(min(n, len(self.ids))):
            scores = self._scores(f"{key}-{slot}")
            scores[drawn] = -np.inf
            drawn.append(int(scores.argmax()))
        return [self.ids[index] for index in drawn]

    def _scores(self, key: str) -> NDArray[np.float64]:
        """For each id a uniform number u in (0, 1), or with weights ln(u) / w."""
        mixed = mix(self._hashes ^ np.uint64(_hash(key))) >> _SHIFT_11
        uniform = mixed.astype(np.float64) * 2.0**-53 + 2.0**-54
        if self._weights is None:
            return uniform
        weighted: NDArray[np.float64] = np.log(uniform) / self._weights
        return weighted


def choose(ids: Iterable[str], key: str, n: int) -> list[str]:
    """Draw once: see `Draw.choose`. Who draws often from the same ids keeps a `Draw`."""
    return Draw(ids).choose(key, n)


def _weights(ids: list[str], weights: Mapping[str, float]) -> NDArray[np.float64]:
    for id_, weight in weights.items():
        if id_ not in ids:
            raise ValueError(f"weight of {id_!r}: not among the ids")
        if not (isfinite(weight) and weight > 0):
            raise ValueError(f"weight of {id_!r}: {weight} is not above zero")
    return np.array([weights.get(id_, 1.0) for id_ in ids])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014): every bit depends on every bit."""
    values = (values ^ (values >> _SHIFT_30)) * _FIRST
    values = (values ^ (values >> _SHIFT_27)) * _SECOND
    return values ^ (values >> _SHIFT_31)
