"""The phases of curation, in the order of the paper's method section: harvest, decide, annotate, pack.

Each phase stands in a folder named by its fingerprint: what it was made with. The same recipe finds the
folder again and does what is missing; a changed one starts a new folder beside it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

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
from curation.phase_work import PhaseError, PhaseReport, RunUnits, Work, counts_of
from curation.recaption import Rounds, load_rounds
from curation.recipe import CurateRecipe
from curation.retry import FailedRows, RetryRound, RetrySink
from curation.runs import KeptPairs, RunSink, remove_runs, run_units
from curation.tables import HarvestSink, KeptPersons, PairSink, PersonsToAnnotate, measurements
from curation.taken_over import take_over
from pipeline.funnel import Counts, Line, check_accounting
from pipeline.progress import ShowProgress
from pipeline.recipe import fingerprint
from pipeline.records import SCHEMA_VERSION
from pipeline.shards import DONE
from pipeline.stage import Placed, Pool
from pipeline.storage import Place, publish_json, publish_table, read_json, read_json_or_none, sizes
from pipeline.units import PhaseFolder, Unit, UnitRange


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
    """Take up once more what failed: rows of a harvest that is done, captions that endpoints lost."""

    def run(self) -> list[PhaseReport]:
        """All phases in order, up to the last that is wanted; what is done already is not done again."""
        harvest = self.retry(self.harvest())
        reports = [harvest, *self._after(harvest)]
        retry = RetryRound.of(harvest.folder)
        if retry.state == "harvested" and reports[-1].phase != "decide" and not reports[-1].left:
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
        done = self._work.run("harvest", folder, units, self.urls, self._harvest_stages(), sink)
        totals, content = folder.summary(range(len(units)))
        line = Line("harvest", "URLs", counts_of(totals, "urls"))
        return PhaseReport("harvest", folder, len(units), done, line, totals=totals, content=content)

    def retry(self, harvest: PhaseReport) -> PhaseReport:
        """Take failed rows up once more if that is wanted, or was begun; the harvest as it stands then."""
        folder, retry = harvest.folder, RetryRound.of(harvest.folder)
        if self.retry_failed and retry.state == "ended":
            retry = self._open_round(harvest, retry)
        elif self.retry_failed:
            self.notice(f"round {retry.number} of retrying is under way and is ended first")
        if retry.state != "open":
            return harvest
        if "harvest" not in self.phases:
            raise PhaseError("harvest: failed rows are being retried; run --phase harvest first")
        left = set(retry.left(folder, harvest.units))
        units = [unit for unit in self.urls.units(self.recipe.harvest.unit_rows) if unit.index in left]
        sink = RetrySink(folder, self.recipe.harvest.part_bytes, retry.number)
        source, stages = FailedRows(self.urls, folder), self._harvest_stages()
        self.progress("retry", 0, len(units))
        for _ in self._work.each("retry", units, 0, len(units), source, stages, sink):
            pass
        replace(retry, state="harvested").note(folder)
        totals, content = folder.summary(range(harvest.units))
        before, counts = harvest.line.counts, counts_of(totals, "urls")
        note = f"retried the failed rows of {len(units)} units: {counts.kept - before.kept} more are kept"
        line, done_before = replace(harvest.line, counts=counts), harvest.units - len(units)
        return replace(harvest, line=line, note=note, done_before=done_before, totals=totals, content=content)

    def _open_round(self, harvest: PhaseReport, last: RetryRound) -> RetryRound:
        """The next round; the last one where nothing failed. Without the phase harvest, of captions alone."""
        annotated = self._annotate_folder(harvest.folder, self._decisions_folder(harvest), last)
        captions = "annotate" in self.phases and annotated.totals(annotated.finished()).get("lost", 0) > 0
        rows = "harvest" in self.phases and bool(harvest.line.counts.failed)
        if not rows and not captions:
            self.notice("nothing to retry: nothing failed that could do better")
            return last
        state: Literal["open", "harvested"] = "open" if rows else "harvested"
        return RetryRound(last.number + 1, state, last.captions + captions).note(harvest.folder)

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
        folder = self._decisions_folder(harvest)
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
            counts = Counts.of(harvest.totals.get("persons", 0), decisions["reason"].to_pylist())
            check_accounting([Line("decide", "persons", counts)])
            written = {"counts": {"persons": counts.to_json()}, "bytes": size}
            publish_json(marker, written)
        line = Line("decide", "persons", Counts.from_json(written["counts"]["persons"]))
        return PhaseReport("decide", folder, 1, int(done), line)

    def annotate(self, harvest: PhaseReport, decisions: PhaseReport) -> PhaseReport:
        """Judge and caption every kept person; what stands already from earlier runs is taken over."""
        settings, retry = self.recipe.annotate, RetryRound.of(harvest.folder)
        folder = self._annotate_folder(harvest.folder, decisions.folder, retry)
        units = UnitRange(harvest.units, settings.units_per_unit)
        kept = KeptPersons(harvest.folder, decisions.folder.path / "decisions.parquet")
        rounds = load_rounds(settings.caption.recaption)
        # Whose captions they were is not asked: a caption's id tells the picture that it was made from. It
        # does not tell the keypoints, which colours and the stand-ins are measured by: those are `persons`.
        earlier = Earlier(tuple(folder.beside("unit_rows", "persons")))
        source = PersonsToAnnotate(kept, earlier, settings, rounds)
        stages = [Placed(stage=Annotate(settings=settings), pool=settings.caption_pool.pool())]
        todo = self._work.todo("annotate", folder, units)
        needs, budget = list(zip(todo, source.needs(todo), strict=True)), settings.open_budget()
        self._announce(needs, budget, rounds, kept)
        done = len(units) - len(todo)
        self._work.begin("annotate", folder, len(units), done)
        while chosen := budget.affordable(needs):
            before, begun = len(units) - len(needs), {unit.index for unit in chosen}
            sink = PairSink(folder, kept)
            for counts in self._work.each("annotate", chosen, before, len(units), source, stages, sink):
                budget.spend(counts)
            needs = [(unit, need) for unit, need in needs if unit.index not in begun]
            if budget.blind:
                raise PhaseError("annotate: answers count no tokens, which budget.max_tokens needs")
        left = {unit.index for unit, _ in needs}
        totals = folder.totals(unit.index for unit in units if unit.index not in left)
        unfinished = f"{len(units) - len(left)} of {len(units)} units" if left else ""
        note = f"captions written {totals.get('written', 0)}, taken over {totals.get('taken_over', 0)}"
        if unusable := totals.get("unusable", 0):
            note += f"; {unusable} of these captions failed or are rejected"
        if needs:
            need = sum((need for _, need in needs), Need())
            note += f"; the budget ends here: {budget}; {len(needs)} units left, which need {need}; "
            least = min(budget.most_requests(need) for _, need in needs)
            fits = bool(settings.open_budget().affordable(needs))
            note += "the same command goes on" if fits else f"it takes a budget of {least} requests to go on"
        line = Line("annotate", "persons", counts_of(totals, "pairs"), unfinished)
        return PhaseReport("annotate", folder, len(units), done, line, note, left=len(left))

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
            self._work.run("pack", runs, ranges, source, stages, RunSink(runs), shown="shuffle")
            places = sorted_places(runs, len(ranges))
            note_places(folder, places)
            buckets = Buckets.cut(places, settings.rows_per_shard, settings.rows_in_memory)
            rows = BucketRows(runs, len(ranges), buckets.bounds)
            sink = ShardSink(folder, buckets.shards, buckets.shards_per_bucket)
            self._work.run("pack", folder, buckets.units, rows, [], sink)
            packed = folder.totals(unit.index for unit in buckets.units)
            shuffled = runs.totals(unit.index for unit in ranges)
            publish_statistics(folder, [packed] if packed else [], counts_of(shuffled, "persons"))
        remove_runs(runs)
        statistics = read_json(folder.path / DONE)
        note = ", ".join(f"{split} {n}" for split, n in statistics["pictures_by_split"].items())
        note = note if statistics["shards"] else "no person is kept, so there are no shards"
        units = len(folder.finished())
        line = Line("pack", "persons", Counts.from_json(statistics["counts"]["persons"]))
        return PhaseReport("pack", folder, units, done, line, note)

    def _announce(
        self, needs: Sequence[tuple[Unit, Need]], budget: Budget, rounds: Rounds, kept: KeptPersons
    ) -> None:
        """Say what will be asked for, and see before anything is asked that the models answer."""
        if needs and not budget.affordable(needs):
            least = min(budget.most_requests(need) for _, need in needs)
            raise PhaseError(
                f"annotate: the budget is too small for any unit; the smallest may need {least} requests"
            )
        if needs and len(rounds.keys):
            self._announce_rounds(rounds, kept)
        need = sum((need for _, need in needs), Need())
        if not need:
            return
        self.notice(f"annotate: {need} to make in {len(needs)} units")
        try:
            self.recipe.annotate.check_models(self.recipe.annotate.budget.max_tokens is not None)
        except MllmError as error:
            raise PhaseError(f"annotate: {error}") from None

    def _announce_rounds(self, rounds: Rounds, kept: KeptPersons) -> None:
        """Say how many captions the scores name here; PhaseError for none: they are of another harvest."""
        named = len(rounds.last)
        found = rounds.count_last(kept.keys(), self.recipe.annotate.caption.captions_per_person)
        line = f"annotate: {found} of {named} captions that the scores name are of persons kept here"
        if not found:
            raise PhaseError(line)
        self.notice(line)

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

    @property
    def _work(self) -> Work:
        return Work(self.run_units, self.phases, self.progress, self.began, self.unready)

    def _folder(self, phase: str, fingerprint: str, **inputs: object) -> PhaseFolder:
        return PhaseFolder(self.out / f"{phase}-{fingerprint}", {**self.trace, **inputs})

    def _harvest_inputs(self) -> list[str]:
        """What shapes a harvest beside its settings and its list."""
        return [*self.recipe.harvest.persons.weights_hashes(), str(SCHEMA_VERSION)]

    def _harvest_fingerprint(self) -> str:
        return self.recipe.harvest.fingerprint(self.urls.fingerprint(), *self._harvest_inputs())

    def _decisions_folder(self, harvest: PhaseReport) -> PhaseFolder:
        """By the gates and by what the harvest holds: a unit that was done again may hold other persons."""
        taken_down = self.recipe.takedown.load().fingerprint()
        dedup = self.recipe.dedup.fingerprint(*self.recipe.dedup.inputs())
        inputs = (self._harvest_fingerprint(), harvest.content, dedup, taken_down)
        return self._folder("decisions", self.recipe.gates.fingerprint(*inputs))

    def _annotate_folder(
        self, harvest: PhaseFolder, decisions: PhaseFolder, retry: RetryRound
    ) -> PhaseFolder:
        """Each round of retrying has a folder of its own, which takes over what the last one has."""
        settings = self.recipe.annotate
        shared = {
            "harvest": harvest.path.name,
            "unit_rows": self.recipe.harvest.unit_rows,
            "persons": self.recipe.harvest.persons.fingerprint(*self._harvest_inputs()),
            "units_per_unit": settings.units_per_unit,
        }
        rounds = [str(retry.captions)] if retry.captions else []
        inputs = (decisions.path.name, settings.result_settings(), *settings.inputs(), *rounds)
        return self._folder("annotate", fingerprint(*shared.values(), *inputs), **shared)
