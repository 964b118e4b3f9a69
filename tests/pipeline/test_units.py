"""Units cover their input exactly; a unit's marker comes last and alone says what belongs to it."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.storage import StorageError, copy
from pipeline.units import UNITS_PER_PREFIX, PhaseFolder, Unit, UnitRange, split_by_bytes

SIZES = st.lists(st.integers(0, 200), max_size=40)
TRACE = {"recipe_hash": "abc", "schema_version": 1}


def blobs(sizes: list[int]) -> pa.Table:
    """One row a size, with that many bytes."""
    return pa.table(
        {
            "row": pa.array(range(len(sizes)), pa.int32()),
            "crop": pa.array([bytes(size) for size in sizes], pa.binary()),
        }
    )


def folder(path: Path) -> PhaseFolder:
    return PhaseFolder(path / "harvest-abc", TRACE)


def rows(folder: PhaseFolder, table: str, unit: int) -> list[object]:
    return [row for part in folder.parts(table, unit) for row in pq.read_table(part)["row"].to_pylist()]


@given(total=st.integers(0, 500), per_unit=st.integers(1, 60))
def test_units_cover_every_row_once_and_in_order(total: int, per_unit: int) -> None:
    units = UnitRange(total, per_unit)
    assert [row for unit in units for row in range(unit.first, unit.first + unit.count)] == list(range(total))
    assert [unit.index for unit in units] == list(range(len(units)))
    assert all(unit.count == per_unit for unit in units[:-1])
    assert all(0 < unit.count <= per_unit for unit in units)


def test_a_unit_is_named_by_its_number() -> None:
    assert Unit(123, 0, 1).name == "unit-000123"


@given(sizes=SIZES, cap=st.integers(1, 2000))
def test_parts_hold_every_row_once_and_in_order(sizes: list[int], cap: int) -> None:
    table = blobs(sizes)
    assert pa.concat_tables(split_by_bytes(table, cap)).equals(table)


@given(sizes=SIZES, cap=st.integers(1, 2000))
def test_a_part_above_the_cap_is_a_single_row(sizes: list[int], cap: int) -> None:
    parts = list(split_by_bytes(blobs(sizes), cap))
    assert all(part.nbytes <= cap or part.num_rows == 1 for part in parts)


def test_large_rows_beside_each_other_do_not_share_a_part_that_small_rows_pay_for() -> None:
    parts = list(split_by_bytes(blobs([4000, 4000, *[0] * 100]), 6000))
    assert [max(len(crop) for crop in part["crop"].to_pylist()) for part in parts][:2] == [4000, 4000]


def test_a_table_below_the_cap_is_one_part() -> None:
    assert len(list(split_by_bytes(blobs([10] * 20), 10_000))) == 1


def test_an_empty_table_is_one_empty_part() -> None:
    (part,) = split_by_bytes(blobs([]), 100)
    assert part.num_rows == 0


def test_a_phase_begins_by_writing_what_it_is_made_with(tmp_path: Path) -> None:
    folder(tmp_path).begin()
    assert json.loads((tmp_path / "harvest-abc" / "phase.json").read_text()) == TRACE


def test_a_published_unit_is_cut_into_numbered_parts_and_comes_back_in_order(tmp_path: Path) -> None:
    harvest = folder(tmp_path)
    tables = {"persons": blobs([100] * 150), "urls": blobs([1, 2])}
    harvest.publish_unit(Unit(7, 0, 150), tables, {"n": 150}, part_bytes=150)
    names = [str(part).removeprefix(f"{harvest.path}/") for part in harvest.parts("persons", 7)]
    assert names[:2] == ["persons/000/unit-000007-00.parquet", "persons/000/unit-000007-01.parquet"]
    assert len(names) > 100
    assert rows(harvest, "persons", 7) == list(range(150))
    assert rows(harvest, "urls", 7) == [0, 1]


def test_a_file_says_which_recipe_made_it(tmp_path: Path) -> None:
    harvest = folder(tmp_path)
    harvest.publish_unit(Unit(0, 0, 1), {"urls": blobs([1])}, {})
    (part,) = harvest.parts("urls", 0)
    assert pq.read_schema(part).metadata[b"recipe_hash"] == b"abc"


def test_the_marker_is_the_last_file_of_a_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[str] = []

    def note(self: Path, to: Path) -> None:
        published.append(to.parent.parent.name)
        self.replace(to)

    monkeypatch.setattr(Path, "rename", note)
    folder(tmp_path).publish_unit(
        Unit(0, 0, 9), {"urls": blobs([1]), "persons": blobs([9] * 9)}, {}, part_bytes=60
    )
    assert published[-1] == "done"
    assert published.count("done") == 1
    assert published.count("persons") > 1


def test_the_marker_holds_counts_content_and_the_size_of_each_file(tmp_path: Path) -> None:
    harvest = folder(tmp_path)
    harvest.publish_unit(Unit(3, 0, 1), {"urls": blobs([1])}, {"kept": 1})
    (marker,), (part,) = harvest.markers([3]), harvest.parts("urls", 3)
    size = len(part.read_bytes())
    assert (marker["unit"], marker["counts"], marker["files"]) == (
        3,
        {"kept": 1},
        {"urls/000/unit-000003-00.parquet": size},
    )
    assert len(marker["content"]["urls"]) == 64


def test_units_are_finished_when_their_marker_stands_whatever_their_prefix(tmp_path: Path) -> None:
    harvest = folder(tmp_path)
    assert harvest.finished() == []
    for index in (2 * UNITS_PER_PREFIX + 1, 0, UNITS_PER_PREFIX - 1, UNITS_PER_PREFIX):
        harvest.publish_unit(Unit(index, 0, 1), {"urls": blobs([1])}, {})
    assert harvest.finished() == [0, UNITS_PER_PREFIX - 1, UNITS_PER_PREFIX, 2 * UNITS_PER_PREFIX + 1]
    prefixes = [path.name for path in sorted((tmp_path / "harvest-abc" / "urls").iterdir())]
    assert prefixes == ["000", "001", "002"]  # a thousand units share a folder


def test_what_is_finished_is_told_from_markers_and_sizes_and_no_table_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harvest = folder(tmp_path)
    harvest.publish_unit(Unit(5, 0, 1), {"urls": blobs([1])}, {})
    read = Path.read_bytes

    def read_markers_only(path: Path) -> bytes:
        assert path.suffix == ".json"
        return read(path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(Path, "read_bytes", read_markers_only)
    monkeypatch.setattr(pq, "read_table", refuse)
    assert harvest.finished() == [5]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scribble(path: Path) -> None:
    path.write_bytes(b'{"unit": 0, "cou')


def forget_the_files(path: Path) -> None:
    path.write_text('{"unit": 0, "counts": {}}')


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("persons/000/unit-000000-01.parquet", truncate),
        ("persons/000/unit-000000-01.parquet", empty),
        ("persons/000/unit-000000-01.parquet", Path.unlink),
        ("urls/000/unit-000000-00.parquet", truncate),
        ("done/000/unit-000000.json", empty),
        ("done/000/unit-000000.json", scribble),
        ("done/000/unit-000000.json", forget_the_files),
    ],
)
def test_a_damaged_unit_is_not_finished_and_is_done_again(
    pattern: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    harvest, tables = folder(tmp_path), {"persons": blobs([90] * 9), "urls": blobs([1])}
    for index in (0, 1):
        harvest.publish_unit(Unit(index, 0, 9), tables, {"n": 9}, part_bytes=500)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    damage(tmp_path / "harvest-abc" / pattern)
    assert harvest.finished() == [1]
    harvest.publish_unit(Unit(0, 0, 9), tables, {"n": 9}, part_bytes=500)
    assert harvest.finished() == [0, 1]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_marker_of_a_damaged_unit_goes_before_its_files_are_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harvest, unit = folder(tmp_path), Unit(0, 0, 2)
    harvest.publish_unit(unit, {"urls": blobs([9, 9])}, {})
    truncate(tmp_path / "harvest-abc/urls/000/unit-000000-00.parquet")
    fail_at_marker(monkeypatch)
    with pytest.raises(StorageError, match="killed"):
        harvest.publish_unit(unit, {"urls": blobs([9, 9])}, {})
    assert (harvest.finished(), harvest.parts("urls", 0)) == ([], [])


def test_files_that_no_marker_names_do_not_make_a_unit_damaged(tmp_path: Path) -> None:
    harvest = folder(tmp_path)
    harvest.publish_unit(Unit(0, 0, 1), {"urls": blobs([1])}, {})
    (tmp_path / "harvest-abc/urls/000/unit-000000-01.parquet").write_bytes(b"left by a killed attempt")
    assert harvest.finished() == [0]


def test_a_storage_that_does_not_answer_is_not_taken_for_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harvest = folder(tmp_path)
    harvest.publish_unit(Unit(0, 0, 1), {"urls": blobs([1])}, {})

    def fail(path: Path) -> bytes:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(StorageError, match=r"unit-000000\.json: Input/output error$"):
        harvest.finished()


def test_a_half_written_unit_is_not_finished_and_has_no_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harvest = folder(tmp_path)
    fail_at_marker(monkeypatch)
    with pytest.raises(StorageError, match="killed"):
        harvest.publish_unit(Unit(0, 0, 4), {"urls": blobs([9] * 4)}, {}, part_bytes=40)
    assert list(tmp_path.glob("*/urls/000/unit-000000-*.parquet"))
    assert (harvest.finished(), harvest.parts("urls", 0)) == ([], [])


def test_parts_that_a_killed_attempt_left_do_not_double_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harvest, unit = folder(tmp_path), Unit(0, 0, 8)
    with monkeypatch.context() as patch:
        fail_at_marker(patch)
        with pytest.raises(StorageError, match="killed"):
            harvest.publish_unit(unit, {"persons": blobs([50] * 8)}, {}, part_bytes=100)
    # The web answered less the second time: fewer parts than the first attempt left behind.
    harvest.publish_unit(unit, {"persons": blobs([50] * 3)}, {"persons": 3}, part_bytes=100)
    assert len(list(tmp_path.glob("*/persons/000/*"))) > len(harvest.parts("persons", 0))
    assert rows(harvest, "persons", 0) == [0, 1, 2]


def test_a_unit_that_is_done_stays_as_it_is(tmp_path: Path) -> None:
    harvest, unit = folder(tmp_path), Unit(0, 0, 8)
    harvest.publish_unit(unit, {"persons": blobs([50] * 8)}, {"persons": 8})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    harvest.publish_unit(unit, {"persons": blobs([50] * 3)}, {"persons": 3})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_replaced_unit_has_the_new_rows_and_no_file_of_the_old_ones(tmp_path: Path) -> None:
    harvest, unit = folder(tmp_path), Unit(0, 0, 8)
    harvest.publish_unit(unit, {"persons": blobs([50] * 8)}, {"persons": 8}, part_bytes=100)
    harvest.replace_unit(unit, {"persons": blobs([50] * 3)}, {"persons": 3}, 1)
    assert (rows(harvest, "persons", 0), harvest.totals([0])) == ([0, 1, 2], {"persons": 3})
    assert list(tmp_path.glob("*/persons/000/*")) == harvest.parts("persons", 0)


def test_a_round_that_dies_before_its_marker_leaves_the_old_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harvest, unit = folder(tmp_path), Unit(0, 0, 8)
    harvest.publish_unit(unit, {"persons": blobs([50] * 8)}, {})
    with monkeypatch.context() as patch:
        fail_at_marker(patch)
        with pytest.raises(StorageError, match="killed"):
            harvest.replace_unit(unit, {"persons": blobs([50] * 3)}, {}, 1)
    assert harvest.finished() == [0]
    assert len(rows(harvest, "persons", 0)) == 8


def test_a_round_replaces_a_unit_once_and_the_next_one_again(tmp_path: Path) -> None:
    harvest, unit = folder(tmp_path), Unit(0, 0, 8)
    harvest.publish_unit(unit, {"persons": blobs([50] * 8)}, {})
    for count, number in ((3, 1), (4, 1), (5, 2)):
        harvest.replace_unit(unit, {"persons": blobs([50] * count)}, {"persons": count}, number)
        assert harvest.totals([0]) == {"persons": {1: 3, 2: 5}[number]}


def test_a_unit_that_was_damaged_after_its_round_is_replaced_again(tmp_path: Path) -> None:
    harvest, unit = folder(tmp_path), Unit(0, 0, 8)
    for _ in range(2):
        harvest.replace_unit(unit, {"persons": blobs([50] * 3)}, {}, 1)
        (part,) = harvest.parts("persons", 0)
        assert harvest.finished() == [0]
        part.unlink()


def test_an_adopted_unit_is_that_of_the_other_folder_whatever_its_round(tmp_path: Path) -> None:
    other, own, unit = folder(tmp_path), PhaseFolder(tmp_path / "harvest-def", TRACE), Unit(0, 0, 8)
    other.replace_unit(unit, {"persons": blobs([50] * 3)}, {"persons": 3}, 2)
    own.adopt_unit(unit, other, copy)
    assert own.summary([0]) == other.summary([0])
    assert [part.name for part in own.parts("persons", 0)] == ["unit-000000-00.parquet"]
    own.replace_unit(unit, {"persons": blobs([50] * 4)}, {}, 1)
    assert len(rows(own, "persons", 0)) == 4


def test_folders_beside_are_others_of_the_phase_made_with_all_that_is_named(tmp_path: Path) -> None:
    traces = {"harvest-a": (1, 1), "harvest-b": (1, 1), "harvest-c": (1, 2), "annotate-a": (1, 1)}
    made = [
        PhaseFolder(tmp_path / name, {"rows": rows, "persons": persons})
        for name, (rows, persons) in traces.items()
    ]
    for each in made:
        each.begin()
    assert [each.path.name for each in made[0].beside("rows", "persons")] == ["harvest-b"]


def test_tables_whose_names_begin_alike_do_not_share_parts(tmp_path: Path) -> None:
    harvest = folder(tmp_path)
    harvest.publish_unit(Unit(0, 0, 8), {"urls": blobs([1]), "urls2": blobs([1])}, {})
    assert len(harvest.parts("urls", 0)) == 1


def test_the_hash_of_a_summary_tells_other_rows(tmp_path: Path) -> None:
    found = set()
    for number, sizes in enumerate(([1, 2], [1, 2], [2, 1])):
        phase = PhaseFolder(tmp_path / f"harvest-{number}", TRACE)
        phase.publish_unit(Unit(0, 0, 2), {"persons": blobs(sizes)}, {})
        found.add(phase.summary([0])[1])
    assert len(found) == 2


def fail_at_marker(patch: pytest.MonkeyPatch) -> None:
    """The next marker cannot be written, as if the process had died there."""

    def refuse(self: Path, to: Path) -> None:
        if to.suffix == ".json":
            raise OSError("killed")
        self.replace(to)

    patch.setattr(Path, "rename", refuse)


def test_a_folder_that_is_gone_on_with_keeps_what_it_says_it_was_made_with(tmp_path: Path) -> None:
    folder(tmp_path).begin()
    PhaseFolder(folder(tmp_path).path, {"recipe_hash": "another"}).begin()
    assert json.loads((tmp_path / "harvest-abc" / "phase.json").read_text()) == TRACE


def test_a_marker_with_another_name_is_no_unit(tmp_path: Path) -> None:
    (tmp_path / "harvest-abc" / "done" / "000").mkdir(parents=True)
    (tmp_path / "harvest-abc" / "done" / "000" / "unit-junk.json").write_text("{}")
    assert folder(tmp_path).finished() == []


def test_the_counts_of_units_are_added_up_field_by_field(tmp_path: Path) -> None:
    phase = folder(tmp_path)
    counts = [
        {"rows": 2, "urls": {"kept": 1, "failed": {"dns_failed": 1}}},
        {"rows": 3, "urls": {"kept": 2, "failed": {"empty_body": 1}}},
        {"rows": 4, "urls": {"kept": 4, "failed": {"empty_body": 2}}},
    ]
    for index, each in enumerate(counts):
        phase.publish_unit(Unit(index, index, 1), {}, each)
    failed = {"dns_failed": 1, "empty_body": 3}
    assert phase.totals(range(3)) == {"rows": 9, "urls": {"kept": 7, "failed": failed}}
    assert phase.totals([1])["rows"] == 3
    assert phase.totals([]) == {}


def test_the_file_of_a_unit_stands_in_its_prefix() -> None:
    assert Unit(12_345, 0, 1).file("persons") == "persons/012/unit-012345-00.parquet"
    assert Unit(0, 0, 1).file("urls", 7) == "urls/000/unit-000000-07.parquet"
