"""Pictures for the report: persons kept with their captions, persons rejected with their reasons."""

import io
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.compute as pc
from PIL import Image

from pipeline.reasons import Status
from pipeline.records import PersonKey
from pipeline.report import Sample, Section
from pipeline.storage import Place, listing, read_json, read_table
from pipeline.units import PhaseFolder

THUMBNAIL_PX = 288


def gallery(out: Place, phases: dict[str, str], per_reason: int = 6) -> list[Section]:
    """Sections of the report: kept persons, then some persons of each reason; the first by key.

    phases: folder names by phase, as `run.json` of the output folder holds them.
    """
    harvest = PhaseFolder(out / phases["harvest"], read_json(out / phases["harvest"] / "phase.json"))
    if "decide" not in phases:
        return [_undecided(harvest, 4 * per_reason)]
    decisions = read_table(out / phases["decide"] / "decisions.parquet").to_pylist()
    chosen: defaultdict[str | None, list[dict[str, Any]]] = defaultdict(list)
    for row in decisions:
        if len(chosen[row["reason"]]) < (per_reason if row["reason"] else 4 * per_reason):
            chosen[row["reason"]].append(row)
    captions = _captions(out / phases["annotate"]) if "annotate" in phases else {}
    kept = Section(
        "Kept", _shown(chosen[None], decisions, None), _samples(harvest, chosen.pop(None, []), captions)
    )
    return [kept] + [
        Section(f"Rejected: {reason}", _shown(rows, decisions, reason), _samples(harvest, rows, {}))
        for reason, rows in sorted(chosen.items(), key=lambda item: str(item[0]))
    ]


def _undecided(harvest: PhaseFolder, count: int) -> Section:
    """The first persons of a harvest that has not ended: no gate has looked at them yet."""
    persons = itertools.islice(_persons(harvest, harvest.finished()), count)
    samples = [Sample(_thumbnail(person["crop"]), [_measured(person)]) for person in persons]
    return Section("Measured so far", f"the first {len(samples)} persons, not yet decided on", samples)


def _shown(rows: Sequence[dict[str, Any]], decisions: Sequence[dict[str, Any]], reason: str | None) -> str:
    total = sum(row["reason"] == reason for row in decisions)
    return f"{len(rows)} of {total} persons"


def _samples(
    harvest: PhaseFolder, decisions: Sequence[dict[str, Any]], captions: dict[PersonKey, list[str]]
) -> list[Sample]:
    wanted = {_key(row): row for row in decisions}
    samples = []
    for person in _persons(harvest, sorted({key.unit for key in wanted})):
        decision = wanted.get(_key(person))
        if decision is None:
            continue
        lines = [_measured(person), *captions.get(_key(person), ())]
        if decision["kept_unit"] is not None:
            kept = PersonKey(decision["kept_unit"], decision["kept_row"], decision["kept_person"])
            lines.append(f"the same as {kept}")
        samples.append(Sample(_thumbnail(person["crop"]), lines))
    return samples


def _measured(person: dict[str, Any]) -> str:
    box, visible = person["box_xyxy_px"], sum(c >= 0.5 for c in person["keypoints"][2::3])
    return (
        f"{_key(person)}: score {person['score']:.2f}, {box[2] - box[0]:.0f}×{box[3] - box[1]:.0f} px, "
        f"{visible} keypoints at 0.5"
    )


def _persons(harvest: PhaseFolder, units: Sequence[int]) -> Iterator[dict[str, Any]]:
    columns = ["unit", "row", "person", "score", "box_xyxy_px", "keypoints", "crop"]
    for unit in units:
        for part in harvest.parts("persons", unit):
            yield from read_table(part, columns=columns).to_pylist()


def _captions(folder: Place) -> dict[PersonKey, list[str]]:
    captions: dict[PersonKey, list[str]] = {}
    for part in listing(folder / "pairs", ".parquet"):
        pairs = read_table(part, filters=pc.field("status") == Status.KEPT.value)
        for row in pairs.to_pylist():
            valid = (c for c in row["captions"] if c["reason"] is None)
            captions[_key(row)] = [f"“{c['text']}” ({c['model_id']})" for c in valid]
    return captions


def _thumbnail(crop: bytes | None) -> bytes:
    """A small JPEG of the crop; a grey tile where the pixels were below the pixel floor."""
    image = Image.open(io.BytesIO(crop)) if crop else Image.new("RGB", (96, THUMBNAIL_PX), "#ccc")
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=85)
    return sink.getvalue()


def _key(row: dict[str, Any]) -> PersonKey:
    return PersonKey(row["unit"], row["row"], row["person"])
