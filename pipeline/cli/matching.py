"""Who of the made world is who in a run: measured persons matched to those that were drawn."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curation.detectors import box_iou
from pipeline.records import PERSON_KEY, PersonKey
from pipeline.storage import read_table
from world.truth import TruthPerson
from world.web import Entry

if TYPE_CHECKING:
    from curation.phase_work import PhaseReport

IOU_MIN = 0.5
"""Boxes that overlap less (intersection ÷ union) are not those of one person."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A row of `persons` with its decision."""

    key: str
    url: str
    box_xyxy_px: Sequence[float]
    score: float
    keypoints: Sequence[float]
    """51 numbers: x, y, confidence of COCO's 17."""
    reason: str | None
    """Why it was not kept; None if it was."""


@dataclass(frozen=True)
class Pair:
    """A drawn person and the measured one that it became; one of the two may be missing."""

    truth: TruthPerson | None
    measured: Measured | None


@dataclass(frozen=True)
class Shown:
    """A made picture at one address, and the persons in it."""

    entry: Entry
    pairs: Sequence[Pair]


def match_web(
    entries: Mapping[str, Entry],
    made: Iterable[str],
    truth: Iterable[TruthPerson],
    measured: Iterable[Measured],
) -> list[Shown]:
    """Match the persons of every made picture at every address that shows it, copies included.

    entries: by URL; made: the names of all made pictures, also of those without persons. Forms of a picture
    have its geometry: formats change bytes, and EXIF turns are turned back when a picture is decoded.
    """
    names = set(made)
    drawn: dict[str, list[TruthPerson]] = defaultdict(list)
    for person in truth:
        drawn[person.picture].append(person)
    found: dict[str, list[Measured]] = defaultdict(list)
    for someone in measured:
        found[someone.url].append(someone)
    return [
        Shown(entry, match_persons(drawn[entry.picture], found[url]))
        for url, entry in entries.items()
        if entry.picture in names
    ]


def match_persons(truth: Sequence[TruthPerson], measured: Sequence[Measured]) -> list[Pair]:
    """Match one to one: by falling score, each measured person takes the free drawn one it overlaps most.

    So a limit on the score leaves all pairs above it as they are. Who has no partner stands in a pair alone.
    """
    free, pairs = list(truth), []
    for someone in sorted(measured, key=lambda person: -person.score):
        best = max(free, key=lambda person: box_iou(person.box_xyxy_px, someone.box_xyxy_px), default=None)
        if best is not None and box_iou(best.box_xyxy_px, someone.box_xyxy_px) >= IOU_MIN:
            free.remove(best)
            pairs.append(Pair(best, someone))
        else:
            pairs.append(Pair(None, someone))
    return [*pairs, *(Pair(person, None) for person in free)]


def both(pairs: Iterable[Pair]) -> list[tuple[TruthPerson, Measured]]:
    """The pairs in which nobody is missing."""
    return [(pair.truth, pair.measured) for pair in pairs if pair.truth and pair.measured]


def identities_of(shown: Iterable[Shown]) -> dict[str, int]:
    """The identity of every measured person, by its key, as far as it was drawn."""
    return {
        pair.measured.key: pair.truth.identity
        for picture in shown
        for pair in picture.pairs
        if pair.truth and pair.measured
    }


def read_measured(harvest: "PhaseReport", decisions: "PhaseReport") -> list[Measured]:
    """All measured persons of a run, in the order of their keys."""
    decided = read_table(
        decisions.folder.path / "decisions.parquet", columns=["unit", "row", "person", "reason"]
    )
    reasons = {_key(row): row["reason"] for row in decided.to_pylist()}
    columns = ["unit", "row", "person", "url", "box_xyxy_px", "score", "keypoints"]
    return [
        Measured(
            key=_key(row),
            url=row["url"],
            box_xyxy_px=row["box_xyxy_px"],
            score=row["score"],
            keypoints=row["keypoints"],
            reason=reasons[_key(row)],
        )
        for persons in harvest.folder.tables("persons", range(harvest.units), columns)
        for row in persons.to_pylist()
    ]


def read_captions(annotate: "PhaseReport") -> dict[str, dict[str, list[tuple[str, str]]]]:
    """The valid captions, by model and then by their person's key: text and template id."""
    captions: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for row in _pairs(annotate, "captions"):
        for caption in row["captions"]:
            if caption["reason"] is None:
                by_person = captions.setdefault(caption["model_id"], {})
                by_person.setdefault(_key(row), []).append((caption["text"], caption["template_id"]))
    return dict(sorted(captions.items()))


def read_verdicts(annotate: "PhaseReport") -> dict[str, str]:
    """The judge's letter for every person who was judged, by its key."""
    return {
        _key(row): row["verdict"]["letter"]
        for row in _pairs(annotate, "verdict")
        if row["verdict"] is not None
    }


def _pairs(annotate: "PhaseReport", column: str) -> Iterator[dict[str, Any]]:
    """The rows of `pairs`: keys and one more column."""
    for pairs in annotate.folder.tables("pairs", range(annotate.units), [*PERSON_KEY, column]):
        yield from pairs.to_pylist()


def _key(row: Mapping[str, int]) -> str:
    return str(PersonKey.of(row))
