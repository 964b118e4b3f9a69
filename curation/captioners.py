"""Captioners: what sees a person and writes a sentence to a template; a stand-in for CPUs, an endpoint."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.attributes import measure
from curation.caption_plan import CaptionPlan, PlannedCaption
from curation.colours import ColourTerms, Floats
from curation.fit import CropError, FitSettings, fit
from curation.mllm import Answer, Mllm, Question, Sampling
from curation.prompts import Prompt
from pipeline.draws import choose
from pipeline.records import PersonKey
from pipeline.templates import TemplateLibrary, fill

STAND_IN_MODEL_ID = "attributes-stand-in/1"
PROMPT_SLOT = "{template}"


@dataclass(frozen=True, eq=False)
class Person:
    """What a model sees: JPEG bytes, the same as RGB [H, W, 3], keypoints [17, 3] in crop pixels."""

    key: PersonKey
    jpeg: bytes
    picture: NDArray[np.uint8]
    keypoints: Floats


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One attempt at a caption: the text and what it was made with; `answer` where a model was asked."""

    text: str
    template_id: str
    seed: int
    answer: Answer | None = None


class Captioner(Protocol):
    """Whatever can write captions."""

    @property
    def prompt_id(self) -> str:
        """Hash of the data that shapes the text beside the templates."""
        ...

    async def write(
        self, person: Person, planned: PlannedCaption, attempt: int, taken: Sequence[str]
    ) -> Draft | None:
        """Write a caption; attempt 0 as planned, further ones with another seed and none of the templates
        in `taken`. None if there is nothing to write along. Raises MllmError.
        """
        ...


@dataclass(frozen=True)
class AttributesStandIn:
    """Stand-in for a multimodal model: fills templates with what was measured on the CPU."""

    library: TemplateLibrary
    terms: ColourTerms
    keypoint_min: float
    share_min: float
    seed: int

    @property
    def prompt_id(self) -> str:
        """Hash of the colour terms."""
        return self.terms.id

    async def write(
        self, person: Person, planned: PlannedCaption, attempt: int, taken: Sequence[str]
    ) -> Draft | None:
        """Fill the slot's template among those of which every placeholder was measured."""
        values = measure(person.picture, person.keypoints, self.terms, self.keypoint_min, self.share_min)
        fillable = {t.id: t for t in self.library.templates if values.keys() >= set(t.placeholders)}
        slot = planned.key.slot
        drawn = choose(fillable, f"{self.seed}/{person.key}", slot + 1)
        if attempt or slot >= len(drawn):
            return None
        template = fillable[drawn[slot]]
        return Draft(text=fill(template, values), template_id=template.id, seed=planned.seed)


@dataclass(frozen=True)
class EndpointCaptioner:
    """Multimodal models behind endpoints follow the template; every template suits every person."""

    plan: CaptionPlan
    prompt: Prompt
    sampling: Sampling
    picture: FitSettings
    models: Mapping[str, Mllm]
    """By the id that `planned.writer` names."""

    @property
    def prompt_id(self) -> str:
        """Hash of the prompt's file."""
        return self.prompt.id

    async def write(
        self, person: Person, planned: PlannedCaption, attempt: int, taken: Sequence[str]
    ) -> Draft | None:
        """Ask the planned model."""
        template, seed = planned.template, planned.seed
        if attempt:
            template, seed = self.plan.again(planned, attempt, taken)
        assert template is not None  # a library is never empty
        question = Question(
            system=self.prompt.system,
            text=self.prompt.user.replace(PROMPT_SLOT, template.text),
            jpeg=fit(person.jpeg, self.picture),
            seed=seed,
            sampling=self.sampling,
        )
        answer = await self.models[planned.writer.model_id].ask(question)
        return Draft(text=" ".join(answer.text.split()), template_id=template.id, seed=seed, answer=answer)


def read_person(key: PersonKey, row: Mapping[str, Any]) -> Person:
    """Decode the crop and move the keypoints from the source picture into it; raises CropError."""
    if row["crop"] is None:
        raise CropError("no pixels stored for this person")
    try:
        with Image.open(io.BytesIO(row["crop"])) as image:
            picture = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise CropError(f"crop: {' '.join(str(error).split())}") from None
    corner = [row["crop_left_px"], row["crop_top_px"], 0]
    keypoints = np.array(row["keypoints"], dtype=np.float64).reshape(17, 3) - corner
    return Person(key, row["crop"], picture, keypoints)
