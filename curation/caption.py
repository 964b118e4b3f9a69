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
    """Confidence from which a keypoint counts as visible, where colours are measured."""
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
        started, requests, tokens = time.monotonic(), 0, 0
        first, left = 0, self.settings.attempts
        texts, taken = [caption.text or "" for caption in siblings], list(others)
        if refused:
            first = refused.attempts
            left -= first if refused.reason else 0  # what counted once has all its attempts again
            taken.append(refused.template_id)
        draft: Draft | None = None
        problem: Finding | None = None
        answered, attempt = 0, first
        for attempt in range(first, first + left):
            try:
                next_draft = await self.captioner.write(person, planned, attempt, taken)
            except UnreachableError as error:
                name = planned.writer.model_id
                raise UnreachableError(f"{name}: no endpoint answers: {error}") from None
            except MllmError as error:
                requests, tokens = requests + error.requests, tokens + error.tokens
                problem = Finding(Reason.CAPTION_FAILED, str(error))
                if isinstance(error, RefusedError):
                    break
                continue
            if next_draft is None:
                problem = problem or Finding(Reason.CAPTION_EMPTY, "no template left that could be filled")
                break
            draft, answered = next_draft, attempt + 1
            taken.append(draft.template_id)
            requests += draft.answer.attempts if draft.answer else 0
            tokens += _tokens(draft)
            problem = self.check.problem(draft.text, texts, colours)
            if problem is None or not self.check.asks_again(problem):
                break
        # Where the last attempts were lost, the text before them stays: they are made once more, and not it.
        if draft is None and refused and problem:
            caption = replace(refused, reason=problem.reason, error=problem.detail)
        else:
            caption = replace(self._caption(planned, draft, problem), attempts=answered or attempt + 1)
        return Written(replace(caption, seconds=time.monotonic() - started), requests, tokens)

    def _caption(self, planned: PlannedCaption, draft: Draft | None, problem: Finding | None) -> Caption:
        answer = draft.answer if draft else None
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
            prompt_tokens=answer.prompt_tokens if answer else None,
            image_tokens=answer.image_tokens if answer else None,
            completion_tokens=answer.completion_tokens if answer else None,
        )


def _tokens(draft: Draft) -> int:
    answer = draft.answer
    return (answer.prompt_tokens or 0) + (answer.completion_tokens or 0) if answer else 0
