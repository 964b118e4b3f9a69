"""The phases of curation, in the order of the paper's method section: harvest, decide, annotate, pack.

Each phase stands in a folder named by its fingerprint: what it was made with. The same recipe finds the
folder again and does what is missing; a changed one starts a new folder beside it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.caption import CaptionStage, caption_inputs
from curation.decisions import decide
from curation.download import Download
from curation.inputs import UrlList
from curation.pack import (
    FitImages,
    PlannedPairs,
    ShardSink,
    plan_shards,
    publish_statistics,
    shard_units,
)
from curation.persons import MeasurePersons
from curation.recipe import CurateRecipe
from curation.tables import (
    HarvestSink,
    KeptPersons,
    PairSink,
    UncaptionedPersons,
    measurements,
)
from pipeline.funnel import Counts, Line, check_accounting
from pipeline.progress import ShowProgress
from pipeline.reasons import Status
from pipeline.recipe import fingerprint
from pipeline.records import PERSON_KEY, SCHEMA_VERSION
from pipeline.stage import Placed, Pool, Sink, Source
from pipeline.storage import (
    DamagedError,
    Place,
    folders,
    publish_json,
    publish_table,
    read_json,
    read_table,
    sizes,
)
from pipeline.units import PhaseFolder, Unit, slice_units

RunUnits = Callable[[Sequence[Unit], Source, Sequence[Placed], Sink], Iterator[Any]]
"""What runs units and yields a status for each as it ends: `pipeline.runner.run_units`, or a test's loop."""


class PhaseError(RuntimeError):
    """A phase that did not finish; the message says which unit failed first and why."""


@dataclass(frozen=True)
class PhaseReport:
    """What a phase did in this run."""

    phase: str
    folder: PhaseFolder
    units: int
    done_before: int
    line: Line
    note: str = ""


