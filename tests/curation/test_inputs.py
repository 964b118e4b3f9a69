"""URL lists: every line or row comes out once, in units that nothing but the list decides."""

import gzip
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.inputs import INPUT_ROWS, InputError, InputSettings, UrlList, draw
from curation.list_texts import MARK_ROWS
from pipeline.reasons import Reason
from pipeline.units import Unit, UnitRange
from tests.curation.list_bucket import running_bucket

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
    assert refused(UrlList(tmp_path)).startswith("no URL list here ")


@pytest.mark.parametrize("data", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_text_without_urls_is_refused(data: bytes, tmp_path: Path) -> None:
    assert refused(text_list(tmp_path, data)) == "the list has no URLs"


def test_a_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    assert refused(parquet_list(tmp_path, pa.array([], pa.string()))) == "the list has no URLs"


def test_a_parquet_without_the_column_is_refused_with_those_that_it_has(tmp_path: Path) -> None:
    urls = parquet_list(tmp_path, pa.array(["http://a/"]), column="URL")
    assert refused(urls) == "no column url, needed by harvest.input.url_column; it has id, URL"


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


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    with running_bucket("inputs") as client:
        yield client


def rows(urls: UrlList, per_unit: int = 1000) -> list[dict[str, Any]]:
    """All rows, without their place."""
    found = [row for unit in urls.units(per_unit) for row in urls.read(unit).to_pylist()]
    return [{name: row[name] for name in ("url", "carried", "reason", "error")} for row in found]


def written(folder: Path, name: str, data: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(data.encode()) if name.endswith(".gz") else data.encode())
    return path


def lists_of_every_format(folder: Path, count: int) -> list[Path]:
    """The same rows (url and width) in each of them."""
    urls, widths = [f"http://a/{n}" for n in range(count)], list(range(count))
    pq.write_table(pa.table({"width": widths, "url": urls}), folder / "l.parquet", row_group_size=13)
    pairs = list(zip(urls, widths, strict=True))
    csv = "url,width\n" + "".join(f"{url},{width}\n" for url, width in pairs)
    lines = "".join(json.dumps({"width": width, "url": url}) + "\n" for url, width in pairs)
    return [
        folder / "l.parquet",
        written(folder, "l.csv", csv),
        written(folder, "l.tsv", csv.replace(",", "\t")),
        written(folder, "l.jsonl", lines),
        written(folder, "l.csv.gz", csv),
        written(folder, "l.jsonl.gz", lines),
    ]


def test_the_same_list_is_the_same_rows_in_every_format(tmp_path: Path) -> None:
    settings_ = InputSettings(min_width_px=10)
    expected = [(f"http://a/{n}", Reason.LISTED_SIZE if n < 10 else None) for n in range(50)]
    for path in lists_of_every_format(tmp_path, 50):
        urls = UrlList(path, settings_)
        urls.check()
        assert [(row["url"], row["reason"]) for row in rows(urls, 7)] == expected, path


def test_files_of_a_folder_follow_each_other_in_the_units(tmp_path: Path) -> None:
    for name, first, last in (("b.csv", 3, 10), ("a.csv", 0, 3), ("c.csv", 10, 10), ("d.csv.gz", 10, 11)):
        written(tmp_path, name, "url\n" + "".join(f"http://a/{n}\n" for n in range(first, last)))
    urls = UrlList(tmp_path)
    urls.check()
    assert read(urls, 4) == [f"http://a/{n}" for n in range(11)]


def test_parquet_files_of_a_glob_follow_each_other_in_the_units(tmp_path: Path) -> None:
    for part in range(5):
        table = pa.table({"url": [f"http://a/{10 * part + n}" for n in range(10)]})
        pq.write_table(table, tmp_path / f"part-{part}.parquet", row_group_size=3)
    assert read(UrlList(str(tmp_path / "part-[1-3].parquet")), 7) == [f"http://a/{n}" for n in range(10, 40)]


def test_rows_that_are_alike_are_rows_each(tmp_path: Path) -> None:
    assert read(text_list(tmp_path, b"http://a/\n" * 3), 2) == ["http://a/"] * 3


def test_limits_change_no_unit(tmp_path: Path) -> None:
    for path in lists_of_every_format(tmp_path, 50):
        strict = InputSettings(min_width_px=40, columns=("width",), domains_deny=("b",))
        assert UrlList(path).units(7) == UrlList(path, strict).units(7)
        assert [row["url"] for row in rows(UrlList(path))] == [
            row["url"] for row in rows(UrlList(path, strict))
        ]


def test_units_are_those_that_slicing_gives() -> None:
    for total in (0, 1, 9, 10, 11):
        assert [(u.first, u.count) for u in UnitRange(total, 5)] == [
            (first, min(5, total - first)) for first in range(0, total, 5)
        ]
    assert UnitRange(23, 5)[1:3] == [Unit(1, 5, 5), Unit(2, 10, 5)]
    assert UnitRange(23, 5)[-1] == Unit(4, 20, 3)


def test_a_million_units_cost_no_memory() -> None:
    assert len(pickle.dumps(UnitRange(700_000_000, 256))) < 200


def test_carried_columns_are_one_json_object_with_sorted_keys(tmp_path: Path) -> None:
    path = written(
        tmp_path, "l.jsonl", '{"url": "http://a", "w": 1, "text": "\u00e9 \\ud800", "x": {"b": NaN}}\n'
    )
    (row,) = rows(UrlList(path, InputSettings(columns=("w", "text", "x"))))
    assert row["carried"] == '{"text": "é ?", "w": 1, "x": {"b": null}}'


def test_carried_columns_of_a_parquet_are_json_whatever_their_type(tmp_path: Path) -> None:
    table = pa.table(
        {
            "url": ["http://a"],
            "day": pa.array([19_000], pa.date32()),
            "hash": [b"ab\xff"],
            "n": [float("nan")],
            "tags": [["x"]],
        }
    )
    pq.write_table(table, tmp_path / "l.parquet")
    (row,) = rows(UrlList(tmp_path / "l.parquet", InputSettings(columns=("tags", "n", "hash", "day"))))
    assert json.loads(row["carried"]) == {"day": "2022-01-08", "hash": "ab\ufffd", "n": None, "tags": ["x"]}


def test_without_carried_columns_there_is_nothing_carried(tmp_path: Path) -> None:
    assert [row["carried"] for row in rows(text_list(tmp_path, b"http://a/\n"))] == [None]


LINE = '{"url": %s, "width": %s}\n'


@pytest.mark.parametrize(
    ("line", "reason", "error"),
    [
        (LINE % ('"http://a"', "null"), None, None),
        (LINE % ("null", "50"), None, None),
        (LINE % ("17", "50"), Reason.ROW_UNREADABLE, "the URL is of type int, not a text"),
        (LINE % ('["http://a"]', "50"), Reason.ROW_UNREADABLE, "the URL is of type list, not a text"),
        (LINE % ('"http://a"', '"wide"'), Reason.ROW_UNREADABLE, "column width holds 'wide', not a number"),
        (LINE % ('"http://a"', "true"), Reason.ROW_UNREADABLE, "column width holds 'True', not a number"),
        ("garbage\n", Reason.ROW_UNREADABLE, "Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_a_row_has_its_reason(line: str, reason: Reason | None, error: str | None, tmp_path: Path) -> None:
    path = written(tmp_path, "l.jsonl", LINE % ('"http://first"', "50") + line)
    urls = UrlList(path, InputSettings(min_width_px=10))
    urls.check()
    first, row = rows(urls)
    assert (first["reason"], first["error"]) == (None, None)
    assert row["reason"] == reason
    assert row["error"] == (error and f"{path} line 2: {error}")


def test_a_row_that_a_limit_leaves_out_says_why(tmp_path: Path) -> None:
    path = written(tmp_path, "l.csv", "url,HEIGHT\nhttp://a,20\nhttp://b,100\n")
    left_out, asked_for = rows(UrlList(path, InputSettings(min_height_px=100, height_column="HEIGHT")))
    assert (left_out["reason"], left_out["error"]) == (Reason.LISTED_SIZE, "HEIGHT 20 < 100")
    assert (asked_for["reason"], asked_for["error"]) == (None, None)


def test_a_row_that_cannot_be_read_keeps_what_can(tmp_path: Path) -> None:
    path = written(tmp_path, "l.csv", "url,width\nhttp://a,wide\n")
    (row,) = rows(UrlList(path, InputSettings(min_width_px=10, columns=("width",))))
    assert (row["url"], row["carried"]) == ("http://a", '{"width": "wide"}')


def test_a_url_of_two_megabytes_in_a_parquet_cannot_be_read(tmp_path: Path) -> None:
    long, short = rows(parquet_list(tmp_path, pa.array(["http://a/" + "x" * 2**21, "http://b"])))
    assert (long["url"], long["reason"]) == (None, Reason.ROW_UNREADABLE)
    assert len(long["error"]) < 300
    assert (short["url"], short["reason"]) == ("http://b", None)


def test_half_a_surrogate_pair_in_a_url_becomes_a_question_mark(tmp_path: Path) -> None:
    path = written(tmp_path, "l.jsonl", '{"url": "http://a/\\ud800"}\n')
    assert [row["url"] for row in rows(UrlList(path))] == ["http://a/?"]


def test_the_column_of_urls_has_the_name_that_the_settings_say(tmp_path: Path) -> None:
    urls = UrlList(written(tmp_path, "l.csv", "URL,url\nhttp://a,b\n"), InputSettings(url_column="URL"))
    urls.check()
    assert [row["url"] for row in rows(urls)] == ["http://a"]


@pytest.mark.parametrize(
    ("setting", "value", "column"),
    [
        ("columns", ("text",), "text"),
        ("url_column", "link", "link"),
        ("min_height_px", 5, "height"),
        ("aspect_max", 5, "height"),
        ("faces_min", 1, "num_faces"),
        ("nsfw_max", 0.5, "nsfw_score_opennsfw2"),
        ("watermark_max", 0.5, "watermark_score"),
    ],
)
def test_a_column_that_is_asked_for_and_missing_is_named_with_its_setting(
    setting: str, value: Any, column: str, tmp_path: Path
) -> None:
    settings_ = InputSettings.model_validate({setting: value})
    for path in lists_of_every_format(tmp_path, 3):
        said = f"no column {column}, needed by harvest.input.{setting}; it has "
        assert refused(UrlList(path, settings_)).startswith(said)


def test_a_plain_text_has_no_further_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "l.txt", "http://a\n")
    said = "no column width, needed by harvest.input.min_width_px; it has url"
    assert refused(UrlList(path, InputSettings(min_width_px=5))) == said


def test_a_column_missing_in_one_file_of_many_names_the_file(tmp_path: Path) -> None:
    written(tmp_path, "a.csv", "url,width\nhttp://a,1\n")
    written(tmp_path, "b.csv", "url\nhttp://b\n")
    with pytest.raises(InputError, match=r"b\.csv: no column width, .*; it has url$"):
        UrlList(tmp_path, InputSettings(min_width_px=5)).check()


def test_a_limit_on_a_column_of_lists_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["http://a"], "width": [[1]]}), tmp_path / "l.parquet")
    message = refused(UrlList(tmp_path / "l.parquet", InputSettings(min_width_px=5)))
    assert message.startswith("the column width holds list<")
    assert message.endswith(", not the numbers that harvest.input.min_width_px needs")


