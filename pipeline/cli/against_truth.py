"""The chain held against the truth of the made world: what was drawn against what the run made of it.

Pure functions from matched persons to numbers, and the block of text that the demo prints. All numbers are of
made pictures, which look like a game; they say nothing of photographs.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from curation.gates import GateLimits, gate_outcomes
from pipeline.cli.matching import IOU_MIN, Measured, Pair, Shown, both
from pipeline.cli.said_letters import as_due, letters_text
from pipeline.cli.said_words import Said, words_text
from pipeline.reasons import Reason
from world.truth import Kind, Passes, TruthPerson
from world.web import Entry

SCORE_MIN = 0.5
"""From this score on a measured person counts as found."""
VISIBLE_MIN = 0.5
SIDE_MIN_PX = 20.0
"""Drawn persons must be found if half of them is visible and their box has sides of at least this."""
NEAR = 0.05
"""A keypoint within this share of the box height of where it was drawn is right (PCK)."""
VISIBLE = 2.0


@dataclass(frozen=True)
class Share:
    """How many of how many."""

    part: int
    whole: int

    def __str__(self) -> str:
        return f"{100 * self.part / self.whole:.1f} % of {self.whole}" if self.whole else "none to count"


@dataclass(frozen=True)
class KeypointError:
    """How far measured keypoints lie from drawn ones that are visible."""

    mean: float
    """Of the distances, as a share of the height of the drawn box; nan without any."""
    near: Share
    """Keypoints within NEAR."""


@dataclass(frozen=True)
class GateTruth:
    """One gate, looked at by itself, over measured persons whom the truth judges."""

    agree: Share
    """Persons with the outcome that the truth has."""
    failed: Share
    """Of the found persons that were made to fail this gate, those that do."""
    not_found: int
    """Persons made to fail this gate whom the detector did not find, at any score."""


@dataclass(frozen=True)
class Duplicates:
    """Persons in planted copies, and decisions `exact_duplicate`."""

    found: Share
    others: int
    """Persons dropped as exact duplicates who stand in no planted copy."""
    near: int = 0
    """Persons dropped as near duplicates."""


def detection(pairs: Iterable[Pair]) -> tuple[Share, Share]:
    """Recall over the drawn persons that must be found, and precision over the measured ones that count."""
    pairs = list(pairs)
    due = [pair for pair in pairs if pair.truth and _must_be_found(pair.truth)]
    counted = [pair for pair in pairs if pair.measured and pair.measured.score >= SCORE_MIN]
    hits = sum(pair.measured is not None and pair.measured.score >= SCORE_MIN for pair in due)
    return Share(hits, len(due)), Share(sum(pair.truth is not None for pair in counted), len(counted))


def keypoint_error(pairs: Iterable[Pair]) -> KeypointError:
    """Over the found persons that detection counts, whatever confidence a measured keypoint has."""
    distances = [
        distance
        for truth, measured in both(pairs)
        if _must_be_found(truth) and measured.score >= SCORE_MIN
        for distance in _distances(truth, measured)
    ]
    near = Share(sum(distance <= NEAR for distance in distances), len(distances))
    return KeypointError(sum(distances) / len(distances) if distances else math.nan, near)


def gates(pairs: Iterable[Pair], limits: GateLimits) -> dict[Reason, GateTruth]:
    """Each gate's outcomes from the measurements beside those that the truth tells."""
    pairs = list(pairs)
    agree: dict[Reason, list[bool]] = defaultdict(list)
    failed: dict[Reason, list[bool]] = defaultdict(list)
    for truth, measured in both(pairs):
        outcomes = gate_outcomes(measured.box_xyxy_px, measured.score, measured.keypoints, limits)
        for gate, passed in outcomes.items():
            expected = getattr(truth.passes, gate.value)
            if expected is not None:
                agree[gate].append(passed == expected)
        if truth.fails:
            failed[truth.fails].append(not outcomes[truth.fails])
    lost = [pair.truth.fails for pair in pairs if pair.truth and not pair.measured]
    return {gate: GateTruth(_share(agree[gate]), _share(failed[gate]), lost.count(gate)) for gate in _GATES}


_GATES = tuple(Reason(gate.name) for gate in fields(Passes))


