"""Parquet as a list: rows by their numbers, values of any type, broken row groups."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.list_files import InputError, ListFile, find_files
from curation.list_formats import ListRow, ParquetList

PARQUET = ParquetList()


def stored(folder: Path, table: pa.Table, **options: Any) -> ListFile:
    pq.write_table(table, folder / "list.parquet", **options)
    (file,) = find_files(str(folder / "list.parquet"))
    return file


def rows(file: ListFile, wanted: list[int], *columns: str) -> list[ListRow]:
    return list(PARQUET.rows(file, PARQUET.index(file, None), np.array(wanted, np.int64), columns))


def test_rows_are_found_in_row_groups_of_unequal_size(tmp_path: Path) -> None:
    schema = pa.schema([("url", pa.string())])
    with pq.ParquetWriter(tmp_path / "list.parquet", schema) as writer:
        for first, size in ((0, 1), (1, 50), (51, 0), (51, 9), (60, 30_000)):
            writer.write_table(pa.table({"url": [f"http://{first + n}" for n in range(size)]}, schema))
    (file,) = find_files(str(tmp_path / "list.parquet"))
    wanted = [0, 1, 50, 51, 59, 60, 9000, 30_059]
    found = rows(file, wanted, "url")
    assert [row.values["url"] for row in found] == [f"http://{n}" for n in wanted]
    assert found[-1].place == f"{file.name} row 30059"


@pytest.mark.parametrize(
    "arrow",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)
def test_texts_of_any_type_are_texts(arrow: pa.DataType, tmp_path: Path) -> None:
    texts = pa.array(["http://a", None, "http://a"])
    column = texts.dictionary_encode().cast(arrow) if pa.types.is_dictionary(arrow) else texts.cast(arrow)
    file = stored(tmp_path, pa.table({"url": column}))
    assert [row.values["url"] for row in rows(file, [0, 1, 2], "url")] == ["http://a", None, "http://a"]


def test_numbers_lists_and_times_come_as_they_are(tmp_path: Path) -> None:
    table = pa.table({"url": ["http://a"], "n": [0.5], "tags": [["x", "y"]], "s": [{"k": 1}]})
    (row,) = rows(stored(tmp_path, table), [0], "url", "n", "tags", "s")
    assert row.values == {"url": "http://a", "n": 0.5, "tags": ["x", "y"], "s": {"k": 1}}


def test_a_name_that_stands_twice_cannot_be_asked_for(tmp_path: Path) -> None:
    table = pa.table([["a"], [1], [2]], names=["url", "w", "w"])
    assert list(PARQUET.columns(stored(tmp_path, table), "url")) == ["url"]


@pytest.mark.parametrize("keep", [0, 4, 100, -1, -8], ids=lambda keep: f"[:{keep}]")
def test_a_truncated_file_is_refused_by_name(keep: int, tmp_path: Path) -> None:
    file = stored(tmp_path, pa.table({"url": [f"http://{n}" for n in range(100)]}))
    path = Path(file.path)
    path.write_bytes(path.read_bytes()[:keep])
    (cut,) = find_files(file.path)
    with pytest.raises(InputError, match=r"list\.parquet: not Parquet: ") as caught:
        PARQUET.columns(cut, "url")
    assert "\n" not in str(caught.value)


def broken_group(folder: Path) -> ListFile:
    """Three groups of ten rows; the bytes of the second's column are overwritten."""
    file = stored(folder, pa.table({"url": [f"http://{n}" for n in range(30)]}), row_group_size=10)
    column = pq.read_metadata(file.path).row_group(1).column(0)
    data = bytearray(Path(file.path).read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    Path(file.path).write_bytes(data)
    (broken,) = find_files(file.path)
    return broken


def test_rows_of_a_broken_row_group_cannot_be_read_and_the_others_can(tmp_path: Path) -> None:
    file = broken_group(tmp_path)
    found = rows(file, [9, 10, 11, 20], "url")
    assert [row.values.get("url") for row in found] == ["http://9", None, None, "http://20"]
    errors = [row.error for row in found]
    assert [error is None for error in errors] == [True, False, False, True]
    assert str(errors[1]).startswith(f"{file.name} row 10: row group 1 is broken: ")


def test_a_file_that_has_become_another_is_refused(tmp_path: Path) -> None:
    file = stored(tmp_path, pa.table({"url": ["http://a"]}))
    stored(tmp_path, pa.table({"url": ["http://a", "http://b"] * 50}))
    with pytest.raises(InputError, match=r"list.parquet: has changed: \d+ bytes before, \d+ now"):
        rows(file, [0], "url")
