"""Annotate, killed three times amid its questions: nobody is lost, nobody done is asked about again."""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation.inputs import UrlList
from curation.phase_work import PhaseReport
from curation.phases import Curation
from curation.recipe import CurateRecipe
from pipeline.cli.options import TRAINING_SECTIONS
from pipeline.cli.report import publish_run
from pipeline.reasons import Reason
from pipeline.recipe import load_recipe, trace
from pipeline.records import PersonKey
from tests.chain.conftest import Finished, Photographs, run, run_here, start
from tests.chain.killing import kill_driver, wait_for
from tests.chain.questions import (
    EVERYBODY,
    Models,
    Moment,
    Question,
    asked_too_often,
    content,
    done,
    models,
    pictures,
    unit_of_pictures,
)
from tests.chain.tables import phase_folder, table

pytestmark = [pytest.mark.chain, pytest.mark.timeout(600)]
SEED = 0
DELAY_S = 0.04


@dataclass
class Annotated:
    """An output folder, and all that was asked to fill it."""

    out: Path
    asked: Counter[Question]


@dataclass
class Killed(Annotated):
    """A run that was killed three times, and the run that came to its end."""

    moments: list[Moment]
    again: Finished
    asked_by_another: Counter[Question]
    """Once it was done: all questions, when the same recipe had been run once more."""
    another: list[PhaseReport]


@pytest.fixture(scope="module")
def alone(undisturbed: Photographs, tmp_path_factory: pytest.TempPathFactory) -> Annotated:
    """The harvest annotated in this process, by nobody disturbed."""
    out = harvested(undisturbed, tmp_path_factory)
    with models(delay_s=0.0) as answering:
        annotate_here(undisturbed, answering, out)
        return Annotated(out, answering.asked())


@pytest.fixture(scope="module")
def killed(undisturbed: Photographs, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """SIGKILL the driver amid questions, then the actor, then the driver as a unit is being published.

    How many questions later is drawn by a seed. After each driver the same command goes on.
    """
    out, draws = harvested(undisturbed, tmp_path_factory), random.Random(SEED)
    moments = []
    with models(DELAY_S) as answering:
        overrides = [*EVERYBODY, *answering.settings(workers=1)]
        arguments = ["curate", "laptop", "--phase", "annotate", "--urls", str(undisturbed.urls)]
        arguments += ["--out", str(out), *(part for each in overrides for part in ("--set", each))]

        def questions_later() -> Callable[[], bool]:
            enough = answering.count() + draws.randint(20, 40)
            return lambda: answering.count() >= enough

        with start(*arguments) as first:
            wait_for(lambda: bool(done(out)), first)
            wait_for(questions_later(), first)
            kill_driver(first)
            moments.append(answering.moment(out))
        with start(*arguments) as second:
            wait_for(questions_later(), second)
            (actor,) = second.actors()
            actor.kill()
            moments.append(answering.moment(out))
            wait_for(lambda: len(done(out)) > len(moments[-1].done), second)
            wait_for(lambda: any((out / "attempts").glob("*/*-publish.json")), second)
            kill_driver(second)
            moments.append(answering.moment(out))
        again, asked = run(*arguments), answering.asked()
        another = annotate_here(undisturbed, answering, out)
        return Killed(out, asked, moments, again, answering.asked(), another)


def test_each_kill_costs_a_few_units_in_work_and_spares_those_done(killed: Killed) -> None:
    units = unit_of_pictures(killed.out)
    for moment in killed.moments:
        assert 1 <= len(moment.done) < len(set(units.values()))
        assert len(moment.begun(units)) <= 4  # one is asked about, others are on the way to their files
    amid_questions = killed.moments[:2]
    assert all(moment.begun(units) for moment in amid_questions)


def test_the_same_command_ends_with_the_rows_of_a_run_left_alone(alone: Annotated, killed: Killed) -> None:
    assert killed.again.code == 0, killed.again.output
    assert content(killed.out) == content(alone.out)


def test_every_kept_person_stands_in_one_row(killed: Killed) -> None:
    rows = table(killed.out, "annotate", "pairs").select(["unit", "row", "person"]).to_pylist()
    assert Counter(PersonKey(**row) for row in rows) == Counter(pictures(killed.out).values())


def test_reasons_are_the_same_as_of_a_run_left_alone(alone: Annotated, killed: Killed) -> None:
    assert reasons(killed.out) == reasons(alone.out)
    assert {Reason.NOT_REAL, Reason.CAPTION_REFUSED} <= set(reasons(killed.out).values())


def test_nobody_is_asked_about_again_whose_unit_was_done_at_a_kill(killed: Killed) -> None:
    units = unit_of_pictures(killed.out)
    for moment in killed.moments:
        spared = {question for question in killed.asked if units[question.picture] in moment.done}
        assert spared
        assert all(killed.asked[question] == moment.asked[question] for question in spared)


def test_a_question_is_asked_once_and_once_more_for_each_kill_of_its_unit(
    alone: Annotated, killed: Killed
) -> None:
    assert killed.asked.keys() == alone.asked.keys()
    assert set(alone.asked.values()) == {1}
    assert asked_too_often(killed.asked, killed.moments, unit_of_pictures(killed.out)) == []


def test_a_run_after_that_asks_nothing(killed: Killed) -> None:
    assert killed.asked_by_another == killed.asked
    assert killed.another[-1].done_before == killed.another[-1].units


def harvested(undisturbed: Photographs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the harvest in it, and nothing else."""
    out = tmp_path_factory.mktemp("annotated") / "out"
    folder = phase_folder(undisturbed.out, "harvest")
    shutil.copytree(folder, out / folder.name)
    return out


def annotate_here(undisturbed: Photographs, answering: Models, out: Path) -> list[PhaseReport]:
    settings = [*EVERYBODY, *answering.settings(workers=1)]
    recipe = load_recipe(CurateRecipe, "laptop", settings, others=TRAINING_SECTIONS)
    urls, phases = UrlList(undisturbed.urls), frozenset({"annotate"})
    reports = Curation(recipe, trace(recipe), urls, out, run_here, phases, lambda *_: None).run()
    publish_run(out, reports)
    return reports


def reasons(out: Path) -> dict[tuple[PersonKey, int], str]:
    """Why persons, and captions by their slots, have failed or been rejected; slot -1 is the person."""
    found: dict[tuple[PersonKey, int], str] = {}
    for path in sorted(phase_folder(out, "annotate").glob("pairs/*/*.parquet")):
        for row in pq.read_table(path).to_pylist():
            key = PersonKey(row["unit"], row["row"], row["person"])
            outcomes = {-1: row["reason"], **{each["slot"]: each["reason"] for each in row["captions"]}}
            found |= {(key, slot): reason for slot, reason in outcomes.items() if reason}
    return found
