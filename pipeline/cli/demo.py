"""`webperson demo`: the whole chain on a small web on loopback, held against the truth of made people.

With `--mllm` two tiny MLLMs judge and write, through real vLLM servers, beside the stand-in.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pipeline.cli import tiny_mllm
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
from pipeline.storage import publish

if TYPE_CHECKING:
    from curation.inputs import UrlList
    from curation.phase_work import PhaseReport
    from pipeline.cli.matching import Shown
    from training.evaluate import Evaluation
    from world.pictures import Picture
    from world.truth import TruthPerson
    from world.web import Entry, RunningWeb, SmallWeb

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
STAND_IN = "Captions are by attributes-stand-in, which measures colours."
TINY_MLLMS = (
    "Captions are by tiny MLLMs: instruments, trained on other people of the made world and nothing else.\n"
    "They show that judge, captions and audit work through real vLLM; of photographs they know nothing."
)
TOY = (
    "The model is a toy, begun at random; it is trained on made people only, and once more on captions of\n"
    "others, which must end near chance."
)


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
    mllm: Annotated[
        bool,
        typer.Option(
            "--mllm",
            help="Persons are judged and captioned by tiny MLLMs, trained on made pictures, through the real "
            "vLLM, which `make vllm` installs. Takes 7 GB of memory.",
        ),
    ] = False,
    address: Address = None,
) -> None:
    """URLs to retrieval numbers, on a small web served on loopback: CPU only, no network."""
    require_curation("demo")
    if mllm:
        tiny_mllm.require_vllm("demo --mllm")
    console, out = Console(), output_folder(out)
    with show_progress(console) as progress:
        pictures, truth = made_pictures(size, out / "world", progress)
        web = small_web(pictures)
        with serve_at(web, port) as site:
            entries = dict(zip(site.urls, web.entries, strict=True))
            urls = out / "urls.txt"
            publish(urls, "".join(f"{url}\n" for url in entries).encode())
            recipe = read_recipe(RECIPE, OVERRIDES)
            url_list = read_list(recipe, str(urls), out)
            phases = frozenset(str(phase) for phase in Phase if not (mllm and phase == Phase.PACK))
            reports = run_curation(recipe, url_list, out, phases, address, progress)
        annotated = [reports[2]]
        if mllm:
            reports = _by_tiny_mllms(url_list, out, address, progress)
            annotated.append(reports[2])
        made = [picture.name for picture in pictures]
        shown, block = _against_truth(entries, made, truth, reports, annotated)
        print_curation(reports, console)
        console.print(block, highlight=False, soft_wrap=True)
        runs = _labelled(shown, out)
        found = train_together(RECIPE, TRAIN_OVERRIDES, runs, progress)
    if found is None:
        raise typer.Exit(1)
    _print_retrieval(found, console)
    for text in (TINY_MLLMS if mllm else STAND_IN, TOY):
        console.print(text, highlight=False, soft_wrap=True)
    beside = annotated[0].folder.path.name if mllm else None
    for name, path in (("checkpoint", runs["train"][1]), ("report", write_report(out, beside=beside))):
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


@contextmanager
def serve_at(web: "SmallWeb", port: int) -> Iterator["RunningWeb"]:
    """The small web, served while the context is open. Raises UsageError if the port is taken."""
    from world.web import serve

    with ExitStack() as stack:
        try:
            site = stack.enter_context(serve(web, port))
        except OSError as error:
            raise UsageError(f"--port {port}: {error.strerror}; take another one") from None
        yield site


def _by_tiny_mllms(
    urls: "UrlList", out: Path, address: str | None, progress: ShowProgress
) -> list["PhaseReport"]:
    """The same harvest, judged and captioned by the tiny MLLMs, and packed."""

    def show(name: str, done: int, total: int, counts: Mapping[str, Any] | None = None, /) -> None:
        # The stand-in's phases were shown by their bare names.
        progress(f"{name} (MLLM)", done, total, counts)

    with tiny_mllm.served(out, ready=lambda answering, of: progress("servers", answering, of)) as models:
        recipe = read_recipe(RECIPE, [*OVERRIDES, *tiny_mllm.overrides(models)])
        return run_curation(recipe, urls, out, frozenset({Phase.ANNOTATE, Phase.PACK}), address, show)


def _against_truth(
    entries: Mapping[str, "Entry"],
    made: Sequence[str],
    truth: Sequence["TruthPerson"],
    reports: Sequence["PhaseReport"],
    annotated: Sequence["PhaseReport"],
) -> tuple[list["Shown"], str]:
    """Who is who, and the block of text that holds the run against the truth.

    annotated: the annotate phases whose captions are told, the run's own and others of the same harvest.
    """
    from curation.recipe import CurateRecipe
    from pipeline.cli.against_truth import duplicates, truth_text, urls_text
    from pipeline.cli.matching import match_web, read_captions, read_measured, read_verdicts
    from pipeline.cli.said_letters import letters
    from pipeline.cli.said_words import words
    from pipeline.templates import load_library

    recipe = load_recipe(CurateRecipe, RECIPE, OVERRIDES, others=TRAINING_SECTIONS)
    harvest, decisions, annotate, _ = reports
    measured = read_measured(harvest, decisions)
    shown = match_web(entries, made, truth, measured)
    libraries = (recipe.annotate.caption.templates, tiny_mllm.TEMPLATES)
    templates = [template for name in libraries for template in load_library(name).templates]
    said = {
        model: words(shown, captions, templates)
        for phase in annotated
        for model, captions in read_captions(phase).items()
    }
    judged = letters(shown, read_verdicts(annotate))
    text = truth_text(shown, recipe.gates, said, duplicates(entries, measured), judged)
    title = f"Against the truth of {len(made)} made pictures, which look like a game and are no photographs:"
    urls = harvest.folder.tables("urls", range(harvest.units), ["reason"])
    reasons = [reason for table in urls for reason in table["reason"].to_pylist()]
    return shown, "\n".join([urls_text(entries.values(), reasons), title, text])


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
