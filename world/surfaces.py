"""Ground and wall of a made picture: where they lie in perspective, and the noise and textures on them.

The ground is seen in perspective: someone 1.7 m tall who stands 7 m away, with the feet on row 0.93 · height,
fills 0.88 of the height. That fixes the size of slabs and tiles without knowing the camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from world.meshes import Floats, Reals
from world.photographs import find

Colour = tuple[int, int, int]

AWAY_M, FEET, HEIGHT_M = 7, 0.93, 1.93
"""So far away the feet stand on row FEET · height, and the picture is HEIGHT_M high: 1.7 m / 0.88."""
STONE: Sequence[Colour] = ((150, 147, 142), (132, 130, 128), (158, 150, 138), (118, 118, 122))


@dataclass(frozen=True, eq=False)
class Plane:
    """Ground or wall: places in metres, seen at pixels [rows, width]."""

    across: Reals
    """[rows or 1, width]."""
    along: Reals
    """[rows, 1]: away from the camera, or up from the wall's foot."""
    pixel_m: Reals
    """[rows, 1]: width of a pixel."""
    pixel_along_m: Reals
    """[rows, 1]: what a pixel covers along; on the ground it grows faster than its width."""
    detail_m: Reals
    """[rows, 1]: what is finer flickers into grain."""


@dataclass(frozen=True)
class Frame:
    """The picture to fill: its size, the horizon's row, and the row where the ground begins."""

    width_px: int
    height_px: int
    horizon_px: float
    foot_px: int

    def ground(self) -> Plane:
        """Every pixel from the foot down."""
        rows = np.arange(self.foot_px, self.height_px, dtype=np.float32)[:, None] + 0.5
        steepness = (self._drop_px() / (rows - self.horizon_px)).astype(np.float32)
        scale, away = np.float32(HEIGHT_M / self.height_px), AWAY_M * steepness
        pixel = scale * away / AWAY_M
        deep = np.abs(np.gradient(away, axis=0)) if len(away) > 1 else pixel
        across = np.arange(self.width_px, dtype=np.float32) - self.width_px / 2
        return Plane(across * steepness * scale, away, pixel, deep, 2 * pixel)

    def wall(self) -> Plane:
        """Every pixel above the foot, on a wall that stands there."""
        below_px = max(self.foot_px + 0.5 - self.horizon_px, 1.0)
        metres = HEIGHT_M / self.height_px * self._drop_px() / below_px
        across = (np.arange(self.width_px, dtype=np.float32) - self.width_px / 2)[None] * metres
        up = (self.foot_px - 0.5 - np.arange(self.foot_px, dtype=np.float32))[:, None] * metres
        pixel = np.full_like(up, metres)
        return Plane(across, up, pixel, pixel, pixel)

    def _drop_px(self) -> float:
        """From the horizon down to the feet of someone AWAY_M away."""
        return max(FEET * self.height_px - self.horizon_px, 0.02 * self.height_px)


def draw_frame(
    width_px: int, height_px: int, horizon_px: float, open_air: bool, rng: np.random.Generator
) -> Frame:
    """Ground from just below the horizon in open air, else from the foot of a wall that stands on it."""
    foot = horizon_px + rng.uniform(0.02, 0.05) * height_px
    if not open_air:
        # No wall stands beyond the horizon, and none ends above the picture when the camera looks down.
        foot = max(foot, rng.uniform(0.32, 0.66) * height_px)
    return Frame(width_px, height_px, horizon_px, min(max(round(foot), 0), height_px))


def pick(colours: Sequence[Colour], rng: np.random.Generator) -> Reals:
    """One of the colours, [3], a little lighter or darker."""
    return np.asarray(colours[int(rng.integers(len(colours)))], dtype=np.float32) + rng.uniform(-8, 8)


def paint(colour: Reals, light: Reals) -> Reals:
    """A colour [3] made lighter or darker by a share [H, W]: [H, W, 3]."""
    return (1 + light)[..., None] * colour


def noise(
    width_px: int, height_px: int, cell_px: float, rng: np.random.Generator, octaves: int = 3
) -> Floats:
    """Smooth noise [height, width] of mean 0 and deviation near 1, its coarsest bumps `cell_px` wide."""
    total = np.zeros((height_px, width_px), dtype=np.float32)
    if not total.size:  # a picture that is all ground, or all wall
        return total
    for octave in range(octaves):
        cell = max(cell_px / 2**octave, 1)
        # One cell more on each side: the smallest picture still gets a grid to interpolate in.
        grid = rng.standard_normal((int(height_px / cell) + 3, int(width_px / cell) + 3)).astype(np.float32)
        box = (1.0, 1.0, 1 + width_px / cell, 1 + height_px / cell)
        coarse = Image.fromarray(grid).resize((width_px, height_px), Image.Resampling.BICUBIC, box)
        total += np.asarray(coarse) * 0.62**octave
    return total


def stains(frame: Frame, cell_px: float, rng: np.random.Generator, octaves: int = 3) -> Floats:
    """Noise above the foot."""
    return noise(frame.width_px, frame.foot_px, cell_px, rng, octaves)


