"""Files appear whole or not at all, whatever ends the writer; a folder has one run."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.storage import (
    DamagedError,
    StorageError,
    folders,
    listing,
    place,
    publish,
    publish_json,
    publish_table,
    read_json,
    read_table,
    remove,
    run_lock,
    sizes,
)

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
@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left on device"), StorageError), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["full", "interrupted"],
)
def test_a_failed_write_leaves_the_old_file_and_no_temporary(
    broken: str,
    error: BaseException,
    raised: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    publish(tmp_path / "file", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(broken, fail)
        with pytest.raises(raised):
            publish(tmp_path / "file", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_full_disk_is_one_line_naming_the_file_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """A limit on the size of files is met as a full disk is: in the middle of writing."""
    code = """
import resource, sys
from pathlib import Path
from pipeline.storage import StorageError, publish
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
publish(Path(sys.argv[1]) / "small", b"x" * 50_000)
try:
    publish(Path(sys.argv[1]) / "large", b"x" * 50_001)
except StorageError as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.stdout == f"{tmp_path / 'large'}: cannot be written: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
    publish(tmp_path / "large", b"x" * 50_001)
    assert (tmp_path / "large").stat().st_size == 50_001


def test_output_below_a_file_is_one_line_naming_it(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("no folder")
    with pytest.raises(StorageError, match=r"letter/part\.parquet: cannot be written: .*(exists|directory)$"):
        publish(tmp_path / "letter" / "part.parquet", b"")


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


def test_columns_and_rows_of_a_table_are_read_by_themselves(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    assert publish_table(tmp_path / "t.parquet", table) == (tmp_path / "t.parquet").stat().st_size
    assert read_table(tmp_path / "t.parquet").equals(table)
    some = read_table(tmp_path / "t.parquet", columns=["b"], filters=pc.field("a") > 1)
    assert some.to_pydict() == {"b": ["y", "z"]}


@pytest.mark.parametrize("columns", [None, ["a"]])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-10], "cannot be read as Parquet: "),
        (lambda data: b"", "cannot be read as Parquet: "),
        (lambda data: data[:4] + b"\xff" * 200 + data[204:], "cannot be read as Parquet: "),
        (None, "No such file or directory"),
    ],
    ids=["cut off", "empty", "overwritten", "missing"],
)
def test_a_damaged_table_is_one_line_naming_the_file(
    damage: Callable[[bytes], bytes] | None, words: str, columns: list[str] | None, tmp_path: Path
) -> None:
    path = tmp_path / "t.parquet"
    publish_table(path, pa.table({"a": [str(n) for n in range(500)]}))
    data = path.read_bytes()
    path.unlink()
    if damage:
        path.write_bytes(damage(data))
    with pytest.raises(DamagedError) as caught:
        read_table(path, columns)
    assert str(caught.value).startswith(f"{path}: {words}")
    assert "\n" not in str(caught.value)


def test_a_listing_has_all_files_below_in_order_but_those_being_written(tmp_path: Path) -> None:
    for name in ("b/1.json", "a/2.json", "a/1.json", "a/1.txt", ".a.json.host.7", "a/.1.json"):
        publish(tmp_path / name, b"{}")
    assert listing(tmp_path, ".json") == [tmp_path / name for name in ("a/1.json", "a/2.json", "b/1.json")]
    assert sizes(tmp_path / "a") == {"1.json": 2, "2.json": 2, "1.txt": 2}
    assert folders(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert (listing(tmp_path / "none"), sizes(tmp_path / "none"), folders(tmp_path / "none")) == ([], {}, [])


def test_a_listing_asks_no_file_for_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path / "a" / "1.json", b"{}")

    def refuse(path: Path, **_: object) -> None:
        raise AssertionError(f"{path} was looked at")

    monkeypatch.setattr(Path, "stat", refuse)
    assert [path.name for path in listing(tmp_path, ".json")] == ["1.json"]


def test_what_is_removed_may_be_gone_already(tmp_path: Path) -> None:
    publish(tmp_path / "a", b"")
    for _ in range(2):
        remove(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["out", "out/run 3", "/data/out", "s3:/typo/is/a/folder"])
def test_a_place_without_a_scheme_is_a_path(text: str) -> None:
    assert place(text) == Path(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://",
        "s3:///run",
        "s3://Bucket/run",
        "s3://bucket//run",
        "s3://bucket/../run",
        "s3://key:secret@bucket/run",
        "s3://bucket/run?versionId=3",
        "hdfs://bucket/run",
        "https://bucket/run",
    ],
)
def test_a_malformed_place_is_one_line_naming_it(text: str) -> None:
    with pytest.raises(StorageError) as caught:
        place(text)
    assert (
        str(caught.value) == f"{text.rstrip('/')}: not of the form s3://bucket/folder or gs://bucket/folder"
    )


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