@pytest.mark.parametrize("name", ["l.csv", "l.tsv", "l.jsonl", "l.txt", "l.csv.gz", "l.txt.gz"])
@pytest.mark.parametrize("data", ["", "\n \r\n", "\ufeff"])
def test_a_list_without_rows_is_refused_in_every_format(name: str, data: str, tmp_path: Path) -> None:
    assert refused(UrlList(written(tmp_path, name, data))) == "the list has no URLs"


@pytest.mark.parametrize("name", ["l.csv", "l.tsv", "l.csv.gz"])
def test_a_header_alone_is_no_list(name: str, tmp_path: Path) -> None:
    assert refused(UrlList(written(tmp_path, name, "url\n"))) == "the list has no URLs"


def test_an_empty_file_among_others_is_no_fault(tmp_path: Path) -> None:
    written(tmp_path, "a.jsonl", "")
    written(tmp_path, "b.jsonl", '{"url": "http://b"}\n')
    urls = UrlList(tmp_path)
    urls.check()
    assert [row["url"] for row in rows(urls)] == ["http://b"]


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_truncated_compressed_list_is_refused_when_it_is_cut(codec: str, tmp_path: Path) -> None:
    path = tmp_path / ("l.txt.gz" if codec == "gzip" else "l.txt.zst")
    whole = pa.BufferOutputStream()
    with pa.CompressedOutputStream(whole, codec) as file:
        file.write(b"".join(b"http://%d\n" % (n * 7919) for n in range(100_000)))
    path.write_bytes(whole.getvalue().to_pybytes()[:-50])
    with pytest.raises(InputError, match="Truncated compressed stream") as caught:
        UrlList(path).units(100)
    assert str(caught.value).startswith(f"{path}: ")


