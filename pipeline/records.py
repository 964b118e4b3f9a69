"""The records: one dataclass and one Arrow schema per table, units of measure in the names.

A field's Arrow type stands in its annotation; `volatile` marks columns that measure time, attempts or load,
or tell an error in words, and so may differ between two runs of the same recipe.
"""

import dataclasses
import hashlib
import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Self, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

from pipeline.reasons import Reason, Status

SCHEMA_VERSION = 4

I32 = Annotated[int, pa.int32()]
I64 = Annotated[int, pa.int64()]
F32 = Annotated[float, pa.float32()]
Picture = Annotated[bytes, pa.large_binary()]
"""Encoded pixels; a unit may hold more than the 2 GiB that Arrow's plain binary ends at."""
BoxXyxy = Annotated[list[float], pa.list_(pa.float32(), 4)]
Keypoints = Annotated[list[float], pa.list_(pa.float32(), 51)]
"""COCO 17 keypoints, flat: x, y, confidence for each (pixels of the source picture)."""
Hash64 = Annotated[bytes, pa.binary(8)]
"""A perceptual hash; near pictures differ in few of its 64 bits."""
PERSON_KEY = ["unit", "row", "person"]
"""The columns that name a person, in every table from `persons` on."""
PERSON_ORDER = [(name, "ascending") for name in PERSON_KEY]
"""The order of the keys, as Arrow sorts by it."""
VOLATILE = {"volatile": "true"}


@dataclass(frozen=True, order=True)
class PersonKey:
    """One detected person of one input row; persons are numbered by falling score."""

    unit: int
    row: int
    person: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """The key of a row of any table of persons."""
        return cls(row["unit"], row["row"], row["person"])

    def __str__(self) -> str:
        return f"{self.unit:06d}-{self.row:05d}-{self.person:02d}"


@dataclass(frozen=True, order=True)
class CaptionKey:
    """One caption slot of one person."""

    unit: int
    row: int
    person: int
    slot: int

    def __str__(self) -> str:
        return f"{self.unit:06d}-{self.row:05d}-{self.person:02d}-{self.slot}"


@dataclass(frozen=True, kw_only=True)
class UrlRow:
    """Table `urls`: what became of one input URL; kept means that at least one person was measured."""

    unit: I64
    row: I32
    url: str
    status: Status
    reason: Reason | None = None
    error: str | None = field(default=None, metadata=VOLATILE)
    image_sha256: str | None = None
    image_phash: Hash64 | None = None
    width_px: I32 | None = None
    height_px: I32 | None = None
    image_bytes: I64 | None = None
    persons: I32 = 0
    carried: str | None = None
    """Columns of the list that the recipe carries along, as a JSON object."""
    seconds: F32 | None = field(default=None, metadata=VOLATILE)


@dataclass(frozen=True, kw_only=True)
class PersonRow:
    """Table `persons`: the measurements of one detected person, and its crop down to the pixel floor."""

    unit: I64
    row: I32
    person: I32
    url: str
    image_sha256: str
    image_width_px: I32
    image_height_px: I32
    box_xyxy_px: BoxXyxy
    score: F32
    keypoints: Keypoints
    crop_sha256: str
    """Hash of the crop's size and RGB pixels, whatever the encoding they arrived in."""
    crop_phash: Hash64 | None = None
    """None where the crop has too little contrast to be told from others."""
    crop_left_px: I32 = 0
    crop_top_px: I32 = 0
    """Where the crop's corner stands in the picture."""
    crop_width_px: I32
    crop_height_px: I32
    crop: Picture | None
    """JPEG; None below the pixel floor."""
    model_id: str


@dataclass(frozen=True, kw_only=True)
class DecisionRow:
    """Table `decisions`: a measured person is kept, or the reason why not."""

    unit: I64
    row: I32
    person: I32
    status: Status
    reason: Reason | None = None
    kept_unit: I64 | None = None
    kept_row: I32 | None = None
    kept_person: I32 | None = None
    """For a duplicate, the key of the person that stays."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the judge says of a person: measured, not yet decided (curation/judge.py)."""

    letter: str
    """The likeliest one."""
    scores: list[F32]
    """Probability of each letter, in their order; they sum to 1."""
    model_id: str
    prompt_id: str
    verdict_id: str = ""
    """Hash of all that shapes a verdict, the crop included: equal ids, equal questions."""


@dataclass(frozen=True, kw_only=True)
class ColourShare:
    """A basic colour term and the share of a region's pixels that vote for it."""

    name: str
    share: F32


@dataclass(frozen=True, kw_only=True)
class GarmentColours:
    """What was measured of a person's clothing, the most first; empty where a region is not visible."""

    upper: list[ColourShare]
    lower: list[ColourShare]
    measured_id: str
    """Hash of the colour terms, what counts as visible, and the crop: equal ids, equal measurements."""


@dataclass(frozen=True, kw_only=True)
class CaptionAudit:
    """How a caption's colours stand to what was measured (curation/audit.py)."""

    checked: I32
    """Regions (upper, lower) whose colour is both claimed and measured."""
    contradicted: I32
    contradictions: list[str]
    """One line each: "upper: red said, blue measured (0.83)"."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What two captions of a person say of the same: names of attributes, each in one list at most."""

    agree: list[str]
    disagree: list[str]
    one_says: list[str]
    """Only one of them says anything."""


