"""A run into an object store leaves what one on a disk leaves, when it is stopped and gone on with too."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.phase_work import PhaseReport
from curation.phases import Curation
from pipeline.cli.report import publish_run, write_report
from pipeline.objects import ObjectPath
from pipeline.storage import StorageError, publish, read_json, remove, run_lock, sizes
from tests.curation.made_run import InProcess, curation, final_rows, recipe, run
from tests.object_store import object_store


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectPath]:
    with object_store("made-runs") as path:
        yield path


@pytest.fixture
def out(bucket: ObjectPath, request: pytest.FixtureRequest) -> ObjectPath:
    return bucket / re.sub(r"\W+", "-", request.node.name)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PhaseReport]:
    """The run on a disk."""
    return run(tmp_path_factory.mktemp("local"))


@pytest.fixture
def on_objects(out: ObjectPath, tmp_path: Path) -> Curation:
    """The same run into the object store; its list is local."""
    return dataclasses.replace(curation(tmp_path), out=out)


def by_phase(reports: list[PhaseReport]) -> dict[str, PhaseReport]:
    return {report.phase: report for report in reports}


def marked(reports: dict[str, PhaseReport]) -> list[object]:
    """Counts and content hashes of every unit of every phase."""
    return [
        (phase, marker["unit"], marker["counts"], marker["content"])
        for phase in ("harvest", "annotate", "pack")
        for marker in reports[phase].folder.markers(range(reports[phase].units))
    ]


def test_the_run_leaves_the_rows_and_files_of_a_local_one(
    on_objects: Curation, out: ObjectPath, local: dict[str, PhaseReport]
) -> None:
    reports = by_phase(on_objects.run())
    assert final_rows(reports) == final_rows(local)
    assert marked(reports) == marked(local)
    for phase, report in reports.items():
        assert set(sizes(report.folder.path)) == set(sizes(local[phase].folder.path))


def test_a_second_run_writes_nothing_that_stands(on_objects: Curation, out: ObjectPath) -> None:
    on_objects.run()
    before, again = sizes(out), InProcess()
    reports = dataclasses.replace(on_objects, run_units=again).run()
    assert again.ran == []
    assert all(report.done_before == report.units for report in reports)
    assert sizes(out) == before


@pytest.mark.parametrize("stop_after", [1, 5, 7, 9])
def test_a_run_that_is_stopped_goes_on(
    stop_after: int, on_objects: Curation, local: dict[str, PhaseReport]
) -> None:
    first, second = InProcess(stop_after=stop_after), InProcess()
    with pytest.raises(KeyboardInterrupt):
        dataclasses.replace(on_objects, run_units=first).run()
    reports = by_phase(dataclasses.replace(on_objects, run_units=second).run())
    assert final_rows(reports) == final_rows(local)
    assert not set(first.ran) & set(second.ran)


def test_what_was_damaged_is_done_again_and_nothing_else(
    on_objects: Curation, local: dict[str, PhaseReport]
) -> None:
    reports = by_phase(on_objects.run())
    (persons,) = reports["harvest"].folder.parts("persons", 2)
    (pairs,) = reports["annotate"].folder.parts("pairs", 1)
    shard = next(name for name in sizes(reports["pack"].folder.path) if name.startswith("webperson-00001-"))
    publish(persons, persons.read_bytes()[:-7])
    remove(pairs)
    publish(reports["pack"].folder.path / shard, b"")
    again = InProcess()
    reports = by_phase(dataclasses.replace(on_objects, run_units=again).run())
    assert again.ran == [
        ("HarvestSink", 2),
        ("PairSink", 1),
        ("RunSink", 0),
        ("RunSink", 1),
        ("ShardSink", 1),
    ]
    assert final_rows(reports) == final_rows(local)


def test_captions_of_other_decisions_are_taken_over(on_objects: Curation) -> None:
    on_objects.run()
    tight = dataclasses.replace(on_objects, recipe=recipe(gates={"score_min": 0.9}))
    assert by_phase(tight.run())["annotate"].note == "captions written 0, taken over 16"


def test_the_run_is_noted_and_its_report_written(on_objects: Curation, out: ObjectPath) -> None:
    with run_lock(out):
        reports = on_objects.run()
        publish_run(out, reports)
    assert read_json(out / "run.json")["phases"]["pack"] == by_phase(reports)["pack"].folder.path.name
    assert write_report(out) == out / "report.html"
    html = (out / "report.html").read_bytes().decode()
    assert html.count('<img src="data:image/jpeg;base64,') == 11 + 3
    assert "(attributes-stand-in/1)" in html


def test_a_store_that_fails_stops_the_run_and_the_same_command_goes_on(
    on_objects: Curation, local: dict[str, PhaseReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = ObjectPath.write_bytes, []

    def fill_up(path: ObjectPath, data: bytes) -> None:
        written.append(path)
        if len(written) > 6:
            raise OSError(28, "No space left on device")
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectPath, "write_bytes", fill_up)
        with pytest.raises(StorageError, match=rf"^{on_objects.out}/\S+: cannot be written: No space left"):
            on_objects.run()
    assert final_rows(by_phase(on_objects.run())) == final_rows(local)
