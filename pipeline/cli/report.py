"""`webperson report`: what became of a run, finished or still going; where its phases stand."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.caption_sections import caption_sections, others_to_compare
from pipeline.cli.options import UsageError, is_object_store, read_place, require_curation
from pipeline.cli.run_file import RUN, RUNNING, packed_before, read_run, run_so_far
from pipeline.funnel import check_accounting, funnel_text
from pipeline.report import render_report, tables_text
from pipeline.shards import DONE
from pipeline.storage import Place, publish, publish_json, remove
from pipeline.units import PhaseFolder

if TYPE_CHECKING:
    from curation.phase_work import PhaseReport

CAPTIONS = 100_000
"""That the statistics look at: half a minute."""
PERSONS = 24
"""That are shown with two texts side by side."""


def report(
    out: Annotated[str, typer.Argument(metavar="PLACE", help="Output folder of `curate`, local or s3://….")],
    captions: Annotated[
        int, typer.Option(min=0, help="How many captions the statistics look at, drawn by person; 0: all.")
    ] = CAPTIONS,
    beside: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Set other captions of the same persons beside the run's: an annotate-… folder in PLACE, or "
            "another output folder.",
        ),
    ] = None,
    persons: Annotated[
        int, typer.Option(min=1, help="With --beside: how many persons are shown with both texts.")
    ] = PERSONS,
) -> None:
    """Write report.html and report.json, and print their tables: funnel, captioners, statistics of captions.

    Also of a run that is still going: what stands then. To compare two captioners or prompts, curate into one
    folder with each: --beside shows both, over the persons that both captioned.
    """
    require_curation("report")
    print(write_report(read_place(out), captions, beside, persons, print))


def note_phases(out: Place) -> Callable[[str, PhaseFolder, int], None]:
    """What a run calls as each phase begins: phase, folder and number of units are noted for reports."""
    phases: dict[str, dict[str, Any]] = {}

    def began(phase: str, folder: PhaseFolder, units: int) -> None:
        phases[phase] = {"folder": folder.path.name, "units": units}
        publish_json(out / RUNNING, {"phases": phases, "order": list(phases), "trace": folder.trace})

    return began


def publish_run(
    out: Place, reports: Sequence["PhaseReport"], notice: Callable[[str], None] = lambda *_: None
) -> None:
    """Check that every row is accounted for, and note which folders of `out` are current.

    A run that does not pack leaves the shards of an earlier one current, as long as they stand; notice is
    told so.
    """
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
    packed = packed_before(out)
    if packed and "pack" not in folders and (out / packed / DONE).is_file():
        folders["pack"] = packed
        notes.append(f"pack: the shards of an earlier run stay current, {packed}.")
        notice(notes[-1])
    trace = reports[0].folder.trace
    publish_json(out / RUN, {"phases": folders, "funnel": funnel, "notes": notes, "trace": trace})
    remove(out / RUNNING)


def write_report(
    out: Place,
    captions: int = CAPTIONS,
    beside: str | None = None,
    persons: int = PERSONS,
    show: Callable[[str], None] = lambda *_: None,
) -> Place:
    """Publish report.html and report.json of what stands in an output folder; return the first's path.

    captions, beside, persons: as the command takes them. show: is given notes, funnel and tables as text.
    """
    from curation.gallery import gallery

    run = run_so_far(out)
    sections, numbers = caption_sections(out, run.phases, captions, beside, persons)
    notes = [
        f"Recipe {run.trace.recipe_hash}, source {run.trace.source_revision}.",
        *run.trace.stand_ins(),
        *run.notes,
    ]
    others = others_to_compare(out, run.phases["annotate"]) if "annotate" in run.phases else []
    if others and not beside:
        notes.append(f"Other captions of this harvest, for --beside: {', '.join(others)}.")
    show("\n\n".join(filter(None, ["\n".join(notes), funnel_text(run.funnel), tables_text(sections)])))
    page = render_report("WebPerson run", notes, run.funnel, [*sections, *gallery(out, run.phases)])
    path = out / "report.html"
    publish(path, page.encode())
    publish_json(out / "report.json", {**run.model_dump(mode="json", exclude={"trace"}), **numbers})
    return path


def current_shards(folder: Path) -> Path:
    """The folder of shards that an output folder of `curate` points to; any other folder is itself.

    Raises UsageError for an object store's, or if nothing was packed.
    """
    if is_object_store(folder):
        raise UsageError(f"--shards {folder}: not a local folder; copy its pack-… folder here and name that")
    if not (folder / RUN).is_file():
        return folder
    phases = read_run(folder).phases
    if "pack" not in phases:
        raise UsageError(f"{folder}: not packed yet; run webperson curate with --phase pack")
    return folder / phases["pack"]
