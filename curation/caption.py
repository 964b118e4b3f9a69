"""Captions: settings, how each slot is drawn, and the making of one: ask, validate, ask again.

Two captioners: `attributes-stand-in` measures colours and keypoints on a CPU, for machines without a GPU, and
`endpoint` asks multimodal models (docs/method.md, captions).
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field, PositiveInt

from curation.caption_check import CaptionCheck
from curation.caption_plan import CaptionPlan, PlannedCaption, Writer
from curation.captioners import (
    PROMPT_SLOT,
    STAND_IN_MODEL_ID,
    AttributesStandIn,
    Captioner,
    Draft,
    EndpointCaptioner,
    Person,
)
from curation.colours import load_colour_terms
from curation.fit import FitSettings
from curation.mllm import Mllm, MllmError, ModelSettings, RefusedError, Sampling, UnreachableError
from curation.prompts import load_prompt
from curation.recaption import RecaptionSettings
from curation.usage import Usage
from curation.validate import CaptionLimits, Finding
from pipeline.reasons import Reason
from pipeline.recipe import Section
from pipeline.records import Caption, GarmentColours
from pipeline.templates import TemplateLibrary, load_library, require


class CaptionSettings(Section):
    """How captions are made."""

    captioner: Literal["attributes-stand-in", "endpoint"]
    """`endpoint` asks multimodal models; `attributes-stand-in` measures, on machines without a GPU."""
    models: tuple[str, ...] = ()
    """Names of the models in `annotate.models` that write; all of them if empty."""
    templates: str
    """Template library: a packaged one (`attributes` for the stand-in, `starter` for a model) or a path."""
    templates_min: PositiveInt = 1
    """A library with fewer templates is refused."""
    captions_per_person: int = Field(default=2, ge=1, le=10)
    """Caption slots, each with another template, and another model while there are others."""
    attempts: int = Field(default=3, ge=1, le=10)
    """How often a caption is asked for until it is valid; each time with another seed and template."""
    seed: int = 0
    """Moves the draw of templates and models and the sampling."""
    prompt: str = "caption"
    """Prompt of the endpoint: the name of a packaged one or a path."""
    sampling: Sampling = Sampling()
    """How the models sample."""
    picture: FitSettings = FitSettings()
    """How large a picture they get."""
    limits: CaptionLimits = CaptionLimits()
    """What counts as a caption."""
    recaption: tuple[RecaptionSettings, ...] = ()
    """Rounds of writing anew what a table of scores finds worst, in their order; earlier rounds stay here."""
    keypoint_min: float = Field(default=0.5, ge=0, le=1)
    """Stand-in: confidence from which a keypoint counts as visible."""
    share_min: float = Field(default=0.4, ge=0, le=1)
    """Stand-in: least share of a region's pixels that must agree on its colour."""

    def library(self) -> TemplateLibrary:
        """The template library, long enough. Raises TemplateError."""
        library = load_library(self.templates)
        slots = self.captions_per_person if self.captioner == "endpoint" else 1
        require(library, max(self.templates_min, slots))
        return library


def caption_plan(settings: CaptionSettings, models: Sequence[ModelSettings]) -> CaptionPlan:
    """How captions are drawn. models: those that write. Raises TemplateError, PromptError."""
    library = settings.library()
    shaped_by: dict[str, Any]
    if settings.captioner == "endpoint":
        shaped_by = {
            "prompt": load_prompt(settings.prompt, PROMPT_SLOT).id,
            "sampling": settings.sampling.result_settings(),
            "picture": settings.picture.result_settings(),
        }
        writers = [Writer(model.name, model.revision, model.weight) for model in models]
        return CaptionPlan(settings.seed, settings.captions_per_person, writers, library.templates, shaped_by)
    shaped_by = {
        "library": library.library_hash,
        "terms": load_colour_terms().id,
        "keypoint_min": settings.keypoint_min,
        "share_min": settings.share_min,
        "seed": settings.seed,
    }
    return CaptionPlan(
        settings.seed, settings.captions_per_person, [Writer(STAND_IN_MODEL_ID)], (), shaped_by
    )


def open_captioner(settings: CaptionSettings, models: Mapping[str, Mllm], plan: CaptionPlan) -> Captioner:
    """The captioner of the settings; models: by name, open."""
    if settings.captioner == "endpoint":
        return EndpointCaptioner(
            plan, load_prompt(settings.prompt, PROMPT_SLOT), settings.sampling, settings.picture, models
        )
    terms = load_colour_terms()
    return AttributesStandIn(
        settings.library(), terms, settings.keypoint_min, settings.share_min, settings.seed
    )


