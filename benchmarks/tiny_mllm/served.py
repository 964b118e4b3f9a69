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
    """What benchmarks.tiny_mllm.check finds, with seconds until ready and requests a second."""
    exam = Exam(people, seed)
    with served(folder) as (url, ready_s):
        started = time.monotonic()
        captions, letters = asyncio.run(_ask(url, exam))
        seconds = time.monotonic() - started
    kept = [answer.scores["A"] for answer in letters]
    return {
        "seconds_until_ready": round(ready_s),
        "requests_per_s": round((len(captions) + len(letters)) / seconds, 1),
        "concurrency": CONCURRENCY,
        "image_tokens": captions[0].image_tokens,
        "probability_of_A_least_and_most": [round(min(kept), 4), round(max(kept), 4)],
        **exam.marks([answer.text for answer in captions], [answer.text for answer in letters]),
    }


async def _ask(url: str, exam: Exam) -> tuple[list[Answer], list[Answer]]:
    caption, judge = read_prompt("caption"), read_prompt("judge")
    form = caption["user"].replace("{template}", FORM.text)
    settings = ModelSettings(
        name=NAME, urls=(url,), concurrency=CONCURRENCY, require_image_tokens=True, canaries=()
    )
    asked = [_question(caption["system"], form, picture, LONGEST) for picture in exam.plain]
    judged = [
        _question(judge["system"], judge["user"], picture, 1, tuple(LETTERS)) for picture in exam.faulty
    ]
    async with Mllm(settings) as model:
        answers = await asyncio.gather(*(model.ask(question) for question in [*asked, *judged]))
    return answers[: len(asked)], answers[len(asked) :]


def _question(
    system: str, text: str, picture: Image.Image, longest: int, choices: tuple[str, ...] = ()
) -> Question:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=95)
    greedy = Sampling(temperature=0.0, max_tokens=longest, stop=())
    return Question(system=system, text=text, jpeg=sink.getvalue(), seed=0, sampling=greedy, choices=choices)
