"""Rounds of writing anew, from tables of scores."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.recaption import RecaptionSettings, ScoresError, load_rounds
from pipeline.records import PersonKey


def scores(path: Path, rows: list[tuple[int, int, float]]) -> str:
    """A table of (row, slot, score) in unit 0."""
    columns: dict[str, Any] = {
        "unit": [0] * len(rows),
        "row": [row for row, _, _ in rows],
        "person": [0] * len(rows),
        "slot": [slot for _, slot, _ in rows],
        "score": pa.array([score for *_, score in rows], pa.float64()),
    }
    pq.write_table(pa.table(columns), path)
    return str(path)


def of(settings: list[RecaptionSettings], row: int) -> list[str]:
    return load_rounds(settings).of(PersonKey(0, row, 0), 2)


def test_the_lowest_scores_are_written_anew(tmp_path: Path) -> None:
    path = scores(tmp_path / "s.parquet", [(0, 0, 0.9), (0, 1, 0.1), (1, 0, 0.8), (1, 1, 0.7)])
    settings = [RecaptionSettings(scores=path, worst=0.25)]
    first, second = of(settings, 0)
    assert (first, bool(second)) == ("", True)
    assert of(settings, 1) == ["", ""]


def test_the_choice_does_not_hang_on_the_order_of_rows(tmp_path: Path) -> None:
    rows = [(n, slot, 0.5) for n in range(8) for slot in range(2)]
    one = RecaptionSettings(scores=scores(tmp_path / "a.parquet", rows), worst=0.3)
    other = RecaptionSettings(scores=scores(tmp_path / "b.parquet", rows[::-1]), worst=0.3)
    assert load_rounds([one]).names == load_rounds([other]).names
    assert len(load_rounds([one]).keys) == 5


def test_of_two_rounds_the_last_that_names_a_caption_counts(tmp_path: Path) -> None:
    rounds = [
        RecaptionSettings(scores=scores(tmp_path / f"{n}.parquet", rows), worst=0.5)
        for n, rows in enumerate(([(0, 0, 0.0), (1, 0, 1.0)], [(0, 0, 0.0), (2, 0, 1.0)]))
    ]
    once, twice = of(rounds[:1], 0)[0], of(rounds, 0)[0]
    assert once.startswith("round-0")
    assert twice.startswith("round-1")


def test_without_rounds_every_caption_stands() -> None:
    assert of([], 0) == ["", ""]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.drop_columns(["slot"]), "column slot is missing"),
        (
            lambda t: t.set_column(1, "row", pa.array(["x"], pa.string())),
            "column row holds string, not whole numbers",
        ),
        (
            lambda t: t.set_column(4, "score", pa.array([None], pa.float64())),
            "column score has 1 rows without a number",
        ),
        (lambda t: t.set_column(4, "score", pa.array(["0.5"])), "column score holds string, not numbers"),
        (lambda t: t.set_column(4, "score", pa.array([float("nan")])), "column score holds NaN"),
    ],
)
def test_a_table_that_is_none_is_refused_by_file_and_column(
    tmp_path: Path, change: Any, problem: str
) -> None:
    path = Path(scores(tmp_path / "s.parquet", [(0, 0, 0.5)]))
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(ScoresError) as refusal:
        load_rounds([RecaptionSettings(scores=str(path), worst=0.5)])
    assert str(refusal.value).startswith(f"{path}: {problem}")


def test_a_missing_table_is_refused_by_name() -> None:
    with pytest.raises(ScoresError, match=r"nowhere\.parquet"):
        load_rounds([RecaptionSettings(scores="nowhere.parquet", worst=0.5)])


def test_whole_numbers_are_scores_too(tmp_path: Path) -> None:
    path = scores(tmp_path / "s.parquet", [(0, 0, 7.0), (1, 0, 3.0)])
    pq.write_table(pq.read_table(path).set_column(4, "score", pa.array([7, 3])), path)
    assert load_rounds([RecaptionSettings(scores=path, worst=0.5)]).keys.tolist() == [[0, 1, 0, 0]]


def test_named_captions_of_other_persons_or_slots_are_not_counted(tmp_path: Path) -> None:
    path = scores(tmp_path / "s.parquet", [(0, 0, 0.1), (0, 1, 0.1), (5, 0, 0.1), (0, 2, 0.1)])
    persons = pa.table({"unit": [0, 0], "row": [0, 1], "person": [0, 0]})
    assert load_rounds([RecaptionSettings(scores=path, worst=1.0)]).count_last(persons, 2) == 2


@pytest.mark.parametrize(
    ("rows", "worst", "named"), [(100, 0.07, 7), (50, 0.14, 7), (100, 0.55, 55), (3, 0.5, 2)]
)
def test_a_share_is_not_rounded_up_for_the_sake_of_a_last_bit(
    tmp_path: Path, rows: int, worst: float, named: int
) -> None:
    path = scores(tmp_path / "s.parquet", [(n, 0, n / 100) for n in range(rows)])
    assert len(load_rounds([RecaptionSettings(scores=path, worst=worst)]).keys) == named


def test_only_the_last_round_is_counted(tmp_path: Path) -> None:
    paths = [scores(tmp_path / f"{n}.parquet", [(row, 0, 0.1)]) for n, row in enumerate((0, 9))]
    rounds = load_rounds([RecaptionSettings(scores=path, worst=1.0) for path in paths])
    assert rounds.count_last(pa.table({"unit": [0], "row": [0], "person": [0]}), 2) == 0


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "holds no rows"),
        ([(0, 0, 0.1), (1, 0, 0.2), (0, 0, 0.3)], "1 rows name a caption that stands before"),
    ],
)
def test_a_table_without_rows_or_with_a_caption_twice_is_refused(
    tmp_path: Path, rows: list[tuple[int, int, float]], problem: str
) -> None:
    path = scores(tmp_path / "s.parquet", rows)
    with pytest.raises(ScoresError, match=problem):
        load_rounds([RecaptionSettings(scores=path, worst=0.5)])
