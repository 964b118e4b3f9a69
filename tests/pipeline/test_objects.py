"""Objects behave as files do: whole or absent, listed in one pass, read in ranges, named in every error."""

import io
import os
import pickle
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

import pipeline.objects
from pipeline.objects import PUT_PART_BYTES, ObjectPath
from pipeline.storage import (
    DamagedError,
    StorageError,
    folders,
    listing,
    place,
    publish,
    publish_json,
    publish_table,
    read_ahead,
    read_json,
    read_table,
    remove,
    sizes,
)
from pipeline.units import PhaseFolder, Unit
from tests.object_store import object_store


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectPath]:
    with object_store("made-bucket") as path:
        yield path


@pytest.fixture
def folder(bucket: ObjectPath, request: pytest.FixtureRequest) -> ObjectPath:
    """An empty folder for each test."""
    return bucket / re.sub(r"\W+", "-", request.node.name)


def test_a_path_is_joined_and_taken_apart() -> None:
    path = ObjectPath("s3://bucket/run") / "done/000" / "unit-000001.json"
    assert (str(path), path.name) == ("s3://bucket/run/done/000/unit-000001.json", "unit-000001.json")
    assert path.parent.parent.parent == ObjectPath("s3://bucket/run")
    assert ObjectPath("s3://bucket").parent == ObjectPath("s3://bucket") / ""
    assert ObjectPath("s3://bucket").name == ""


def test_a_path_travels_to_a_worker_as_its_url() -> None:
    path = ObjectPath("gs://bucket/run")
    assert pickle.loads(pickle.dumps(path)) == path
    assert vars(path) == {"url": "gs://bucket/run"}


