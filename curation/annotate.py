"""Annotate: the judge's verdict on each kept person, then captions, each looked at before it counts."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pyarrow as pa
from pydantic import model_validator

from curation.caption import CaptionSettings, CaptionWriter, caption_plan, open_captioner
from curation.captioners import Person, read_person
from curation.fit import CropError
from curation.judge import Judge, JudgeSettings, decide, judge_inputs, open_judge
from curation.known import PersonPlan
from curation.mllm import Mllm, MllmError, ModelSettings, UnreachableError
from curation.recaption import load_rounds
from curation.validate import Finding, Validator, words_hash
from pipeline.reasons import Reason, status_of
from pipeline.recipe import Section, fingerprint
from pipeline.records import Caption, PairRow, PersonKey, Verdict, to_table
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

    def plan(self) -> Callable[[PersonKey, str], PersonPlan]:
        """What is wanted of a person, by key and `crop_sha256`; files are read once, here."""
        captions, rounds = caption_plan(self.caption, self.writers()), load_rounds(self.caption.recaption)
        judging = judge_inputs(self.judge, self.models)

        def person(key: PersonKey, crop_sha256: str) -> PersonPlan:
            verdict_id = fingerprint(*judging, crop_sha256) if judging else ""
            again = rounds.of(key, self.caption.captions_per_person)
            planned = captions.person(key, crop_sha256, again)
            return PersonPlan(verdict_id, planned, self.judge.keep_min)

        return person

    def inputs(self) -> list[str]:
        """What shapes results beside the settings, for the phase's fingerprint: hashes of the files read.

        Raises TemplateError, PromptError, ScoresError: a recipe is tried by calling this.
        """
        wanted = self.plan()(PersonKey(0, 0, 0), "")
        rounds = load_rounds(self.caption.recaption)
        library = self.caption.library().library_hash
        named = fingerprint(sorted(set(rounds.names.values())))
        captions = [caption.caption_id for caption in wanted.captions]
        return [wanted.verdict_id, library, named, words_hash(), *captions]

    def check_models(self) -> None:
        """See that every model that is asked answers and sees. Raises MllmError."""

        async def check() -> None:
            for settings in self.asked():
                async with Mllm(settings) as model:
                    await model.check()

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


async def _open(settings: AnnotateSettings, stack: AsyncExitStack) -> "Annotator":
    models = {m.name: await stack.enter_async_context(Mllm(m)) for m in settings.asked()}
    captioner = open_captioner(settings.caption, models, caption_plan(settings.caption, settings.writers()))
    writer = CaptionWriter(settings.caption, captioner, Validator(settings.caption.limits).problem)
    at_once = PERSONS_AT_ONCE * sum(m.concurrency * len(m.urls) for m in settings.asked())
    return Annotator(settings, open_judge(settings.judge, models), writer, settings.plan(), max(1, at_once))


@dataclass
class _Outcome:
    """What becomes of one person, as it comes together."""

    verdict: Verdict | None = None
    captions: list[Caption] = field(default_factory=list)
    written: int = 0
    requests: int = 0
    tokens: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Each question: the model, and the error if it could not be reached."""


