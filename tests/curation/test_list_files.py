"""Finding the files of a list, on disk and on object storage, and opening them."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.list_files import InputError, ListFile, find_files
from tests.curation.list_bucket import running_bucket


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A bucket `lists`; its client."""
    with running_bucket("lists") as client:
        yield client


def filled(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("url\nhttp://a\n")
    return folder


def found(location: Path | str, below: Path) -> list[str]:
    return [str(Path(file.path).relative_to(below)) for file in find_files(str(location))]


def refused(location: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        find_files(str(location))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{location}: ")
    return message.removeprefix(f"{location}: ")


def test_a_folder_is_the_lists_below_it_in_the_order_of_their_names(tmp_path: Path) -> None:
    filled(tmp_path, "part-10.csv", "part-02.csv", "deep/er/part-01.csv", "part-03.csv.gz")
    assert found(tmp_path, tmp_path) == [
        "deep/er/part-01.csv",
        "part-02.csv",
        "part-03.csv.gz",
        "part-10.csv",
    ]


def test_foreign_and_hidden_files_of_a_folder_are_no_lists(tmp_path: Path) -> None:
    filled(tmp_path, "a.csv", "README.md", "_SUCCESS", ".a.csv.crc", ".b.csv", "_tmp/c.csv", "log", "x.zip")
    assert found(tmp_path, tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.csv", ["a.csv", "b.csv"]),
        ("[ab].csv", ["a.csv", "b.csv"]),
        ("?.csv", ["a.csv", "b.csv"]),
        ("**/*.csv", ["a.csv", "b.csv", "deep/c.csv"]),
        ("deep/*", ["deep/c.csv"]),
        ("a*", ["a.csv"]),
    ],
)
def test_a_glob_is_what_it_matches(pattern: str, expected: list[str], tmp_path: Path) -> None:
    filled(tmp_path, "a.csv", "b.csv", "deep/c.csv", "d.txt", ".hidden.csv")
    assert found(tmp_path / pattern, tmp_path) == expected


def test_a_file_is_taken_by_name_even_if_it_looks_like_a_glob(tmp_path: Path) -> None:
    filled(tmp_path, "a[1].csv", "a1.csv")
    assert found(tmp_path / "a[1].csv", tmp_path) == ["a[1].csv"]


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, "a.csv")
    monkeypatch.chdir(tmp_path)
    assert [file.path for file in find_files("a.csv")] == [str(tmp_path / "a.csv")]


def test_a_file_uri_is_a_path(tmp_path: Path) -> None:
    filled(tmp_path, "a.csv")
    assert find_files(f"file://{tmp_path}/a.csv") == find_files(str(tmp_path / "a.csv"))


@pytest.mark.parametrize("name", ["none.csv", "none/none.csv"])
def test_a_missing_list_is_named(name: str, tmp_path: Path) -> None:
    assert refused(tmp_path / name) == "no such URL list"


@pytest.mark.parametrize("pattern", ["*.csv", "none/*.csv", "**/*.jsonl", ""])
def test_what_holds_no_list_is_named(pattern: str, tmp_path: Path) -> None:
    filled(tmp_path, "README.md")
    assert refused(tmp_path / pattern).startswith("no URL list here (their names end with .parquet, ")


def test_files_of_two_formats_are_refused(tmp_path: Path) -> None:
    filled(tmp_path, "a.csv", "LICENSE.txt")
    assert refused(tmp_path) == "holds csv and text; name those of one format by a glob"


@pytest.mark.parametrize(
    ("uri", "said"),
    [("foo://x/y.csv", "Unrecognized filesystem type"), ("s3:///x.csv", "Path cannot start with")],
)
def test_a_uri_that_nobody_can_open_is_one_line(uri: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        find_files(uri)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    filled(tmp_path, "a.csv")
    (tmp_path / "a.csv").chmod(0)
    (file,) = find_files(str(tmp_path / "a.csv"))
    with pytest.raises(InputError, match=r"a\.csv: "):
        file.open()


@pytest.mark.parametrize(
    ("name", "form", "compression"),
    [
        ("a.parquet", "parquet", None),
        ("a.PQ", "parquet", None),
        ("a.csv", "csv", None),
        ("a.CSV.GZ", "csv", "gzip"),
        ("a.tsv.zst", "tsv", "zstd"),
        ("a.jsonl", "jsonl", None),
        ("a.ndjson.gz", "jsonl", "gzip"),
        ("a.json", "jsonl", None),
        ("a.txt", "text", None),
        ("a.gz", "text", "gzip"),
        ("a", "text", None),
        ("a.urls", "text", None),
    ],
)
def test_a_name_says_format_and_compression(
    name: str, form: str, compression: str | None, tmp_path: Path
) -> None:
    filled(tmp_path, name)
    if compression == "gzip":
        (tmp_path / name).write_bytes(gzip.compress(b"url\nhttp://a\n"))
    (file,) = find_files(str(tmp_path / name))
    assert (file.format, file.compression) == (form, compression)


def test_parquet_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["http://a"]}), tmp_path / "list")
    (file,) = find_files(str(tmp_path / "list"))
    assert file.format == "parquet"


