"""Curation in this process on a made list: no network, no model, no Ray, but the real phases and files.

A URL says what comes back: `http://made/<what>/<number>`, and any further `/...` changes nothing but the URL.
Pictures of persons carry the number of persons and the second one's score in their first pixel, which a
stand-in for the detector reads.
"""

import functools
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from curation.annotate import Annotate
from curation.detectors import Person
from curation.download import Download
from curation.inputs import UrlList
from curation.persons import MeasurePersons, PersonSettings, measure_rows
from curation.phase_work import PhaseReport
from curation.phases import Curation
from curation.recipe import CurateRecipe
from pipeline.reasons import Reason
from pipeline.recipe import parse_recipe, trace
from pipeline.records import stable_rows
from pipeline.stage import Placed, Process, Sink, Source, Stage
from pipeline.storage import listing, read_table
from pipeline.units import PhaseFolder, Unit
from tests.curation.photograph import drawn_keypoints, drawn_person

ALL = frozenset({"harvest", "annotate", "pack"})
COLOURS = [(200, 30, 30), (30, 60, 200), (30, 140, 50), (240, 240, 240), (25, 25, 25)]
SETTINGS: dict[str, Any] = {
    "harvest": {"unit_rows": 4, "persons": {"pixel_floor": {"score_min": 0.5}}},
    "annotate": {
        "units_per_unit": 2,
        "caption": {"captioner": "attributes-stand-in", "templates": "attributes"},
    },
    # Its pictures differ in one pixel or in colour, which grey hashes do not see.
    "dedup": {"radius": None},
    "pack": {"rows_per_shard": 4, "rows_in_memory": 4, "val_share": 0.25, "test_share": 0.25},
}
URLS = [
    "http://made/person/1",
    "http://made/dns/1",
    "http://made/two/2",
    "http://made/none/1",
    "http://made/person/3",
    "http://made/person/1/again",
    "not a url",
    "http://made/two/4",
    "http://made/person/5",
    "http://made/person/6",
    "http://made/html/1",
    "http://made/two/7",
    "http://made/person/8",
    "http://made/two/4/again",
]
"""Four units; 8 URLs become one new person above the default gates and those of `two` one below them."""


@dataclass(frozen=True)
class DownloadStandIn:
    """Answers from the URL alone."""

    @contextmanager
    def open(self) -> Iterator[Process]:
        yield _answer


@dataclass(frozen=True)
class MeasureStandIn:
    """The real measuring, with a detector that reads a picture's first pixel."""

    settings: PersonSettings

    @contextmanager
    def open(self) -> Iterator[Process]:
        yield lambda rows: measure_rows(rows, FirstPixelDetector(), self.settings)


@dataclass
class FirstPixelDetector:
    """Persons stand side by side, 160 px wide and as high as the picture; the first is sure."""

    model_id: str = "first-pixel-stand-in"

    def measure(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Person]]:
        return [self._persons(picture) for picture in pictures]

    def _persons(self, picture: NDArray[np.uint8]) -> list[Person]:
        count, percent, _ = picture[0, 0].tolist()
        return [
            Person(
                (160.0 * n, 0.0, 160.0 * (n + 1), 400.0),
                percent / 100 if n else 0.95,
                tuple((drawn_keypoints() + np.array([160.0 * n, 0, 0])).ravel().tolist()),
            )
            for n in range(count)
        ]


@dataclass
class InProcess:
    """Runs units one after the other, here; remembers them, and can be stopped or told to fail."""

    stop_after: int | None = None
    """Raise KeyboardInterrupt before the unit of this number."""
    fails: Callable[[Unit, Sink], bool] = lambda unit, sink: False
    ran: list[tuple[str, int]] = field(default_factory=list)
    """Sink and unit index of every unit that was published."""
    captioned: list[tuple[int, int, int]] = field(default_factory=list)
    """Keys of all persons who were given to the captioner."""

    def __call__(
        self, units: Sequence[Unit], source: Source, stages: Sequence[Placed], sink: Sink
    ) -> Iterator["Status"]:
        with ExitStack() as stack:
            opened = [(p.stage, stack.enter_context(_here(p.stage).open())) for p in stages]
            for unit in units:
                if len(self.ran) == self.stop_after:
                    raise KeyboardInterrupt
                if self.fails(unit, sink):
                    yield Status(unit.index, "RuntimeError: told to fail")
                    continue
                yield Status(unit.index, None, self._run(unit, source, opened, sink))

    def _run(
        self, unit: Unit, source: Source, opened: list[tuple[Stage, Process]], sink: Sink
    ) -> Mapping[str, Any]:
        rows = source.read(unit)
        for stage, process in opened:
            if isinstance(stage, Annotate):
                known = rows["captions"].to_pylist()
                self.captioned += [
                    key for key, captions in zip(keys(rows), known, strict=True) if not captions
                ]
            rows = process(rows)
        counts = sink.publish(unit, rows)
        self.ran.append((type(sink).__name__, unit.index))
        return counts


