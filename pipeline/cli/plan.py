"""`webperson plan`: a sample of a list, harvested: what the whole list will yield and cost."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
import typer
from rich.console import Console

from pipeline.cli.curate import read_list, read_recipe, run_curation
from pipeline.cli.options import (
    Address,
    OutPlace,
    Overrides,
    RecipeName,
    Urls,
    output_place,
    require_curation,
)
from pipeline.cli.readiness import no_space, problems
from pipeline.plan import Sampled, plan_text
from pipeline.progress import ShowProgress, show_progress
from pipeline.storage import read_table

if TYPE_CHECKING:
    from curation.phase_work import PhaseReport


def plan(
    recipe: RecipeName,
    urls: Urls,
    out: OutPlace,
    sample: Annotated[int, typer.Option(min=1, help="How many URLs, drawn over the whole list.")] = 1000,
    address: Address = None,
    overrides: Overrides = None,
) -> None:
    """What a list will yield and what it takes, from a sample of it; and is this machine ready."""
    require_curation("plan")
    console, place = Console(), output_place(out)
    settings = read_recipe(recipe, overrides or [])
    drawn = read_list(settings, urls, place, sample=sample)
    names = drawn.read(drawn.units(settings.harvest.unit_rows)[0])["url"].to_pylist()
    _say_ready(list(problems(settings, names, place)), console)
    with show_progress(console) as progress:
        clock = _Clock(progress)
        harvest, decisions = run_curation(
            settings, drawn, place / "plan", frozenset({"harvest"}), address, clock
        )
    found = _sampled(drawn.list_rows(), harvest, decisions, clock.units_per_s())
    text = plan_text(found, settings.annotate.caption.captions_per_person)
    console.print(text, highlight=False, soft_wrap=True)
    stored = found.stored_bytes / found.urls.rows_in * found.list_rows
    _say_ready(list(no_space(place, stored)), console)
    ready = "ready: the output folder, weights, devices and hosts' names are as the recipe wants them"
    console.print(ready, highlight=False, soft_wrap=True)
    if models := settings.annotate.asked():
        text = f"not asked, nor counted in hours: {', '.join(model.name for model in models)}"
        console.print(text, highlight=False, soft_wrap=True)


def _say_ready(lines: list[str], console: Console) -> None:
    """Print what is not ready and end with exit code 1 if anything is."""
    for line in lines:
        console.print(f"not ready: {line}", highlight=False, soft_wrap=True)
    if lines:
        raise typer.Exit(1)


@dataclass
class _Clock:
    """Shows progress, and remembers when the harvest began and when its units were done."""

    show: ShowProgress
    done: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, phase: str, done: int, total: int, counts: Mapping[str, Any] | None = None, /) -> None:
        self.show(phase, done, total, counts)
        if phase == "harvest":
            self.done.append((time.monotonic(), done))

    def units_per_s(self) -> tuple[float, float] | None:
        """Units a second from the beginning, and from the first that was done; None with less than three."""
        if len(self.done) < 4:
            return None
        (began, before), (begin, first), (end, last) = self.done[0], self.done[1], self.done[-1]
        return (last - before) / (end - began), (last - first) / (end - begin)


def _sampled(
    list_rows: int,
    harvest: "PhaseReport",
    decisions: "PhaseReport",
    units_per_s: tuple[float, float] | None,
) -> Sampled:
    """The numbers of a harvested sample, from its tables."""
    urls = pa.concat_tables(harvest.folder.tables("urls", range(harvest.units), ["image_bytes"]))
    decided = read_table(decisions.folder.path / "decisions.parquet", columns=["unit", "row", "status"])
    kept = (
        decided.filter(pc.equal(decided["status"], "kept"))
        .group_by(["unit", "row"])
        .aggregate([([], "count_all")])
    )
    per_url = kept["count_all"].to_pylist()
    markers = harvest.folder.markers(range(harvest.units))
    rows = harvest.line.counts.rows_in
    per_unit = rows / harvest.units
    return Sampled(
        list_rows=list_rows,
        urls=harvest.line.counts,
        kept_persons=[*per_url, *[0] * (rows - len(per_url))],
        urls_per_s=units_per_s and (units_per_s[0] * per_unit, units_per_s[1] * per_unit),
        fetched_bytes=pc.sum(urls["image_bytes"]).as_py() or 0,
        stored_bytes=sum(sum(marker["files"].values()) for marker in markers),
    )