@dataclass(frozen=True)
class Curation:
    """One recipe on one list into one output folder."""

    recipe: CurateRecipe
    trace: Mapping[str, Any]
    urls: UrlList
    out: Place
    run_units: RunUnits
    phases: frozenset[str]
    """Phases that may do work; the others must be done."""
    progress: ShowProgress
    """Called with phase, units done, units in all, and the counts of the unit that has ended."""

    def run(self) -> list[PhaseReport]:
        """All phases in order, up to the last that is wanted; what is done already is not done again."""
        harvest = self.harvest()
        decisions = self.decide(harvest)
        if self.phases <= {"harvest"}:
            return [harvest, decisions]
        annotate = self.annotate(harvest, decisions)
        if "pack" not in self.phases:
            return [harvest, decisions, annotate]
        return [harvest, decisions, annotate, self.pack(harvest, annotate)]

    def harvest(self) -> PhaseReport:
        """Download every URL, measure every person, store what was measured; no threshold decides here."""
        settings, takedown = self.recipe.harvest, self.recipe.takedown.load()
        folder = self._folder("harvest", self._harvest_fingerprint())
        units = self.urls.units(settings.unit_rows)
        stages = [
            Placed(
                stage=Download(settings.download, settings.download_pool.workers, takedown),
                pool=settings.download_pool.pool(),
            ),
            Placed(stage=MeasurePersons(settings.persons, takedown), pool=settings.measure_pool.pool()),
        ]
        done, counts = self._run(
            "harvest", folder, units, self.urls, stages, HarvestSink(folder, settings.part_bytes)
        )
        line = Line("harvest", "URLs", _sum(counts, "urls"))
        return PhaseReport("harvest", folder, len(units), done, line)

    def decide(self, harvest: PhaseReport) -> PhaseReport:
        """Apply takedown and gates to the measurements, then drop duplicates: the first by key stays."""
        folder = self._folder("decisions", self._decisions_fingerprint())
        path, marker = folder.path / "decisions.parquet", folder.path / "done.json"
        done = marker.is_file() and sizes(folder.path).get(path.name) == read_json(marker).get("bytes")
        if not done:
            folder.begin()
            measured = measurements(harvest.folder, range(harvest.units), pictures=True)
            recipe, taken_down = self.recipe, self.recipe.takedown.load()
            decisions = decide(measured, recipe.gates, recipe.dedup, taken_down.mask)
            size = publish_table(path, decisions, {"recipe_hash": str(self.trace["recipe_hash"])})
            counts = Counts.of(_persons(harvest), decisions["reason"].to_pylist())
            check_accounting([Line("decide", "persons", counts)])
            publish_json(marker, {"counts": {"persons": counts.to_json()}, "bytes": size})
        line = Line("decide", "persons", Counts.from_json(read_json(marker)["counts"]["persons"]))
        return PhaseReport("decide", folder, 1, int(done), line)

    def annotate(self, harvest: PhaseReport, decisions: PhaseReport) -> PhaseReport:
        """Caption every kept person; captions that stand already under the same settings are taken over."""
        settings = self.recipe.annotate
        captions = fingerprint(
            harvest.folder.path.name, settings.result_settings(), *caption_inputs(settings.caption)
        )
        folder = self._folder(
            "annotate", fingerprint(captions, decisions.folder.path.name), captions=captions
        )
        source = UncaptionedPersons(
            KeptPersons(harvest.folder, decisions.folder.path / "decisions.parquet"), self._earlier(folder)
        )
        units = slice_units(harvest.units, settings.units_per_unit)
        stages = [Placed(stage=CaptionStage(settings=settings.caption), pool=settings.caption_pool.pool())]
        done, counts = self._run("annotate", folder, units, source, stages, PairSink(folder, source))
        line = Line("annotate", "persons", _sum(counts, "pairs"))
        note = (
            f"captioned {sum(c['captioned'] for c in counts)}, taken over {sum(c['reused'] for c in counts)}"
        )
        return PhaseReport("annotate", folder, len(units), done, line, note)

    def pack(self, harvest: PhaseReport, annotate: PhaseReport) -> PhaseReport:
        """Shuffle all pairs by seed, split them by source picture, write shards for training."""
        settings, per_unit = self.recipe.pack, self.recipe.annotate.units_per_unit
        inputs = (annotate.folder.path.name, self.recipe.seed, settings.result_settings())
        folder = self._folder("pack", fingerprint(*inputs))
        path = folder.path / "plan.parquet"
        try:
            plan = read_table(path)
        except DamagedError:
            plan = plan_shards(self._kept_pairs(harvest, annotate), self.recipe.seed, settings)
            publish_table(path, plan)
        units = shard_units(plan)
        source = PlannedPairs(harvest.folder, annotate.folder, per_unit, path)
        stages = [Placed(stage=FitImages(settings), pool=Pool(cpus=0.5))]
        done, counts = self._run("pack", folder, units, source, stages, ShardSink(folder, len(units)))
        statistics = publish_statistics(folder, counts)
        rows = Counts(sum(c["rows_in"] for c in counts), sum(c["rows"] for c in counts))
        note = ", ".join(f"{split} {n}" for split, n in statistics["pictures_by_split"].items())
        note = note if units else "no person is kept, so there are no shards"
        return PhaseReport("pack", folder, len(units), done, Line("pack", "persons", rows), note)

    def _run(
        self,
        phase: str,
        folder: PhaseFolder,
        units: Sequence[Unit],
        source: Source,
        stages: Sequence[Placed],
        sink: Sink,
    ) -> tuple[int, list[Mapping[str, Any]]]:
        """Run the units that are not done; return how many were done before, and all units' counts."""
        finished = set(folder.finished())
        todo = [unit for unit in units if unit.index not in finished]
        done = len(units) - len(todo)
        if todo and phase not in self.phases:
            raise PhaseError(
                f"{phase}: {len(todo)} of {len(units)} units are not done; run --phase {phase} first"
            )
        folder.begin()
        self.progress(phase, done, len(units))
        errors = []
        for number, status in enumerate(self.run_units(todo, source, stages, sink) if todo else (), start=1):
            if status.error:
                errors.append(f"unit {status.unit}: {status.error.strip()}")
            self.progress(phase, done + number - len(errors), len(units), status.counts or None)
        if errors:
            error = PhaseError(
                f"{phase}: {len(errors)} of {len(units)} units failed, first {errors[0].splitlines()[-1]}"
            )
            error.add_note(errors[0])
            raise error
        return done, [marker["counts"] for marker in folder.markers([unit.index for unit in units])]

    def _kept_pairs(self, harvest: PhaseReport, annotate: PhaseReport) -> pa.Table:
        pictures = pa.concat_tables(
            table.select([*PERSON_KEY, "image_sha256"])
            for table in measurements(harvest.folder, range(harvest.units))
        )
        parts = [part for unit in range(annotate.units) for part in annotate.folder.parts("pairs", unit)]
        kept = pa.concat_tables(
            read_table(part, columns=PERSON_KEY, filters=[("status", "=", Status.KEPT.value)])
            for part in parts
        )
        return kept.join(pictures, PERSON_KEY, join_type="inner")

    def _earlier(self, folder: PhaseFolder) -> tuple[PhaseFolder, ...]:
        """Annotate folders of other decisions whose captions were made in the same way."""
        found = []
        for path in folders(self.out):
            if not path.name.startswith("annotate-") or path == folder.path:
                continue
            if (path / "phase.json").is_file():
                trace = read_json(path / "phase.json")
                if trace.get("captions") == folder.trace["captions"]:
                    found.append(PhaseFolder(path, trace))
        return tuple(found)

    def _folder(self, phase: str, fingerprint: str, **inputs: str) -> PhaseFolder:
        return PhaseFolder(self.out / f"{phase}-{fingerprint}", {**self.trace, **inputs})

    def _harvest_fingerprint(self) -> str:
        weights = self.recipe.harvest.persons.weights_hashes()
        return self.recipe.harvest.fingerprint(self.urls.fingerprint(), *weights, str(SCHEMA_VERSION))

    def _decisions_fingerprint(self) -> str:
        taken_down = self.recipe.takedown.load().fingerprint()
        dedup = self.recipe.dedup.fingerprint(*self.recipe.dedup.inputs())
        return self.recipe.gates.fingerprint(self._harvest_fingerprint(), dedup, taken_down)


def _persons(harvest: PhaseReport) -> int:
    return sum(marker["counts"]["persons"] for marker in harvest.folder.markers(range(harvest.units)))


def _sum(counts: list[Mapping[str, Any]], table: str) -> Counts:
    return sum((Counts.from_json(unit[table]) for unit in counts), Counts())
