"""The judge: is this person fit for training? A multimodal model chooses among ten letters.

What is recorded are the probabilities of all letters; which of them keeps a person is decided afterwards, so
that a changed threshold asks nobody again (docs/method.md, the judge).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np
from pydantic import Field, model_validator

from curation.captioners import Person
from curation.completions import Example
from curation.exemplars import Exemplars, load_exemplars
from curation.fit import FitSettings, fit
from curation.heuristics import MODEL_ID, HeuristicSettings, fault_scores, measure
from curation.mllm import Mllm, ModelSettings, Question, Sampling
from curation.prompts import Prompt, load_prompt
from pipeline.reasons import Reason
from pipeline.recipe import Section
from pipeline.records import Verdict

KEEP = "A"
LETTERS: Mapping[str, Reason | None] = {
    KEEP: None,
    "B": Reason.NOT_REAL,
    "C": Reason.SEVERAL_PEOPLE,
    "D": Reason.CUT_OFF,
    "E": Reason.OCCLUDED,
    "F": Reason.UNCLEAR,
    "G": Reason.TEXT_OR_COLLAGE,
    "H": Reason.MINOR_AT_RISK,
    "I": Reason.SEXUAL_CONTENT,
    "J": Reason.JUDGED_OTHER,
}
"""What each letter means: kept, or the reason."""


class JudgeSettings(Section):
    """Who judges, and from which probability on a person is kept."""

    judge: Literal["none", "endpoint", "heuristics-stand-in"] = "none"
    """`endpoint` asks a multimodal model; `heuristics-stand-in` measures light and sharpness, and no more;
    `none` keeps everybody."""
    model: str = ""
    """The judge's name among `annotate.models`."""
    prompt: str = "judge"
    """The name of a packaged prompt or a path."""
    exemplars: str | None = None
    """A folder with pictures and a table `exemplars.csv` (file, letter), or the packaged `judge-exemplars`:
    shown to the model before each question; none by default."""
    heuristics: HeuristicSettings = HeuristicSettings()
    """Limits of the stand-in."""
    keep_min: float = Field(default=0.5, ge=0, le=1)
    """Least probability of the letter A of a person that is kept."""
    picture: FitSettings = FitSettings()
    """How large a picture the model gets."""
    seed: int = 0
    """Seed of the sampling, which is greedy: it matters to servers that are not exact."""

    @model_validator(mode="after")
    def _judge_has_a_name(self) -> Self:
        if (self.judge == "endpoint") != bool(self.model):
            raise ValueError("model: needed by the judge `endpoint`, and by no other")
        return self


def decide(scores: Sequence[float], keep_min: float) -> Reason | None:
    """None if the person is kept, else the likeliest letter's reason; judged_unsure if that letter keeps.

    scores: in the letters' order.
    """
    by_letter = dict(zip(LETTERS, scores, strict=True))
    if np.float32(by_letter[KEEP]) >= np.float32(keep_min):  # tables hold 32 bits
        return None
    return LETTERS[max(by_letter, key=by_letter.__getitem__)] or Reason.JUDGED_UNSURE


def judge_inputs(settings: JudgeSettings, models: Sequence[ModelSettings]) -> list[object]:
    """What shapes a verdict beside the crop; empty without a judge. Raises PromptError, ExemplarError."""
    if settings.judge == "none":
        return []
    if settings.judge == "heuristics-stand-in":
        return [MODEL_ID, settings.heuristics.result_settings()]
    (model,) = (model for model in models if model.name == settings.model)
    shown = load_exemplars(settings.exemplars).id if settings.exemplars else ""
    prompt = load_prompt(settings.prompt).id
    return [model.name, model.revision, prompt, shown, settings.picture.result_settings(), settings.seed]


class Judge(Protocol):
    """Whatever can judge."""

    @property
    def model_id(self) -> str:
        """The model's name."""
        ...

    async def judge(self, person: Person) -> tuple[Verdict, int, int]:
        """The verdict without its id, requests made, tokens spent. Raises MllmError, CropError."""
        ...


@dataclass(frozen=True)
class HeuristicsStandIn:
    """Stand-in for a multimodal model: says of light, sharpness and keypoints what a CPU can measure."""

    settings: HeuristicSettings

    @property
    def model_id(self) -> str:
        """Says that it is none."""
        return MODEL_ID

    async def judge(self, person: Person) -> tuple[Verdict, int, int]:
        """Nobody is asked."""
        measured = measure(person.picture, person.keypoints, self.settings.keypoint_min)
        faults = fault_scores(measured, self.settings)
        scores = [faults.get(letter, 0.0) for letter in LETTERS]
        return (
            Verdict(
                letter=max(faults, key=faults.__getitem__), scores=scores, model_id=MODEL_ID, prompt_id=""
            ),
            0,
            0,
        )


@dataclass(frozen=True)
class EndpointJudge:
    """A multimodal model that says a letter."""

    settings: JudgeSettings
    prompt: Prompt
    exemplars: Exemplars
    model: Mllm

    @property
    def model_id(self) -> str:
        """The model's name."""
        return self.settings.model

    async def judge(self, person: Person) -> tuple[Verdict, int, int]:
        """The verdict without its id, requests made, tokens spent. Raises MllmError, CropError."""
        question = Question(
            system=self.prompt.system,
            examples=tuple(
                Example(exemplar.jpeg, self.prompt.user, exemplar.letter) for exemplar in self.exemplars.shown
            ),
            text=self.prompt.user,
            jpeg=fit(person.jpeg, self.settings.picture),
            seed=self.settings.seed,
            sampling=Sampling(temperature=0.0, max_tokens=1, stop=()),
            choices=tuple(LETTERS),
        )
        answer = await self.model.ask(question)
        verdict = Verdict(
            letter=answer.text,
            scores=[answer.scores[letter] for letter in LETTERS],
            model_id=answer.model_id,
            prompt_id=self.prompt.id,
        )
        return verdict, answer.attempts, answer.tokens


def open_judge(settings: JudgeSettings, models: Mapping[str, Mllm]) -> Judge | None:
    """The judge of the settings; models: by name, open. Raises PromptError, ExemplarError."""
    if settings.judge == "none":
        return None
    if settings.judge == "heuristics-stand-in":
        return HeuristicsStandIn(settings.heuristics)
    shown = load_exemplars(settings.exemplars) if settings.exemplars else Exemplars("", ())
    return EndpointJudge(settings, load_prompt(settings.prompt), shown, models[settings.model])
