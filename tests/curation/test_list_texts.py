"""Lists made of lines: what is a row, what its values are, and that one bad line spoils itself only."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.list_files import InputError, ListFile, find_files
from curation.list_formats import ListFormat, ListRow
from curation.list_texts import LINE_BYTES, MARK_ROWS, DelimitedList, JsonLines, PlainText, TextList, lines

QUICK = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
CSV, TSV = DelimitedList(","), DelimitedList("\t")


def stored(folder: Path, data: bytes | str, name: str = "list") -> ListFile:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    (file,) = find_files(str(path))
    return file


def all_rows(form: TextList, file: ListFile, *columns: str) -> list[ListRow]:
    index = form.index(file, None)
    if index.rows == 0:
        return []
    return list(form.rows(file, index, np.arange(index.rows), columns))


def values(form: TextList, file: ListFile, *columns: str) -> list[tuple[Any, ...] | None]:
    """Of each row; None for one that cannot be read."""
    rows = all_rows(form, file, *columns)
    return [None if row.error else tuple(row.values[name] for name in columns) for row in rows]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("url,w\nhttp://a,1\nhttp://b,2\n", [("http://a", "1"), ("http://b", "2")]),
        ("w,url\n1,http://a\n", [("http://a", "1")]),
        ("url,w\r\nhttp://a,1\r\nhttp://b,2\r\n", [("http://a", "1"), ("http://b", "2")]),
        ("\ufeffurl,w\nhttp://a,1\n", [("http://a", "1")]),
        ("\n\n url , w\n\n\nhttp://a,1\n \n", [("http://a", "1")]),
        ("url,w\nhttp://a,\n", [("http://a", None)]),
        ('url,w\n"http://a,b",1\n', [("http://a,b", "1")]),
        ('url,w\n"say ""a""",1\n', [('say "a"', "1")]),
        ('url,w\nhttp://a,"1\n\n2"\nhttp://b,3\n', [("http://a", "1\n\n2"), ("http://b", "3")]),
        ('url,w\nhttp://a,"1\r\n2"\r\nhttp://b,3\r\n', [("http://a", "1\r\n2"), ("http://b", "3")]),
        ('url,w\nhttp://a,5" pipe\nhttp://b,3\n', [("http://a", '5" pipe'), ("http://b", "3")]),
        ("url,w\nhttp://a\nhttp://b,2\n", [None, ("http://b", "2")]),
        ("url,w\nhttp://a,1,2\nhttp://b,2\n", [None, ("http://b", "2")]),
        ('url,w\n"http://a,1\nhttp://b,2\nhttp://c,3\n', [None, ("http://b", "2"), ("http://c", "3")]),
        ('url,w\nhttp://a,"1\nhttp://b,2\n', [("http://a", "1\n"), ("http://b", "2")]),
        ("url,w\nhttp://a\rhttp://b,2\nhttp://c,3\n", [None, ("http://c", "3")]),
        (b"url,w\nhttp://\xff,1\nhttp://b,2\n", [("http://\ufffd", "1"), ("http://b", "2")]),
        (b"url,w\nhttp://a\0b,1\nhttp://b,2\n", [("http://a\0b", "1"), ("http://b", "2")]),
        ("url,w", []),
        ("", []),
        ("\n \r\n", []),
    ],
    ids=[
        "plain",
        "other order",
        "CRLF",
        "BOM",
        "blank lines",
        "empty field",
        "quoted comma",
        "quoted quotes",
        "quoted line ends",
        "quoted CRLF",
        "quote inside",
        "too few",
        "too many",
        "open quote",
        "open quote, field count right",
        "bare CR",
        "bad UTF-8",
        "NUL",
        "header only",
        "empty",
        "only blank lines",
    ],
)
def test_a_record_of_a_csv_is_a_row(
    data: bytes | str, expected: list[tuple[Any, ...] | None], tmp_path: Path
) -> None:
    assert values(CSV, stored(tmp_path, data), "url", "w") == expected


def test_a_tsv_is_cut_at_tabs(tmp_path: Path) -> None:
    file = stored(tmp_path, "url\ttext\nhttp://a,b\tone, two\n")
    assert values(TSV, file, "url", "text") == [("http://a,b", "one, two")]


def test_a_quote_that_is_never_closed_spoils_its_own_line_only(tmp_path: Path) -> None:
    lines = [f"http://{n},x\n" for n in range(500)]
    file = stored(tmp_path, "url,w\n" + '"http://open,x\n' + "".join(lines))
    found = values(CSV, file, "url", "w")
    assert found[0] is None
    assert found[1:] == [(f"http://{n}", "x") for n in range(500)]


FIELDS = st.text(st.sampled_from("a,\"\n\r\t é'"), max_size=8)


@QUICK
@given(table=st.lists(st.tuples(FIELDS, FIELDS), max_size=12), end=st.sampled_from(["\n", "\r\n"]))
def test_what_the_csv_module_writes_is_read_back(
    table: list[tuple[str, str]], end: str, tmp_path: Path
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("url", "w"), *table])
    file = stored(tmp_path, text.getvalue())
    assert values(CSV, file, "url", "w") == [(url or None, w or None) for url, w in table]


@QUICK
@given(data=st.text(st.sampled_from('a,"\n'), max_size=60))
def test_every_line_of_any_csv_is_in_one_row(data: str, tmp_path: Path) -> None:
    file = stored(tmp_path, "url,w\n" + data)
    with file.open() as stream:
        joined = b"".join(line for _, _, line, _ in CSV.records(lines(stream), ("url", "w")))
    kept = [line for line in data.encode().split(b"\n") if line.strip()]
    assert [line for line in joined.split(b"\n") if line.strip()] == kept


