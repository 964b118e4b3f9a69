"""The same check through the real vLLM's server and our own client."""

import asyncio
import io
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from benchmarks.real_vllm import CONCURRENCY, NAME, served
from benchmarks.tiny_mllm.check import LONGEST, Exam, Found
from benchmarks.tiny_mllm.data import Person
from benchmarks.tiny_mllm.model import read_prompt
from benchmarks.tiny_mllm.reading import FORM
from curation.judge import LETTERS
from curation.mllm import Answer, Mllm, ModelSettings, Question, Sampling


def check_served(folder: Path, people: Sequence[Person], seed: int) -> Found:
    """What benchmarks.tiny_mllm.check finds, with seconds until ready and requests a second.

    The canaries that come with curation/canary.py are asked first: MllmError if the model does not see them.
    """
    exam = Exam(people, seed)
    with served(folder) as (url, ready_s):
        started = time.monotonic()
        whole, cropped, letters = asyncio.run(_ask(url, exam))
        seconds = time.monotonic() - started
    kept = [answer.scores["A"] for answer in letters]
    return {
        "seconds_until_ready": round(ready_s),
        "canaries": "passed",
        "requests_per_s": round((len(whole) + len(cropped) + len(letters)) / seconds, 1),
        "concurrency": CONCURRENCY,
        "image_tokens_whole": whole[0].image_tokens,
        "image_tokens_cut_out": sorted({answer.image_tokens for answer in cropped}),
        "probability_of_A_least_and_most": [round(min(kept), 4), round(max(kept), 4)],
        **exam.marks(*([answer.text for answer in answers] for answers in (whole, cropped, letters))),
    }


async def _ask(url: str, exam: Exam) -> tuple[list[Answer], list[Answer], list[Answer]]:
    caption, judge = read_prompt("caption"), read_prompt("judge")
    form = caption["user"].replace("{template}", FORM.text)
    settings = ModelSettings(name=NAME, urls=(url,), concurrency=CONCURRENCY, require_image_tokens=True)
    described = [
        [_question(caption["system"], form, picture, LONGEST) for picture in pictures]
        for pictures in (exam.whole, exam.cropped)
    ]
    judged = [
        _question(judge["system"], judge["user"], picture, 1, tuple(LETTERS)) for picture in exam.faulty
    ]
    async with Mllm(settings) as model:
        await model.check()
        whole, cropped, letters = [
            await asyncio.gather(*(model.ask(question) for question in questions))
            for questions in (*described, judged)
        ]
    return whole, cropped, letters


def _question(
    system: str, text: str, picture: Image.Image, longest: int, choices: tuple[str, ...] = ()
) -> Question:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=95)
    greedy = Sampling(temperature=0.0, max_tokens=longest, stop=())
    return Question(system=system, text=text, jpeg=sink.getvalue(), seed=0, sampling=greedy, choices=choices)
