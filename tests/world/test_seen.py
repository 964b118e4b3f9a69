"""What the real detector and the paper's gates make of the made world."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.detectors import DetectorSettings, Person
from curation.gates import GateLimits, gate_outcomes, person_gate
from curation.yolo import YoloPose
from pipeline.reasons import Reason
from world.folder import picture_path, read_truth
from world.marks import FAILS
from world.truth import Kind

SAME = 0.4
"""Overlap from which a measured person is the drawn one: of a half hidden one, all may be guessed."""


@dataclass(frozen=True)
class Sighting:
    """A drawn person and what was measured of it, if it was found."""

    kind: Kind
    truth: dict[str, object]
    person: Person | None

    def passes(self, gate: Reason) -> bool:
        """The gate by itself."""
        assert self.person is not None
        found = self.person
        return gate_outcomes(found.box_xyxy_px, found.score, found.keypoints, GateLimits())[gate]


@dataclass(frozen=True)
class Seen:
    """All sightings, and the highest score of every empty picture."""

    sightings: list[Sighting]
    empty: list[list[Person]]

    def found(self, kind: Kind) -> list[Sighting]:
        """The persons of a kind who were found."""
        return [each for each in self.sightings if each.kind is kind and each.person]

    def share(self, kind: Kind, holds: Callable[[Sighting], bool]) -> float:
        """Of the persons of a kind who were found."""
        return float(np.mean([holds(each) for each in self.found(kind)]))


@pytest.fixture(scope="module")
def seen(made_world: Path) -> Seen:
    detector = YoloPose(DetectorSettings(weights="yolo11n-pose.pt"))
    truths: dict[str, list[dict[str, object]]] = {}
    for truth in read_truth(made_world, "persons").to_pylist():
        truths.setdefault(truth["picture"], []).append(truth)
    seen = Seen([], [])
    for row in read_truth(made_world, "pictures").to_pylist():
        data = picture_path(made_world, row["picture"]).read_bytes()
        (persons,) = detector.measure([np.asarray(Image.open(io.BytesIO(data)))])
        if row["kind"] == Kind.EMPTY:
            seen.empty.append(persons)
        for truth in truths.get(row["picture"], []):
            near = [p for p in persons if overlap(p.box_xyxy_px, truth["box_xyxy_px"]) > SAME]
            seen.sightings.append(Sighting(Kind(row["kind"]), truth, near[0] if near else None))
    return seen


def overlap(a: object, b: object) -> float:
    """Intersection over union of two boxes."""
    (left, top, right, bottom), (x1, y1, x2, y2) = np.array(a, float), np.array(b, float)
    shared = max(0.0, min(right, x2) - max(left, x1)) * max(0.0, min(bottom, y2) - max(top, y1))
    return float(shared / ((right - left) * (bottom - top) + (x2 - x1) * (y2 - y1) - shared))


def passes_all(sighting: Sighting) -> bool:
    found = sighting.person
    assert found is not None
    return person_gate(found.box_xyxy_px, found.score, found.keypoints, GateLimits()) is None


def test_curated_pictures_pass_all_gates(seen: Seen) -> None:
    assert len(seen.found(Kind.CURATED)) >= 45
    assert seen.share(Kind.CURATED, passes_all) >= 0.9


def test_every_curated_person_is_found(seen: Seen) -> None:
    assert all(each.person for each in seen.sightings if each.kind is Kind.CURATED)


def test_people_of_scenes_are_found_and_pass_the_gates_of_their_posture(seen: Seen) -> None:
    people = [each for each in seen.sightings if each.kind is Kind.SCENE]
    assert len(people) >= 24
    assert np.mean([each.person is not None for each in people]) >= 0.95
    for gate in (Reason.LOW_SCORE, Reason.FEW_KEYPOINTS, Reason.NO_HIP, Reason.NO_HEAD):
        assert seen.share(Kind.SCENE, lambda each, gate=gate: each.passes(gate)) >= 0.9  # type: ignore[misc]


def test_nobody_passes_in_an_empty_background(seen: Seen) -> None:
    assert len(seen.empty) >= 12
    limits = GateLimits()
    everybody = [p for persons in seen.empty for p in persons]
    assert not [p for p in everybody if person_gate(p.box_xyxy_px, p.score, p.keypoints, limits) is None]


@pytest.mark.parametrize("kind", FAILS)
def test_a_picture_made_to_fail_a_gate_fails_it(seen: Seen, kind: Kind) -> None:
    assert len(seen.found(kind)) >= 10
    assert seen.share(kind, lambda each: each.passes(FAILS[kind])) <= 0.1


def test_there_is_a_negative_for_every_gate() -> None:
    outcomes = gate_outcomes((0, 0, 1, 1), 0.0, [0.0] * 51, GateLimits())
    assert set(FAILS.values()) == set(outcomes)


def test_what_is_made_for_the_judge_passes_the_gates_of_its_posture(seen: Seen) -> None:
    for kind in (Kind.BLURRED, Kind.DARK):
        assert seen.share(kind, lambda each: each.passes(Reason.ASPECT_RATIO)) >= 0.9
        assert seen.share(kind, lambda each: each.passes(Reason.FEW_KEYPOINTS)) >= 0.9


@pytest.mark.parametrize("gate", set(FAILS.values()), ids=str)
def test_the_expected_outcome_of_a_gate_is_what_is_measured(seen: Seen, gate: Reason) -> None:
    told = [each for each in seen.sightings if each.person and each.truth["passes"][gate] is not None]  # type: ignore[index]
    assert len(told) >= 40
    agreement = np.mean([each.passes(gate) == each.truth["passes"][gate] for each in told])  # type: ignore[index]
    assert agreement >= 0.95


def test_measured_keypoints_lie_where_the_rig_has_them(seen: Seen) -> None:
    errors = []
    for each in seen.found(Kind.CURATED):
        assert each.person is not None
        truth = np.array(each.truth["keypoints"]).reshape(17, 3)
        away = np.linalg.norm(np.array(each.person.keypoints).reshape(17, 3)[:, :2] - truth[:, :2], axis=1)
        errors += (
            away[truth[:, 2] == 2] / (each.person.box_xyxy_px[3] - each.person.box_xyxy_px[1])
        ).tolist()
    assert np.mean(errors) < 0.04
