"""URL lists: every line or row comes out once, in units that nothing but the list decides."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.inputs import INPUT_ROWS, InputError, UrlList

QUICK = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def text_list(folder: Path, data: bytes) -> UrlList:
    path = folder / "urls.txt"
    path.write_bytes(data)
    return UrlList(path)


def parquet_list(folder: Path, urls: pa.Array, rows_per_group: int = 1000, column: str = "url") -> UrlList:
    path = folder / "urls.parquet"
    table = pa.table({"id": pa.array(range(len(urls))), column: urls})
    pq.write_table(table, path, row_group_size=rows_per_group)
    return UrlList(path)


def read(urls: UrlList, rows: int) -> list[str | None]:
    """All units, one after the other; each row's place is looked at too."""
    found: list[str | None] = []
    for unit in urls.units(rows):
        table = urls.read(unit)
        assert table.schema.equals(INPUT_ROWS)
        assert table["unit"].to_pylist() == [unit.index] * unit.count
        assert table["row"].to_pylist() == list(range(unit.count))
        assert unit.first == len(found)
        found += table["url"].to_pylist()
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"http://a/\nhttp://b/\n", ["http://a/", "http://b/"]),
        (b"http://a/\nhttp://b/", ["http://a/", "http://b/"]),
        (b"http://a/\r\nhttp://b/\r\n", ["http://a/", "http://b/"]),
        (b"\n\nhttp://a/\n \t \n\r\nhttp://b/\n\n", ["http://a/", "http://b/"]),
        (b"  http://a/ \n", ["http://a/"]),
        (b"\xef\xbb\xbfhttp://a/\nhttp://b/\n", ["http://a/", "http://b/"]),
        (b"\xef\xbb\xbf\nhttp://b/\n", ["http://b/"]),
        ("http://a/é\n".encode(), ["http://a/é"]),
        (b"http://a/\xff\xfe\nhttp://b/\n", ["http://a/\ufffd\ufffd", "http://b/"]),
        (b"no url\nhttp://b/\n", ["no url", "http://b/"]),
    ],
    ids=["plain", "no last newline", "CRLF", "blank", "spaces", "BOM", "BOM alone", "UTF-8", "bad", "other"],
)
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_a_line_of_text_is_a_row_unless_it_is_blank(
    data: bytes, expected: list[str], rows: int, tmp_path: Path
) -> None:
    urls = text_list(tmp_path, data)
    urls.check()
    assert read(urls, rows) == expected


LINES = st.lists(
    st.one_of(
        st.just(b""), st.just(b"  "), st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"x"))
    )
)


@QUICK
@given(lines=LINES, end=st.sampled_from([b"\n", b"\r\n"]), last=st.booleans(), rows=st.integers(1, 7))
def test_the_units_of_a_text_are_the_list(
    lines: list[bytes], end: bytes, last: bool, rows: int, tmp_path: Path
) -> None:
    data = end.join(lines) + (end if last else b"")
    urls = text_list(tmp_path, data)
    body = data.removeprefix(b"\xef\xbb\xbf")
    expected = [line.decode(errors="replace").strip() for line in body.split(b"\n") if line.strip()]
    assert read(urls, rows) == expected


@QUICK
@given(
    urls=st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=5)), min_size=1),
    rows=st.integers(1, 9),
    group=st.integers(1, 9),
)
def test_the_units_of_a_parquet_are_the_list(
    urls: list[str | None], rows: int, group: int, tmp_path: Path
) -> None:
    found = parquet_list(tmp_path, pa.array(urls, pa.string()), group)
    assert read(found, rows) == [None if url is None else url.strip() for url in urls]


def test_units_cut_across_row_groups(tmp_path: Path) -> None:
    expected = [f"http://a/{n}" for n in range(25)]
    urls = parquet_list(tmp_path, pa.array(expected), rows_per_group=7)
    assert [unit.count for unit in urls.units(10)] == [10, 10, 5]
    assert read(urls, 10) == expected


@pytest.mark.parametrize(
    "arrow", [pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_a_column_of_any_text_type_is_read(arrow: pa.DataType, tmp_path: Path) -> None:
    values = pa.array(["http://a/", None, "http://a/"])
    urls = parquet_list(tmp_path, values.dictionary_encode() if "dict" in str(arrow) else values.cast(arrow))
    urls.check()
    assert read(urls, 2) == ["http://a/", None, "http://a/"]


def test_a_bad_byte_in_a_parquet_spoils_its_own_row_only(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xffb")]
    )
    assert read(parquet_list(tmp_path, bad), 10) == ["a\ufffd", "b"]


def test_the_same_list_has_the_same_units_whenever_it_is_cut(tmp_path: Path) -> None:
    urls = text_list(tmp_path, b"\n".join(b"http://a/%d" % n for n in range(10)))
    assert urls.units(3) == UrlList(urls.path).units(3)


def test_a_unit_reads_the_same_rows_at_every_call(tmp_path: Path) -> None:
    urls = text_list(tmp_path, b"\n".join(b"http://a/%d" % n for n in range(10)))
    unit = urls.units(4)[1]
    assert urls.read(unit).equals(urls.read(unit))


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, same = text_list(tmp_path, b"http://a/\n"), text_list(tmp_path / "other", b"http://a/\n")
    assert one.fingerprint() == same.fingerprint()
    assert text_list(tmp_path / "other", b"http://b/\n").fingerprint() != one.fingerprint()


def refused(urls: UrlList) -> str:
    with pytest.raises(InputError) as caught:
        urls.check()
    message = str(caught.value)
    assert message.startswith(f"{urls.path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{urls.path}: ")


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    assert refused(UrlList(tmp_path / "none.txt")) == "no such URL list"
    assert refused(UrlList(tmp_path)) == "no such URL list"


@pytest.mark.parametrize("data", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_text_without_urls_is_refused(data: bytes, tmp_path: Path) -> None:
    assert refused(text_list(tmp_path, data)) == "the list has no URLs"


def test_a_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    assert refused(parquet_list(tmp_path, pa.array([], pa.string()))) == "the list has no URLs"


def test_a_parquet_without_the_column_is_refused_with_those_that_it_has(tmp_path: Path) -> None:
    urls = parquet_list(tmp_path, pa.array(["http://a/"]), column="URL")
    assert refused(urls) == "no column url; it has id, URL"


def test_a_column_of_numbers_is_refused(tmp_path: Path) -> None:
    assert refused(parquet_list(tmp_path, pa.array([1, 2]))) == "the column url holds int64, not text"


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "urls.parquet"
    path.write_text("http://a/\n")
    assert refused(UrlList(path)).startswith("not Parquet: ")


@pytest.mark.parametrize("data", [gzip.compress(b"http://a/\n" * 50), "http://a/\n".encode("utf-16")])
def test_what_is_neither_parquet_nor_text_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    with pytest.raises(InputError, match="neither Parquet nor UTF-8 text"):
        UrlList(path).check()


def test_parquet_is_known_by_its_content(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["http://a/1", "http://a/2"]}), tmp_path / "list.pq")
    urls = UrlList(tmp_path / "list.pq")
    urls.check()
    (unit,) = urls.units(10)
    assert urls.read(unit)["url"].to_pylist() == ["http://a/1", "http://a/2"]