@pytest.mark.parametrize("name", ["..", "a/../b", "/a", "a b", "a\nb", "a//b"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        ObjectPath("s3://bucket/run") / name


def test_bytes_come_back_and_are_replaced_whole(folder: ObjectPath) -> None:
    path = folder / "a" / "file.bin"
    assert not path.is_file()
    for data in (b"long old content\xff", b"new", b""):
        publish(path, data)
        assert (path.read_bytes(), path.size()) == (data, len(data))
    assert path.is_file()
    assert not (folder / "a").is_file()


def test_bytes_that_are_uploaded_in_parts_come_back(folder: ObjectPath) -> None:
    data = os.urandom(PUT_PART_BYTES + 3)
    publish(folder / "large", data)
    assert (folder / "large").read_bytes() == data


def test_an_open_object_is_read_in_ranges(folder: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(folder / "file", bytes(range(100)))
    asked: list[tuple[int, int]] = []
    read = ObjectPath.read_range

    def note(path: ObjectPath, start: int, length: int) -> bytes:
        asked.append((start, length))
        return read(path, start, length)

    monkeypatch.setattr(ObjectPath, "read_range", note)
    with (folder / "file").open() as file:
        assert file.seek(-10, io.SEEK_END) == 90
        assert (file.read(4), file.tell()) == (bytes(range(90, 94)), 94)
        assert file.read(50) == bytes(range(94, 100))
        assert file.read(1) == b""
    assert asked == [(90, 4), (94, 6)]


def test_columns_of_a_table_are_fetched_without_the_pixels(
    folder: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = [os.urandom(40_000) for _ in range(50)]
    table = pa.table({"row": range(50), "crop": pixels, "url": [f"http://made/{n}" for n in range(50)]})
    size = publish_table(folder / "persons.parquet", table)
    fetched: list[int] = []
    read = ObjectPath.read_range

    def note(path: ObjectPath, start: int, length: int) -> bytes:
        fetched.append(length)
        return read(path, start, length)

    monkeypatch.setattr(ObjectPath, "read_range", note)
    assert read_table(folder / "persons.parquet", ["row", "url"]).equals(table.select(["row", "url"]))
    assert sum(fetched) < size / 10
    assert read_table(folder / "persons.parquet").equals(table)


def test_a_listing_has_everything_below_in_order_with_sizes(folder: ObjectPath) -> None:
    for name in ("b/1.json", "a/2.json", "a/1.json", "a/1.txt"):
        publish(folder / name, name.encode())
    publish(folder.parent / f"{folder.name}-beside" / "x.json", b"{}")
    assert listing(folder, ".json") == [folder / name for name in ("a/1.json", "a/2.json", "b/1.json")]
    assert sizes(folder) == {"a/1.json": 8, "a/1.txt": 7, "a/2.json": 8, "b/1.json": 8}
    assert folders(folder) == [folder / "a", folder / "b"]
    assert (listing(folder / "none"), sizes(folder / "none"), folders(folder / "none")) == ([], {}, [])


def test_a_listing_is_longer_than_a_page(folder: ObjectPath) -> None:
    names = [f"{n:04d}" for n in range(1001)]
    store = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]  # moto's own: a thousand requests would take long
    for name in names:
        store.put_object("made-bucket", f"{folder.name}/{name}", b"")
    assert list(sizes(folder)) == names


def test_what_is_removed_may_be_gone_already(folder: ObjectPath) -> None:
    publish(folder / "a", b"")
    for _ in range(2):
        remove(folder / "a")
    assert listing(folder) == []


def test_many_files_are_read_in_their_order(folder: ObjectPath) -> None:
    for number in range(7):
        publish_json(folder / f"{number}.json", {"n": number})
    read = read_ahead(folder, lambda number: read_json(folder / f"{number}.json")["n"], range(7), readers=2)
    assert list(read) == list(range(7))


def test_what_is_missing_is_one_line_naming_it(folder: ObjectPath) -> None:
    for read in (read_json, read_table, lambda path: read_table(path, ["a"])):
        with pytest.raises(DamagedError) as caught:
            read(folder / "none")
        assert str(caught.value).startswith(f"{folder}/none: ")
        assert "\n" not in str(caught.value)


def test_a_table_that_is_cut_off_is_one_line_naming_it(folder: ObjectPath) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), sink)
    publish(folder / "t.parquet", sink.getvalue()[:-5])
    for columns in (None, ["a"]):
        with pytest.raises(DamagedError, match=r"t\.parquet: cannot be read as Parquet: "):
            read_table(folder / "t.parquet", columns)


def test_a_bucket_that_does_not_exist_is_one_line(bucket: ObjectPath) -> None:
    with pytest.raises(StorageError, match=r"^s3://no-such-bucket/run: The specified bucket does not exist"):
        place("s3://no-such-bucket/run")
    with pytest.raises(
        StorageError, match=r"^s3://no-such-bucket/a: cannot be written: The specified bucket"
    ):
        publish(ObjectPath("s3://no-such-bucket/a"), b"")


def test_a_store_that_does_not_answer_is_one_line(
    bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.objects, "IMPATIENCE_S", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StorageError) as caught:
            place("s3://made-bucket/run/")
    assert str(caught.value).startswith("s3://made-bucket/run/: ")
    assert "\n" not in str(caught.value)


def test_plain_http_is_for_loopback_alone(bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.objects, "IMPATIENCE_S", 0.3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.2:9")
    with pytest.raises(StorageError, match=r"^s3://made-bucket/run: .*http"):
        place("s3://made-bucket/run")


def test_a_place_in_a_bucket_that_answers_is_taken(bucket: ObjectPath) -> None:
    assert place("s3://made-bucket/run/") == ObjectPath("s3://made-bucket/run")
    assert place("s3://made-bucket") == bucket


def test_a_version_is_written_once_and_replaced_only_by_who_knows_it(folder: ObjectPath) -> None:
    path = folder / "run.lock"
    first = path.create(b"1")
    assert first
    assert path.create(b"2") is None
    second = path.update(b"2", first)
    assert second
    assert path.update(b"3", first) is None
    assert path.read_version() == (b"2", second)
    remove(path)
    assert path.update(b"3", second) is None
    assert not path.is_file()


@pytest.mark.parametrize(
    "damage",
    [
        lambda part, _: publish(part, part.read_bytes()[:-1]),
        lambda part, _: remove(part),
        lambda _, marker: publish(marker, b""),
        lambda _, marker: publish(marker, b"\xff{garbage"),
    ],
    ids=["part cut off", "part gone", "marker empty", "marker garbage"],
)
def test_a_damaged_unit_is_done_again_as_on_a_disk(
    damage: object, folder: ObjectPath, tmp_path: Path
) -> None:
    there, here = (PhaseFolder(at / "harvest", {"recipe_hash": "abc"}) for at in (folder, tmp_path))
    tables = {"persons": pa.table({"row": range(9)}), "urls": pa.table({"url": ["a"]})}
    for units in (there, here):
        units.begin()
        for index in (0, 1000):
            units.publish_unit(Unit(index, 0, 9), tables, {"n": 9}, part_bytes=40)
    assert len(there.parts("persons", 0)) == 2
    assert callable(damage)
    damage(there.parts("persons", 0)[1], there.path / "done/000/unit-000000.json")
    assert there.finished() == [1000]
    there.publish_unit(Unit(0, 0, 9), tables, {"n": 9}, part_bytes=40)
    assert there.finished() == here.finished() == [0, 1000]
    assert sizes(there.path) == sizes(here.path)
    assert all(
        (there.path / name).read_bytes() == (here.path / name).read_bytes() for name in sizes(here.path)
    )
