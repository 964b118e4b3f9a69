"""The real vLLM for CPUs with the tiny MLLM, as one server on loopback."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

import psutil
import pytest

from pipeline.cli.tiny_mllm import ENVIRONMENT
from tests.chain.conftest import REPOSITORY, free_port

MODEL_ID = "tiny-mllm"
WEIGHTS = REPOSITORY / "world" / "tiny_mllm" / "a"
START_S, END_S = 200.0, 20.0
"""Longest waits until the server answers, and until it has gone when told to go."""
ARGUMENTS = [
    *("--model", str(WEIGHTS), "--served-model-name", MODEL_ID, "--host", "127.0.0.1"),
    *("--dtype", "bfloat16", "--max-model-len", "1024", "--max-num-seqs", "16", "--enforce-eager"),
    *("--enable-prompt-tokens-details", "--skip-mm-profiling"),
]


def needs_vllm() -> None:
    """Skip where vLLM is not installed."""
    if find_spec("vllm") is None:
        pytest.skip("the package vllm is not installed (make vllm)")


@contextmanager
def tiny_mllm_served(folder: Path) -> Iterator[str]:
    """Serve the tiny MLLM while the context is open; yields the address, without /v1.

    folder: where the server's log goes. Raises RuntimeError with the log's end if the server does not answer.
    """
    url, log = f"http://127.0.0.1:{(port := free_port())}", folder / "vllm.log"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *ARGUMENTS, "--port", str(port)]
    with log.open("w") as written:
        server = subprocess.Popen(
            command, env={**os.environ, **ENVIRONMENT}, stdout=written, stderr=written, start_new_session=True
        )
    try:
        _wait(url, server, log)
        yield url
    finally:
        _end(server)


def _wait(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _is_healthy(url):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"vLLM does not answer: {log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.3)


def _is_healthy(url: str) -> bool:
    with suppress(URLError, OSError), urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
        return bool(answer.status == 200)
    return False


def _end(server: "subprocess.Popen[bytes]") -> None:
    """Ask it to go, so that it gives its shared memory back; then end what is left of it, its engine too."""
    family = [psutil.Process(server.pid)] if server.poll() is None else []
    family += [child for process in family for child in process.children(recursive=True)]
    server.terminate()
    psutil.wait_procs(family, timeout=END_S)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait(END_S)
