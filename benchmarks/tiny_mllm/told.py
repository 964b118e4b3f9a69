"""Captions that a tiny MLLM writes, asked for through the real vLLM by our own client."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from benchmarks.real_vllm import NAME, served
from curation.captioners import PROMPT_SLOT
from curation.mllm import Mllm, ModelSettings, Question, Sampling
from curation.prompts import Prompt, load_prompt

PROMPT = "world/tiny_mllm/caption.yaml"


def tell(weights: Path, asked: Sequence[tuple[bytes, str]]) -> list[str]:
    """A greedy caption for each pair of a JPEG and a sentence form. weights: a folder that vLLM can serve."""
    with served(weights) as (url, _):
        return asyncio.run(_ask(url, asked))


async def _ask(url: str, asked: Sequence[tuple[bytes, str]]) -> list[str]:
    prompt = load_prompt(PROMPT, PROMPT_SLOT)
    settings = ModelSettings(name=NAME, urls=(url,), require_image_tokens=True, canaries=())
    async with Mllm(settings) as model:
        answers = await asyncio.gather(*(model.ask(_question(prompt, *each)) for each in asked))
    return [answer.text for answer in answers]


def _question(prompt: Prompt, jpeg: bytes, form: str) -> Question:
    return Question(
        system=prompt.system,
        text=prompt.user.replace(PROMPT_SLOT, form),
        jpeg=jpeg,
        seed=0,
        sampling=Sampling(temperature=0.0),
    )
