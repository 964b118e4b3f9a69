"""`run.json` and `running.json`: which folders of an output folder are current, and what came of them."""

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from pipeline.cli.options import UsageError
from pipeline.funnel import Counts, Line
from pipeline.storage import DamagedError, Place, read_json
from pipeline.units import PhaseFolder

RUN, RUNNING = "run.json", "running.json"
"""The last finished run of an output folder, and the one that goes on there now or was killed."""
_COUNTED = {"harvest": ("urls", "URLs"), "annotate": ("pairs", "persons")}
"""For each phase of units, the table that its markers count, and what a row of it is."""


class Trace(BaseModel):
    """What a run was made with."""

    model_config = ConfigDict(extra="allow")

    recipe_hash: str = "unknown"
    source_revision: str = "unknown"
    recipe: dict[str, Any] = {}

    def stand_ins(self) -> list[str]:
        """A sentence for each part of the run that no model did."""
        annotate: Mapping[str, Any] = self.recipe.get("annotate") or {}
        notes = []
        if (annotate.get("judge") or {}).get("judge") == "heuristics-stand-in":
            notes.append(
                "The judge is heuristics-stand-in, which measures light and sharpness: no model looked."
            )
        if (annotate.get("caption") or {}).get("captioner") == "attributes-stand-in":
            notes.append(
                "Captions are by attributes-stand-in, which measures colours: no multimodal model wrote them."
            )
        return notes


class Run(BaseModel):
    """A run as `run.json` holds it."""

    phases: dict[str, str]
    """The current folder of each phase; of pack, that of the last run that packed."""
    funnel: list[Line]
    notes: list[str]
    trace: Trace = Trace()


class Begun(BaseModel):
    """A phase of a run that has not ended."""

    folder: str
    units: int


class Running(BaseModel):
    """A run that has not ended, as `running.json` holds it."""

    phases: dict[str, Begun]
    order: list[str]
    """Of the phases: JSON is written with its keys sorted."""
    trace: Trace = Trace()

    @model_validator(mode="after")
    def _order_names_phases(self) -> Self:
        if sorted(self.order) != sorted(self.phases):
            raise ValueError("order: names other phases than phases")
        return self


_Noted = TypeVar("_Noted", Run, Running)


def read_run(out: Place) -> Run:
    """The last run that ended in an output folder. Raises UsageError."""
    if not (out / RUN).is_file():
        raise UsageError(f"{out}: no run of webperson curate stands here ({RUN} is missing)")
    try:
        return _read(out / RUN, Run)
    except DamagedError as error:
        raise _cannot(error) from None


def run_so_far(out: Place) -> Run:
    """The run that goes on or was killed; the last one that ended, if there is none. Raises UsageError.

    If the note of the former cannot be read, the latter says so.
    """
    if not (out / RUNNING).is_file():
        return read_run(out)
    try:
        running = _read(out / RUNNING, Running)
    except DamagedError as error:
        if not (out / RUN).is_file():
            raise _cannot(error) from None
        run = read_run(out)
        note = f"Another run has not ended, but its note cannot be read ({error})."
        return run.model_copy(update={"notes": [note, *run.notes]})
    return _so_far(out, running)


def packed_before(out: Place) -> str | None:
    """The name of the folder that the last run noted for pack; None if its note cannot be read."""
    try:
        return _read(out / RUN, Run).phases.get("pack")
    except DamagedError:
        return None


def _so_far(out: Place, running: Running) -> Run:
    """A run that has not ended, from what stands of its phases' units."""
    phases, funnel, notes = {}, [], ["This run has not ended: here is what stands now."]
    for phase in running.order:
        noted = running.phases[phase]
        folder = PhaseFolder(out / noted.folder, {})
        if phase == "decide":
            counts = _decided(folder.path / "done.json")
            rows, done = "persons", len(counts)
        elif phase in _COUNTED:
            (table, rows), finished = _COUNTED[phase], folder.finished()
            counts = [folder.totals(finished)[table]] if finished else []
            done = len(finished)
        else:
            notes.append(f"{phase}: under way.")
            continue
        if phase != "decide" or done:
            phases[phase] = noted.folder
            total = sum(map(Counts.from_json, counts), Counts())
            unfinished = f"{done} of {noted.units} units" if done < noted.units else ""
            funnel.append(Line(phase, rows, total, unfinished))
    return Run(phases=phases, funnel=funnel, notes=notes, trace=running.trace)


def _decided(marker: Place) -> list[Mapping[str, Any]]:
    """The counts of the decisions; none if they are not done."""
    try:
        return [read_json(marker)["counts"]["persons"]]
    except (DamagedError, KeyError):
        return []


def _read(path: Place, of: type[_Noted]) -> _Noted:
    """Raises DamagedError if the file is missing or not what it should be."""
    try:
        return of.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise DamagedError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _cannot(error: DamagedError) -> UsageError:
    return UsageError(f"{error}; curate again with the same recipe: what is finished is not done again")
