"""`webperson serve` on the real ray.serve.llm, on a CPU, with a random toy; killed in the middle.

    make vllm
    python -m benchmarks.serving

The command is run as users run it, with a recipe of one model. Questions are asked all the while; after a
third of them replica and engine are killed. None may be lost: the client waits and asks again until Ray has
brought the replica back. Then the command is stopped by SIGTERM and must leave nothing behind. The result is
written to benchmarks/results/serving.json.
"""

import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.real_vllm import NAME, forced_question, make_random_toy
from curation.mllm import Mllm, ModelSettings
from pipeline.storage import publish_json

RESULT = Path(__file__).parent / "results" / "serving.json"
PORT, START_S, QUESTIONS = 8124, 420, 600
RECIPE: dict[str, Any] = {
    "annotate": {"caption": {"captioner": "attributes-stand-in", "templates": "attributes"}},
}


def main() -> None:
    """Serve, ask, kill, ask on, stop; print and publish what happened."""
    with tempfile.TemporaryDirectory() as folder:
        toy, recipe = Path(folder) / "toy", Path(folder) / "recipe.yaml"
        make_random_toy(toy)
        recipe.write_text(yaml.safe_dump(_recipe(toy)))
        command = [sys.executable, "-m", "pipeline", "serve", str(recipe), "--port", str(PORT)]
        command += ["--start-s", str(START_S)]
        started = time.monotonic()
        environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        server = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            url = _url(server)
            ready_s = time.monotonic() - started
            found = asyncio.run(_ask(url, server.pid))
            below = psutil.Process(server.pid).children(recursive=True)
            server.send_signal(signal.SIGTERM)
            code = server.wait(120)
            _, alive = psutil.wait_procs(below, timeout=60)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
    result = {
        "command": "python -m benchmarks.serving",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "seconds_until_served": round(ready_s),
        **found,
        "exit_code_after_sigterm": code,
        "processes_left_behind": len(alive),
    }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def _recipe(toy: Path) -> dict[str, Any]:
    engine = {"enforce_eager": True, "dtype": "bfloat16"}
    serve = {"source": str(toy), "gpus": 0, "images_per_prompt": 8, "engine": engine}
    model = {"name": NAME, "urls": [f"http://127.0.0.1:{PORT}"], "serve": serve}
    return {"annotate": RECIPE["annotate"] | {"models": [model]}}


def _url(server: subprocess.Popen[str]) -> str:
    """What the command prints once it serves."""
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("urls: ["):
            return line.removeprefix("urls: [").strip().removesuffix("]")
    raise RuntimeError(f"webperson serve ended with {server.wait()}")


async def _ask(url: str, server: int) -> dict[str, Any]:
    """Ask all questions; kill the engine once a third is answered."""
    settings = ModelSettings(name=NAME, urls=(url,), require_image_tokens=True, canaries=(), outage_s=300.0)
    answered = 0
    async with Mllm(settings) as model:
        started = time.monotonic()

        async def one(seed: int) -> tuple[int, float]:
            nonlocal answered
            answer = await model.ask(forced_question("red", seed=seed))
            answered += 1
            return answer.attempts, answer.seconds

        questions = [asyncio.create_task(one(seed)) for seed in range(QUESTIONS)]
        while answered < QUESTIONS // 3:
            await asyncio.sleep(0.05)
        before = answered / (time.monotonic() - started)
        killed = _kill_engine(server)
        answers = await asyncio.gather(*questions)
    return {
        "questions": QUESTIONS,
        "answered": len(answers),
        "processes_killed": killed,
        # Others were under way too: Ray's router asks again by itself where it can.
        "asked_more_than_once_by_the_client": sum(attempts > 1 for attempts, _ in answers),
        "requests_per_s_before_the_kill": round(before, 1),
        "seconds_of_the_longest_answer": round(max(seconds for _, seconds in answers), 1),
    }


def _kill_engine(server: int) -> int:
    """SIGKILL for the replica and the engine that it runs; how many processes that were."""
    killed = 0
    for process in psutil.Process(server).children(recursive=True):
        if any(name in " ".join(process.cmdline()) for name in ("LLMServer", "EngineCore")):
            process.kill()
            killed += 1
    if not killed:
        raise RuntimeError("neither replica nor engine was there to be killed")
    return killed


if __name__ == "__main__":
    main()
