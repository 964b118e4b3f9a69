"""Files appear whole or not at all, whatever ends the writer; a folder has one run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage import StorageError, publish, publish_json, publish_table, read_json, run_lock

ROOT = Path(__file__).parents[2]

KILLED_WHILE_WRITING = """
import os, sys
from pathlib import Path
import pipeline.storage
def stop(*_):
    print("written", flush=True)
    sys.stdin.read()
if sys.argv[2] == "before the rename":
    Path.rename = stop
else:
    os.fsync = stop
pipeline.storage.publish(Path(sys.argv[1]), b"new" * 100_000)
"""
HOLDER = """
import sys
from pathlib import Path
from pipeline.storage import run_lock
with run_lock(Path(sys.argv[1])):
    print("holding", flush=True)
    sys.stdin.read()
"""


def child(code: str, *arguments: str) -> "subprocess.Popen[str]":
    """A process that has printed its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_published_file_holds_the_bytes_and_makes_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    publish(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]


def test_publishing_again_replaces_the_file(tmp_path: Path) -> None:
    for data in (b"long old content", b"new"):
        publish(tmp_path / "file", data)
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("broken", ["os.fsync", "pathlib.Path.rename"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_a_failed_write_leaves_the_old_file_and_no_temporary(
    broken: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    publish(tmp_path / "file", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(broken, fail)
        with pytest.raises(type(error)):
            publish(tmp_path / "file", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("moment", ["before the sync", "before the rename"])
def test_a_writer_that_is_killed_leaves_nothing_under_the_name(moment: str, tmp_path: Path) -> None:
    kill(child(KILLED_WHILE_WRITING, str(tmp_path / "unit-000000-00.parquet"), moment))
    assert not (tmp_path / "unit-000000-00.parquet").exists()
    assert list(tmp_path.glob("unit-*")) == []
    assert list(tmp_path.glob("*.parquet")) == []
    publish(tmp_path / "unit-000000-00.parquet", b"second try")
    assert (tmp_path / "unit-000000-00.parquet").read_bytes() == b"second try"


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    publish(tmp_path / "file", b"old")
    kill(child(KILLED_WHILE_WRITING, str(tmp_path / "file"), "before the rename"))
    assert (tmp_path / "file").read_bytes() == b"old"


def test_the_bytes_are_synced_before_the_name_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        seen.append((tmp_path / "file").exists())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    publish(tmp_path / "file", b"data")
    assert seen == [False, True]  # the file's bytes, then its folder


def test_a_table_keeps_its_metadata_beside_what_is_added(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2]}).replace_schema_metadata({"schema_version": "1"})
    publish_table(tmp_path / "t.parquet", table, {"recipe_hash": "abc"})
    back = pq.read_table(tmp_path / "t.parquet")
    assert back.equals(table)
    assert back.schema.metadata == {b"schema_version": b"1", b"recipe_hash": b"abc"}


def test_json_comes_back_and_is_the_same_text_for_any_order_of_keys(tmp_path: Path) -> None:
    publish_json(tmp_path / "a.json", {"b": 1, "a": {"ä": [1.5, None]}})
    publish_json(tmp_path / "b.json", {"a": {"ä": [1.5, None]}, "b": 1})
    assert read_json(tmp_path / "a.json") == {"b": 1, "a": {"ä": [1.5, None]}}
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (b"{", "not JSON: "),
        (b"\xff", "not JSON: "),
        (b"[1]", "expected a JSON object"),
    ],
)
def test_json_that_cannot_be_read_is_one_line_naming_the_file(
    content: bytes | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "marker.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: {words}")
    assert "\n" not in str(caught.value)


def test_a_second_run_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    holder = child(HOLDER, str(tmp_path / "out"))
    try:
        with (
            pytest.raises(
                StorageError, match=rf"out: another run is writing here: process {holder.pid} on \S+"
            ),
            run_lock(tmp_path / "out"),
        ):
            pass
    finally:
        kill(holder)


def test_the_lock_is_free_when_its_holder_was_killed(tmp_path: Path) -> None:
    kill(child(HOLDER, str(tmp_path)))
    with run_lock(tmp_path):
        (holder,) = (tmp_path / "run.lock").read_text().splitlines()
        assert holder.startswith(f"process {os.getpid()} on ")


def test_the_lock_is_free_after_a_run_that_raised(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path):
        raise ZeroDivisionError
    with run_lock(tmp_path):
        pass


def test_a_child_does_not_keep_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    code = """
import subprocess, sys
from pathlib import Path
from pipeline.storage import run_lock
with run_lock(Path(sys.argv[1])):
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=sys.stdin)
    print(child.pid, flush=True)
    child.wait()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    grandchild = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    os.kill(grandchild, 0)  # lives on
    with run_lock(tmp_path):
        pass
    parent.stdin.close()
    parent.stdout.close()


def test_two_folders_have_two_runs(tmp_path: Path) -> None:
    with run_lock(tmp_path / "a"), run_lock(tmp_path / "b"):
        assert sorted(p.name for p in tmp_path.glob("*/run.lock")) == ["run.lock", "run.lock"]


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a letter")
    with (
        pytest.raises(StorageError, match="cannot be an output folder: File exists"),
        run_lock(tmp_path / "out"),
    ):
        pass