def test_garbage_that_is_called_gz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.txt.gz").write_bytes(b"http://a/\n" * 50)
    assert "zlib inflate failed" in refused(UrlList(tmp_path / "l.txt.gz"))


def test_a_list_that_shrinks_under_a_run_is_refused(tmp_path: Path) -> None:
    urls = text_list(tmp_path, b"http://a\nhttp://b\n")
    (unit,) = urls.units(10)
    (tmp_path / "urls.txt").write_bytes(b"http://a\n")
    with pytest.raises(InputError, match="has changed"):
        urls.read(unit)


def test_a_list_that_changes_within_its_size_is_refused(tmp_path: Path) -> None:
    urls = text_list(tmp_path, b"http://a\nhttp://b\n")
    (unit,) = urls.units(10)
    (tmp_path / "urls.txt").write_bytes(b"http://a\nhttp://c\n")
    with pytest.raises(InputError, match="has changed: it was written anew under this run"):
        urls.read(unit)


def test_where_no_storage_tells_of_it_such_a_list_is_refused_when_rows_are_missing(tmp_path: Path) -> None:
    urls = text_list(tmp_path, b"http://a\nhttp://b\n")
    (unit,) = urls.units(10)
    written = (tmp_path / "urls.txt").stat().st_mtime_ns
    (tmp_path / "urls.txt").write_bytes(b"http://a-http://b\n")
    os.utime(tmp_path / "urls.txt", ns=(written, written))
    with pytest.raises(InputError, match="has changed: unit 0 had 2 rows"):
        urls.read(unit)


