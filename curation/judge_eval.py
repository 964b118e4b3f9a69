"""The judge held against labels by hand: who is drawn to be labelled, and what the labels say of the judge.

Persons are drawn by letter, so that rare ones are among them, and weighted back: the numbers are estimates
for all judged persons. Labels are of persons and not of verdicts, so they also measure a later judge.
"""

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappush, heappushpop

import pyarrow.compute as pc

from curation.agreement import Agreement, Pair, Share, agree_on, kappa, share
from curation.judge import LETTERS, decide
from pipeline.reasons import Reason
from pipeline.records import PERSON_KEY, PersonKey
from pipeline.storage import read_ahead
from pipeline.units import PhaseFolder

KEPT, REJECTED = "kept", "rejected"


class LabelError(ValueError):
    """A table of labels that cannot be used; one line naming file and row."""


@dataclass(frozen=True)
class Drawn:
    """The persons of a sheet."""

    persons: Mapping[str, str]
    """The letter under which each was drawn, by key, in the order of the sheet."""
    sizes: Mapping[str, int]
    """How many judged persons there are of each letter."""


@dataclass(frozen=True)
class Evaluation:
    """What labels say of the judge; shares are estimates for all judged persons."""

    keep_min: float
    labelled: int
    unlabelled: int
    """Persons of the sheet without a label."""
    gone: int
    """Labelled persons whom the judge has not judged: a changed recipe may have left them out."""
    silent: list[str]
    """Letters of which nobody is labelled: the numbers say nothing of their persons."""
    same: Share | None
    """How often judge and label have the same outcome: kept, or the same reason."""
    kappa: float | None
    agreement: list[Agreement]
    """Kept, rejected, then each reason that judge or label gives."""


def read_scores(
    annotate: PhaseFolder, units: Sequence[int] | None = None
) -> Iterator[tuple[str, list[float]]]:
    """Key and probabilities of every judged person; `units`: of these harvest units alone."""
    wanted = None if units is None else pc.field("unit").isin(units)

    def read(index: int) -> list[tuple[str, list[float]]]:
        tables = annotate.tables("pairs", [index], [*PERSON_KEY, "verdict"], wanted)
        judged = (row for table in tables for row in table.to_pylist() if row["verdict"])
        return [(str(PersonKey.of(row)), row["verdict"]["scores"]) for row in judged]

    for persons in read_ahead(annotate.path, read, annotate.finished()):
        yield from persons


def read_crops(harvest: PhaseFolder, keys: Iterable[str]) -> dict[str, bytes]:
    """The JPEG of each person, by key."""
    wanted: defaultdict[int, list[PersonKey]] = defaultdict(list)
    for key in map(parse_key, keys):
        wanted[key.unit].append(key)

    def read(unit: int) -> dict[str, bytes]:
        some = pc.field("row").isin([key.row for key in wanted[unit]])
        tables = harvest.tables("persons", [unit], [*PERSON_KEY, "crop"], some)
        rows = (row for table in tables for row in table.to_pylist())
        return {str(PersonKey.of(row)): row["crop"] for row in rows if PersonKey.of(row) in wanted[unit]}

    return {
        key: crop for crops in read_ahead(harvest.path, read, sorted(wanted)) for key, crop in crops.items()
    }


def parse_key(text: str) -> PersonKey:
    """The key that is written so."""
    unit, row, person = map(int, text.split("-"))
    return PersonKey(unit, row, person)


def letter_of(scores: Sequence[float]) -> str:
    """The likeliest letter."""
    return max(zip(scores, LETTERS, strict=True), key=lambda pair: pair[0])[1]


def draw(letters: Iterable[tuple[str, str]], count: int, seed: int) -> Drawn:
    """Draw persons to be labelled; letters: of each judged person by key, at least ten in `count`.

    A key's hash decides, so the order of arrival does not matter. No more than `count` a letter are held.
    """
    sizes: Counter[str] = Counter()
    heaps: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for key, letter in letters:
        sizes[letter] += 1
        entry = (-_rank("draw", seed, key), key)
        if len(heaps[letter]) < count:
            heappush(heaps[letter], entry)
        else:
            heappushpop(heaps[letter], entry)
    chosen = {
        key: letter
        for letter, quota in quotas(sizes, count).items()
        for _, key in sorted(heaps[letter], reverse=True)[:quota]
    }
    # Another hash orders them: by the first one, those of common letters would stand in front.
    order = sorted(chosen, key=lambda key: _rank("order", seed, key))
    return Drawn({key: chosen[key] for key in order}, dict(sorted(sizes.items())))


