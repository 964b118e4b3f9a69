"""Curation's sections of a recipe, put together from those of its stages."""

from typing import Self

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from curation.annotate import AnnotateSettings
from curation.budget import Budget, BudgetSettings
from curation.dedup import DedupSettings
from curation.download import DownloadSettings
from curation.gates import GateLimits, looser_than
from curation.inputs import InputSettings
from curation.pack import PackSettings
from curation.persons import PersonSettings
from curation.takedown import TakedownSettings
from pipeline.recipe import Section, operational
from pipeline.stage import Pool
from pipeline.units import PART_BYTES


class PoolSettings(Section):
    """How many workers run a stage, and the share of the cluster that each of them takes."""

    workers: PositiveInt = 1
    """Workers at once, in the whole cluster."""
    cpus: NonNegativeFloat = 1.0
    """CPUs of each."""
    gpus: NonNegativeFloat = 0.0
    """GPUs of each; a share lets several workers use one."""

    def pool(self) -> Pool:
        """As the runner takes it."""
        return Pool(workers=self.workers, cpus=self.cpus, gpus=self.gpus)


class DownloadPool(PoolSettings):
    """Workers that wait for the web most of their time."""

    cpus: NonNegativeFloat = 0.5
    """CPUs of each."""


class HarvestRecipe(Section):
    """From URLs to measured persons."""

    unit_rows: PositiveInt = 256
    """URLs in a unit; a worker holds the pictures of one in memory."""
    part_bytes: PositiveInt = operational(PART_BYTES)
    """Cap of a file of persons; a unit with more is published in numbered parts."""
    max_failed_share: float = operational(0.75, ge=0, le=1)
    """Share of the URLs that may fail; above it the command ends with exit code 3."""
    input: InputSettings = InputSettings()
    """What is read of the URL list, and which rows are not asked for."""
    download: DownloadSettings = DownloadSettings()
    """How URLs are fetched."""
    persons: PersonSettings = PersonSettings()
    """How persons are measured."""
    download_pool: DownloadPool = operational(DownloadPool())
    """Workers that download."""
    measure_pool: PoolSettings = operational(PoolSettings())
    """Workers that measure."""


class AnnotateRecipe(AnnotateSettings):
    """From kept persons to captions."""

    units_per_unit: PositiveInt = 4
    """Harvest units in an annotate unit."""
    max_failed_share: float = operational(0.05, ge=0, le=1)
    """Share of the persons that may fail; above it the command ends with exit code 3."""
    budget: BudgetSettings = operational(BudgetSettings())
    """What a run may ask of models before it ends."""
    caption_pool: PoolSettings = operational(PoolSettings())
    """Workers that caption, or that ask the endpoints."""

    def open_budget(self) -> Budget:
        """The budget of a run; what no endpoint is asked costs nothing."""
        attempts = self.caption.attempts if self.caption.captioner == "endpoint" else 0
        return Budget(self.budget, attempts, verdicts=int(self.judge.judge == "endpoint"))


class CurateRecipe(Section):
    """Everything that `webperson curate` does."""

    seed: int = 0
    """Keys shuffle and split."""
    harvest: HarvestRecipe = HarvestRecipe()
    """Download and measure."""
    gates: GateLimits = GateLimits()
    """Which measured persons are kept."""
    dedup: DedupSettings = DedupSettings()
    """Which of them are copies of others."""
    takedown: TakedownSettings = TakedownSettings()
    """What must not be in the data, whoever measured it."""
    annotate: AnnotateRecipe
    """Captions."""
    pack: PackSettings = PackSettings()
    """Shards."""
    object_store_bytes: int = operational(2 * 2**30, ge=75 * 2**20)
    """Object store of a cluster that the command starts itself; Ray refuses less than 75 MiB."""

    @model_validator(mode="after")
    def _gates_within_floors(self) -> Self:
        """Refuse gates that would let through persons whose numbers or pixels are not stored."""
        loose = looser_than(self.gates, self.harvest.persons.pixel_floor)
        if loose:
            raise ValueError(f"gates.{loose} is looser than harvest.persons.pixel_floor.{loose}")
        if self.gates.score_min < self.harvest.persons.measure_floor:
            raise ValueError("gates.score_min is looser than harvest.persons.measure_floor")
        return self

    def pools(self) -> list[list[Pool]]:
        """The pools of each phase: what a cluster must have for the largest of them."""
        harvest, annotate = self.harvest, self.annotate
        return [[harvest.download_pool.pool(), harvest.measure_pool.pool()], [annotate.caption_pool.pool()]]

    def largest_failed_shares(self) -> dict[str, float]:
        """What each phase may lose of its rows."""
        return {
            "harvest": self.harvest.max_failed_share,
            "annotate": self.annotate.max_failed_share,
            "pack": self.pack.max_failed_share,
        }
