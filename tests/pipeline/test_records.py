"""Arrow schemas and dataclasses say the same; volatile columns are marked and stay out of content hashes."""

import dataclasses
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.reasons import Reason, Status
from pipeline.records import (
    SCHEMA_VERSION,
    Caption,
    CaptionKey,
    DecisionRow,
    PairRow,
    PersonKey,
    PersonRow,
    ShardImage,
    ShardRow,
    UrlRow,
    arrow_schema,
    content_hash,
    to_table,
    volatile_columns,
)

CAPTION = Caption(slot=1, text="a man", model_id="m", prompt_id="p", template_id="t", seed=2**40)
ROWS: list[Any] = [
    UrlRow(unit=2**40, row=3, url="http://a/", status=Status.FAILED, reason=Reason.DNS_FAILED, error="no"),
    PersonRow(
        unit=1,
        row=2,
        person=0,
        url="http://a/",
        image_sha256="ab",
        image_width_px=640,
        image_height_px=480,
        box_xyxy_px=[1.5, 2.0, 3.0, 4.0],
        score=0.5,
        keypoints=[0.25] * 51,
        crop_sha256="cd",
        crop_width_px=2,
        crop_height_px=2,
        crop=None,
        model_id="m",
    ),
    DecisionRow(unit=1, row=2, person=0, status=Status.REJECTED, reason=Reason.EXACT_DUPLICATE, kept_unit=0),
    PairRow(unit=1, row=2, person=0, status=Status.KEPT, captions=[CAPTION], seconds=0.5),
    ShardRow(
        key="k",
        image=ShardImage(bytes=b"\xff\x00", path="k.jpg"),
        captions=["a", "b"],
        caption_model_ids=["m", "n"],
        caption_template_ids=["t", "u"],
        identity=None,
        split="train",
        url="http://a/",
        image_sha256="ab",
        score=0.5,
    ),
]
EVERY_RECORD = pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)


@EVERY_RECORD
def test_a_schema_has_the_fields_of_its_dataclass_in_their_order(row: Any) -> None:
    schema = arrow_schema(type(row))
    assert schema.names == [field.name for field in dataclasses.fields(row)]


@EVERY_RECORD
def test_a_column_is_nullable_where_the_field_may_be_none(row: Any) -> None:
    optional = {f.name for f in dataclasses.fields(row) if type(None) in get_args(f.type)}
    assert {field.name for field in arrow_schema(type(row)) if field.nullable} == optional


@EVERY_RECORD
def test_a_record_comes_back_from_its_table_as_it_was(row: Any) -> None:
    (back,) = to_table(type(row), [row]).to_pylist()
    assert back == dataclasses.asdict(row)


@EVERY_RECORD
def test_a_schema_survives_parquet_with_its_version(row: Any) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(to_table(type(row), [row]), sink)
    back = pq.read_table(pa.BufferReader(sink.getvalue()))
    assert back.schema.equals(arrow_schema(type(row)))
    assert back.schema.metadata[b"schema_version"] == str(SCHEMA_VERSION).encode()
    assert volatile_columns(back.schema) == volatile_columns(arrow_schema(type(row)))


def test_units_of_measure_have_their_types() -> None:
    schema = arrow_schema(PersonRow)
    assert schema.field("unit").type == pa.int64()
    assert schema.field("box_xyxy_px").type == pa.list_(pa.float32(), 4)
    assert schema.field("keypoints").type == pa.list_(pa.float32(), 51)
    assert schema.field("crop").type == pa.large_binary()
    assert arrow_schema(ShardRow).field("image").type.names == ["bytes", "path"]


def test_times_and_error_texts_are_volatile_and_nothing_else_is() -> None:
    volatile = {type(row).__name__: volatile_columns(arrow_schema(type(row))) for row in ROWS}
    assert volatile == {
        "UrlRow": ["error", "seconds"],
        "PersonRow": [],
        "DecisionRow": [],
        "PairRow": ["error", "seconds", "written", "requests", "tokens"],
        "ShardRow": [],
    }


def test_a_table_of_no_records_has_the_schema() -> None:
    assert to_table(UrlRow, []).schema.equals(arrow_schema(UrlRow))


def test_keys_sort_as_their_names_do() -> None:
    keys = [PersonKey(10, 2, 0), PersonKey(2, 10, 0), PersonKey(2, 9, 1)]
    assert sorted(map(str, keys)) == [str(key) for key in sorted(keys)]
    assert str(PersonKey(2, 9, 1)) == "000002-00009-01"
    assert str(CaptionKey(2, 9, 1, 0)) == "000002-00009-01-0"


def test_the_content_hash_leaves_out_volatile_columns() -> None:
    pair = ROWS[3]
    slower = dataclasses.replace(pair, seconds=9.0, error="in other words")
    assert content_hash(to_table(PairRow, [pair])) == content_hash(to_table(PairRow, [slower]))


def test_the_content_hash_leaves_out_volatile_fields_inside_others(tmp_path: Path) -> None:
    told = [dataclasses.replace(CAPTION, error="timed out after 3.1 s")]
    tables = [to_table(PairRow, [dataclasses.replace(ROWS[3], captions=c)]) for c in ([CAPTION], told)]
    pq.write_table(tables[1], tmp_path / "pairs.parquet")
    tables.append(pq.read_table(tmp_path / "pairs.parquet"))
    assert len({content_hash(table) for table in tables}) == 1


@pytest.mark.parametrize(
    "change",
    [{"row": 3}, {"status": Status.FAILED}, {"captions": [dataclasses.replace(CAPTION, text="a woman")]}],
    ids=str,
)
def test_the_content_hash_takes_in_every_other_column(change: dict[str, Any]) -> None:
    changed = dataclasses.replace(ROWS[3], **change)
    assert content_hash(to_table(PairRow, [ROWS[3]])) != content_hash(to_table(PairRow, [changed]))


def test_the_content_hash_takes_in_pixels_and_the_order_of_rows() -> None:
    first = dataclasses.replace(ROWS[1], crop=b"\xff")
    second = dataclasses.replace(ROWS[1], crop=b"\xfe")
    hashes = [content_hash(to_table(PersonRow, rows)) for rows in ([first, second], [second, first], [first])]
    assert len(set(hashes)) == 3


def test_the_content_hash_does_not_depend_on_chunks() -> None:
    rows = to_table(PersonRow, [ROWS[1]])
    assert content_hash(pa.concat_tables([rows, rows])) == content_hash(
        pa.concat_tables([rows, rows]).combine_chunks()
    )
