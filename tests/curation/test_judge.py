"""The judge: what it is asked, and how its probabilities decide."""

import asyncio
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation.captioners import Person
from curation.exemplars import Exemplar, Exemplars
from curation.judge import LETTERS, EndpointJudge, JudgeSettings, decide, judge_inputs, open_judge
from curation.mllm import Mllm, ModelSettings
from curation.prompts import Prompt
from pipeline.reasons import Reason
from pipeline.records import PersonKey
from tests.curation.fake_endpoint import chosen, fake_endpoint, picture_bytes


def scores(**given: float) -> list[float]:
    """Probabilities in the letters' order."""
    return [given.get(letter, 0.0) for letter in LETTERS]


def jpeg(colour: str) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (128, 256), colour).save(sink, "JPEG")
    return sink.getvalue()


def test_a_person_is_kept_from_the_threshold_on() -> None:
    assert decide(scores(A=0.5, B=0.5), 0.5) is None
    assert decide(scores(A=0.49, B=0.51), 0.5) is Reason.NOT_REAL


def test_the_likeliest_letter_is_the_reason_however_unlikely() -> None:
    assert decide(scores(A=0.3, D=0.4, F=0.3), 0.5) is Reason.CUT_OFF


def test_a_probability_decides_alike_before_and_after_it_was_stored_in_32_bits() -> None:
    assert decide(scores(A=float(np.float32(0.9)), B=0.1), 0.9) is decide(scores(A=0.9, B=0.1), 0.9) is None


def test_a_letter_to_keep_that_is_not_likely_enough_is_a_reason_of_its_own() -> None:
    assert decide(scores(A=0.6, D=0.25, F=0.15), 0.7) is Reason.JUDGED_UNSURE


@pytest.mark.parametrize(("letter", "reason"), [item for item in LETTERS.items() if item[1]])
def test_every_letter_but_a_rejects_with_its_reason(letter: str, reason: Reason) -> None:
    assert decide(scores(**{letter: 1.0}), 0.5) is reason
    assert reason.status == "rejected"


def test_the_model_sees_the_exemplars_first_and_then_the_person() -> None:
    prompt, shown = Prompt("p", "Sort.", "Which letter?"), Exemplars("e", (Exemplar(jpeg("blue"), "B"),))
    person = Person(PersonKey(0, 0, 0), jpeg("red"), np.zeros((256, 128, 3), np.uint8), np.zeros((17, 3)))

    async def ask(settings: ModelSettings) -> Any:
        async with Mllm(settings) as model:
            asked = JudgeSettings(judge="endpoint", model="toy")
            return await EndpointJudge(asked, prompt, shown, model).judge(person)

    with fake_endpoint(lambda n, body: chosen("C", body["structured_outputs"]["choice"])) as endpoint:
        verdict, requests, tokens = asyncio.run(ask(ModelSettings(name="toy", urls=(endpoint.url,))))
    (request,) = endpoint.requests
    assert picture_bytes(request) == [jpeg("blue"), jpeg("red")]
    assert [message["content"] for message in request["messages"] if message["role"] == "assistant"] == ["B"]
    assert (verdict.letter, verdict.prompt_id, requests, tokens) == ("C", "p", 1, 102)


def test_what_shapes_a_verdict_changes_its_inputs() -> None:
    models = [ModelSettings(name="toy", urls=("http://h:1",))]
    base = JudgeSettings(judge="endpoint", model="toy")
    before = judge_inputs(base, models)
    assert judge_inputs(base.model_copy(update={"keep_min": 0.9}), models) == before
    assert judge_inputs(base.model_copy(update={"seed": 1}), models) != before
    assert judge_inputs(base, [models[0].model_copy(update={"revision": "2"})]) != before
    assert judge_inputs(JudgeSettings(), models) == []


def test_the_stand_in_judges_without_any_model_and_says_its_name() -> None:
    settings = JudgeSettings(judge="heuristics-stand-in")
    judge = open_judge(settings, {})
    assert judge is not None
    crop = np.full((256, 128, 3), 2, np.uint8)
    person = Person(PersonKey(0, 0, 0), b"", crop, np.ones((17, 3)))
    verdict, requests, tokens = asyncio.run(judge.judge(person))
    assert (verdict.letter, verdict.model_id, requests, tokens) == ("F", "heuristics-stand-in/1", 0, 0)
    assert sum(verdict.scores) == pytest.approx(1.0)
    assert decide(verdict.scores, settings.keep_min) is Reason.UNCLEAR


def test_a_limit_of_the_stand_in_shapes_its_verdicts() -> None:
    settings = JudgeSettings(judge="heuristics-stand-in")
    stricter = settings.heuristics.model_copy(update={"sharpness_min": 9.0})
    assert judge_inputs(settings.model_copy(update={"heuristics": stricter}), []) != judge_inputs(
        settings, []
    )


@pytest.mark.parametrize("judge", ["none", "heuristics-stand-in"])
def test_only_the_endpoint_has_a_model(judge: Any) -> None:
    with pytest.raises(ValueError, match="needed by the judge `endpoint`, and by no other"):
        JudgeSettings(judge=judge, model="toy")