def duplicates(entries: Mapping[str, Entry], measured: Iterable[Measured]) -> Duplicates:
    """How many of the persons that copies show again were dropped.

    Planted are, for each address with copies, the persons who pass the gates, once for each copy.
    """
    passed: dict[str, list[str | None]] = defaultdict(list)
    near = 0
    for person in measured:
        near += person.reason == Reason.NEAR_DUPLICATE
        if person.reason in (None, Reason.EXACT_DUPLICATE):
            passed[person.url].append(person.reason)
    groups: dict[str, list[list[str | None]]] = defaultdict(list)
    for url, entry in entries.items():
        groups[entry.same_as or entry.address].append(passed[url])
    planted = found = others = 0
    for group in groups.values():
        dropped = sum(reasons.count(Reason.EXACT_DUPLICATE) for reasons in group)
        expected = (len(group) - 1) * max(map(len, group))
        planted, found = planted + expected, found + min(dropped, expected)
        others += max(0, dropped - expected)
    return Duplicates(Share(found, planted), others, near)


def urls_text(entries: Iterable[Entry], reasons: Sequence[str | None]) -> str:
    """How many URLs became what the small web knows they must; the others by kind. reasons: in order."""
    entries = list(entries)
    wrong = Counter(
        f"{entry.kind} became {reason or 'kept'}"
        for entry, reason in zip(entries, reasons, strict=True)
        if reason not in entry.expected
    )
    right = f"URLs that became what they must: {len(entries) - wrong.total()} of {len(entries)}"
    return "\n  ".join([right, *(f"{n} × {text}" for text, n in sorted(wrong.items()))])


def truth_text(
    shown: Sequence[Shown],
    limits: GateLimits,
    said: Mapping[str, Mapping[str, Said]],
    copies: Duplicates,
    letters: Mapping[Kind, Counter[str]] | None = None,
) -> str:
    """The block of the demo: a line for each number, and what it was counted over.

    said: by captioner. letters: the judge's, if there is one.
    """
    once = [pair for picture in shown if picture.entry.same_as is None for pair in picture.pairs]
    recall, precision = detection(once)
    keypoints = keypoint_error(once)
    lines = [
        f"recall {recall} drawn persons (half visible, sides of {SIDE_MIN_PX:.0f} px and more)",
        f"precision {precision} measured persons (score from {SCORE_MIN}, overlap from {IOU_MIN})",
        f"keypoints: off by {100 * keypoints.mean:.1f} % of the box height on average,"
        f" {keypoints.near} within {100 * NEAR:.0f} %",
        "gates, each by itself, beside the truth:",
        *(f"  {gate:<13}  {_gate_text(result)}" for gate, result in gates(once, limits).items()),
        *_letters_lines(letters or {}),
        *_words_lines(said),
        f"duplicates found: {copies.found} planted; {copies.others} others, {copies.near} near ones dropped",
    ]
    return "\n".join(f"  {line}" for line in lines)


def _words_lines(said: Mapping[str, Mapping[str, Said]]) -> list[str]:
    persons = [words["form"].persons for words in said.values()]
    whose = f"{persons[0]} made persons" if len(persons) == 1 else "made persons, by captioner"
    return [f"words in the captions of {whose}:", *(f"  {line}" for line in words_text(said))]


def _letters_lines(letters: Mapping[Kind, Counter[str]]) -> list[str]:
    if not letters:
        return []
    title = f"the judge's letters, by what a picture was made for; as due in {Share(*as_due(letters))}:"
    return [title, *(f"  {line}" for line in letters_text(letters))]


def _gate_text(result: GateTruth) -> str:
    text = f"agrees in {result.agree}"
    if result.failed.whole or result.not_found:
        text += f"; of those made to fail, {result.failed.part} of {result.failed.whole} found do"
    return text + (f", {result.not_found} not found" if result.not_found else "")


def _must_be_found(truth: TruthPerson) -> bool:
    left, top, right, bottom = truth.box_xyxy_px
    return truth.visible_share >= VISIBLE_MIN and min(right - left, bottom - top) >= SIDE_MIN_PX


def _distances(truth: TruthPerson, measured: Measured) -> list[float]:
    height = truth.box_xyxy_px[3] - truth.box_xyxy_px[1]
    return [
        math.dist(truth.keypoints[at : at + 2], measured.keypoints[at : at + 2]) / height
        for at in range(0, len(truth.keypoints), 3)
        if truth.keypoints[at + 2] == VISIBLE
    ]


def _share(outcomes: Sequence[bool]) -> Share:
    return Share(sum(outcomes), len(outcomes))
