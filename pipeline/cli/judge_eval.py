"""`webperson judge-eval`: draw persons to label by hand, then measure the judge by the labels."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import UsageError, read_place, require_curation
from pipeline.cli.run_file import read_run
from pipeline.storage import Place, publish, publish_json, read_json
from pipeline.units import PhaseFolder

if TYPE_CHECKING:
    from curation.agreement import Agreement, Share
    from curation.judge_eval import Drawn, Evaluation

DRAWN, LABELS, SHEET, RESULT = "drawn.json", "labels.csv", "sheet.html", "result.json"
SAMPLE, SEED = 200, 0


def judge_eval(
    out: Annotated[str, typer.Argument(metavar="PLACE", help="Output folder of `curate`, local or s3://….")],
    sample: Annotated[
        int | None, typer.Option(min=10, help=f"How many persons the sheet has ({SAMPLE} without it).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help=f"Moves the draw ({SEED} without it).")] = None,
    labels: Annotated[
        Path | None, typer.Option(help=f"The filled table, if it is not {LABELS} beside the sheet.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Local folder of sheet and results; PLACE/judge-eval without it.")
    ] = None,
    keep_min: Annotated[
        float | None, typer.Option(min=0, max=1, help="Try another threshold than the recipe's.")
    ] = None,
) -> None:
    """Draw persons to label by hand; called again with the labels, measure the judge by them.

    First it writes sheet.html (open it in a browser, type letters, save) and labels.csv (or fill that). Then
    it prints precision, recall and kappa, and writes result.json (with --keep-min a file named by it). Labels
    stay good when the judge changes.
    """
    require_curation("judge-eval")
    place = read_place(out)
    folder = _sheet_folder(place, sheet)
    if not (folder / DRAWN).is_file():
        if labels or keep_min is not None:
            raise UsageError(f"{folder}: no sheet stands here yet; draw one without --labels and --keep-min")
        _draw(place, folder, SAMPLE if sample is None else sample, SEED if seed is None else seed)
        return
    noted = read_json(folder / DRAWN)
    for option, value in (("sample", sample), ("seed", seed)):
        if value is not None and value != noted[option]:
            raise UsageError(
                f"--{option} {value}: {folder} holds a sheet with {noted[option]}; name another --sheet"
            )
    result = _evaluate(place, noted, labels or folder / LABELS, keep_min)
    name = RESULT if keep_min is None else f"result-keep_min-{keep_min:g}.json"
    publish_json(folder / name, asdict(result))
    print("\n".join(_lines(result)))


def _draw(out: Place, folder: Path, sample: int, seed: int) -> None:
    from curation.judge_eval import draw, letter_of, read_crops, read_scores
    from curation.label_sheet import render_sheet
    from curation.prompts import load_prompt

    annotate, harvest = _phases(out)
    criteria = load_prompt(annotate.trace["recipe"]["annotate"]["judge"]["prompt"]).system
    drawn = draw(((key, letter_of(scores)) for key, scores in read_scores(annotate)), sample, seed)
    if not drawn.persons:
        raise UsageError(f"{out}: nobody has a verdict; annotate with a judge (annotate.judge)")
    crops = read_crops(harvest, drawn.persons)
    html = render_sheet({key: crops[key] for key in drawn.persons}, criteria)
    publish(folder / SHEET, html.encode())
    publish(folder / LABELS, "".join(["key,letter\n", *(f"{key},\n" for key in drawn.persons)]).encode())
    noted = {"harvest": harvest.path.name, "sample": sample, "seed": seed, "order": list(drawn.persons)}
    publish_json(folder / DRAWN, noted | asdict(drawn))
    print(f"{folder / SHEET}: {len(drawn.persons)} of {sum(drawn.sizes.values())} judged persons to label")
    print(f"Label them there or in {folder / LABELS}, then call this again (--labels FILE).")


def _evaluate(out: Place, noted: dict[str, Any], labels: Path, keep_min: float | None) -> "Evaluation":
    from curation.judge_eval import evaluate, parse_key, read_labels, read_scores

    annotate, harvest = _phases(out)
    if harvest.path.name != noted["harvest"]:
        raise UsageError(
            f"{out}: the sheet was drawn from {noted['harvest']}, the run is {harvest.path.name}"
        )
    drawn = _read_drawn(noted)
    if not labels.is_file():
        raise UsageError(f"--labels {labels}: no such file")
    given = read_labels(str(labels), labels.read_text(encoding="utf-8", errors="replace"), drawn.persons)
    units = sorted({parse_key(key).unit for key in given})
    scores = {key: scores for key, scores in read_scores(annotate, units) if key in given}
    limit = annotate.trace["recipe"]["annotate"]["judge"]["keep_min"] if keep_min is None else keep_min
    return evaluate(drawn, given, scores, limit)


def _read_drawn(noted: dict[str, Any]) -> "Drawn":
    from curation.judge_eval import Drawn

    return Drawn({key: noted["persons"][key] for key in noted["order"]}, noted["sizes"])


def _phases(out: Place) -> tuple[PhaseFolder, PhaseFolder]:
    """The annotate and harvest folders of the last run."""
    phases = read_run(out).phases
    if "annotate" not in phases:
        raise UsageError(f"{out}: not annotated yet; run webperson curate with --phase annotate")
    annotate, harvest = out / phases["annotate"], out / phases["harvest"]
    return PhaseFolder(annotate, read_json(annotate / "phase.json")), PhaseFolder(harvest, {})


def _sheet_folder(out: Place, sheet: Path | None) -> Path:
    if sheet is None and not isinstance(out, Path):
        raise UsageError(f"{out}: name a local folder for the sheet (--sheet)")
    return sheet or Path(str(out)) / "judge-eval"


def _lines(result: "Evaluation") -> list[str]:
    """The result as text."""
    notes = [f"{result.labelled} persons labelled, {result.unlabelled} not; keep_min {result.keep_min:g}"]
    if result.gone:
        notes.append(f"{result.gone} labelled persons are not judged in this run and do not count")
    if result.silent:
        notes.append(
            f"nobody is labelled of those judged {', '.join(result.silent)}: nothing is said of them"
        )
    notes.append(f"same outcome {_percent(result.same)}, kappa {_kappa(result.kappa)}")
    notes.append(
        "judged and labels: persons of the sheet; shares and kappa: estimates for all judged persons"
    )
    head = f"{'outcome':16} {'judged':>6} {'labels':>6}  {'precision':22} {'recall':22} kappa"
    return [*notes, head, *map(_line, result.agreement)]


def _line(row: "Agreement") -> str:
    shares = f"{_percent(row.precision):22} {_percent(row.recall):22}"
    return f"{row.outcome:16} {row.judged:6} {row.labelled:6}  {shares} {_kappa(row.kappa)}"


def _percent(share: "Share | None") -> str:
    if share is None:
        return "–"
    return f"{100 * share.value:.1f} % ({100 * share.low:.1f}–{100 * share.high:.1f})"


def _kappa(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 2) + 0:.2f}"
