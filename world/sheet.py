"""A contact sheet of a made world: pictures with the true boxes and keypoints, one row a kind."""

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from world.folder import picture_path, read_truth
from world.truth import Kind

CELL_PX, CAPTION_PX, COLUMNS = (192, 340), 26, 10
POINT_COLOURS = {2: "yellow", 1: "red"}
"""Visible, hidden; points outside the picture are not drawn."""


def write_sheet(world: Path, path: Path, marks: bool = True) -> None:
    """Write a PNG that shows up to ten pictures of each kind, named, with their truth drawn in if `marks`.

    Raises ValueError if there is no picture.
    """
    persons: dict[str, list[dict[str, Any]]] = {}
    for person in read_truth(world, "persons").to_pylist():
        persons.setdefault(person["picture"], []).append(person)
    kinds = dict.fromkeys(Kind, 0)
    cells = []
    for row in read_truth(world, "pictures").to_pylist():
        kind = Kind(row["kind"])
        if kinds[kind] < COLUMNS:
            at = list(Kind).index(kind), kinds[kind]
            cells.append((at, _cell(world, row["picture"], persons.get(row["picture"], []), marks)))
            kinds[kind] += 1
    if not cells:
        raise ValueError(f"{world}: holds no picture for a sheet")
    width, height = CELL_PX
    lines = [line for line, kind in enumerate(Kind) if kinds[kind]]
    sheet = Image.new("RGB", (COLUMNS * width, len(lines) * (height + CAPTION_PX)), "white")
    for (line, column), cell in cells:
        sheet.paste(cell, (column * width, lines.index(line) * (height + CAPTION_PX)))
    sheet.save(path, "PNG")


def _cell(world: Path, name: str, persons: list[dict[str, Any]], marks: bool) -> Image.Image:
    """A picture fitted into its cell, its name below."""
    width, height = CELL_PX
    with Image.open(picture_path(world, name)) as picture:
        image = picture.convert("RGB")
    if marks:
        _mark(image, persons)
    image.thumbnail((width - 4, height))
    cell = Image.new("RGB", (width, height + CAPTION_PX), "white")
    cell.paste(image, ((width - image.width) // 2, height - image.height))
    words = f"{persons[0]['identity']}: {persons[0]['view']}, {persons[0]['pose']}" if persons else ""
    ImageDraw.Draw(cell).text((4, height + 2), f"{name}\n{words}", fill="black", font_size=10, spacing=1)
    return cell


def _mark(image: Image.Image, persons: list[dict[str, Any]]) -> None:
    pen = ImageDraw.Draw(image)
    for person in persons:
        pen.rectangle(person["box_xyxy_px"], outline="lime")
        points = person["keypoints"]
        for x, y, seen in zip(points[::3], points[1::3], points[2::3], strict=True):
            if seen:
                pen.circle((x, y), max(1.5, image.height / 300), fill=POINT_COLOURS[int(seen)])