def test_a_limit_is_the_first_rows_in_the_same_units(tmp_path: Path) -> None:
    for path in lists_of_every_format(tmp_path, 50):
        cut = UrlList(path, limit=20)
        assert list(cut.units(7)) == [*UrlList(path).units(7)[:2], Unit(2, 14, 6)]
        assert read(cut, 7) == [f"http://a/{n}" for n in range(20)]
        assert UrlList(path, limit=500).units(7) == UrlList(path).units(7)


def test_a_limit_reaches_into_the_files_in_order(tmp_path: Path) -> None:
    for name in "abc":
        written(tmp_path, f"{name}.txt", "".join(f"http://{name}/{n}\n" for n in range(5)))
    assert read(UrlList(tmp_path, limit=7), 3) == [f"http://a/{n}" for n in range(5)] + [
        "http://b/0",
        "http://b/1",
    ]


def test_a_sample_is_the_same_rows_in_every_format_and_unit_size(tmp_path: Path) -> None:
    expected = [f"http://a/{n}" for n in draw(50, 9, 3).tolist()]
    for path in lists_of_every_format(tmp_path, 50):
        for per_unit in (1, 4, 100):
            assert read(UrlList(path, sample=9, seed=3), per_unit) == expected


def test_a_sample_of_a_long_text_is_read_at_its_places(tmp_path: Path) -> None:
    count = 3 * MARK_ROWS
    urls = text_list(tmp_path, b"".join(b"http://%d\n" % n for n in range(count)))
    drawn = UrlList(urls.path, sample=200, seed=1)
    assert read(drawn, 64) == [f"http://{n}" for n in draw(count, 200, 1).tolist()]
    assert drawn.list_rows() == count


def test_a_sample_is_drawn_from_within_the_limit(tmp_path: Path) -> None:
    urls = text_list(tmp_path, b"".join(b"%d\n" % n for n in range(100)))
    found = read(UrlList(urls.path, limit=20, sample=10), 100)
    assert len(found) == 10
    assert all(int(str(url)) < 20 for url in found)


