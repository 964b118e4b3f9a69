"""Pictures of exemplars: files, parts of photographs that installed packages carry, and faults put into them.

A package's photograph is read where it lies and never copied into a repository, whose terms are not its own.
"""

import io
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from curation.fit import CropError

LONG_SIDE_PX = 448
"""Longer side of a part that is cut out: 16 of the squares that Qwen2.5-VL makes tokens of."""


def find_picture(folder: Path, file: str) -> Path:
    """The file of a name, relative to the table's folder, or of `package:path`. Raises OSError."""
    package, colon, inside = file.partition(":")
    if not colon:
        return folder / file
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"{file}: the package {package} is not installed")
    return Path(spec.submodule_search_locations[0]) / inside


def make_picture(data: bytes, box: str, change: str) -> bytes:
    """The picture as it is, or a part of it, perhaps with a fault, as JPEG.

    box: left, top, right and bottom in pixels, or empty for all; change: of CHANGES, or empty. Raises
    CropError.
    """
    if not box and not change:
        return data
    if change not in ("", *CHANGES):
        raise CropError(f"change: {change!r} is none of {', '.join(CHANGES)}")
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as source:
            picture = source.convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise CropError(f"crop: {' '.join(str(error).split())}") from None
    if box:
        part = picture.crop(_corners(box, picture.size))
        scale = LONG_SIDE_PX / max(part.size)
        size = max(1, round(part.width * scale)), max(1, round(part.height * scale))
        picture = part.resize(size, Image.Resampling.BICUBIC)
    if change:
        picture = CHANGES[change](picture)
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=90)
    return sink.getvalue()


def _corners(box: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    try:
        left, top, right, bottom = map(int, box.split())
    except ValueError:
        raise CropError(f"box: {box!r} is not four whole numbers") from None
    if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
        raise CropError(f"box: {box!r} is not inside {size[0]} × {size[1]} pixels")
    return left, top, right, bottom


def _blur(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(picture.height / 45))


def _dark(picture: Image.Image) -> Image.Image:
    return picture.point([level // 12 for level in range(256)] * 3)


def _hide(picture: Image.Image) -> Image.Image:
    """A grey board from the neck down to the shins."""
    width, height = picture.size
    ImageDraw.Draw(picture).rectangle((0, height * 0.2, width, height * 0.9), fill=(122, 118, 110))
    return picture


def _words(picture: Image.Image) -> Image.Image:
    """Lines of writing over the whole person."""
    draw, step = ImageDraw.Draw(picture), picture.height // 8
    font = ImageFont.load_default(step * 0.7)
    for line in range(8):
        place = (4 - 30 * (line % 2), line * step)
        draw.text(place, "SAMPLE SAMPLE", (250, 240, 60), font, stroke_width=2, stroke_fill=(20, 20, 20))
    return picture


CHANGES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "blur": _blur,
    "dark": _dark,
    "hide": _hide,
    "words": _words,
}
"""Faults that can be put into a picture."""
