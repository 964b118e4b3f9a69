"""`webperson demo`: the whole chain on a small web on loopback, held against the truth of made people."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipeline.cli.curate import print_curation, read_list, read_recipe, run_curation
from pipeline.cli.options import (
    TRAINING_SECTIONS,
    Address,
    Out,
    Phase,
    UsageError,
    output_folder,
    require_curation,
)
from pipeline.cli.report import current_shards, write_report
from pipeline.cli.train import print_evaluation
from pipeline.cli.trainings import train_together
from pipeline.progress import ShowProgress, show_progress
from pipeline.recipe import load_recipe
from pipeline.storage import publish, read_table

if TYPE_CHECKING:
    from curation.phases import PhaseReport
    from pipeline.cli.matching import Shown
    from training.evaluate import Evaluation
    from world.pictures import Picture
    from world.truth import TruthPerson
    from world.web import Entry, SmallWeb

RECIPE = "laptop"
DEADLINE_S = 3.0
"""The demo's web holds servers that never answer; nobody waits for them as long as on the open web."""
OVERRIDES = [
    "harvest.unit_rows=32",
    "harvest.download.web.allow_loopback=true",
    f"harvest.download.web.deadline_s={DEADLINE_S}",
    "harvest.download.web.max_body_bytes=4000000",
    # All its pages stand on one host, which is ours.
    "harvest.download.host_concurrency=64",
    "harvest.download.host_per_second=null",
    "harvest.download.retries=0",
]
TRAIN_OVERRIDES: list[str] = []
SEED = 0


class Size(StrEnum):
    """How many pictures are made."""

    SMALL = "small"
    LARGE = "large"


MADE = {Size.SMALL: (96, 4), Size.LARGE: (400, 12)}
"""Identities, of each of whom there are two pictures, and pictures of each other kind."""


def demo(
    out: Out = Path("out/demo"),
    size: Annotated[Size, typer.Option(help="How many people are made; large takes longer.")] = Size.SMALL,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the small web; another one makes another URL list.")
    ] = 8471,
    address: Address = None,
) -> None:
    """URLs to retrieval numbers, on a small web served on loopback: CPU only, no network."""
    require_curation("demo")
    from world.web import serve

    console, out = Console(), output_folder(out)
    with show_progress(console) as progress:
        pictures, truth = made_pictures(size, out / "world", progress)
        web = small_web(pictures)
        try:
            running = serve(web, port)
        except OSError as error:
            raise UsageError(f"--port {port}: {error.strerror}; take another one") from None
        with running as site:
            entries = dict(zip(site.urls, web.entries, strict=True))
            urls = out / "urls.txt"
            publish(urls, "".join(f"{url}\n" for url in entries).encode())
            phases = frozenset(str(phase) for phase in Phase)
            recipe = read_recipe(RECIPE, OVERRIDES)
            reports = run_curation(recipe, read_list(recipe, str(urls), out), out, phases, address, progress)
        shown, block = _against_truth(entries, [picture.name for picture in pictures], truth, reports)
        runs = _labelled(shown, out)
        found = train_together(RECIPE, TRAIN_OVERRIDES, runs, progress)
    if found is None:
        raise typer.Exit(1)
    print_curation(reports, console)
    console.print(block, highlight=False, soft_wrap=True)
    _print_retrieval(found, console)
    for name, path in (("checkpoint", runs["train"][1]), ("report", write_report(out))):
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)


