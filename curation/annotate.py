"""Annotate: the judge's verdict on each kept person, then captions, each looked at before it counts."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from pydantic import model_validator

from curation.annotator import Annotator
from curation.audit import AuditSettings
from curation.caption import CaptionSettings, CaptionWriter, caption_plan, open_captioner
from curation.caption_check import CaptionCheck
from curation.captioners import PROMPT_SLOT
from curation.exemplars import load_exemplars
from curation.judge import JudgeSettings, judge_inputs, open_judge
from curation.known import PersonPlan
from curation.mllm import Mllm, ModelSettings
from curation.packaged import packaged_hash
from curation.prompts import load_prompt
from curation.recaption import Rounds, load_rounds
from curation.tables import Plan
from curation.validate import WORDS
from pipeline.recipe import Section, fingerprint
from pipeline.records import PersonKey
from pipeline.stage import Process

Row = Mapping[str, Any]
PERSONS_AT_ONCE = 2
"""Persons under way for each request that the models take at once: the next ones are being made ready."""


class AnnotateSettings(Section):
    """From kept persons to captions."""

    models: tuple[ModelSettings, ...] = ()
    """Multimodal models behind endpoints."""
    judge: JudgeSettings = JudgeSettings()
    """Who says which persons are fit for training."""
    caption: CaptionSettings
    """How captions are made."""
    audit: AuditSettings = AuditSettings()
    """How captions are held against measured colours, and what follows from it."""

    @model_validator(mode="after")
    def _models_are_known(self) -> Self:
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"models: {name} stands twice")
        judges = [self.judge.model] if self.judge.judge == "endpoint" else []
        for setting, wanted in (("caption.models", self.caption.models), ("judge.model", judges)):
            for name in wanted:
                if name not in names:
                    raise ValueError(f"{setting}: {name} is not in models ({', '.join(names) or 'none'})")
        if self.caption.captioner == "endpoint" and not self.models:
            raise ValueError("captioner `endpoint` needs models with name and urls")
        return self

    def writers(self) -> list[ModelSettings]:
        """The models that write captions."""
        names = self.caption.models or [model.name for model in self.models]
        return [model for model in self.models if model.name in names]

    def asked(self) -> list[ModelSettings]:
        """The models that are asked anything."""
        writers = self.writers() if self.caption.captioner == "endpoint" else []
        judges = self.judge.judge == "endpoint"
        return [m for m in self.models if m in writers or (judges and m.name == self.judge.model)]

    def check(self) -> CaptionCheck:
        """What counts as a caption."""
        return CaptionCheck.load(self.caption.limits, self.audit)

    def plan(self, rounds: Rounds | None = None) -> Plan:
        """What is wanted of a person, by key and `crop_sha256`; files are read once, here.

        rounds: those of the settings, if they are read already.
        """
        captions, check = caption_plan(self.caption, self.writers()), self.check()
        rounds = rounds or load_rounds(self.caption.recaption)
        judging = judge_inputs(self.judge, self.models)
        # The stand-in writes the same text again: what fails today stands with its reason.
        attempts = self.caption.attempts if self.caption.captioner == "endpoint" else 0

        def person(key: PersonKey, crop_sha256: str) -> PersonPlan:
            verdict_id = fingerprint(*judging, crop_sha256) if judging else ""
            again = rounds.of(key, self.caption.captions_per_person)
            planned = captions.person(key, crop_sha256, again)
            keep_min, templates = self.judge.keep_min, captions.template_ids
            return PersonPlan(verdict_id, planned, check, keep_min, attempts, crop_sha256, templates)

        return person

    def files(self) -> dict[str, Callable[[], object]]:
        """What reads each of the files that the settings name, by its key. They raise TemplateError,
        PromptError, ExemplarError, ScoresError: a recipe is tried by calling them.
        """
        caption, judge = self.caption, self.judge
        files: dict[str, Callable[[], object]] = {
            "caption.templates": caption.library,
            "caption.recaption": lambda: load_rounds(caption.recaption),
            "caption.prompt": lambda: load_prompt(caption.prompt, PROMPT_SLOT),
            "judge.prompt": lambda: load_prompt(judge.prompt),
        }
        if judge.exemplars:
            files["judge.exemplars"] = partial(load_exemplars, judge.exemplars)
        return files

    def inputs(self) -> list[str]:
        """What shapes results beside the settings, for the phase's fingerprint: hashes of the files read."""
        rounds = load_rounds(self.caption.recaption)
        wanted = self.plan(rounds)(PersonKey(0, 0, 0), "")
        auditor = wanted.check.auditor
        return [
            wanted.verdict_id,
            self.caption.library().library_hash,
            fingerprint(sorted(rounds.names)),
            packaged_hash(WORDS),
            auditor.words.id,
            auditor.terms.id,
            *(caption.caption_id for caption in wanted.captions),
        ]

    def check_models(self, usage_required: bool = False) -> None:
        """See that every model that is asked answers and sees, and counts tokens if that is required.

        Raises MllmError.
        """

        async def check() -> None:
            for settings in self.asked():
                async with Mllm(settings) as model:
                    await model.check(usage_required=usage_required)

        asyncio.run(check())


@dataclass(frozen=True, kw_only=True)
class Annotate:
    """Stage: kept persons with what is known of them (curation/known.py) to rows of `pairs`, one for each."""

    settings: AnnotateSettings

    @contextmanager
    def open(self) -> Iterator[Process]:
        """Load prompts and templates, open the connections."""
        with asyncio.Runner() as runner:
            stack = AsyncExitStack()
            annotator = runner.run(_open(self.settings, stack))
            try:
                yield lambda persons: runner.run(annotator.annotate(persons))
            finally:
                runner.run(stack.aclose())


async def _open(settings: AnnotateSettings, stack: AsyncExitStack) -> Annotator:
    models = {m.name: await stack.enter_async_context(Mllm(m)) for m in settings.asked()}
    captioner = open_captioner(settings.caption, models, caption_plan(settings.caption, settings.writers()))
    writer = CaptionWriter(settings.caption, captioner, settings.check())
    at_once = PERSONS_AT_ONCE * sum(m.concurrency * len(m.urls) for m in settings.asked())
    return Annotator(open_judge(settings.judge, models), writer, settings.plan(), max(1, at_once))
