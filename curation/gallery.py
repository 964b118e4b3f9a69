"""Pictures for the report: persons kept with their captions, persons not kept with their reasons.

Tables are looked at part by part, and of each only the rows that are shown are kept.
"""

import io
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from curation.audit_table import contradicted
from pipeline.reasons import Reason, status_of
from pipeline.records import PERSON_KEY, PersonKey, person_keys
from pipeline.report import Sample, Section
from pipeline.storage import DamagedError, Place, read_json
from pipeline.units import PhaseFolder

THUMBNAIL_PX = 288
BATCH_ROWS = 65_536
"""Decisions that are looked at together."""
Row = dict[str, Any]


def gallery(out: Place, phases: Mapping[str, str], per_reason: int = 6) -> list[Section]:
    """Sections of the report: kept persons, contradicted captions, then some persons of each reason.

    Of each the first by key. phases: folder names by phase, as `run.json` of the output folder holds them.
    """
    harvest = phase_folder(out / phases["harvest"])
    if "decide" not in phases:
        return [_undecided(harvest, 4 * per_reason)]
    decisions = _batches(out / phases["decide"] / "decisions.parquet", _DECIDED)
    kept, decided = _by_reason(decisions, per_reason)
    captions: dict[PersonKey, list[str]] = {}
    sections = _by_status(decided, harvest, _same_as)
    if "annotate" in phases:
        annotate = phase_folder(out / phases["annotate"])
        captions = captions_of(annotate, map(PersonKey.of, kept.rows))
        _, annotated = _by_reason(annotate.tables("pairs", annotate.finished()), per_reason)
        sections = [
            *_contradicted(annotate, harvest, 2 * per_reason),
            *_by_status(annotated, harvest, _why),
            *sections,
        ]
    first = kept.section("Kept by the gates", harvest, lambda row: captions.get(PersonKey.of(row), []))
    return [first, *sections]


def phase_folder(path: Place) -> PhaseFolder:
    """A phase's folder with what it was made with. Raises StorageError."""
    return PhaseFolder(path, read_json(path / "phase.json"))


