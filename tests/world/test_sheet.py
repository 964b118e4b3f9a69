"""The contact sheet: a row a kind, with or without the truth drawn in."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from world import sheet
from world.folder import FolderError, World, make_world
from world.sheet import CAPTION_PX, CELL_PX, COLUMNS, write_sheet


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sheet") / "world"
    make_world(World(people=1, views=1, others=1, seed=3), out, workers=1)
    return out


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def bright_green(path: Path) -> int:
    """Pixels like the boxes' lines, which shrinking has mixed with what lies beside."""
    red, green, blue = pixels(path).astype(int).transpose(2, 0, 1)
    return int((green - np.maximum(red, blue) > 60).sum())


def test_a_sheet_has_ten_columns_and_a_line_for_each_kind_that_is_there(made: Path, tmp_path: Path) -> None:
    write_sheet(made, tmp_path / "sheet.png")
    kinds = len({path.stem.rsplit("-", 1)[0] for path in (made / "pictures").iterdir()})
    assert kinds in (12, 13)
    assert pixels(tmp_path / "sheet.png").shape == (
        kinds * (CELL_PX[1] + CAPTION_PX),
        COLUMNS * CELL_PX[0],
        3,
    )


def test_truth_is_drawn_in_where_it_is_wanted(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet, "COLUMNS", 1)  # wide enough for one picture of each kind
    write_sheet(made, tmp_path / "marked.png")
    write_sheet(made, tmp_path / "plain.png", marks=False)
    assert bright_green(tmp_path / "marked.png") > 500 + bright_green(tmp_path / "plain.png")


def test_no_more_pictures_of_a_kind_than_there_are_columns(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet, "COLUMNS", 1)
    write_sheet(made, tmp_path / "narrow.png")
    assert pixels(tmp_path / "narrow.png").shape[1] == CELL_PX[0]


def test_a_folder_without_a_world_gives_no_sheet(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"holds no whole made world$"):
        write_sheet(tmp_path, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()