def quotas(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """How many of each letter: half of them by its persons, half the same for every letter, at least one."""
    total, taken = sum(sizes.values()), dict.fromkeys(sorted(sizes), 1)
    aims = {letter: count * (size / total + 1 / len(sizes)) / 2 for letter, size in sizes.items()}
    while sum(taken.values()) < min(count, total):
        open_ = [letter for letter in taken if taken[letter] < sizes[letter]]
        taken[max(open_, key=lambda letter: aims[letter] - taken[letter])] += 1
    return taken


def read_labels(name: str, text: str, keys: Iterable[str]) -> dict[str, str]:
    """The letters of a table `key,letter`; rows without a letter are left out.

    keys: of the sheet. Raises LabelError naming the row, or if there is no letter at all.
    """
    known, seen, labels = set(keys), set(), {}
    for number, key, letter in _rows(name, text):
        if key not in known or key in seen:
            wrong = "stands twice" if key in seen else "is not on the sheet"
            raise LabelError(f"{name}: row {number}: key {key!r} {wrong}")
        if letter and letter not in LETTERS:
            raise LabelError(f"{name}: row {number}: letter {letter!r} is none of {' '.join(LETTERS)}")
        seen.add(key)
        if letter:
            labels[key] = letter
    if not labels:
        raise LabelError(f"{name}: nobody is labelled yet")
    return labels


def evaluate(
    drawn: Drawn, labels: Mapping[str, str], scores: Mapping[str, Sequence[float]], keep_min: float
) -> Evaluation:
    """Hold the judge's decisions at a threshold against labels."""
    used = [key for key in drawn.persons if key in labels and key in scores]
    # Those who are gone count here: they stand for persons who are gone with them.
    counts = Counter(drawn.persons[key] for key in labels)
    pairs = [
        Pair(
            _outcome(decide(scores[key], keep_min)),
            _outcome(LETTERS[labels[key]]),
            drawn.sizes[drawn.persons[key]] / counts[drawn.persons[key]],
        )
        for key in used
    ]
    said = {outcome for pair in pairs for outcome in (pair.judged, pair.labelled)}
    given = [*(reason for reason in LETTERS.values() if reason), Reason.JUDGED_UNSURE]
    reasons = [reason.value for reason in given if reason.value in said]
    return Evaluation(
        keep_min=keep_min,
        labelled=len(labels),
        unlabelled=len(drawn.persons) - len(labels),
        gone=len(labels) - len(used),
        silent=[letter for letter in drawn.sizes if not counts[letter]],
        same=share(pairs, lambda pair: pair.judged == pair.labelled),
        kappa=kappa(pairs),
        agreement=[
            agree_on(KEPT, KEPT.__eq__, pairs),
            agree_on(REJECTED, KEPT.__ne__, pairs),
            *(_unlabelled(agree_on(reason, reason.__eq__, pairs)) for reason in reasons),
        ],
    )


def _rows(name: str, text: str) -> Iterator[tuple[int, str, str]]:
    """Number, key and letter of each row."""
    lines = text.removeprefix("\ufeff").splitlines()
    separator = ";" if lines and ";" in lines[0] else ","  # some spreadsheets' commas
    rows = csv.DictReader(lines, delimiter=separator)
    try:
        if not {"key", "letter"} <= set(rows.fieldnames or ()):
            raise LabelError(f"{name}: expected the columns key,letter")
        for number, row in enumerate(rows, start=2):
            yield number, (row["key"] or "").strip(), (row["letter"] or "").strip().upper()
    except csv.Error as error:
        raise LabelError(f"{name}: row {rows.line_num + 1}: {error}") from None


def _unlabelled(found: Agreement) -> Agreement:
    """No label can say judged_unsure: its precision would be 0 whatever the judge does."""
    if found.outcome != Reason.JUDGED_UNSURE.value:
        return found
    return replace(found, precision=None, kappa=None)


def _outcome(reason: Reason | None) -> str:
    return reason.value if reason else KEPT


def _rank(use: str, seed: int, key: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{use}/{seed}/{key}".encode()).digest()[:8])