def compressed(path: Path, data: bytes) -> ListFile:
    with pa.OSFile(str(path), "wb") as raw, pa.CompressedOutputStream(raw, CODECS[path.suffix]) as file:
        file.write(data)
    (found,) = find_files(str(path))
    return found


CODECS = {".gz": "gzip", ".zst": "zstd"}
TEXT = b"".join(b"http://%d\n" % n for n in range(50_000))


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("offset", [0, 1, 300_000, len(TEXT)])
def test_a_compressed_file_is_opened_at_a_place_of_its_text(suffix: str, offset: int, tmp_path: Path) -> None:
    with compressed(tmp_path / f"a.txt{suffix}", TEXT).open(offset) as file:
        assert file.read() == TEXT[offset:]


@pytest.mark.parametrize("suffix", CODECS)
def test_compressed_files_put_together_are_one(suffix: str, tmp_path: Path) -> None:
    compressed(tmp_path / f"a.txt{suffix}", TEXT)
    path = tmp_path / f"b.txt{suffix}"
    path.write_bytes((tmp_path / f"a.txt{suffix}").read_bytes() * 2)
    (file,) = find_files(str(path))
    with file.open() as opened:
        assert opened.read() == 2 * TEXT


def test_the_identity_of_a_local_file_is_its_content(tmp_path: Path) -> None:
    filled(tmp_path, "a.csv", "b.csv", "c.csv")
    (tmp_path / "c.csv").write_text("url\nhttp://c\n")
    one, same, other = (file.identity() for file in find_files(str(tmp_path)))
    assert one == same != other


def test_objects_are_found_like_files(bucket: Any) -> None:
    for key in ("a/part-2.csv", "a/part-1.csv", "a/deep/part-3.csv", "a/README.md", "a/_x/part-9.csv"):
        bucket.put_object(Bucket="lists", Key=key, Body=b"url\nhttp://a\n")
    every = ["lists/a/deep/part-3.csv", "lists/a/part-1.csv", "lists/a/part-2.csv"]
    assert [file.path for file in find_files("s3://lists/a")] == every
    assert [file.path for file in find_files("s3://lists/a/")] == every
    assert [file.path for file in find_files("s3://lists/a/*.csv")] == every[1:]
    assert [file.name for file in find_files("s3://lists/a/part-1.csv")] == ["s3://lists/a/part-1.csv"]


def test_an_object_is_read_from_the_middle(bucket: Any) -> None:
    bucket.put_object(Bucket="lists", Key="b c/text.txt", Body=TEXT)
    (file,) = find_files("s3://lists/b c/text.txt")
    with file.open(400_000) as opened:
        assert opened.read(100) == TEXT[400_000:400_100]


def test_the_identity_of_an_object_is_its_tag_and_size(bucket: Any) -> None:
    tag = bucket.put_object(Bucket="lists", Key="c/text.txt", Body=TEXT)["ETag"]
    (file,) = find_files("s3://lists/c/text.txt")
    assert file.identity() == f"{tag} {len(TEXT)}"


@pytest.mark.parametrize("uri", ["s3://lists/none.csv", "s3://nobucket/a.csv"])
def test_a_missing_object_is_named(uri: str, bucket: Any) -> None:
    assert refused(uri) == "no such URL list"


def test_options_of_the_filesystem_stand_in_the_uri(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put_object(Bucket="lists", Key="d/a.txt", Body=b"http://a\n")
    endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://").replace(":", "%3A")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    (file,) = find_files(f"s3://lists/d/a.txt?endpoint_override={endpoint}&scheme=http&region=us-east-1")
    assert file.head(20) == b"http://a\n"
    assert file.name == "s3://lists/d/a.txt"


def test_a_scheme_that_only_fsspec_knows_is_read() -> None:
    fsspec.filesystem("memory").pipe("/lists/a.csv", b"url\nhttp://a\n")
    (file,) = find_files("memory://lists/a.csv")
    assert file.head(4) == b"url\n"