@dataclass(frozen=True)
class Status:
    """What the phases look at of the runner's status."""

    unit: int
    error: str | None
    counts: Mapping[str, Any] = field(default_factory=dict)


def recipe(**changes: Any) -> CurateRecipe:
    """The made settings with changes, such as `gates={"score_min": 0.9}` or `seed=3`."""
    return parse_recipe(CurateRecipe, _merged(SETTINGS, changes), "made")


def curation(
    out: Path,
    settings: CurateRecipe | None = None,
    runner: InProcess | None = None,
    phases: frozenset[str] = ALL,
    urls: Sequence[str] = URLS,
) -> Curation:
    """A curation of the made list into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "urls.txt"
    path.write_text("".join(f"{url}\n" for url in urls))
    settings = settings or recipe()
    return Curation(
        settings, trace(settings), UrlList(path), out, runner or InProcess(), phases, lambda *_: None
    )


def run(out: Path, runner: InProcess | None = None, **options: Any) -> dict[str, PhaseReport]:
    """Run it; the reports by phase."""
    return {report.phase: report for report in curation(out, runner=runner, **options).run()}


def keys(rows: pa.Table) -> list[tuple[int, int, int]]:
    """unit, row, person of each row."""
    return [tuple(row.values()) for row in rows.select(["unit", "row", "person"]).to_pylist()]


def table(folder: PhaseFolder, name: str, units: int) -> pa.Table:
    """A whole table of a phase, without what equal runs may differ in."""
    rows = pa.concat_tables(read_table(p) for unit in range(units) for p in folder.parts(name, unit))
    return pa.Table.from_pylist(list(stable_rows(rows))) if rows.num_rows else rows


def final_rows(reports: dict[str, PhaseReport]) -> dict[str, list[dict[str, Any]]]:
    """Everything that a run leaves for others: tables, decisions and the rows of the shards."""
    harvest, annotate, pack = (reports[name] for name in ("harvest", "annotate", "pack"))
    return {
        "urls": table(harvest.folder, "urls", harvest.units).to_pylist(),
        "persons": table(harvest.folder, "persons", harvest.units).to_pylist(),
        "decisions": read_table(reports["decide"].folder.path / "decisions.parquet").to_pylist(),
        "pairs": table(annotate.folder, "pairs", annotate.units).to_pylist(),
        "shards": [
            row
            for path in listing(pack.folder.path, ".parquet")
            if path.name.startswith("webperson-")
            for row in read_table(path).to_pylist()
        ],
    }


def picture(count: int, number: int, percent: int = 87) -> NDArray[np.uint8]:
    """`count` persons in colours that the number draws, `percent` being the second one's score."""
    colours = [COLOURS[(number + 2 * n) % 5] for n in range(count)]
    people = [drawn_person(colour, COLOURS[(number + n + 1) % 5]) for n, colour in enumerate(colours)]
    drawn = np.concatenate(people or [np.zeros((20, 20, 3), np.uint8)], axis=1)
    for n in range(count):
        drawn[0, 160 * n] = (n, 0, number)  # nobody's pixels are another one's by chance
    drawn[0, 0] = (count, percent, number)
    return drawn


def _answer(rows: pa.Table) -> pa.Table:
    answers = [_fetched(url) for url in rows["url"].to_pylist()]
    images = [answer if isinstance(answer, bytes) else None for answer in answers]
    columns = {
        "image": pa.array(images, pa.large_binary()),
        "reason": pa.array([a if isinstance(a, Reason) else None for a in answers], pa.string()),
        "error": pa.array([None] * len(answers), pa.string()),
        "seconds": pa.array(np.random.default_rng().random(len(answers)), pa.float32()),
        "image_sha256": pa.array([i and hashlib.sha256(i).hexdigest() for i in images], pa.string()),
        "image_bytes": pa.array([None if i is None else len(i) for i in images], pa.int64()),
    }
    for name, column in columns.items():
        rows = rows.append_column(name, column)
    return rows


@functools.cache
def _fetched(url: str) -> bytes | Reason:
    if not url.startswith("http://made/"):
        return Reason.URL_INVALID
    what, number, *_ = url.removeprefix("http://made/").split("/")
    if what == "dns":
        return Reason.DNS_FAILED
    if what == "html":
        return b"<html>"
    sink = io.BytesIO()
    persons = {"none": 0, "person": 1, "two": 2}[what]
    Image.fromarray(picture(persons, int(number))).save(sink, "PNG", compress_level=1)
    return sink.getvalue()


def _here(stage: Stage) -> Stage:
    if isinstance(stage, Download):
        return DownloadStandIn()
    return MeasureStandIn(stage.settings) if isinstance(stage, MeasurePersons) else stage


def _merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for name, value in changes.items():
        nested = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if nested else value
    return merged
