"""What the series of kills run: the commands, and what must come of each as of the run left alone."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pipeline.cli.demo import DEADLINE_S, OVERRIDES
from pipeline.units import PhaseFolder
from tests.chain.conftest import run
from tests.chain.questions import (
    EVERYBODY,
    Models,
    Moment,
    asked_too_often,
    content,
    models,
    pictures,
    unit_of_pictures,
)
from tests.chain.tables import phase_folder, row_hashes
from world.pages import build_web
from world.photographs import photographs
from world.web import RunningWeb, serve

UNIT_ROWS = "harvest.unit_rows=4"
DELAY_S = 0.15
"""Of each answer: most of annotate's time goes by in the middle of questions."""


@dataclass(frozen=True)
class Trial:
    """A command that fills one output folder."""

    arguments: list[str]
    outcome: Callable[[], Mapping[str, Any]]
    """Once it has ended: what must be equal to that of a run left alone, by name."""
    look: Callable[[str], None] = lambda victim: None
    """Called after each kill with who was killed."""
    work: Callable[[], float] = time.monotonic
    """A number that grows with the work: kills are drawn from when it does."""


class Killed(Protocol):
    """What is killed."""

    def begin(self, out: Path) -> Trial:
        """One run of it."""
        ...

    def numbers(self, alone: Path) -> dict[str, Any]:
        """How large it is, and what the runs took. alone: the folder of the run left alone."""
        ...


@dataclass(frozen=True)
class WholeCommand:
    """`webperson curate`, all phases, on the small web."""

    web: RunningWeb
    urls: Path

    def begin(self, out: Path) -> Trial:
        """Compared are the rows of all tables."""
        return Trial(_curate(self.urls, out, [*OVERRIDES, UNIT_ROWS]), lambda: row_hashes(out))

    def numbers(self, alone: Path) -> dict[str, Any]:
        """Its URLs and units."""
        harvest = PhaseFolder(phase_folder(alone, "harvest"), {})
        return {"urls": len(self.web.urls), "units": len(harvest.finished())}


@dataclass
class AnnotatePhase:
    """`webperson curate --phase annotate` with a judge and two models, on persons who are harvested."""

    answering: Models
    urls: Path
    harvest: Path
    questions: list[int] = field(default_factory=list)
    """How many each run asked, the one left alone first."""
    kills_amid_questions: int = 0
    """Those that found a unit begun, but not done."""

    def begin(self, out: Path) -> Trial:
        """Compared are the rows of each unit, what was asked, and that nothing was asked without need."""
        shutil.copytree(self.harvest, out / self.harvest.name)
        self.answering.forget()
        moments: list[Moment] = []

        def look(victim: str) -> None:
            if victim != "worker":  # those read and publish: nobody is asked again for one of them
                moments.append(self.answering.moment(out))

        def outcome() -> dict[str, Any]:
            asked, units = self.answering.asked(), unit_of_pictures(out)
            self.questions.append(asked.total())
            self.kills_amid_questions += sum(bool(moment.begun(units)) for moment in moments)
            return {
                "pairs": content(out),
                "questions": asked.keys(),
                "none_asked_too_often": asked_too_often(asked, moments, units),
            }

        settings = [*EVERYBODY, *self.answering.settings(workers=2, cpus=0.5)]
        arguments = [*_curate(self.urls, out, settings), "--phase", "annotate"]
        return Trial(arguments, outcome, look, lambda: self.answering.asked().total())

    def numbers(self, alone: Path) -> dict[str, Any]:
        """Its persons and units, and what was asked."""
        return {
            "persons": len(pictures(alone)),
            "units": len(content(alone)),
            "questions_alone": self.questions[0],
            "questions_of_each_run": self.questions[1:],
            "kills_amid_questions": self.kills_amid_questions,
        }


@contextmanager
def whole_command(folder: Path) -> Iterator[WholeCommand]:
    """Serve its small web."""
    with serve(build_web(photographs(seed=0), seed=0, silence_s=10 * DEADLINE_S)) as web:
        yield WholeCommand(web, _listed(web, folder))


@contextmanager
def annotate_phase(folder: Path) -> Iterator[AnnotatePhase]:
    """Harvest the small web, then serve the models."""
    out = folder / "harvested"
    with serve(build_web(photographs(seed=0), seed=0, silence_s=10 * DEADLINE_S)) as web:
        urls = _listed(web, folder)
        harvested = run(*_curate(urls, out, EVERYBODY), "--phase", "harvest")
    if harvested.code:
        raise SystemExit(f"the harvest ended with exit code {harvested.code}:\n{harvested.output}")
    with models(DELAY_S) as answering:
        yield AnnotatePhase(answering, urls, phase_folder(out, "harvest"))


def _listed(web: RunningWeb, folder: Path) -> Path:
    urls = folder / "urls.txt"
    urls.write_text("".join(f"{url}\n" for url in web.urls))
    return urls


def _curate(urls: Path, out: Path, overrides: list[str]) -> list[str]:
    settings = [part for override in overrides for part in ("--set", override)]
    return ["curate", "laptop", "--urls", str(urls), "--out", str(out), *settings]