@dataclass(frozen=True)
class Written:
    """A caption, and what asking for it took."""

    caption: Caption
    requests: int
    tokens: int


@dataclass
class _Slot:
    """What the attempts at one caption begin with, and what they have come to."""

    planned: PlannedCaption
    siblings: Sequence[str]
    """Texts of the person's captions that count."""
    colours: GarmentColours
    taken: list[str]
    """Templates that are not taken while there are others."""
    attempts: int
    """Up to the last one that gave a text; without a text, up to the last."""
    draft: Draft | None = None
    problem: Finding | None = None
    requests: int = 0
    tokens: int = 0

    def spend(self, requests: int, tokens: int) -> None:
        """Add what a question took."""
        self.requests, self.tokens = self.requests + requests, self.tokens + tokens


@dataclass(frozen=True)
class CaptionWriter:
    """Writes captions one by one: asks, looks at the answer, asks again with another seed and template."""

    settings: CaptionSettings
    captioner: Captioner
    check: CaptionCheck

    async def write(
        self,
        person: Person,
        planned: PlannedCaption,
        siblings: Sequence[Caption],
        others: Sequence[str],
        colours: GarmentColours,
        refused: Caption | None = None,
    ) -> Written:
        """One caption, whatever is wrong with it.

        siblings: the person's captions that count. others: templates that the person's other captions have or
        will have. refused: an earlier run's caption for this slot, of which attempts and template are not
        repeated. Raises UnreachableError, CropError.
        """
        started, first, end, taken = time.monotonic(), 0, self.settings.attempts, [*others]
        if refused:
            first = refused.attempts
            if refused.reason is None or first >= end:
                end += first  # what counted once has all its attempts again
            taken.append(refused.template_id)
        slot = _Slot(planned, [caption.text or "" for caption in siblings], colours, taken, first + 1)
        for attempt in range(first, end):
            if not await self._attempt(person, slot, attempt):
                break
        # Where the last attempts were lost, the text before them stays: they are made once more, and not it.
        if slot.draft is None and refused and slot.problem:
            caption = replace(refused, reason=slot.problem.reason, error=slot.problem.detail)
        else:
            caption = self._caption(slot)
        return Written(replace(caption, seconds=time.monotonic() - started), slot.requests, slot.tokens)

    async def _attempt(self, person: Person, slot: _Slot, attempt: int) -> bool:
        """Ask once and look at the answer; whether to ask again."""
        if slot.draft is None:
            slot.attempts = attempt + 1
        try:
            draft = await self.captioner.write(person, slot.planned, attempt, slot.taken)
        except UnreachableError as error:
            name = slot.planned.writer.model_id
            raise UnreachableError(f"{name}: no endpoint answers: {error}") from None
        except MllmError as error:
            slot.spend(error.requests, error.tokens)
            slot.problem = Finding(Reason.CAPTION_FAILED, str(error))
            return not isinstance(error, RefusedError)
        if draft is None:
            nothing = Finding(Reason.CAPTION_EMPTY, "no template left that could be filled")
            slot.problem = slot.problem or nothing
            return False
        slot.draft, slot.attempts = draft, attempt + 1
        slot.taken.append(draft.template_id)
        if draft.answer:
            slot.spend(draft.answer.attempts, draft.answer.tokens)
        slot.problem = self.check.problem(draft.text, slot.siblings, slot.colours)
        return slot.problem is not None and self.check.asks_again(slot.problem)

    def _caption(self, slot: _Slot) -> Caption:
        planned, draft, problem = slot.planned, slot.draft, slot.problem
        answer = draft.answer if draft else None
        usage = answer or Usage()
        template = draft.template_id if draft else planned.template.id if planned.template else ""
        return Caption(
            slot=planned.key.slot,
            text=draft.text if draft else None,
            reason=problem.reason if problem else None,
            error=problem.detail if problem else None,
            model_id=planned.writer.model_id,
            model_revision=planned.writer.revision,
            prompt_id=self.captioner.prompt_id,
            template_id=template,
            seed=draft.seed if draft else planned.seed,
            sampling=json.dumps(self.settings.sampling.result_settings()) if answer else "",
            caption_id=planned.caption_id,
            prompt_tokens=usage.prompt_tokens,
            image_tokens=usage.image_tokens,
            completion_tokens=usage.completion_tokens,
            attempts=slot.attempts,
        )
