"""What is kept of a look at a list: made once, again if it is not whole, and the rows are the same."""

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.inputs import UrlList
from tests.curation.list_bucket import running_bucket

TEXT = "url\n" + "".join(f"http://{n}\n" for n in range(9000))


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    with running_bucket("cached") as client:
        yield client


def packed(folder: Path) -> Path:
    path = folder / "l.csv.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    return path


def urls(urls: UrlList) -> list[str]:
    return [url for unit in urls.units(1000) for url in urls.read(unit)["url"].to_pylist()]


EXPECTED = TEXT.splitlines()[1:]


def test_a_compressed_text_is_unpacked_once(tmp_path: Path) -> None:
    path, cache = packed(tmp_path), tmp_path / "cache"
    assert urls(UrlList(path, cache=cache)) == EXPECTED
    (copy,) = cache.glob("*-l.csv")
    assert copy.read_text() == TEXT
    changed = copy.stat().st_mtime_ns
    assert urls(UrlList(path, cache=cache)) == EXPECTED
    assert copy.stat().st_mtime_ns == changed


def test_rows_are_read_from_the_copy(tmp_path: Path) -> None:
    path, cache = packed(tmp_path), tmp_path / "cache"
    cached = UrlList(path, cache=cache)
    units = cached.units(1000)
    path.write_bytes(b"")
    assert cached.read(units[8])["url"].to_pylist() == EXPECTED[8000:]


@pytest.mark.parametrize("damage", ["cut", "no marker", "empty marker", "garbage marker"])
def test_a_copy_that_is_not_whole_is_made_again(damage: str, tmp_path: Path) -> None:
    path, cache = packed(tmp_path), tmp_path / "cache"
    UrlList(path, cache=cache).units(1000)
    (copy,) = cache.glob("*-l.csv")
    marker = copy.with_name(f"{copy.name}.done")
    copy.write_text(TEXT[: len(TEXT) // 2])
    if damage == "no marker":
        marker.unlink()
    elif damage != "cut":
        marker.write_text("" if damage == "empty marker" else "garbage")
    for index in cache.glob("*.npz"):
        index.unlink()
    assert urls(UrlList(path, cache=cache)) == EXPECTED
    assert copy.read_text() == TEXT


def test_a_cache_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    path, cache = packed(tmp_path), tmp_path / "cache"
    UrlList(path, cache=cache).units(1000)
    shutil.rmtree(cache)
    assert urls(UrlList(path, cache=cache)) == EXPECTED
    assert [copy.read_text() for copy in cache.glob("*-l.csv")] == [TEXT]


@pytest.mark.parametrize("name", ["l.csv", "l.txt", "l.jsonl"])
def test_the_look_at_a_text_is_kept(name: str, tmp_path: Path) -> None:
    path, cache = tmp_path / name, tmp_path / "cache"
    path.write_text('{"url": "http://a"}\n' * 9000 if name == "l.jsonl" else TEXT)
    before = urls(UrlList(path, cache=cache))
    (index,) = cache.glob("*.npz")
    changed = index.stat().st_mtime_ns
    assert urls(UrlList(path, cache=cache)) == urls(UrlList(path)) == before
    assert index.stat().st_mtime_ns == changed


@pytest.mark.parametrize("keep", [0, 10, -20], ids=lambda keep: f"[:{keep}]")
def test_a_look_that_is_not_whole_is_taken_again(keep: int, tmp_path: Path) -> None:
    path, cache = tmp_path / "l.csv", tmp_path / "cache"
    path.write_text(TEXT)
    UrlList(path, cache=cache).units(1000)
    (index,) = cache.glob("*.npz")
    whole = index.read_bytes()
    index.write_bytes(whole[:keep])
    assert urls(UrlList(path, cache=cache)) == EXPECTED
    assert len(index.read_bytes()) == len(whole)


def test_another_limit_is_another_look(tmp_path: Path) -> None:
    path, cache = tmp_path / "l.csv", tmp_path / "cache"
    path.write_text(TEXT)
    assert urls(UrlList(path, cache=cache, limit=10)) == EXPECTED[:10]
    assert urls(UrlList(path, cache=cache)) == EXPECTED


def test_a_list_that_has_changed_is_looked_at_anew(tmp_path: Path) -> None:
    path, cache = tmp_path / "l.csv", tmp_path / "cache"
    path.write_text(TEXT)
    UrlList(path, cache=cache).units(1000)
    path.write_text("url\n\n\n" + "".join(f"http://x/{n}\n" for n in range(5000)))
    assert urls(UrlList(path, cache=cache)) == [f"http://x/{n}" for n in range(5000)]


def test_a_cache_changes_no_fingerprint(tmp_path: Path) -> None:
    path = packed(tmp_path)
    assert UrlList(path).fingerprint() == UrlList(path, cache=tmp_path / "cache").fingerprint()


def test_a_cache_may_be_on_object_storage(bucket: Any, tmp_path: Path) -> None:
    path, cache = packed(tmp_path), "s3://cached/run/list"
    assert urls(UrlList(path, cache=cache)) == EXPECTED
    keys = [entry["Key"] for entry in bucket.list_objects_v2(Bucket="cached")["Contents"]]
    assert sorted(key.rpartition(".")[2] for key in keys if not key.endswith("/")) == ["csv", "done", "npz"]
    assert urls(UrlList(path, cache=cache)) == EXPECTED