@dataclass(frozen=True, kw_only=True)
class Caption:
    """One caption slot: the text with its provenance, or the reason why it does not count.

    A text that was judged to be no caption stays beside its reason; without a reason the text counts.
    """

    slot: I32
    text: str | None
    reason: Reason | None = None
    error: str | None = field(default=None, metadata=VOLATILE)
    model_id: str
    model_revision: str = ""
    prompt_id: str
    template_id: str
    seed: I64
    sampling: str = ""
    """Settings of the sampling, a JSON object; empty for a captioner that does not sample."""
    caption_id: str = ""
    """Hash of all that shapes a caption, the crop included (curation/caption_plan.py)."""
    prompt_tokens: I32 | None = None
    image_tokens: I32 | None = None
    completion_tokens: I32 | None = None
    audit: CaptionAudit | None = None
    """None without a text."""
    attempts: I32 = field(default=0, metadata=VOLATILE)
    """How often it was asked for until this text, each time with another seed."""
    seconds: F32 | None = field(default=None, metadata=VOLATILE)


@dataclass(frozen=True, kw_only=True)
class PairRow:
    """Table `pairs`: one kept person and its captions; kept while one caption is valid."""

    unit: I64
    row: I32
    person: I32
    status: Status
    reason: Reason | None = None
    error: str | None = field(default=None, metadata=VOLATILE)
    verdict: Verdict | None = None
    captions: list[Caption]
    colours: GarmentColours | None = None
    """None of persons that were not captioned."""
    agreement: Agreement | None = None
    """Between the first two captions that count."""
    seconds: F32 | None = field(default=None, metadata=VOLATILE)
    written: I32 = field(default=0, metadata=VOLATILE)
    """Captions that this run wrote or tried to; the others were taken over from an earlier one."""
    requests: I32 = field(default=0, metadata=VOLATILE)
    """What this run asked models for this person."""
    tokens: I64 = field(default=0, metadata=VOLATILE)
    """Tokens in and out of those requests, as far as the endpoints report them."""


@dataclass(frozen=True, kw_only=True)
class ShardImage:
    """A picture as Hugging Face `datasets` stores it: encoded bytes and the name it would have as a file."""

    bytes: bytes
    path: str


@dataclass(frozen=True, kw_only=True)
class ShardRow:
    """A row of a training shard: one person picture and its captions."""

    key: str
    image: ShardImage
    captions: list[str]
    caption_model_ids: list[str]
    caption_template_ids: list[str]
    identity: I64 | None
    """Same number, same person; None where nobody knows, then every picture counts as its own person."""
    split: str
    """train, val or test."""
    url: str
    image_sha256: str
    score: F32


def arrow_schema(record: type[Any]) -> pa.Schema:
    """The Arrow schema of a record dataclass, with `schema_version` in its metadata."""
    return pa.schema(
        _fields(record), metadata={"schema_version": str(SCHEMA_VERSION), "record": record.__name__}
    )


def volatile_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns that two equal runs may disagree on."""
    return [field.name for field in schema if _is_volatile(field)]


def content_hash(table: pa.Table) -> str:
    """Hash of a table's rows in their order, volatile fields left out: equal for two runs of one recipe."""
    digest = hashlib.sha256()
    for row in stable_rows(table):
        digest.update(json.dumps(row, sort_keys=True, default=_bytes_hash).encode())
    return digest.hexdigest()


def stable_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """A table's rows without what two equal runs may disagree on, however deep it stands."""
    fields = pa.struct(list(table.schema))
    return (_stable(row, fields) for row in table.to_pylist())


def to_table(record: type[Any], rows: list[Any]) -> pa.Table:
    """Records to an Arrow table of the record's schema."""
    return pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema=arrow_schema(record))


def person_keys(rows: pa.Table) -> list[PersonKey]:
    """The keys of a table of persons, in its order."""
    return [*map(PersonKey, *(rows[name].to_pylist() for name in PERSON_KEY))]


def of_persons(rows: pa.Table, keys: pa.Table) -> pa.Table:
    """The rows of those persons whose keys another table has, in their order."""
    # Arrow joins carry no nested columns: the join picks row numbers, the rows are then taken.
    numbered = rows.select(PERSON_KEY).append_column("position", pa.array(range(rows.num_rows), pa.int64()))
    same = numbered.join(keys.select(PERSON_KEY), PERSON_KEY, join_type="left semi", use_threads=False)
    return rows.take(same["position"].combine_chunks().sort())


def _stable(value: Any, arrow: pa.DataType) -> Any:
    """A value without its volatile fields, however deep they stand."""
    if value is not None and pa.types.is_struct(arrow):
        return {f.name: _stable(value[f.name], f.type) for f in arrow.fields if not _is_volatile(f)}
    if value is not None and pa.types.is_list(arrow):
        return [_stable(item, arrow.value_type) for item in value]
    return value


def _is_volatile(field: pa.Field) -> bool:
    return bool(field.metadata) and field.metadata.get(b"volatile") == b"true"


def _bytes_hash(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


def _fields(record: type[Any]) -> list[pa.Field]:
    hints = get_type_hints(record, include_extras=True)
    return [
        pa.field(f.name, arrow, nullable=nullable, metadata=dict(f.metadata) or None)
        for f in dataclasses.fields(record)
        for arrow, nullable in [_arrow_type(hints[f.name])]
    ]


def _arrow_type(hint: Any) -> tuple[pa.DataType, bool]:
    if get_origin(hint) is Annotated:
        return get_args(hint)[1], False
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = [arm for arm in get_args(hint) if arm is not types.NoneType]
        return _arrow_type(inner)[0], True
    if get_origin(hint) is list:
        return pa.list_(_arrow_type(get_args(hint)[0])[0]), False
    if dataclasses.is_dataclass(hint):
        return pa.struct(_fields(hint)), False  # type: ignore[arg-type]
    if issubclass(hint, StrEnum):
        return pa.string(), False
    return _SCALARS[hint], False


_SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    bytes: pa.binary(),
    bool: pa.bool_(),
}
