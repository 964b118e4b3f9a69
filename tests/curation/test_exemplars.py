"""Exemplars: a folder with pictures and a table, checked row by row."""

import io
from pathlib import Path

import pytest
from PIL import Image

from curation.exemplars import ExemplarError, load_exemplars


def folder(path: Path, table: str) -> str:
    """Two pictures and a table."""
    for name, colour in (("red.jpg", "red"), ("blue.jpg", "blue")):
        Image.new("RGB", (60, 120), colour).save(path / name)
    (path / "exemplars.csv").write_text(table)
    return str(path)


def test_exemplars_come_in_the_order_of_their_table(tmp_path: Path) -> None:
    found = load_exemplars(folder(tmp_path, "file,letter,note\nblue.jpg,A,fine\nred.jpg,F,dark\n"))
    assert [exemplar.letter for exemplar in found.shown] == ["A", "F"]
    with Image.open(io.BytesIO(found.shown[0].jpeg)) as picture:
        red, _, blue = picture.convert("RGB").resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
    assert blue > red


def test_the_id_follows_pictures_and_letters(tmp_path: Path) -> None:
    one = load_exemplars(folder(tmp_path, "file,letter\nred.jpg,A\n")).id
    other_letter = load_exemplars(folder(tmp_path, "file,letter\nred.jpg,B\n")).id
    other_picture = load_exemplars(folder(tmp_path, "file,letter\nblue.jpg,A\n")).id
    assert len({one, other_letter, other_picture}) == 3


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("picture,letter\nred.jpg,A\n", "expected the columns file,letter"),
        ("file,letter\n", "no exemplar in it"),
        ("file,letter\nred.jpg,A\nred.jpg,Z\n", "row 3: letter 'Z' is none of A B C"),
        ("file,letter\ngone.jpg,A\n", "row 2: .*gone.jpg"),
        ("file,letter\nexemplars.csv,A\n", "row 2: crop"),
        ("file,letter\nnowhere:a.jpg,A\n", "row 2: nowhere:a.jpg: the package nowhere is not installed"),
        ("file,letter,box\nred.jpg,A,0 0 61 60\n", "row 2: box: '0 0 61 60' is not inside 60 × 120"),
        ("file,letter,box\nred.jpg,A,0 0 60\n", "row 2: box: '0 0 60' is not four whole numbers"),
        ("file,letter,change\nred.jpg,A,melt\n", "row 2: change: 'melt' is none of blur, dark, hide, words"),
        ("file,letter,change\nexemplars.csv,A,blur\n", "row 2: crop"),
    ],
)
def test_a_bad_table_is_refused_by_file_and_row(tmp_path: Path, table: str, problem: str) -> None:
    with pytest.raises(ExemplarError, match=problem) as refusal:
        load_exemplars(folder(tmp_path, table))
    assert "exemplars.csv" in str(refusal.value)


def test_the_packaged_exemplars_show_seven_letters_in_small_pictures() -> None:
    shown = load_exemplars("judge-exemplars").shown
    assert {exemplar.letter for exemplar in shown} == set("ABCDEFG")
    for exemplar in shown:
        with Image.open(io.BytesIO(exemplar.jpeg)) as picture:
            assert max(picture.size) <= 448


def test_the_id_follows_what_a_picture_is_made_of(tmp_path: Path) -> None:
    tables = ["red.jpg,A,,", "red.jpg,A,0 0 60 60,", "red.jpg,A,,blur"]
    ids = {load_exemplars(folder(tmp_path, f"file,letter,box,change\n{row}\n")).id for row in tables}
    assert len(ids) == 3


def test_a_folder_without_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExemplarError, match=r"exemplars\.csv: "):
        load_exemplars(str(tmp_path))