def patches(frame: Frame, contrast: float, rng: np.random.Generator) -> Reals:
    """Wide lighter and darker places of a ground, flatter than wide as perspective makes them."""
    rows = frame.height_px - frame.foot_px
    return contrast * noise(frame.width_px, 3 * rows, frame.height_px / 5, rng)[::3]


@lru_cache(maxsize=8)  # decoding a photograph takes longer than all that is drawn from it
def photograph(file: str) -> Image.Image:
    """One of the photographs that the scikit-image wheel carries."""
    with Image.open(find("skimage", f"data/{file}")) as image:
        return image.convert("RGB")


@lru_cache(maxsize=4)
def texture(file: str) -> tuple[Floats, ...]:
    """A grey photograph as a tile, and its halvings."""
    image = photograph(file).convert("L")
    if file == "brick.png":
        # Photographed standing on end and in perspective; traced along two joints, (70, 0) to (8, 512) and
        # (398, 0) to (469, 512), it lies straight.
        straight = (328 / 512, -64 / 512, 70, 0, 366 / 512, 0, 0, -0.286 / 512)
        image = image.transform(
            image.size, Image.Transform.PERSPECTIVE, straight, Image.Resampling.BILINEAR
        ).transpose(Image.Transpose.TRANSPOSE)
    if file == "coffee.png":  # the table beside the saucer, along the grain
        image = image.resize((256, 128), box=(480, 0, 600, 400))
    tile = np.asarray(image, dtype=np.float32)
    return halvings((tile - tile.mean()) / tile.std())


def halvings(tile: Floats) -> tuple[Floats, ...]:
    """A tile, mirrored so that it repeats without a seam; each next one is half the size."""
    tile = np.concatenate([tile, tile[::-1]])
    levels = [np.concatenate([tile, tile[:, ::-1]], axis=1)]
    while min(levels[-1].shape) > 4:
        last = levels[-1]
        levels.append((last[::2, ::2] + last[1::2, ::2] + last[::2, 1::2] + last[1::2, 1::2]) / 4)
    return tuple(levels)


def textured(plane: Plane, levels: Sequence[Floats], tile_m: float, rng: np.random.Generator) -> Floats:
    """A plane covered by a texture whose first level is `2 · tile_m` wide: [rows, width]."""
    shift = rng.uniform(0, 100, size=2).astype(np.float32)
    size = len(plane.along), plane.across.shape[1]
    across = np.broadcast_to(plane.across, size) + shift[0]
    along = plane.along + shift[1]
    covered = np.empty(size, np.float32)
    coarse = np.log2(np.maximum(plane.detail_m[:, 0] * levels[0].shape[1] / (2 * tile_m), 1)).astype(int)
    coarse = np.minimum(coarse, len(levels) - 1)
    for number in np.unique(coarse):
        rows, tile = coarse == number, levels[number]
        scale = np.float32(tile.shape[1] / (2 * tile_m))
        column = np.floor(across[rows] * scale).astype(np.int32) % tile.shape[1]
        row = np.floor(along[rows] * scale).astype(np.int32) % tile.shape[0]
        covered[rows] = tile[row, column]
    return covered


def joints(metres: Reals, spacing_m: float, joint_m: float, pixel_m: Reals) -> Reals:
    """1 on the joints of a row of slabs, 0 between, fading where a pixel is wider than a joint."""
    beside = np.abs((metres / spacing_m + 0.5) % 1 - 0.5) * spacing_m
    width = np.maximum(joint_m, pixel_m)
    line: Reals = np.clip(1.5 - beside / width, 0, 1) * np.minimum(joint_m / width, 1)
    return line.astype(np.float32)


def grid(plane: Plane, shift_m: float, size_m: tuple[float, float], joint_m: float) -> Reals:
    """The joints of a plane of slabs of `size_m`, shifted across."""
    upright = joints(plane.across + np.float32(shift_m), size_m[0], joint_m, plane.pixel_m)
    return np.maximum(upright, joints(plane.along, size_m[1], joint_m, plane.pixel_along_m))


def slabs(
    frame: Frame, size_m: tuple[float, float], rng: np.random.Generator, colours: Sequence[Colour] = STONE
) -> Reals:
    """Paved or tiled ground [rows, width, 3]: slabs of `size_m`, each with a tone of its own."""
    colour, plane, shift = pick(colours, rng), frame.ground(), rng.uniform(50, 100)
    tones = rng.uniform(-0.05, 0.05, size=1024).astype(np.float32)
    column = np.floor((plane.across + np.float32(shift)) / size_m[0]).astype(np.int32)
    number = column * 37 + np.floor(plane.along / size_m[1]).astype(np.int32) * 101
    grain = 0.02 * noise(frame.width_px, len(plane.along), frame.width_px / 6, rng)
    return paint(colour, tones[number % 1024] + grain - 0.28 * grid(plane, shift, size_m, 0.015))


def earth(frame: Frame, colour: Reals, contrast: float, rng: np.random.Generator) -> Reals:
    """Bare ground [rows, width, 3] of fine grain, such as asphalt or lawn."""
    grain = halvings(rng.standard_normal((128, 128)).astype(np.float32))
    uneven = patches(frame, 0.03, rng)
    return paint(colour, contrast * textured(frame.ground(), grain, 0.6, rng) + uneven)
