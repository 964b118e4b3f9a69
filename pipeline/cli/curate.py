"""`webperson curate`: URLs to shards."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    require_curation,
)
from pipeline.cli.readiness import no_gpu, no_weights
from pipeline.cli.report import note_phases, publish_run, write_report
from pipeline.funnel import Line, funnel_text, nothing_kept, over_budget
from pipeline.metrics import metrics_log
from pipeline.progress import ShowProgress, show_progress, together
from pipeline.reasons import Reason
from pipeline.recipe import load_recipe, trace
from pipeline.storage import Place, run_lock
from pipeline.templates import TemplateError

if TYPE_CHECKING:
    from curation.inputs import UrlList
    from curation.phase_work import PhaseReport
    from curation.recipe import CurateRecipe

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
    recaption: Annotated[
        str | None,
        typer.Option(
            help="Write anew what this table of scores finds worst: Parquet, a row for each caption."
        ),
    ] = None,
    worst: Annotated[
        str | None, typer.Option(help="How many of its captions: a share, by default 5%.", show_default=False)
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Take up once more what failed, of a harvest that is done and of its captions.",
        ),
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Harvest, annotate and pack: from a list of URLs to training shards. Run it again to go on."""
    require_curation("curate")
    console = Console()
    phases = frozenset(str(name) for name in phase or Phase)
    if worst and not recaption:
        raise UsageError("--worst needs --recaption, the table of scores")
    if retry_failed and phases <= {"pack"}:
        raise UsageError("--retry-failed needs the phase harvest or annotate")
    overrides = [*(overrides or []), *([recaption_override(recaption, worst or "5%")] if recaption else [])]
    place, settings = output_place(out), read_recipe(recipe, overrides)
    url_list = read_list(settings, urls, place, limit, sample)
    with show_progress(console) as progress:
        reports = run_curation(
            settings,
            url_list,
            place,
            phases,
            address,
            progress,
            lambda line: console.print(line, highlight=False, soft_wrap=True),
            retry_failed,
        )
    print_curation(reports, console)
    console.print(f"report: {write_report(place)}", highlight=False, soft_wrap=True)
    if reports[-1].left:
        return
    if none := nothing_kept([report.line for report in reports]):
        console.print(none, highlight=False, soft_wrap=True)
    over = over_budget([report.line for report in reports], settings.largest_failed_shares())
    for line in over:
        console.print(
            f"{line.phase}: {line.counts.failed_share:.1%} of the {line.rows} failed, more than the recipe's "
            f"{line.phase}.max_failed_share allows",
            highlight=False,
            soft_wrap=True,
        )
    if over:
        if not retry_failed and any(map(_may_do_better, over)):
            console.print(
                "--retry-failed takes up once more what the web or an endpoint has cost.", soft_wrap=True
            )
        raise typer.Exit(OVER_BUDGET)


def _may_do_better(line: Line) -> bool:
    """Whether some of the rows that failed are not to blame for it."""
    from curation.known import ASK_AGAIN

    failed = line.counts.failed.keys()
    tried_again = {"harvest": failed - {Reason.ROW_UNREADABLE}, "annotate": failed & ASK_AGAIN}
    return bool(tried_again.get(line.phase))


def read_recipe(name: str, overrides: list[str]) -> "CurateRecipe":
    """The recipe, with the files that it names read once. Raises RecipeError, UsageError."""
    from curation.dedup import EmbeddingError
    from curation.exemplars import ExemplarError
    from curation.prompts import PromptError
    from curation.recaption import ScoresError
    from curation.recipe import CurateRecipe
    from curation.takedown import TakedownError

    recipe = load_recipe(CurateRecipe, name, overrides, others=TRAINING_SECTIONS)
    files = {f"annotate.{key}": read for key, read in recipe.annotate.files().items()}
    files |= {"dedup": recipe.dedup.inputs, "takedown": recipe.takedown.load}
    for key, read in files.items():
        try:
            read()
        except (
            EmbeddingError,
            ExemplarError,
            PromptError,
            ScoresError,
            TakedownError,
            TemplateError,
        ) as error:
            raise UsageError(f"{key}: {error}") from None
    return recipe


def recaption_override(scores: str, worst: str) -> str:
    """`--recaption` and `--worst` as the setting that they stand for. Raises UsageError."""
    text = worst.strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(f"--worst {worst}: expected a share such as 5% or 0.05")
    where = scores if "://" in scores else str(Path(scores).absolute())
    return f"annotate.caption.recaption={json.dumps([{'scores': where, 'worst': share}])}"


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
    notice: Callable[[str], None] = lambda *_: None,
    retry_failed: bool = False,
) -> list["PhaseReport"]:
    """Run the phases into `out`, and note which of its folders are current.

    notice: called with one line before what takes long or costs money.
    """
    from curation.phases import Curation
    from pipeline.runner import Cluster, RayMetrics, pool_cpus

    def unready() -> Iterator[str]:
        yield from no_weights(recipe)
        if address is None and "RAY_ADDRESS" not in os.environ:  # else the GPUs are other machines'
            yield from no_gpu(recipe)

    cpus = max(pool_cpus(pools) for pools in recipe.pools())
    with (
        run_lock(out) as check_lock,
        metrics_log(out) as log,
        Cluster(address, cpus, recipe.object_store_bytes, out / "attempts") as cluster,
    ):

        def lock(*_: object) -> None:
            check_lock()

        observers = together(lock, progress, log, RayMetrics())
        curation = Curation(
            recipe,
            trace(recipe),
            urls,
            out,
            cluster.run_units,
            phases,
            observers,
            began=note_phases(out),
            notice=notice,
            unready=unready,
            retry_failed=retry_failed,
        )
        reports = curation.run()
        check_lock()
        publish_run(out, reports, notice)
    return reports


def print_curation(reports: list["PhaseReport"], console: Console) -> None:
    """The funnel, and for each phase what was done now and where it stands."""
    console.print("Funnel, accounting checked:")
    console.print(funnel_text([report.line for report in reports]), highlight=False, soft_wrap=True)
    for report in reports:
        did = f"{report.units - report.done_before - report.left} of {report.units} units done now"
        if report.done_before == report.units:
            did = "was done already, nothing to do" if report.units else "nothing to do"
        note = f" ({report.note})" if report.note else ""
        console.print(f"{report.phase}: {did}{note}: {report.folder.path}", highlight=False, soft_wrap=True)
