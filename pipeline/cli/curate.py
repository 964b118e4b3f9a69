"""`webperson curate` and `webperson report`: URLs to shards, and what became of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pipeline.cli.options import (
    TRAINING_SECTIONS,
    Address,
    OutPlace,
    Overrides,
    Phase,
    RecipeName,
    Urls,
    UsageError,
    output_place,
    read_place,
    require_curation,
)
from pipeline.funnel import Counts, Line, check_accounting, funnel_text, over_budget
from pipeline.metrics import metrics_log
from pipeline.progress import ShowProgress, show_progress, together
from pipeline.recipe import load_recipe, trace
from pipeline.report import render_report
from pipeline.storage import Place, publish, publish_json, read_json, run_lock
from pipeline.templates import TemplateError

if TYPE_CHECKING:
    from curation.inputs import UrlList
    from curation.phases import PhaseReport
    from curation.recipe import CurateRecipe

RUN = "run.json"
OVER_BUDGET = 3
"""Exit code of a run that is done, but has lost more rows than its recipe allows."""


def curate(
    recipe: RecipeName,
    urls: Urls,
    out: OutPlace,
    phase: Annotated[list[Phase] | None, typer.Option(help="Only these phases; by default all.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many rows of the list, the first.")
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Only so many rows, drawn by the seed.")] = None,
    address: Address = None,
    overrides: Overrides = None,
) -> None:
    """Harvest, annotate and pack: from a list of URLs to training shards. Run it again to go on."""
    require_curation("curate")
    console = Console()
    phases = frozenset(str(name) for name in phase or Phase)
    place, settings = output_place(out), read_recipe(recipe, overrides or [])
    url_list = read_list(settings, urls, place, limit, sample)
    with show_progress(console) as progress:
        reports = run_curation(settings, url_list, place, phases, address, progress)
    print_curation(reports, console)
    console.print(f"report: {write_report(place)}", highlight=False, soft_wrap=True)
    over = over_budget([report.line for report in reports], settings.largest_failed_shares())
    for line in over:
        console.print(
            f"{line.phase}: {line.counts.failed_share:.1%} of the {line.rows} failed, more than the recipe's "
            f"{line.phase}.max_failed_share allows",
            highlight=False,
            soft_wrap=True,
        )
    if over:
        raise typer.Exit(OVER_BUDGET)


def report(
    out: Annotated[str, typer.Argument(metavar="PLACE", help="Output folder of `curate`, local or s3://….")],
) -> None:
    """Write report.html: the funnel, persons kept and rejected with their reasons, captions."""
    require_curation("report")
    print(write_report(read_place(out)))


def read_recipe(name: str, overrides: list[str]) -> "CurateRecipe":
    """The recipe, with the files that it names read once. Raises RecipeError, UsageError."""
    from curation.caption import caption_inputs
    from curation.captioners import PromptError
    from curation.dedup import EmbeddingError
    from curation.recipe import CurateRecipe
    from curation.takedown import TakedownError

    recipe = load_recipe(CurateRecipe, name, overrides, others=TRAINING_SECTIONS)
    try:
        caption_inputs(recipe.annotate.caption)
        recipe.dedup.inputs()
        recipe.takedown.load()
    except (EmbeddingError, PromptError, TakedownError, TemplateError) as error:
        raise UsageError(str(error)) from None
    return recipe


def read_list(
    recipe: "CurateRecipe", urls: str, out: Place, limit: int | None = None, sample: int | None = None
) -> "UrlList":
    """The list of URLs, looked at once. Raises UsageError."""
    from curation.inputs import InputError, UrlList

    where = urls if "://" in urls else str(Path(urls).absolute())  # workers have other working directories
    url_list = UrlList(
        where, recipe.harvest.input, limit=limit, sample=sample, seed=recipe.seed, cache=str(out / "list")
    )
    try:
        url_list.check()
    except InputError as error:
        raise UsageError(str(error)) from None
    return url_list


def run_curation(
    recipe: "CurateRecipe",
    urls: "UrlList",
    out: Place,
    phases: frozenset[str],
    address: str | None,
    progress: ShowProgress,
) -> list["PhaseReport"]:
    """Run the phases into `out`, and note which of its folders are current."""
    from curation.phases import Curation
    from pipeline.runner import Cluster, RayMetrics, pool_cpus

    cpus = max(pool_cpus(pools) for pools in recipe.pools())
    with (
        run_lock(out) as check_lock,
        metrics_log(out) as log,
        Cluster(address, cpus, recipe.object_store_bytes, out / "attempts") as cluster,
    ):

        def lock(*_: object) -> None:
            check_lock()

        observers = together(lock, progress, log, RayMetrics())
        curation = Curation(recipe, trace(recipe), urls, out, cluster.run_units, phases, observers)
        reports = curation.run()
        check_lock()
        publish_run(out, reports)
    return reports


def publish_run(out: Place, reports: list["PhaseReport"]) -> None:
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


def write_report(out: Place) -> Place:
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


def _read_run(out: Place) -> dict[str, Any]:
    if not (out / RUN).is_file():
        raise UsageError(f"{out}: no finished run of webperson curate stands here ({RUN} is missing)")
    return read_json(out / RUN)


def _stand_ins(recipe: dict[str, Any]) -> list[str]:
    if recipe["annotate"]["caption"]["captioner"] != "attributes-stand-in":
        return []
    return ["Captions are by attributes-stand-in, which measures colours: no multimodal model wrote them."]