@dataclass(frozen=True)
class Annotator:
    """Judges and captions the persons of a unit, many at once."""

    settings: AnnotateSettings
    judge: Judge | None
    writer: CaptionWriter
    plan: Callable[[PersonKey, str], PersonPlan]
    persons_at_once: int

    async def annotate(self, persons: pa.Table) -> pa.Table:
        """Rows of `pairs`, in the order of the persons. Raises UnreachableError if a model is not there:
        that says nothing of the persons, and the unit stays open for the next run.
        """
        gate = asyncio.Semaphore(self.persons_at_once)

        async def one(row: Row) -> tuple[PairRow, _Outcome]:
            async with gate:
                return await self._person(row)

        done = await asyncio.gather(*map(one, persons.to_pylist()))
        _raise_unreachable([question for _, outcome in done for question in outcome.asked])
        return to_table(PairRow, [row for row, _ in done])

    async def _person(self, row: Row) -> tuple[PairRow, _Outcome]:
        """One person; nothing is raised, a row that fails says why. A reason that it comes with stays."""
        started, out = time.monotonic(), _Outcome()
        key = PersonKey(row["unit"], row["row"], row["person"])
        reason, error = Reason(row["reason"]) if row.get("reason") else None, row.get("error")
        try:
            if reason is None:
                reason, error = await self._annotate(key, row, out)
        except CropError as problem:
            reason, error = Reason.DECODE_FAILED, str(problem)
        except Exception as problem:  # one bad row must not take its unit down
            reason, error = Reason.CRASHED, f"{type(problem).__name__}: {' '.join(str(problem).split())}"
        pair = PairRow(
            unit=key.unit,
            row=key.row,
            person=key.person,
            status=status_of(reason),
            reason=reason,
            error=error,
            verdict=out.verdict,
            captions=out.captions,
            seconds=time.monotonic() - started,
            written=out.written,
            requests=out.requests,
            tokens=out.tokens,
        )
        return pair, out

    async def _annotate(self, key: PersonKey, row: Row, out: _Outcome) -> tuple[Reason | None, str | None]:
        """Fill in what becomes of a person; the reason and error if it is not kept."""
        plan = self.plan(key, row["crop_sha256"])
        known = {caption["slot"]: caption for caption in row["captions"]}
        out.verdict = Verdict(**row["verdict"]) if row["verdict"] else None
        person = _Lazily(key, row)
        if self.judge and out.verdict is None:
            problem = await self._judge(self.judge, person.read(), plan.verdict_id, out)
            if problem:
                return problem.reason, problem.detail
        rejected = decide(out.verdict.scores, self.settings.judge.keep_min) if out.verdict else None
        if rejected:
            return rejected, None
        for planned in plan.captions:
            siblings = [caption.text for caption in out.captions if caption.text and caption.reason is None]
            slot = planned.key.slot
            caption = self.writer.again(known[slot], siblings) if slot in known else None
            if caption is None:
                written = await self.writer.write(person.read(), planned, siblings)
                caption = written.caption
                out.written += 1
                out.requests += written.requests
                out.tokens += written.tokens
                out.asked.append((caption.model_id, None if written.reached else caption.error))
            out.captions.append(caption)
        if any(caption.reason is None for caption in out.captions):
            return None, None
        return out.captions[0].reason, out.captions[0].error

    async def _judge(self, judge: Judge, person: Person, verdict_id: str, out: _Outcome) -> Finding | None:
        """Ask the judge; what is wrong if there is no verdict."""
        try:
            verdict, requests, tokens = await judge.judge(person)
        except UnreachableError as error:
            out.asked.append((judge.model_id, str(error)))
            return Finding(Reason.ENDPOINT_UNREACHABLE, str(error))
        except MllmError as error:
            out.asked.append((judge.model_id, None))
            return Finding(Reason.VERDICT_FAILED, str(error))
        out.asked.append((judge.model_id, None))
        out.requests, out.tokens = out.requests + requests, out.tokens + tokens
        out.verdict = replace(verdict, verdict_id=verdict_id)
        return None


@dataclass
class _Lazily:
    """A person whose picture is decoded when it is first needed."""

    key: PersonKey
    row: Row
    person: Person | None = None

    def read(self) -> Person:
        """Raises CropError."""
        if self.person is None:
            self.person = read_person(self.key, self.row)
        return self.person


def _raise_unreachable(asked: Sequence[tuple[str, str | None]]) -> None:
    """Raise if a model could not be reached once: asked again later, it may say something."""
    for model_id in dict.fromkeys(model for model, _ in asked):
        errors = [error for model, error in asked if model == model_id]
        if all(errors):
            raise UnreachableError(f"{model_id}: no endpoint answers: {errors[0]}")
