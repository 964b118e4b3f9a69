"""The annotator: what becomes of each person of a unit, many at once."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from curation.audit import stored_colours
from curation.caption import CaptionWriter
from curation.captioners import Person, read_person
from curation.fit import CropError
from curation.judge import Judge, decide
from curation.known import PersonPlan
from curation.mllm import MllmError, UnreachableError
from curation.tables import Plan
from curation.validate import Finding
from pipeline.reasons import Reason, status_of
from pipeline.records import Caption, GarmentColours, PairRow, PersonKey, Verdict, to_table

Row = Mapping[str, Any]


@dataclass
class _Outcome:
    """What becomes of one person, as it comes together."""

    verdict: Verdict | None = None
    captions: list[Caption] = field(default_factory=list)
    colours: GarmentColours | None = None
    written: int = 0
    requests: int = 0
    tokens: int = 0

    def cost(self, requests: int, tokens: int) -> None:
        """Add what a question took."""
        self.requests, self.tokens = self.requests + requests, self.tokens + tokens


@dataclass(frozen=True)
class Annotator:
    """Judges and captions the persons of a unit, many at once."""

    judge: Judge | None
    writer: CaptionWriter
    plan: Plan
    persons_at_once: int

    async def annotate(self, persons: pa.Table) -> pa.Table:
        """Rows of `pairs`, in the order of the persons. Raises UnreachableError if a model is not there:
        that says nothing of the persons, and the unit stays open for the next run.
        """
        gate = asyncio.Semaphore(self.persons_at_once)

        async def one(row: Row) -> PairRow:
            async with gate:
                return await self._person(row)

        try:
            async with asyncio.TaskGroup() as group:
                rows = [group.create_task(one(row)) for row in persons.to_pylist()]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the others were called off with it
        return to_table(PairRow, [row.result() for row in rows])

    async def _person(self, row: Row) -> PairRow:
        """One person; a row that fails says why. A reason that it comes with stays."""
        started, out = time.monotonic(), _Outcome()
        key = PersonKey.of(row)
        reason, error = Reason(row["reason"]) if row.get("reason") else None, row.get("error")
        try:
            if reason is None:
                reason, error = await self._annotate(key, row, out)
        except UnreachableError:
            raise
        except CropError as problem:
            reason, error = Reason.DECODE_FAILED, str(problem)
        except Exception as problem:  # one bad row must not take its unit down
            reason, error = Reason.CRASHED, f"{type(problem).__name__}: {' '.join(str(problem).split())}"
        texts = [caption.text for caption in out.captions if caption.text and caption.reason is None]
        return PairRow(
            unit=key.unit,
            row=key.row,
            person=key.person,
            status=status_of(reason),
            reason=reason,
            error=error,
            verdict=out.verdict,
            captions=out.captions,
            colours=out.colours,
            agreement=self.writer.check.auditor.agreement(texts),
            seconds=time.monotonic() - started,
            written=out.written,
            requests=out.requests,
            tokens=out.tokens,
        )

    async def _annotate(self, key: PersonKey, row: Row, out: _Outcome) -> tuple[Reason | None, str | None]:
        """Fill in what becomes of a person; the reason and error if it is not kept."""
        plan, person = self.plan(key, row["crop_sha256"]), _Lazily(key, row)
        out.verdict = Verdict(**row["verdict"]) if row["verdict"] else None
        if self.judge and out.verdict is None:
            problem = await self._judge(self.judge, person.read(), plan.verdict_id, out)
            if problem:
                return problem.reason, problem.detail
        rejected = decide(out.verdict.scores, plan.keep_min) if out.verdict else None
        if rejected:
            return rejected, None
        auditor = self.writer.check.auditor
        if row["colours"]:
            out.colours = stored_colours(row["colours"])
        else:
            measured = auditor.measure(person.read().picture, person.read().keypoints)
            out.colours = replace(measured, measured_id=plan.colours_id)
        await self._caption(plan, row, person, out.colours, out)
        if any(caption.reason is None for caption in out.captions):
            return None, None
        return out.captions[0].reason, out.captions[0].error

    async def _caption(
        self, plan: PersonPlan, row: Row, person: "_Lazily", colours: GarmentColours, out: _Outcome
    ) -> None:
        """Take over the captions that stand, write the others."""
        standing, refused = self._held_against(colours, plan, row)
        for planned in plan.captions:
            slot = planned.key.slot
            if slot not in standing:
                siblings = [caption for caption in standing.values() if caption.reason is None]
                others = [other.template.id for other in plan.captions if other.template and other != planned]
                others += [caption.template_id for caption in standing.values()]
                before = refused.get(slot)
                written = await self.writer.write(person.read(), planned, siblings, others, colours, before)
                standing[slot] = written.caption
                out.written += 1
                out.cost(written.requests, written.tokens)
            text = standing[slot].text
            audit = None if text is None else self.writer.check.auditor.audit(text, colours)
            out.captions.append(replace(standing[slot], audit=audit))

    def _held_against(
        self, colours: GarmentColours, plan: PersonPlan, row: Row
    ) -> tuple[dict[int, Caption], dict[int, Caption]]:
        """By slot, the known captions that stand, and those that are asked for once more: some are found out
        only now that the colours are measured.
        """
        check = self.writer.check
        standing, refused = (
            {known["slot"]: _read_caption(known) for known in row[name]} for name in ("captions", "refused")
        )
        for slot, caption in list(standing.items()):
            problem = check.auditor.problem(caption.text, colours) if caption.text else None
            if problem and caption.reason is None:
                standing[slot] = replace(caption, reason=problem.reason, error=problem.detail)
                if check.rewrites and plan.attempts:
                    del standing[slot]
                    refused[slot] = caption
        return standing, refused

    async def _judge(self, judge: Judge, person: Person, verdict_id: str, out: _Outcome) -> Finding | None:
        """Ask the judge; what is wrong if there is no verdict."""
        try:
            verdict, requests, tokens = await judge.judge(person)
        except UnreachableError as error:
            raise UnreachableError(f"{judge.model_id}: no endpoint answers: {error}") from None
        except MllmError as error:
            out.cost(error.requests, error.tokens)
            return Finding(Reason.VERDICT_FAILED, str(error))
        out.cost(requests, tokens)
        out.verdict = replace(verdict, verdict_id=verdict_id)
        return None


def _read_caption(row: Row) -> Caption:
    """A caption as a table holds it, where its reason is a text."""
    return Caption(**{**row, "reason": Reason(row["reason"]) if row["reason"] else None})


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
