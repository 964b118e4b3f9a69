"""`webperson templates`: build a template library, accept what people decided, say what one holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipeline.cli.options import UsageError, require_curation
from pipeline.progress import show_progress
from pipeline.storage import publish, publish_json
from pipeline.templates import load_library

Captions = Annotated[
    list[Path],
    typer.Argument(
        metavar="CAPTIONS...",
        help="reid_raw.json (CUHK-PEDES), ICFG-PEDES.json, data_captions.json (RSTPReid), or lines of text.",
    ),
]


def templates_app() -> typer.Typer:
    """The commands of `webperson templates`."""
    app = typer.Typer(help="Caption templates: build a library, accept, look at one.", no_args_is_help=True)
    app.command(
        epilog="Example: webperson templates build reid_raw.json --endpoint http://127.0.0.1:8000 "
        "--model Qwen/Qwen2.5-72B-Instruct --out out/review.csv"
    )(build)
    app.command(epilog="Example: webperson templates accept out/review.csv --out out/templates.txt")(accept)
    app.command(epilog="Example: webperson templates stats starter")(stats)
    return app


def build(
    captions: Captions,
    endpoint: Annotated[str, typer.Option(help="Base address of an OpenAI-compatible server, without /v1.")],
    model: Annotated[str, typer.Option(help="Name under which it serves the text model.")],
    out: Annotated[Path, typer.Option(help="The table to review, a CSV; answers are kept beside it.")],
    at_most: Annotated[int | None, typer.Option(min=1, help="How many captions, drawn from all.")] = None,
    clusters: Annotated[int, typer.Option(min=1, help="Clusters of the templates from captions.")] = 200,
    new: Annotated[int, typer.Option(min=0, help="New templates to ask for.")] = 1000,
    encoder: Annotated[
        str, typer.Option(help="`tfidf`, or an OpenCLIP model such as ViT-bigG-14.")
    ] = "tfidf",
    weights: Annotated[str | None, typer.Option(help="OpenCLIP's tag or a checkpoint's path.")] = None,
    device: Annotated[str, typer.Option(help="Where the encoder runs.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Moves draws, clusters and sampling.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Requests under way at once.")] = 16,
) -> None:
    """Make templates from people's captions, cluster them, have new ones written; a table for review.

    Kill it and run it again: no question is asked twice.
    """
    require_curation("templates build")
    from curation.template_library import BuildSettings, Library
    from curation.template_library import build as build_library
    from curation.template_lint import load_template_words
    from curation.template_model import Answers, ChatModel
    from curation.template_review import write_review
    from curation.template_sources import read_captions

    settings = BuildSettings(
        clusters=clusters,
        new=new,
        encoder=encoder,
        weights=weights,
        device=device,
        seed=seed,
        workers=workers,
    )
    texts, answers = read_captions(captions, at_most, seed), Answers(out.with_suffix(".answers.jsonl"))
    console = Console()
    with ChatModel(endpoint, model) as chat, show_progress(console) as tell:
        found = build_library(texts, Library(chat, answers, load_template_words(), tell), settings)
    write_review(out, found.rows)
    clean = sum(not row.problems for row in found.rows)
    dropped = {"captions": found.captions, "rows": len(found.rows), "clean": clean, "dropped": found.dropped}
    publish_json(out.with_suffix(".summary.json"), dropped)
    _say(console, f"{out}: {len(found.rows)} templates to review, {clean} without problems")
    if found.dropped:
        _say(console, "not taken", found.dropped)


def accept(
    review: Annotated[Path, typer.Argument(metavar="REVIEW.csv", help="The table, with decisions.")],
    out: Annotated[Path, typer.Option(help="The library, text with one template a line.")],
) -> None:
    """Make a library of the rows whose decision is `accept`; one with problems is refused by its row."""
    require_curation("templates accept")
    from curation.template_lint import load_template_words
    from curation.template_review import accept as accept_rows
    from curation.template_review import library_text, statistics

    if out.suffix != ".txt":
        raise UsageError(f"--out {out}: a library's name ends in .txt")
    found = accept_rows(review, load_template_words())
    heading = f"Accepted from {review.name} by its reviewers."
    publish(out, library_text(found.templates, heading).encode())
    numbers = statistics(found.templates, found.rejected)
    publish_json(out.with_suffix(".stats.json"), numbers)
    _print_statistics(numbers)


def stats(library: Annotated[str, typer.Argument(help="A file, or a packaged library's name.")]) -> None:
    """What a library holds: templates, words, placeholders, openings."""
    require_curation("templates stats")
    from curation.template_review import statistics

    _print_statistics(statistics(load_library(library).templates))


def _print_statistics(numbers: Mapping[str, Any]) -> None:
    words, console = numbers["words"], Console()
    _say(console, f"templates     {numbers['templates']}")
    _say(console, f"words         {words['least']} to {words['most']}, median {words['median']}")
    _say(console, f"openings      {numbers['openings']} different")
    _say(console, "placeholders", {name: n for name, n in numbers["placeholders"].items() if n})
    _say(
        console,
        "unused        " + (", ".join(n for n, c in numbers["placeholders"].items() if not c) or "none"),
    )
    if numbers["rejected"]:
        _say(console, "not taken", numbers["rejected"])


def _say(console: Console, line: str, counts: Mapping[str, int] | None = None) -> None:
    rest = ", ".join(f"{name} {count}" for name, count in (counts or {}).items())
    console.print(f"{line}  {rest}".rstrip(), highlight=False, markup=False, soft_wrap=True)