def test_a_header_that_is_no_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="list: the header cannot be read: "):
        CSV.columns(stored(tmp_path, "url\rhttp://a\rhttp://b"), "url")


def test_a_name_that_stands_twice_cannot_be_asked_for(tmp_path: Path) -> None:
    file = stored(tmp_path, "url,w,w\na,1,2\n")
    assert list(CSV.columns(file, "url")) == ["url"]
    with pytest.raises(InputError, match="list: the header has w 2 times"):
        CSV.columns(file, "w")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{", "Expecting property name"),
        ("not json", "Expecting value"),
        ("[1, 2]", "a JSON list, not an object"),
        ('"http://a"', "a JSON str, not an object"),
        ("null", "a JSON NoneType, not an object"),
        ('{"w": 1}', "the object has no url"),
        ("[" * 100_000, "recursion"),
        ('{"url": "http://a"} {}', "Extra data"),
        ('{"url": 1' + "0" * 5000 + "}", "limit"),
    ],
)
def test_a_line_that_is_no_object_is_a_row_that_cannot_be_read(line: str, error: str, tmp_path: Path) -> None:
    file = stored(tmp_path, f'{{"url": "http://a"}}\n{line}\n\n{{"url": "http://b"}}\n')
    first, broken, last = all_rows(JsonLines(), file, "url")
    assert (first.values["url"], last.values["url"]) == ("http://a", "http://b")
    assert broken.error is not None
    assert broken.error.startswith(f"{file.name} line 2: ")
    assert error in broken.error


def test_a_key_that_an_object_lacks_is_null(tmp_path: Path) -> None:
    file = stored(tmp_path, '{"url": "http://a", "w": 1}\n{"url": null}\n')
    assert values(JsonLines(), file, "url", "w") == [("http://a", 1), (None, None)]


def test_the_columns_of_json_lines_are_those_of_the_first_objects(tmp_path: Path) -> None:
    file = stored(tmp_path, 'garbage\n{"url": 1}\n{"w": 2}\n')
    assert set(JsonLines().columns(file, "url")) == {"url", "w"}


@pytest.mark.parametrize("data", ['[{"url": "http://a"}]', '\ufeff \n[\n{"url": "http://a"}\n]'])
def test_a_json_array_is_refused(data: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one JSON array; a list has one JSON object a line"):
        JsonLines().columns(stored(tmp_path, data), "url")


@pytest.mark.parametrize("form", [PlainText(), JsonLines(), CSV, TSV])
@pytest.mark.parametrize("data", [b"url\n\0\0\0\n", "url\nhttp://a\n".encode("utf-16")])
def test_what_is_no_text_is_refused(form: ListFormat, data: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither Parquet nor UTF-8 text"):
        form.columns(stored(tmp_path, data), "url")


LONG = "http://a/" + "x" * (2 * LINE_BYTES)


@pytest.mark.parametrize(
    ("form", "line", "before"),
    [
        (PlainText(), LONG, ""),
        (JsonLines(), json.dumps({"url": LONG}), ""),
        (CSV, f"{LONG},1", "url,w\n"),
        (CSV, f'"{LONG}",1', "url,w\n"),
        (CSV, f'"{LONG}', "url,w\n"),
    ],
    ids=["text", "JSON", "CSV", "quoted", "open quote"],
)
def test_a_line_of_two_megabytes_is_a_row_that_cannot_be_read(
    form: TextList, line: str, before: str, tmp_path: Path
) -> None:
    file = stored(tmp_path, f"{before}{line}\n{line}\n")
    rows = all_rows(form, file, "url")
    assert [row.error is not None and len(row.error) < 300 for row in rows] == [True, True]


def test_a_field_that_the_csv_module_refuses_is_a_row_that_cannot_be_read(tmp_path: Path) -> None:
    file = stored(tmp_path, f"url,w\n{'x' * 140_000},1\nhttp://b,2\n")
    first, second = all_rows(CSV, file, "url", "w")
    assert first.error is not None
    assert first.error.endswith("line 2: field larger than field limit (131072)")
    assert second.values["url"] == "http://b"


@pytest.mark.parametrize("form", [PlainText(), CSV], ids=["text", "CSV"])
def test_rows_beyond_a_mark_are_those_that_a_reader_from_the_start_finds(
    form: TextList, tmp_path: Path
) -> None:
    count = 2 * MARK_ROWS + 100
    text = "".join(f"http://{n}\n" + "\n" * (n % 3 == 0) for n in range(count))
    file = stored(tmp_path, ("" if isinstance(form, PlainText) else "url\n") + text)
    index = form.index(file, None)
    assert index.rows == count
    wanted = np.array([0, 7, MARK_ROWS - 1, MARK_ROWS, MARK_ROWS + 1, 2 * MARK_ROWS + 99])
    found = list(form.rows(file, index, wanted, ["url"]))
    assert [row.values["url"] for row in found] == [f"http://{n}" for n in wanted]
    lines = (tmp_path / "list").read_text().splitlines()
    numbers = [int(row.place.rpartition(" ")[2]) for row in found]
    assert [lines[number - 1] for number in numbers] == [f"http://{n}" for n in wanted]


def test_an_index_stops_where_it_is_told(tmp_path: Path) -> None:
    assert PlainText().index(stored(tmp_path, "a\nb\nc\n"), 2).rows == 2
