"""`webperson curate` and `webperson report`: URLs to shards, and what became of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pipeline.cli.options import (
    TRAINING_SECTIONS,
    Address,
    Out,
    Overrides,
    Phase,
    RecipeName,
    UsageError,
    output_folder,
    require_curation,
)
from pipeline.funnel import Counts, Line, check_accounting, funnel_text
from pipeline.progress import ShowProgress, show_progress
from pipeline.recipe import load_recipe, trace
from pipeline.report import render_report
from pipeline.storage import publish, publish_json, read_json, run_lock
from pipeline.templates import TemplateError

if TYPE_CHECKING:
    from curation.phases import PhaseReport

RUN = "run.json"


def curate(
    recipe: RecipeName,
    urls: Annotated[Path, typer.Option(help="List of URLs: text (one a line) or Parquet with a column url.")],
    out: Out,
    phase: Annotated[list[Phase] | None, typer.Option(help="Only these phases; by default all.")] = None,
    address: Address = None,
    overrides: Overrides = None,
) -> None:
    """Harvest, annotate and pack: from a list of URLs to training shards. Run it again to go on."""
    require_curation("curate")
    console = Console()
    phases = frozenset(str(name) for name in phase or Phase)
    with show_progress(console) as progress:
        reports = run_curation(recipe, overrides or [], urls, output_folder(out), phases, address, progress)
    print_curation(reports, console)
    console.print(f"report: {write_report(out)}", highlight=False, soft_wrap=True)


def report(out: Annotated[Path, typer.Argument(help="Output folder of `curate`.")]) -> None:
    """Write report.html: the funnel, persons kept and rejected with their reasons, captions."""
    require_curation("report")
    print(write_report(out))


def run_curation(
    recipe_name: str,
    overrides: list[str],
    urls: Path,
    out: Path,
    phases: frozenset[str],
    address: str | None,
    progress: ShowProgress,
) -> list["PhaseReport"]:
    """Run the phases into `out`, and note which of its folders are current."""
    from curation.caption import caption_inputs
    from curation.captioners import PromptError
    from curation.inputs import InputError, UrlList
    from curation.phases import Curation
    from curation.recipe import CurateRecipe
    from pipeline.runner import Cluster, pool_cpus

    recipe = load_recipe(CurateRecipe, recipe_name, overrides, others=TRAINING_SECTIONS)
    url_list = UrlList(urls.absolute())
    try:
        url_list.check()
        caption_inputs(recipe.annotate.caption)  # reads the files that the recipe names
    except (InputError, PromptError, TemplateError) as error:
        raise UsageError(str(error)) from None
    cpus = max(pool_cpus(pools) for pools in recipe.pools())
    with run_lock(out), Cluster(address, cpus, recipe.object_store_bytes) as cluster:
        curation = Curation(recipe, trace(recipe), url_list, out, cluster.run_units, phases, progress)
        reports = curation.run()
        publish_run(out, reports)
    return reports


def publish_run(out: Path, reports: list["PhaseReport"]) -> None:
    """Check that every row is accounted for, and note which folders of `out` are current."""
    lines = [report.line for report in reports]
    check_accounting(lines)
    folders = {report.phase: report.folder.path.name for report in reports}
    funnel = [{"phase": line.phase, "rows": line.rows, "counts": line.counts.to_json()} for line in lines]
    publish_json(
        out / RUN,
        {"phases": folders, "funnel": funnel, "notes": [f"{r.phase}: {r.note}." for r in reports if r.note]},
    )


def print_curation(reports: list["PhaseReport"], console: Console) -> None:
    """The funnel, and for each phase what was done now and where it stands."""
    console.print("Funnel, accounting checked:")
    console.print(funnel_text([report.line for report in reports]), highlight=False, soft_wrap=True)
    for report in reports:
        did = f"{report.units - report.done_before} of {report.units} units done now"
        if report.done_before == report.units:
            did = "was done already, nothing to do"
        note = f" ({report.note})" if report.note else ""
        console.print(f"{report.phase}: {did}{note}: {report.folder.path}", highlight=False, soft_wrap=True)


def write_report(out: Path) -> Path:
    """Publish report.html of what stands in an output folder; return its path."""
    from curation.gallery import gallery

    run = _read_run(out)
    trace = read_json(out / run["phases"]["harvest"] / "phase.json")
    lines = [Line(e["phase"], e["rows"], Counts.from_json(e["counts"])) for e in run["funnel"]]
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


def _read_run(out: Path) -> dict[str, Any]:
    if not (out / RUN).is_file():
        raise UsageError(f"{out}: no finished run of webperson curate stands here ({RUN} is missing)")
    return read_json(out / RUN)


def _stand_ins(recipe: dict[str, Any]) -> list[str]:
    if recipe["annotate"]["caption"]["captioner"] != "attributes-stand-in":
        return []
    return ["Captions are by attributes-stand-in, which measures colours: no multimodal model wrote them."]
