"""`ray job submit` to a cluster that asks for a token: a list of URLs, to the same rows as without Ray."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.chain.conftest import REPOSITORY, SECONDS, Photographs, environment, free_port
from tests.chain.tables import row_hashes
from world.web import RunningWeb

pytestmark = [pytest.mark.chain, pytest.mark.timeout(600)]
BIN = Path(sys.executable).parent


@dataclass
class Cluster:
    """A cluster of one node, started by `ray start --head`."""

    address: str
    env: dict[str, str]
    log: Path

    def submit(self, *entrypoint: str, wait: bool = True) -> tuple[int, str]:
        """`ray job submit` from the repository: exit code and output."""
        command = [str(BIN / "ray"), "job", "submit", "--address", self.address, "--working-dir", "."]
        done = subprocess.run(
            [*command, *(() if wait else ("--no-wait",)), "--", *entrypoint],
            cwd=REPOSITORY,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return done.returncode, done.stdout

    def status(self, output: str) -> str:
        """What `ray job status` says of the job that an output is of."""
        command = [str(BIN / "ray"), "job", "status", "--address", self.address, _job(output)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def stop(self, output: str) -> None:
        """Stop the job that an output is of, sooner than `ray job stop` has started, and wait for its end."""
        job = f"{self.address}/api/jobs/{_job(output)}"
        self._ask(f"{job}/stop", "POST")
        _wait_for(lambda: self._ask(job)["status"] == "STOPPED", lambda: str(self._ask(job)))

    def _ask(self, url: str, method: str = "GET") -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.env['RAY_AUTH_TOKEN']}"}
        request = urllib.request.Request(url, None, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return dict(json.load(answer))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    port = free_port()
    env = environment(
        PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}",
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_USAGE_STATS_ENABLED="0",
        PYTHONPATH="",
    )
    command = [str(BIN / "ray"), "start", "--head", "--block", f"--port={free_port()}", "--num-cpus=3"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={port}", "--object-store-memory=500000000"]
    # Its agent's port is a fixed one, which the next Ray on this machine finds taken.
    command += [f"--dashboard-agent-listen-port={free_port()}"]
    log = folder / "ray.log"
    with _running(command, env, log):
        address = f"http://127.0.0.1:{port}"
        _wait_until_up(address, env["RAY_AUTH_TOKEN"], log)
        yield Cluster(address, env, log)


def test_a_job_leaves_the_same_rows_as_a_run_without_ray(
    cluster: Cluster, undisturbed: Photographs, photographs_web: RunningWeb, tmp_path: Path
) -> None:
    arguments = ["curate", "recipes/laptop.yaml", "--out", str(tmp_path / "out"), *undisturbed.arguments]
    code, output = cluster.submit("python", "-m", "pipeline", *arguments)
    assert code == 0, output
    assert "succeeded" in cluster.status(output)
    assert sum(photographs_web.requests().values()) > 50
    assert row_hashes(tmp_path / "out") == row_hashes(undisturbed.out)


@pytest.mark.proof
def test_a_job_that_is_stopped_and_submitted_again_leaves_the_same_rows(
    cluster: Cluster, undisturbed: Photographs, photographs_web: RunningWeb, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["curate", "recipes/laptop.yaml", "--out", str(out), *undisturbed.arguments]
    code, output = cluster.submit("python", "-m", "pipeline", *arguments, wait=False)
    assert code == 0, output
    _wait_for(lambda: bool(_harvested(out)), lambda: cluster.status(output))
    cluster.stop(output)
    assert not (out / "run.json").exists()
    code, again = cluster.submit("python", "-m", "pipeline", *arguments)
    assert code == 0, again
    assert row_hashes(out) == row_hashes(undisturbed.out)


def test_a_job_that_fails_says_so_by_exit_code_and_status(cluster: Cluster, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-list.txt"
    arguments = ["curate", "recipes/laptop.yaml", "--urls", str(missing), "--out", str(tmp_path / "out")]
    code, output = cluster.submit("python", "-m", "pipeline", *arguments)
    assert code == 1
    assert f"{missing}: no such URL list" in output
    assert "failed" in cluster.status(output)


def test_a_relative_output_folder_is_refused_inside_a_job(cluster: Cluster, undisturbed: Photographs) -> None:
    arguments = ["curate", "recipes/laptop.yaml", "--urls", str(undisturbed.urls), "--out", "out"]
    code, output = cluster.submit("python", "-m", "pipeline", *arguments)
    assert code != 0
    assert "give an absolute one" in output


def test_the_working_directory_is_small(cluster: Cluster) -> None:
    code, output = cluster.submit("bash", "-c", "du -sk . ; test ! -e .venv ; test ! -e .git")
    assert code == 0, output
    size = re.search(r"^(\d+)\t\.$", output, re.M)
    assert size, output
    assert int(size[1]) < 5_000


def test_nobody_without_the_token_is_let_in(cluster: Cluster) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{cluster.address}/api/jobs/", timeout=10)
    assert refused.value.code in (401, 403)


def _job(output: str) -> str:
    """The name of the job that an output is of."""
    job = re.search(r"raysubmit_\w+", output)
    assert job, output
    return job[0]


def _harvested(out: Path) -> list[Path]:
    return list(out.glob("harvest-*/done/*/unit-*.json"))


def _wait_for(condition: Callable[[], bool], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


@contextmanager
def _running(command: list[str], env: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output, start_new_session=True)
    try:
        yield
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=5)
        for left in alive:
            with suppress(psutil.Error):
                left.kill()
        process.kill()
        process.wait(20)


def _wait_until_up(address: str, token: str, log: Path) -> None:
    request = urllib.request.Request(f"{address}/api/version", headers={"Authorization": f"Bearer {token}"})
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(request, timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
