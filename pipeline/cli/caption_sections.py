"""What the report says of captions: those of a run, and two annotate phases side by side."""

from collections.abc import Mapping
from typing import Any

from pipeline.cli.options import UsageError, read_place
from pipeline.cli.run_file import RUN, read_run
from pipeline.report import Section
from pipeline.storage import Place, folders, read_json


def caption_sections(
    out: Place, phases: Mapping[str, str], captions: int, beside: str | None, persons: int
) -> tuple[list[Section], dict[str, Any]]:
    """Sections, and numbers for report.json; none before anybody is annotated.

    phases: folders by phase. captions, beside, persons: as `webperson report` takes them. Raises UsageError.
    """
    from curation.beside import Beside, BesideError, report_beside
    from curation.caption_report import report_captions
    from curation.gallery import phase_folder

    if "annotate" not in phases:
        if beside:
            raise UsageError(f"--beside {beside}: {out} is not annotated yet")
        return [], {}
    annotate = phase_folder(out / phases["annotate"])
    try:
        two = Beside(annotate, phase_folder(_other_annotate(out, beside))) if beside else None
    except BesideError as error:
        raise UsageError(f"--beside {beside}: {error}") from None
    found = report_captions(annotate, captions)
    if not two:
        return list(found.sections), {"captions": found.numbers}
    compared = report_beside(two, phase_folder(out / phases["harvest"]), captions, persons)
    numbers = {"captions": found.numbers, "beside": compared.numbers}
    return [*compared.sections, *found.sections], numbers


def others_to_compare(out: Place, annotate: str) -> list[str]:
    """Annotate folders of `out` that `--beside` can set beside the one named so."""
    harvest = _harvest(out / annotate)
    return [
        folder.name
        for folder in folders(out)
        if folder.name.startswith("annotate-") and folder.name != annotate and _harvest(folder) == harvest
    ]


def _harvest(annotate: Place) -> str | None:
    """What an annotate folder captions; None where nothing says it."""
    noted = annotate / "phase.json"
    return read_json(noted).get("harvest") if noted.is_file() else None


def _other_annotate(out: Place, name: str) -> Place:
    """The annotate folder that `--beside` names. Raises UsageError that names those there are."""
    if "/" not in name and (out / name / "phase.json").is_file():
        return out / name
    place = read_place(name)
    if (place / RUN).is_file():
        phases = read_run(place).phases
        if "annotate" in phases:
            return place / phases["annotate"]
    there = [folder.name for folder in folders(out) if folder.name.startswith("annotate-")]
    raise UsageError(
        f"--beside {name}: neither an annotate folder of {out} ({', '.join(there) or 'there is none'}) "
        "nor an output folder with one"
    )
