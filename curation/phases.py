"""The phases of curation, in the order of the paper's method section: harvest, decide, annotate, pack.

Each phase stands in a folder named by its fingerprint: what it was made with. The same recipe finds the
folder again and does what is missing; a changed one starts a new folder beside it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curation.annotate import Annotate
from curation.buckets import BucketRows, Buckets, note_places, sorted_places
from curation.budget import Budget
from curation.decisions import decide
from curation.download import Download
from curation.inputs import UrlList
from curation.known import Earlier, Need
from curation.mllm import MllmError
from curation.pack import FitImages, ShardSink, is_packed, publish_statistics
from curation.persons import MeasurePersons
from curation.recaption import load_rounds
from curation.recipe import CurateRecipe
from curation.retry import FailedRows, RetryRound, RetrySink
from curation.runs import KeptPairs, RunSink, remove_runs, run_units
from curation.tables import (
    HarvestSink,
    KeptPersons,
    PairSink,
    PersonsToAnnotate,
    measurements,
)
from curation.taken_over import take_over
from pipeline.funnel import Counts, Line, check_accounting
from pipeline.progress import ShowProgress
from pipeline.recipe import fingerprint
from pipeline.records import SCHEMA_VERSION
from pipeline.shards import DONE
from pipeline.stage import Placed, Pool, Sink, Source
from pipeline.storage import Place, publish_json, publish_table, read_json, read_json_or_none, sizes
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
    left: int = 0
    """Units that the budget did not reach; later phases wait for them."""


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
    began: Callable[[str, PhaseFolder, int], None] = lambda *_: None
    """Called as a phase begins, with its folder and how many units it has."""
    notice: Callable[[str], None] = lambda *_: None
    """Called with one line before what takes long or costs money."""
    unready: Callable[[], Iterable[str]] = lambda: ()
    """What harvest would stumble over; asked when it has something to do."""
    retry_failed: bool = False
    """Take the failed rows of a harvest that is done up once more."""

    def run(self) -> list[PhaseReport]:
        """All phases in order, up to the last that is wanted; what is done already is not done again."""
        harvest = self.retry(self.harvest())
        reports = [harvest, *self._after(harvest)]
        retry = RetryRound.of(harvest.folder)
        if retry.state == "harvested" and "pack" in self.phases and not reports[-1].left:
            replace(retry, state="ended").note(harvest.folder)
        return reports

    def _after(self, harvest: PhaseReport) -> list[PhaseReport]:
        decisions = self.decide(harvest)
        if self.phases <= {"harvest"}:
            return [decisions]
        annotate = self.annotate(harvest, decisions)
        if "pack" not in self.phases or annotate.left:
            return [decisions, annotate]
        return [decisions, annotate, self.pack(harvest, annotate)]

    def harvest(self) -> PhaseReport:
        """Download every URL, measure every person, store what was measured; no threshold decides here."""
        settings = self.recipe.harvest.fingerprint(*self._harvest_inputs())
        folder = self._folder("harvest", self._harvest_fingerprint(), settings=settings)
        units = self.urls.units(self.recipe.harvest.unit_rows)
        if "harvest" in self.phases:
            self._take_over(folder, units)
        sink = HarvestSink(folder, self.recipe.harvest.part_bytes)
        done, counts = self._run("harvest", folder, units, self.urls, self._harvest_stages(), sink)
        line = Line("harvest", "URLs", _sum(counts, "urls"))
        return PhaseReport("harvest", folder, len(units), done, line)

    def retry(self, harvest: PhaseReport) -> PhaseReport:
        """Take failed rows up once more if that is wanted, or was begun; the harvest as it stands then."""
        folder, retry = harvest.folder, RetryRound.of(harvest.folder)
        if self.retry_failed and retry.state == "ended":
            retry = RetryRound(retry.number + 1, "open").note(folder)
        if retry.state != "open":
            return harvest
        if "harvest" not in self.phases:
            raise PhaseError("harvest: failed rows are being retried; run --phase harvest first")
        left = set(retry.left(folder, harvest.units))
        units = [unit for unit in self.urls.units(self.recipe.harvest.unit_rows) if unit.index in left]
        sink = RetrySink(folder, self.recipe.harvest.part_bytes, retry.number)
        self.progress("retry", 0, len(units))
        source = FailedRows(self.urls, folder)
        for _ in self._work("retry", units, 0, len(units), source, self._harvest_stages(), sink):
            pass
        replace(retry, state="harvested").note(folder)
        before = harvest.line.counts
        counts = _sum([folder.totals(range(harvest.units))] if harvest.units else [], "urls")
        note = f"retried the failed rows of {len(units)} units: {counts.kept - before.kept} more are kept"
        line, done_before = replace(harvest.line, counts=counts), harvest.units - len(units)
        return replace(harvest, line=line, note=note, done_before=done_before)

    def _harvest_stages(self) -> list[Placed]:
        settings, takedown = self.recipe.harvest, self.recipe.takedown.load()
        download = Download(settings.download, settings.download_pool.workers, takedown)
        measure = MeasurePersons(settings.persons, takedown)
        return [
            Placed(stage=download, pool=settings.download_pool.pool()),
            Placed(stage=measure, pool=settings.measure_pool.pool()),
        ]

    def decide(self, harvest: PhaseReport) -> PhaseReport:
        """Apply takedown and gates to the measurements, then drop duplicates: the first by key stays."""
        folder = self._folder("decisions", self._decisions_fingerprint(harvest))
        path, marker = folder.path / "decisions.parquet", folder.path / "done.json"
        written = read_json_or_none(marker) or {}
        done = bool(written) and sizes(folder.path).get(path.name) == written.get("bytes")
        self.began("decide", folder, 1)
        if not done:
            folder.begin()
            measured = measurements(harvest.folder, range(harvest.units), pictures=True)
            recipe, taken_down = self.recipe, self.recipe.takedown.load()
            decisions = decide(measured, recipe.gates, recipe.dedup, taken_down.mask)
            size = publish_table(path, decisions, {"recipe_hash": str(self.trace["recipe_hash"])})
            counts = Counts.of(_persons(harvest), decisions["reason"].to_pylist())
            check_accounting([Line("decide", "persons", counts)])
            written = {"counts": {"persons": counts.to_json()}, "bytes": size}
            publish_json(marker, written)
        line = Line("decide", "persons", Counts.from_json(written["counts"]["persons"]))
        return PhaseReport("decide", folder, 1, int(done), line)

    def annotate(self, harvest: PhaseReport, decisions: PhaseReport) -> PhaseReport:
        """Judge and caption every kept person; what stands already from earlier runs is taken over."""
        settings = self.recipe.annotate
        shared = {
            "harvest": harvest.folder.path.name,
            "harvest_settings": harvest.folder.trace["settings"],
            "units_per_unit": settings.units_per_unit,
        }
        inputs = (
            *shared.values(),
            decisions.folder.path.name,
            settings.result_settings(),
            *settings.inputs(),
        )
        folder = self._folder("annotate", fingerprint(*inputs), **shared)
        kept = KeptPersons(harvest.folder, decisions.folder.path / "decisions.parquet")
        rounds = load_rounds(settings.caption.recaption)
        # Whose captions they were is not asked: a caption's id tells the picture that it was made from.
        earlier = Earlier(tuple(folder.beside("harvest_settings", "units_per_unit")))
        source = PersonsToAnnotate(kept, earlier, settings, rounds)
        units = slice_units(harvest.units, settings.units_per_unit)
        stages = [Placed(stage=Annotate(settings=settings), pool=settings.caption_pool.pool())]
        sink = PairSink(folder, kept)
        todo = self._todo("annotate", folder, units)
        needs = list(zip(todo, source.needs(todo), strict=True))
        asked = settings.caption.captioner == "endpoint"
        budget = Budget(settings.budget, settings.caption.attempts if asked else 0)
        if needs and not budget.affordable(needs):
            least = min(budget.most_requests(need) for _, need in needs)
            raise PhaseError(
                f"annotate: the budget is too small for any unit; the smallest may need {least} requests"
            )
        self._announce(needs)
        self._start("annotate", folder, units, todo)
        while chosen := budget.affordable(needs):
            done = len(units) - len(needs)
            for counts in self._work("annotate", chosen, done, len(units), source, stages, sink):
                budget.spend(counts)
            begun = {unit.index for unit in chosen}
            needs = [(unit, need) for unit, need in needs if unit.index not in begun]
            if budget.blind:
                raise PhaseError("annotate: answers count no tokens, which budget.max_tokens needs")
        left = {unit.index for unit, _ in needs}
        made = [unit.index for unit in units if unit.index not in left]
        totals = [folder.totals(made)] if made else []
        written, taken_over = (sum(t[name] for t in totals) for name in ("written", "taken_over"))
        note = f"captions written {written}, taken over {taken_over}"
        if needs:
            need = sum((need for _, need in needs), Need())
            note += f"; the budget ends here: {budget}; {len(needs)} units left, which need {need}"
        unfinished = f"{len(made)} of {len(units)} units" if needs else ""
        line = Line("annotate", "persons", _sum(totals, "pairs"), unfinished)
        return PhaseReport(
            "annotate", folder, len(units), len(units) - len(todo), line, note, left=len(needs)
        )

    def pack(self, harvest: PhaseReport, annotate: PhaseReport) -> PhaseReport:
        """Shuffle all pairs by seed, split them by source picture, write shards for training."""
        settings, seed = self.recipe.pack, self.recipe.seed
        inputs = (annotate.folder.path.name, seed, settings.result_settings())
        folder = self._folder("pack", fingerprint(*inputs))
        runs = PhaseFolder(folder.path / "shuffle", folder.trace)
        markers = annotate.folder.markers(range(annotate.units))
        kept = (Counts.from_json(marker["counts"]["pairs"]).kept for marker in markers)
        ranges = run_units(kept, settings.rows_in_memory)
        done = len(folder.finished())
        if not is_packed(folder):
            source = KeptPairs(
                harvest.folder, annotate.folder, self.recipe.annotate.units_per_unit, settings.shares(seed)
            )
            stages = [Placed(stage=FitImages(settings), pool=Pool(cpus=0.5))]
            _, shuffled = self._run("pack", runs, ranges, source, stages, RunSink(runs), shown="shuffle")
            places = sorted_places(runs, len(ranges))
            note_places(folder, places)
            buckets = Buckets.cut(places, settings.rows_per_shard, settings.rows_in_memory)
            rows = BucketRows(runs, len(ranges), buckets.bounds)
            sink = ShardSink(folder, buckets.shards, buckets.shards_per_bucket)
            _, counts = self._run("pack", folder, buckets.units, rows, [], sink)
            publish_statistics(folder, counts, _sum(shuffled, "persons"))
        remove_runs(runs)
        statistics = read_json(folder.path / DONE)
        note = ", ".join(f"{split} {n}" for split, n in statistics["pictures_by_split"].items())
        note = note if statistics["shards"] else "no person is kept, so there are no shards"
        units = len(folder.finished())
        line = Line("pack", "persons", Counts.from_json(statistics["counts"]["persons"]))
        return PhaseReport("pack", folder, units, done, line, note)

    def _run(
        self,
        phase: str,
        folder: PhaseFolder,
        units: Sequence[Unit],
        source: Source,
        stages: Sequence[Placed],
        sink: Sink,
        shown: str = "",
    ) -> tuple[int, list[Mapping[str, Any]]]:
        """Run the units that are not done; return how many were done before, and all units' counts added up.

        Those are a list of one, or of none where there are no units: each unit's own would fill the memory.
        shown: what progress calls it, if it is not the whole of its phase.
        """
        todo = self._begin(phase, folder, units, shown)
        done = len(units) - len(todo)
        for _ in self._work(shown or phase, todo, done, len(units), source, stages, sink):
            pass
        return done, [folder.totals(unit.index for unit in units)] if units else []

    def _begin(self, phase: str, folder: PhaseFolder, units: Sequence[Unit], shown: str = "") -> list[Unit]:
        """The units that are not done, of a phase that is begun. Raises PhaseError as `_todo`."""
        todo = self._todo(phase, folder, units)
        self._start(phase, folder, units, todo, shown)
        return todo

    def _todo(self, phase: str, folder: PhaseFolder, units: Sequence[Unit]) -> list[Unit]:
        """The units that are not done. Raises PhaseError if there are any and the phase may do no work."""
        finished = set(folder.finished())
        todo = [unit for unit in units if unit.index not in finished]
        if todo and phase not in self.phases:
            raise PhaseError(
                f"{phase}: {len(todo)} of {len(units)} units are not done; run --phase {phase} first"
            )
        if todo and phase == "harvest":
            for problem in self.unready():
                raise PhaseError(problem)
        return todo

    def _start(
        self, phase: str, folder: PhaseFolder, units: Sequence[Unit], todo: Sequence[Unit], shown: str = ""
    ) -> None:
        folder.begin()
        self.began(phase, folder, len(units))
        self.progress(shown or phase, len(units) - len(todo), len(units))

    def _work(
        self,
        shown: str,
        todo: Sequence[Unit],
        done: int,
        total: int,
        source: Source,
        stages: Sequence[Placed],
        sink: Sink,
    ) -> Iterator[Mapping[str, Any]]:
        """Run units; yield the counts of each that ends well. Raises PhaseError at the end if some failed."""
        failed, first = 0, ""
        for number, status in enumerate(self.run_units(todo, source, stages, sink) if todo else (), start=1):
            if status.error:
                failed, first = failed + 1, first or f"unit {status.unit}: {status.error.strip()}"
            self.progress(shown, done + number - failed, total, status.counts or None)
            if not status.error:
                yield status.counts
        if failed:
            error = PhaseError(f"{shown}: {failed} of {total} units failed, first {first.splitlines()[-1]}")
            error.add_note(first)
            raise error

    def _announce(self, needs: Sequence[tuple[Unit, Need]]) -> None:
        """Say what will be asked for, and see before anything is asked that the models answer."""
        need = sum((need for _, need in needs), Need())
        if not need:
            return
        self.notice(f"annotate: {need} to make in {len(needs)} units")
        try:
            self.recipe.annotate.check_models(self.recipe.annotate.budget.max_tokens is not None)
        except MllmError as error:
            raise PhaseError(f"annotate: {error}") from None

    def _take_over(self, folder: PhaseFolder, units: Sequence[Unit]) -> None:
        """Take over what the harvest of another list has done already, and say how much that is."""
        others = folder.beside("settings")
        finished = set(folder.finished()) if others else set()
        todo = [unit for unit in units if unit.index not in finished] if others else []
        if todo:
            folder.begin()
            self.progress("take over", 0, len(todo))
            taken = take_over(
                todo, self.urls, folder, others, lambda done: self.progress("take over", done, len(todo))
            )
            self.notice(f"harvest: {taken} of {len(todo)} units taken over from the harvest of another list")

    def _folder(self, phase: str, fingerprint: str, **inputs: object) -> PhaseFolder:
        return PhaseFolder(self.out / f"{phase}-{fingerprint}", {**self.trace, **inputs})

    def _harvest_fingerprint(self) -> str:
        return self.recipe.harvest.fingerprint(self.urls.fingerprint(), *self._harvest_inputs())

    def _harvest_inputs(self) -> list[str]:
        """What shapes a harvest beside its settings and its list."""
        return [*self.recipe.harvest.persons.weights_hashes(), str(SCHEMA_VERSION)]

    def _decisions_fingerprint(self, harvest: PhaseReport) -> str:
        """Of the gates and of what the harvest holds: a unit that was done again may hold other persons."""
        retry, content = RetryRound.of(harvest.folder), harvest.folder.content(range(harvest.units))
        taken_down = self.recipe.takedown.load().fingerprint()
        dedup = self.recipe.dedup.fingerprint(*self.recipe.dedup.inputs())
        rounds = [str(retry.number)] if retry.number else []
        return self.recipe.gates.fingerprint(self._harvest_fingerprint(), content, dedup, taken_down, *rounds)


def _persons(harvest: PhaseReport) -> int:
    return sum(marker["counts"]["persons"] for marker in harvest.folder.markers(range(harvest.units)))


def _sum(counts: Sequence[Mapping[str, Any]], table: str) -> Counts:
    return sum((Counts.from_json(unit[table]) for unit in counts), Counts())
