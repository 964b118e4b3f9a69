"""The tiny MLLMs' servers, with a fake in vLLM's place: they answer or are named, and none is left over."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from curation.recipe import CurateRecipe
from pipeline.cli.demo import OVERRIDES, RECIPE
from pipeline.cli.options import TRAINING_SECTIONS, UsageError
from pipeline.cli.tiny_mllm import (
    MODELS,
    ServerError,
    TinyModel,
    overrides,
    require_vllm,
    served,
    vllm_command,
)
from pipeline.recipe import load_recipe

ROOT = Path(__file__).parents[2]
FAKE = """
import http.server, os, subprocess, sys

engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("engine", engine.pid, flush=True)

class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        Handler.asked += 1
        self.send_response(200 if self.path == "/health" and Handler.asked > 2 else 503)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""A server with an engine of its own, that is healthy when it was asked for the third time."""


def running(fake: str = FAKE) -> Callable[[TinyModel, int], Sequence[str]]:
    """The command of a fake server."""
    return lambda _model, port: [sys.executable, "-c", fake, str(port)]


def engines(logs: Path) -> list[psutil.Process]:
    """The engines that fakes have told of, as far as they are alive."""
    pids = [int(log.read_text().split()[1]) for log in logs.glob("*.log")]
    return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]


def wait_until_gone(processes: Sequence[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_each_model_has_an_address_that_answers_and_every_step_is_told(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    with served(tmp_path, command=running(), ready=lambda *step: steps.append(step)) as urls:
        assert list(urls) == [model.name for model in MODELS]
        for url in urls.values():
            with urlopen(f"{url}/health") as answer:
                assert answer.status == 200
    assert (steps[0], steps[-1]) == ((0, 2), (2, 2))


def test_servers_and_their_engines_are_ended_however_the_context_ends(tmp_path: Path) -> None:
    processes: list[psutil.Process] = []
    others = set(psutil.Process().children())

    def interrupted() -> None:
        with served(tmp_path, command=running()):
            processes.extend({*psutil.Process().children(), *engines(tmp_path)} - others)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(processes) >= 4
    wait_until_gone(processes)


def test_a_server_that_ends_is_named_with_its_last_words_and_the_other_is_ended(tmp_path: Path) -> None:
    broken = "print('trying'); raise SystemExit('no such weights')"

    def command(model: TinyModel, port: int) -> Sequence[str]:
        return running(broken if model == MODELS[1] else FAKE)(model, port)

    before = psutil.Process().children()
    message = rf"tiny-mllm-b: its server has ended: no such weights \({tmp_path}/tiny-mllm-b.log\)"
    with pytest.raises(ServerError, match=message), served(tmp_path, command=command):
        pass
    assert psutil.Process().children() == before


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    silent = "import time; time.sleep(600)"
    with (
        pytest.raises(ServerError, match=r"tiny-mllm-a: no answer within 0\.1 s"),
        served(tmp_path, command=running(silent), start_s=0.1),
    ):
        pass


PROGRAM = """
import sys, time
from pathlib import Path
from pipeline.cli.tiny_mllm import served

fake, logs = sys.argv[1:]
with served(Path(logs), command=lambda _, port: [sys.executable, "-c", fake, str(port)]):
    print("ready", flush=True)
    time.sleep(600)
"""


def test_no_server_outlives_its_parent_even_if_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, FAKE, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        servers = psutil.Process(process.pid).children()
        left = engines(tmp_path)
        process.send_signal(signal.SIGKILL)
        wait_until_gone(servers)
    for engine in left:  # a real engine ends with its server; the fake's knows nothing of it
        engine.kill()
    assert len(servers) == 2


def test_vllm_serves_each_model_from_its_own_weights_on_loopback() -> None:
    for model in MODELS:
        command = vllm_command(model, 4321)
        options = dict(pairwise(command))
        assert options["--served-model-name"] == model.name
        assert (options["--host"], options["--port"]) == ("127.0.0.1", "4321")
        assert (Path(options["--model"]) / "model.safetensors").is_file()


def test_the_recipe_asks_both_models_for_captions_and_the_first_for_letters() -> None:
    urls = {model.name: f"http://127.0.0.1:{8000 + n}" for n, model in enumerate(MODELS)}
    recipe = load_recipe(CurateRecipe, RECIPE, [*OVERRIDES, *overrides(urls)], others=TRAINING_SECTIONS)
    annotate = recipe.annotate
    assert [(model.name, model.urls) for model in annotate.writers()] == [
        (name, (url,)) for name, url in urls.items()
    ]
    assert (annotate.judge.judge, annotate.judge.model) == ("endpoint", "tiny-mllm-a")
    assert all(model.canaries and model.require_image_tokens for model in annotate.asked())
    assert annotate.inputs()  # prompts and templates are there


def test_other_weights_under_the_same_name_are_another_revision(tmp_path: Path) -> None:
    revisions = set()
    for content in (b"one", b"other"):
        (tmp_path / "model.safetensors").write_bytes(content)
        revisions.add(TinyModel("tiny", tmp_path).revision)
    assert len(revisions) == 2


def test_without_vllm_one_line_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"^demo --mllm needs the package vllm, which `make vllm` installs"):
        require_vllm("demo --mllm")
