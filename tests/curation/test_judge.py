"""The judge: what it is asked, and how its probabilities decide."""

import asyncio
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation.captioners import Person
from curation.exemplars import Exemplar, Exemplars
from curation.judge import LETTERS, Judge, JudgeSettings, decide, judge_inputs
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


def test_the_likeliest_other_letter_is_the_reason_even_where_a_is_likelier() -> None:
    assert decide(scores(A=0.6, D=0.25, F=0.15), 0.7) is Reason.CUT_OFF


@pytest.mark.parametrize(("letter", "reason"), [item for item in LETTERS.items() if item[1]])
def test_every_letter_but_a_rejects_with_its_reason(letter: str, reason: Reason) -> None:
    assert decide(scores(**{letter: 1.0}), 0.5) is reason
    assert reason.status == "rejected"


def test_the_model_sees_the_exemplars_first_and_then_the_person() -> None:
    prompt, shown = Prompt("p", "Sort.", "Which letter?"), Exemplars("e", (Exemplar(jpeg("blue"), "B"),))
    person = Person(PersonKey(0, 0, 0), jpeg("red"), np.zeros((256, 128, 3), np.uint8), np.zeros((17, 3)))

    async def ask(settings: ModelSettings) -> Any:
        async with Mllm(settings) as model:
            return await Judge(JudgeSettings(judge="endpoint", model="toy"), prompt, shown, model).judge(
                person
            )

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