def made_pictures(
    size: Size, cache: Path, progress: ShowProgress
) -> tuple[list["Picture"], list["TruthPerson"]]:
    """The made pictures of a size, the same at every call, and the truth about their persons.

    They are drawn once and then read from a folder in `cache`.
    """
    from world.bodies import BodyDataMissingError
    from world.folder import DRAWING, FolderError, World, make_world, picture_path, read_truth
    from world.photographs import PhotographMissingError
    from world.pictures import Picture
    from world.truth import Kind, Passes, TruthPerson

    people, others = MADE[size]
    folder = cache / f"{size}-{DRAWING}"
    try:
        made = World(people=people, views=2, others=others, seed=SEED)
        make_world(made, folder, progress=lambda done, total: progress("draw", done, total))
    except (BodyDataMissingError, FolderError, PhotographMissingError) as error:
        raise UsageError(str(error)) from None
    # Of the pictures made to be rejected, a detector may find nobody in the hardest.
    certain = {Kind.CURATED: True, Kind.VARIED: True, Kind.SCENE: True, Kind.EMPTY: False}
    pictures = [
        Picture(row["picture"], picture_path(folder, row["picture"]).read_bytes(), certain.get(row["kind"]))
        for row in read_truth(folder, "pictures").to_pylist()
    ]
    persons = [
        TruthPerson(**{**row, "passes": Passes(**row["passes"])})
        for row in read_truth(folder, "persons").to_pylist()
    ]
    return pictures, persons


def small_web(pictures: Iterable["Picture"]) -> "SmallWeb":
    """The small web of the demo: photographs, made pictures, and everything that goes wrong."""
    from world.pages import build_web
    from world.photographs import photographs

    return build_web([*photographs(SEED), *pictures], SEED, silence_s=10 * DEADLINE_S)


def _against_truth(
    entries: Mapping[str, "Entry"],
    made: Sequence[str],
    truth: Sequence["TruthPerson"],
    reports: Sequence["PhaseReport"],
) -> tuple[list["Shown"], str]:
    """Who is who, and the block of text that holds the run against the truth."""
    from curation.recipe import CurateRecipe
    from pipeline.cli.against_truth import duplicates, truth_text
    from pipeline.cli.matching import match_web, read_captions, read_measured
    from pipeline.cli.said_words import words
    from pipeline.templates import load_library

    recipe = load_recipe(CurateRecipe, RECIPE, OVERRIDES, others=TRAINING_SECTIONS)
    harvest, decisions, annotate, _ = reports
    measured = read_measured(harvest, decisions)
    shown = match_web(entries, made, truth, measured)
    templates = load_library(recipe.annotate.caption.templates).templates
    said = words(shown, read_captions(annotate), templates)
    text = truth_text(shown, recipe.gates, said, duplicates(entries, measured))
    title = f"Against the truth of {len(made)} made pictures, which look like a game and are no photographs:"
    return shown, "\n".join([_urls_text(entries, harvest), title, text])


def _urls_text(entries: Mapping[str, "Entry"], harvest: "PhaseReport") -> str:
    """How many URLs became what the small web knows they must become; the others by name."""
    from pipeline.cli.matching import parts

    reasons = [reason for part in parts(harvest, "urls") for reason in read_table(part)["reason"].to_pylist()]
    wrong = Counter(
        f"{entry.kind} became {reason or 'kept'}"
        for entry, reason in zip(entries.values(), reasons, strict=True)
        if reason not in entry.expected
    )
    right = f"URLs that became what they must: {len(entries) - wrong.total()} of {len(entries)}"
    return "\n  ".join([right, *(f"{n} × {text}" for text, n in sorted(wrong.items()))])


def _labelled(shown: Iterable["Shown"], out: Path) -> dict[str, tuple[Path, Path]]:
    """What is trained, by name: shards with identities, once as captioned and once permuted; and where to."""
    from pipeline.cli.labelled import label_shards
    from pipeline.cli.matching import identities_of

    packed, identities = current_shards(out), identities_of(shown)
    runs = {}
    for name, permuted in (("train", False), ("train-permuted", True)):
        shards = label_shards(packed, identities, out, SEED, permuted)
        runs[name] = (shards, shards.with_name(f"{name}-{shards.name.rsplit('-', 1)[1]}"))
    return runs


def _print_retrieval(found: Mapping[str, "Evaluation"], console: Console) -> None:
    rows = dict(zip(("model", "with permuted captions"), found.values(), strict=True))
    print_evaluation(rows, "Retrieval of made people who were never trained on, not a benchmark", console)
    console.print(
        "Captions are by attributes-stand-in, which measures colours; the model is a toy, begun at random;\n"
        "it is trained on made people only, and once more on captions of others, which must end near chance.",
        highlight=False,
        soft_wrap=True,
    )
