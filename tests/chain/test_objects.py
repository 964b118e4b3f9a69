"""`webperson curate` through Ray into an object store: killed, looked at, gone on with, and run once more."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from pipeline.objects import ObjectPath
from pipeline.storage import Place, listing, read_json
from tests.chain.conftest import SECONDS, Finished, Photographs, run, start
from tests.object_store import object_store
from world.web import RunningWeb, serve

pytestmark = [pytest.mark.chain, pytest.mark.proof, pytest.mark.timeout(600)]


@dataclass
class OnObjects:
    """A run into a bucket whose driver was killed, a report of what it left, and the run after it."""

    out: ObjectPath
    arguments: list[str]
    web: RunningWeb
    units_before: int
    report: Finished
    reported: str
    again: Finished


@pytest.fixture(scope="module")
def on_objects(undisturbed: Photographs) -> Iterator[OnObjects]:
    """SIGKILL the driver once a unit is done; its lease on the folder must run out before the next begins.

    Its workers, orphaned, may still end a unit.
    """
    with object_store("chain") as bucket, serve(undisturbed.web, undisturbed.port) as web:
        out = bucket / "run"
        arguments = ["curate", "laptop", "--out", str(out), *undisturbed.arguments]
        with start(*arguments) as first:
            _wait_for(lambda: bool(_markers(out)), first.process.poll)
            os.kill(first.process.pid, signal.SIGKILL)
            first.process.wait(20)
        units_before = len(_markers(out))
        report = run("report", str(out))
        reported = (out / "report.html").read_bytes().decode() if report.code == 0 else ""
        again = run(*arguments)
        yield OnObjects(out, arguments, web, units_before, report, reported, again)


def test_a_killed_run_goes_on_to_the_rows_of_a_local_one(
    on_objects: OnObjects, undisturbed: Photographs
) -> None:
    assert on_objects.again.code == 0, on_objects.again.output
    units = len(_done(undisturbed.out, "harvest"))
    done_now = re.search(rf"harvest: (\d+) of {units} units done now", on_objects.again.output)
    assert done_now, on_objects.again.output
    assert 1 <= int(done_now[1]) <= units - on_objects.units_before
    for phase in ("harvest", "annotate", "pack"):
        assert _done(on_objects.out, phase) == _done(undisturbed.out, phase)


def test_what_a_killed_run_has_left_can_be_looked_at(on_objects: OnObjects) -> None:
    assert on_objects.report.code == 0, on_objects.report.output
    assert on_objects.report.output.strip().splitlines()[-1] == str(on_objects.out / "report.html")
    assert '<img src="data:image/jpeg;base64,' in on_objects.reported
    assert re.search(r"harvest \(unfinished, \d+ of \d+ units\)", on_objects.reported)


def test_the_same_command_again_writes_no_table_and_asks_nobody(on_objects: OnObjects) -> None:
    asked, stands = on_objects.web.requests(), _versions(on_objects.out)
    again = run(*on_objects.arguments)
    assert again.code == 0, again.output
    for phase in ("harvest", "decide", "annotate", "pack"):
        assert f"{phase}: was done already, nothing to do" in again.output
    assert on_objects.web.requests() == asked
    assert _versions(on_objects.out) == stands


def _markers(out: ObjectPath) -> list[Place]:
    return [path for path in listing(out, ".json") if "/harvest-" in str(path) and "/done/" in str(path)]


def _done(out: Place, phase: str) -> dict[str, Any]:
    """Counts and content hashes of a phase's units, by the names of their markers."""
    folder = out / str(read_json(out / "run.json")["phases"][phase])
    markers = {path.name: read_json(path) for path in listing(folder / "done", ".json")}
    return {name: (marker["content"], marker["counts"]) for name, marker in markers.items()}


def _versions(out: ObjectPath) -> dict[str, tuple[str, str]]:
    """Contents and time of writing of every table in the bucket."""
    bucket = out.url.removeprefix("s3://").partition("/")[0]
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    found = [entry for page in pages for entry in page.get("Contents", [])]
    tables = [entry for entry in found if entry["Key"].endswith(".parquet")]
    return {entry["Key"]: (entry["ETag"], str(entry["LastModified"])) for entry in tables}


def _wait_for(condition: Callable[[], bool], ended: Callable[[], int | None]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert ended() is None, "the command ended too early"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