def test_a_sample_larger_than_the_list_is_the_list(tmp_path: Path) -> None:
    assert draw(5, 10, 0).tolist() == [0, 1, 2, 3, 4]


def test_a_larger_sample_holds_the_smaller_one_and_seeds_differ() -> None:
    small, large, other = draw(10_000, 100, 0), draw(10_000, 1000, 0), draw(10_000, 100, 1)
    assert len(set(small.tolist())) == 100
    assert set(small.tolist()) <= set(large.tolist())
    assert small.tolist() != other.tolist()


def test_a_sample_is_spread_evenly() -> None:
    drawn = draw(3_000_000, 30_000, 7)
    assert len(drawn) == 30_000
    tenths = [
        int(((drawn >= start) & (drawn < start + 300_000)).sum()) for start in range(0, 3_000_000, 300_000)
    ]
    assert all(2700 < count < 3300 for count in tenths)  # five standard deviations


def test_what_is_cut_out_of_a_list_changes_its_fingerprint(tmp_path: Path) -> None:
    path = text_list(tmp_path, b"http://a\nhttp://b\n").path
    domains = written(tmp_path, "deny.txt", "example.com\n")
    denied = InputSettings(domains_deny=str(domains))
    lists = [
        UrlList(path),
        UrlList(path, limit=1),
        UrlList(path, sample=1),
        UrlList(path, sample=1, seed=1),
        UrlList(path, limit=1, sample=1),
        UrlList(path, denied),
    ]
    prints = [urls.fingerprint() for urls in lists]
    written(tmp_path, "deny.txt", "example.org\n")
    assert len({*prints, UrlList(path, denied).fingerprint()}) == 7


def test_where_files_are_cut_and_in_what_order_they_stand_changes_the_fingerprint(tmp_path: Path) -> None:
    for folder, texts in {"x": ["1\n", "2\n"], "y": ["2\n", "1\n"], "z": ["1\n2\n"]}.items():
        (tmp_path / folder).mkdir()
        for number, text in enumerate(texts):
            written(tmp_path / folder, f"{number}.txt", text)
    assert len({UrlList(tmp_path / folder).fingerprint() for folder in "xyz"}) == 3


def test_a_worker_reads_with_the_look_that_was_taken_before(tmp_path: Path) -> None:
    domains = written(tmp_path, "deny.txt", "b\n")
    path = text_list(tmp_path, b"http://a\nhttp://b\nhttp://c\n").path
    urls = UrlList(path, InputSettings(domains_deny=str(domains)), sample=2)
    sent = pickle.dumps(urls)
    domains.unlink()
    there = pickle.loads(sent)
    assert {"_index", "_drawn"} <= vars(there).keys()
    found = [there.read(unit).to_pylist()[0] for unit in there.units(1)]
    assert [row["url"] for row in found] == [f"http://{'abc'[n]}" for n in draw(3, 2, 0)]
    assert [row["reason"] for row in found] == [
        Reason.DOMAIN_EXCLUDED if row["url"] == "http://b" else None for row in found
    ]


@pytest.mark.parametrize("name", ["l.parquet", "l.csv", "l.jsonl.gz"])
def test_a_list_on_object_storage_is_the_same_rows(name: str, bucket: Any, tmp_path: Path) -> None:
    lists_of_every_format(tmp_path, 50)
    for part in range(2):
        bucket.put_object(Bucket="inputs", Key=f"{name}/{part}-{name}", Body=(tmp_path / name).read_bytes())
    urls = UrlList(f"s3://inputs/{name}/*", InputSettings(min_width_px=10))
    urls.check()
    local = rows(UrlList(tmp_path / name, InputSettings(min_width_px=10)))
    assert rows(urls, 30) == local + local
    assert pickle.loads(pickle.dumps(urls)).read(urls.units(30)[1]).equals(urls.read(urls.units(30)[1]))


def test_an_object_that_is_written_anew_changes_the_fingerprint(bucket: Any) -> None:
    prints = []
    for body in (b"http://a\n", b"http://b\n", b"http://a\n"):
        bucket.put_object(Bucket="inputs", Key="f.txt", Body=body)
        prints.append(UrlList("s3://inputs/f.txt").fingerprint())
    assert prints[0] == prints[2] != prints[1]
