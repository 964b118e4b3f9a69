"""`webperson report`: what became of a run, finished or still going; where its phases stand."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import UsageError, read_place, require_curation
from pipeline.funnel import Counts, Line, check_accounting
from pipeline.report import render_report
from pipeline.storage import Place, publish, publish_json, read_json, remove
from pipeline.units import PhaseFolder

if TYPE_CHECKING:
    from curation.phases import PhaseReport

RUN, RUNNING = "run.json", "running.json"
"""The last finished run of an output folder, and the one that goes on there now or was killed."""
_COUNTED = {"harvest": ("urls", "URLs"), "annotate": ("pairs", "persons")}
"""For each phase of units, the table that its markers count, and what a row of it is."""


def report(
    out: Annotated[str, typer.Argument(metavar="PLACE", help="Output folder of `curate`, local or s3://….")],
) -> None:
    """Write report.html: the funnel, persons kept and rejected with their reasons, captions.

    Also of a run that is still going: what stands then.
    """
    require_curation("report")
    print(write_report(read_place(out)))


def note_phases(out: Place) -> Callable[[str, PhaseFolder, int], None]:
    """What a run calls as each phase begins: phase, folder and number of units are noted for reports."""
    phases: dict[str, dict[str, Any]] = {}

    def began(phase: str, folder: PhaseFolder, units: int) -> None:
        phases[phase] = {"folder": folder.path.name, "units": units}
        publish_json(out / RUNNING, {"phases": phases, "order": list(phases), "trace": folder.trace})

    return began


def publish_run(out: Place, reports: Sequence["PhaseReport"]) -> None:
    """Check that every row is accounted for, and note which folders of `out` are current."""
    lines = [report.line for report in reports]
    check_accounting(lines)
    folders = {report.phase: report.folder.path.name for report in reports}
    funnel = [
        {
            "phase": line.phase,
            "rows": line.rows,
            "counts": line.counts.to_json(),
            "unfinished": line.unfinished,
        }
        for line in lines
    ]
    notes = [f"{report.phase}: {report.note}." for report in reports if report.note]
    trace = reports[0].folder.trace
    publish_json(out / RUN, {"phases": folders, "funnel": funnel, "notes": notes, "trace": trace})
    remove(out / RUNNING)


def write_report(out: Place) -> Place:
    """Publish report.html of what stands in an output folder; return its path."""
    from curation.gallery import gallery

    run = _so_far(out) if (out / RUNNING).is_file() else _read_run(out)
    trace = run["trace"]
    lines = [
        Line(entry["phase"], entry["rows"], Counts.from_json(entry["counts"]), entry.get("unfinished", ""))
        for entry in run["funnel"]
    ]
    notes = [
        f"Recipe {trace['recipe_hash']}, source {trace['source_revision']}.",
        *_stand_ins(trace["recipe"]),
        *run["notes"],
    ]
    path = out / "report.html"
    publish(path, render_report("WebPerson run", notes, lines, gallery(out, run["phases"])).encode())
    return path


def current_shards(folder: Path) -> Path:
    """The folder of shards that an output folder of `curate` points to; any other folder is itself."""
    if not (folder / RUN).is_file():
        return folder
    phases = _read_run(folder)["phases"]
    if "pack" not in phases:
        raise UsageError(f"{folder}: not packed yet; run webperson curate with --phase pack")
    return folder / str(phases["pack"])


def _read_run(out: Place) -> dict[str, Any]:
    if not (out / RUN).is_file():
        raise UsageError(f"{out}: no run of webperson curate stands here ({RUN} is missing)")
    return read_json(out / RUN)


def _so_far(out: Place) -> dict[str, Any]:
    """A run that has not ended, as `run.json` would have it: from what stands of its phases' units."""
    phases, funnel, notes = {}, [], ["This run has not ended: here is what stands now."]
    running = read_json(out / RUNNING)
    for phase in running["order"]:  # JSON was written with its keys sorted
        noted = running["phases"][phase]
        folder, units = PhaseFolder(out / noted["folder"], {}), noted["units"]
        if phase == "decide":
            marker = folder.path / "done.json"
            counts = [read_json(marker)["counts"]["persons"]] if marker.is_file() else []
            rows, done = "persons", len(counts)
        elif phase in _COUNTED:
            (table, rows), finished = _COUNTED[phase], folder.finished()
            counts = [folder.totals(finished)[table]] if finished else []
            done = len(finished)
        else:
            notes.append(f"{phase}: under way.")
            continue
        if phase != "decide" or done:
            phases[phase] = noted["folder"]
            total = sum(map(Counts.from_json, counts), Counts())
            line = {"phase": phase, "rows": rows, "counts": total.to_json()}
            funnel.append(line | ({"unfinished": f"{done} of {units} units"} if done < units else {}))
    return {"phases": phases, "funnel": funnel, "notes": notes, "trace": running["trace"]}


def _stand_ins(recipe: dict[str, Any]) -> list[str]:
    notes = []
    if recipe["annotate"]["judge"]["judge"] == "heuristics-stand-in":
        notes.append("The judge is heuristics-stand-in, which measures light and sharpness: no model looked.")
    if recipe["annotate"]["caption"]["captioner"] == "attributes-stand-in":
        notes.append(
            "Captions are by attributes-stand-in, which measures colours: no multimodal model wrote them."
        )
    return notes