def captions_of(annotate: PhaseFolder, keys: Iterable[PersonKey]) -> dict[PersonKey, list[str]]:
    """What was written of some persons, as far as they are annotated: lines for the report."""
    wanted, per_unit = set(keys), annotate.trace["units_per_unit"]
    found: dict[PersonKey, list[str]] = {}
    for pairs in annotate.tables("pairs", sorted({key.unit // per_unit for key in wanted})):
        for row in _rows_of(pairs, wanted):
            lines = [f"not kept: {row['reason']}"] if row["reason"] else caption_lines(row)
            found[PersonKey.of(row)] = lines
    return found


def caption_lines(pair: Row) -> list[str]:
    """A line for each caption that counts, and one for each contradiction under it."""
    return [line for caption in pair["captions"] if caption["reason"] is None for line in _lines(caption)]


def persons_of(harvest: PhaseFolder, keys: Iterable[PersonKey]) -> Iterator[Row]:
    """The rows of `persons` of some keys, in their order."""
    wanted = set(keys)
    for persons in harvest.tables("persons", sorted({key.unit for key in wanted}), _SHOWN):
        yield from _rows_of(persons, wanted)


def sample(person: Row, lines: Sequence[str] = ()) -> Sample:
    """A person's picture over what was measured and some more lines."""
    box, visible = person["box_xyxy_px"], sum(c >= 0.5 for c in person["keypoints"][2::3])
    measured = (
        f"{PersonKey.of(person)}: score {person['score']:.2f}, "
        f"{box[2] - box[0]:.0f}×{box[3] - box[1]:.0f} px, {visible} keypoints at 0.5"
    )
    return Sample(_thumbnail(person["crop"]), [measured, *lines])


@dataclass
class _Some:
    """The first of some rows, and how many there are in all."""

    rows: list[Row] = field(default_factory=list)
    total: int = 0

    def section(self, title: str, harvest: PhaseFolder, lines: Callable[[Row], Sequence[str]]) -> Section:
        """Their persons. lines: what stands under the picture, from the row."""
        of = {PersonKey.of(row): row for row in self.rows}
        samples = [sample(person, lines(of[PersonKey.of(person)])) for person in persons_of(harvest, of)]
        return Section(title, f"{len(samples)} of {self.total} persons", samples)


def _by_reason(tables: Iterable[pa.Table], per_reason: int) -> tuple[_Some, dict[str, _Some]]:
    """The kept, of whom there are more, and the others by the column `reason`."""
    found: defaultdict[str, _Some] = defaultdict(_Some)
    for rows in tables:
        reasons = pc.fill_null(rows["reason"], "")
        for counted in pc.value_counts(reasons).to_pylist():
            reason = counted["values"]
            some = found[reason]
            some.total += counted["counts"]
            left = (per_reason if reason else 4 * per_reason) - len(some.rows)
            if left > 0:
                some.rows += rows.filter(pc.equal(reasons, reason)).slice(0, left).to_pylist()
    kept = found.pop("", _Some())
    return kept, dict(found)


def _by_status(
    found: Mapping[str, _Some], harvest: PhaseFolder, lines: Callable[[Row], Sequence[str]]
) -> list[Section]:
    """A section for each reason: `Rejected: low_score`."""
    return [
        some.section(f"{str(status_of(Reason(reason))).capitalize()}: {reason}", harvest, lines)
        for reason, some in sorted(found.items())
    ]


def _undecided(harvest: PhaseFolder, count: int) -> Section:
    """The first persons of a harvest that has not ended: no gate has looked at them yet."""
    tables = harvest.tables("persons", harvest.finished(), _SHOWN)
    persons = (row for table in tables for row in table.slice(0, count).to_pylist())
    samples = [sample(person) for person in itertools.islice(persons, count)]
    return Section("Measured so far", f"the first {len(samples)} persons, not yet decided on", samples)


def _contradicted(annotate: PhaseFolder, harvest: PhaseFolder, count: int) -> list[Section]:
    """The first persons with a contradicted caption, kept or not."""
    tables = annotate.tables("pairs", annotate.finished())
    rows = (row for pairs in tables for row in contradicted(pairs).to_pylist())
    first = [*itertools.islice(rows, count)]
    section = _Some(first).section("Captions that measured colours contradict", harvest, _contradicted_lines)
    return [replace(section, text=f"the first {len(first)} persons")] if first else []


def _batches(path: Place, columns: Sequence[str]) -> Iterator[pa.Table]:
    """A Parquet file, some rows at a time. Raises DamagedError."""
    try:
        with path.open("rb") as file, pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(BATCH_ROWS, columns=columns):
                yield pa.Table.from_batches([batch])
    except FileNotFoundError:
        raise DamagedError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the file did not answer; Arrow's own errors have no number
        raise DamagedError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())}") from None


def _same_as(decision: Row) -> list[str]:
    if decision["kept_unit"] is None:
        return []
    kept = PersonKey(decision["kept_unit"], decision["kept_row"], decision["kept_person"])
    return [f"the same as {kept}"]


def _why(pair: Row) -> list[str]:
    """Why a person is not kept: the verdict, what was written, the error."""
    verdict = pair["verdict"]
    judged = [f"judged {verdict['letter']}, {max(verdict['scores']):.2f}"] if verdict else []
    written = [line for caption in pair["captions"] for line in _lines(caption)]
    return [*judged, *written, *([pair["error"]] if pair["error"] else [])]


def _contradicted_lines(pair: Row) -> list[str]:
    return [line for caption in pair["captions"] if _contradictions(caption) for line in _lines(caption)]


def _lines(caption: Row) -> list[str]:
    """A caption, or what stands for it, with its reason; under it what contradicts it."""
    text = f"“{caption['text']}”" if caption["text"] is not None else "no text"
    reason = f", {caption['reason']}" if caption["reason"] else ""
    return [
        f"{text} ({caption['model_id']}{reason})",
        *(f"✗ {line}" for line in _contradictions(caption)),
    ]


def _contradictions(caption: Row) -> list[str]:
    """None of a caption that was not audited, nor of one from before the audit was written down."""
    audit: Row = caption.get("audit") or {}
    return list(audit.get("contradictions", ()))


def _rows_of(rows: pa.Table, wanted: set[PersonKey]) -> list[Row]:
    at = [number for number, key in enumerate(person_keys(rows)) if key in wanted]
    found: list[Row] = rows.take(pa.array(at, pa.int64())).to_pylist()
    return found


def _thumbnail(crop: bytes | None) -> bytes:
    """A small JPEG of the crop; a grey tile where the pixels were below the pixel floor."""
    image = Image.open(io.BytesIO(crop)) if crop else Image.new("RGB", (96, THUMBNAIL_PX), "#ccc")
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()


_SHOWN = [*PERSON_KEY, "score", "box_xyxy_px", "keypoints", "crop"]
_DECIDED = [*PERSON_KEY, "reason", "kept_unit", "kept_row", "kept_person"]
