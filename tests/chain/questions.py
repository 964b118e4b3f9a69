"""Models behind fake endpoints that keep every question, so that it shows what a killed run asked again.

Their answers depend on the question alone: a person may be rejected, a caption refused and asked for again.
"""

import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from curation.fit import FitSettings, fit
from pipeline.records import PersonKey
from pipeline.units import PhaseFolder
from tests.chain.conftest import SETTINGS
from tests.chain.tables import phase_folder, table
from tests.curation.fake_endpoint import (
    FakeEndpoint,
    Reply,
    chosen,
    completion,
    fake_endpoint,
    picture_bytes,
    sees_colours,
)

MODELS = ("small", "large")
JUDGE = "small"
WORDS = ("red", "blue", "green", "white", "black", "grey", "brown", "pink")
REJECTED, REFUSED = 0.15, 0.15
"""Shares of the persons whom the judge rejects, and of the captions that are refused."""
LOOSE = ["score_min=0.3", "short_side_min_px=0", "aspect_min=0", "aspect_max=1000", "keypoints_min=0"]
EVERYBODY = [*SETTINGS, *(f"gates.{gate}" for gate in [*LOOSE, "hips_min=0", "head_min=0"])]
"""The short list's settings, with gates that keep whoever was measured: more persons for as many URLs."""
SETTLE_S = 0.3
"""What was sent before a kill has come in by then."""


class Question(NamedTuple):
    """What was asked: of which picture, whom, with which seed; a verdict or a caption."""

    picture: str
    model: str
    seed: int
    verdict: bool


@dataclass(frozen=True)
class Moment:
    """What stood when something had just been killed: units that were done, questions that had come."""

    done: frozenset[int]
    asked: Counter[Question]

    def begun(self, units: Mapping[str, int]) -> set[int]:
        """The units that were asked about, but not done. units: by picture."""
        return {units[question.picture] for question in self.asked} - self.done


@dataclass(frozen=True)
class Models:
    """The models' endpoints."""

    endpoints: Sequence[FakeEndpoint]

    def settings(self, **caption_pool: float) -> list[str]:
        """The recipe's, as `--set` takes them: each request is waited for before a worker sends the next."""
        models = [
            {"name": name, "urls": [endpoint.url], "concurrency": 1}
            for name, endpoint in zip(MODELS, self.endpoints, strict=True)
        ]
        tree: dict[str, object] = {
            "models": models,
            "judge": {"judge": "endpoint", "model": JUDGE},
            "caption.captioner": "endpoint",
            "caption.templates": "starter",
            "caption.limits.sibling_overlap_max": 1.0,
            "caption_pool": caption_pool,
        }
        return [f"annotate.{name}={json.dumps(value)}" for name, value in tree.items()]

    def asked(self) -> Counter[Question]:
        """All questions so far, those of the canaries left out."""
        return Counter(
            Question(pictures[-1], body["model"], body["seed"], "structured_outputs" in body)
            for endpoint in self.endpoints
            for body, pictures in zip(endpoint.requests, endpoint.pictures, strict=False)
            if len(body.get("structured_outputs", {}).get("choice", ())) != 4
        )

    def forget(self) -> None:
        """As if nothing had been asked; nothing may be on its way."""
        for endpoint in self.endpoints:
            for kept in (endpoint.requests, endpoint.pictures):
                kept.clear()

    def count(self) -> int:
        """How many requests have come."""
        return sum(len(endpoint.requests) for endpoint in self.endpoints)

    def moment(self, out: Path) -> Moment:
        """What stands after a kill; of the units that are done, every question is among those asked."""
        time.sleep(SETTLE_S)
        return Moment(frozenset(done(out)), self.asked())


@contextmanager
def models(delay_s: float) -> Iterator[Models]:
    """Serve them; each answer takes so long."""

    def reply(number: int, body: dict[str, Any]) -> Reply:
        time.sleep(delay_s)
        return _answer(number, body)

    with ExitStack() as stack:
        yield Models([stack.enter_context(fake_endpoint(reply, models=[name])) for name in MODELS])


def _answer(number: int, body: dict[str, Any]) -> tuple[int, bytes]:
    choices = body.get("structured_outputs", {}).get("choice", ())
    if len(choices) == 4:
        return sees_colours(number, body)
    draws = random.Random(hashlib.sha256(picture_bytes(body)[-1]).hexdigest() + str(body["seed"]))
    if choices:
        return chosen("B" if draws.random() < REJECTED else "A", choices)
    if draws.random() < REFUSED:
        return completion("I'm sorry, but I cannot describe this person.")
    words = draws.choices(WORDS, k=8)
    return completion(f"A {words[0]} {words[1]} person with {' and '.join(words[2:])} on the arms.")


def done(out: Path) -> list[int]:
    """The annotate units that are done."""
    return [unit for path in out.glob("annotate-*") for unit in PhaseFolder(path, {}).finished()]


def content(out: Path) -> dict[int, Mapping[str, Any]]:
    """What the done-markers of annotate say of the rows: counts, and hashes without volatile columns."""
    folder = PhaseFolder(phase_folder(out, "annotate"), {})
    units = folder.finished()
    markers = zip(units, folder.markers(units), strict=True)
    return {unit: {"counts": marker["counts"], "content": marker["content"]} for unit, marker in markers}


def pictures(out: Path) -> dict[str, PersonKey]:
    """The kept persons by the picture that a model gets of each."""
    decisions = pq.read_table(phase_folder(out, "decide") / "decisions.parquet").to_pylist()
    kept = {_key(row) for row in decisions if row["status"] == "kept"}
    persons = [row for row in table(out, "harvest", "persons").to_pylist() if _key(row) in kept]
    found = {hashlib.sha256(fit(row["crop"], FitSettings())).hexdigest(): _key(row) for row in persons}
    assert len(found) == len(kept), "two persons look alike: nobody could say who was asked about"
    return found


def unit_of_pictures(out: Path) -> dict[str, int]:
    """The annotate unit of each kept person, where it is the harvest's, by the person's picture."""
    return {picture: key.unit for picture, key in pictures(out).items()}


def asked_too_often(
    asked: Counter[Question], moments: Sequence[Moment], units: Mapping[str, int]
) -> list[Question]:
    """What was asked more than once, and once more for each kill that found its unit begun but not done.

    moments: of the kills. units: by picture.
    """
    allowed = dict.fromkeys(units.values(), 1)
    for moment in moments:
        for unit in moment.begun(units):
            allowed[unit] += 1
    return [question for question, times in asked.items() if times > allowed[units[question.picture]]]


def _key(row: Mapping[str, Any]) -> PersonKey:
    return PersonKey(row["unit"], row["row"], row["person"])
