"""`webperson demo`: the whole chain on a small web served on loopback."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pyarrow.parquet as pq
import typer
from rich.console import Console

from pipeline.cli.curate import print_curation, run_curation, write_report
from pipeline.cli.options import Address, Out, Phase, UsageError, output_folder, require_curation
from pipeline.cli.train import print_evaluation, run_evaluation, run_training
from pipeline.progress import show_progress
from pipeline.storage import publish

if TYPE_CHECKING:
    from curation.phases import PhaseReport
    from world.web import SmallWeb

RECIPE = "laptop"
DEADLINE_S = 3.0
"""The demo's web holds servers that never answer; nobody waits for them as long as on the open web."""
OVERRIDES = [
    "harvest.unit_rows=32",
    "harvest.download.web.allow_loopback=true",
    f"harvest.download.web.deadline_s={DEADLINE_S}",
    "harvest.download.web.max_body_bytes=4000000",
]


def demo(
    out: Out = Path("out/demo"),
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the small web; another one makes another URL list.")
    ] = 8471,
    address: Address = None,
) -> None:
    """URLs to retrieval numbers, on a small web served on loopback: CPU only, no network."""
    require_curation("demo")
    from world.pages import build_web
    from world.photographs import photographs
    from world.web import serve

    console, out = Console(), output_folder(out)
    web = build_web(photographs(seed=0), seed=0, silence_s=10 * DEADLINE_S)
    try:
        running = serve(web, port)
    except OSError as error:
        raise UsageError(f"--port {port}: {error.strerror}; take another one") from None
    with show_progress(console) as progress:
        with running as site:
            urls = out / "urls.txt"
            publish(urls, "".join(f"{url}\n" for url in site.urls).encode())
            phases = frozenset(str(phase) for phase in Phase)
            reports = run_curation(RECIPE, OVERRIDES, urls, out, phases, address, progress)
        outcome = run_training(RECIPE, [], out, out / "train", progress)
    if outcome.state == "stopped":
        raise typer.Exit(1)
    print_curation(reports, console)
    console.print(_against_truth(web, site.urls, reports[0]), highlight=False)
    print_evaluation(run_evaluation(out / "train", out, "test"), "Retrieval, not a benchmark", console)
    console.print(
        "The held-out pictures show the same people as the training ones: there are too few photographs.\n"
        "Captions are by attributes-stand-in, which measures colours; the model is a toy, begun at random.",
        highlight=False,
        soft_wrap=True,
    )
    for name, path in (("checkpoint", out / "train"), ("report", write_report(out))):
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)


def _against_truth(web: "SmallWeb", urls: list[str], harvest: "PhaseReport") -> str:
    """How many URLs became what the small web knows they must become; the others by name."""
    parts = [part for unit in range(harvest.units) for part in harvest.folder.parts("urls", unit)]
    reasons = [reason for part in parts for reason in pq.read_table(part)["reason"].to_pylist()]
    wrong = Counter(
        f"{entry.kind} became {reason or 'kept'}"
        for entry, reason in zip(web.entries, reasons, strict=True)
        if reason not in entry.expected
    )
    right = f"URLs that became what they must: {len(urls) - wrong.total()} of {len(urls)}"
    return "\n  ".join([right, *(f"{n} × {text}" for text, n in sorted(wrong.items()))])
