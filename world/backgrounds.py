"""What stands behind the people of the made world: walls, skies and parks over a ground that takes a shadow.

Some are built round photographs that the scikit-image wheel carries (world/SOURCES.md names their terms),
the rest is drawn from noise and lines. Nobody is in them; the wheel's cat and cup are left out, because
yolo11n-pose sees a person in parts of them (up to 0.86 and 0.91). Colours are muted, so that clothes stay
legible.

The ground is seen in perspective: someone 1.7 m tall who stands 7 m away, with the feet on row 0.93 · height,
fills 0.88 of the height. That fixes the size of slabs and tiles without knowing the camera.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from world.meshes import Pixels
from world.photographs import find

Reals = npt.NDArray[np.floating]
Colour = tuple[int, int, int]

_PLASTER: Sequence[Colour] = (
    (186, 178, 162),
    (164, 164, 160),
    (172, 150, 130),
    (150, 158, 164),
    (190, 182, 172),
)
_STONE: Sequence[Colour] = ((150, 147, 142), (132, 130, 128), (158, 150, 138), (118, 118, 122))
_MEADOW: Sequence[Colour] = ((112, 122, 82), (98, 116, 78), (126, 124, 88))
_SKY: Sequence[tuple[Colour, Colour]] = (
    ((142, 164, 190), (206, 212, 214)),
    ((168, 174, 182), (204, 206, 206)),
    ((160, 164, 184), (218, 206, 194)),
)


@dataclass(frozen=True)
class _Frame:
    """The picture to fill: its size, the horizon's row, and the row where the ground begins."""

    width_px: int
    height_px: int
    horizon_px: float
    foot_px: int

    def ground(self) -> tuple[Reals, Reals]:
        """Across [rows, width] and away [rows, 1] in metres, of every pixel from the foot down."""
        rows = np.arange(self.foot_px, self.height_px, dtype=np.float32)[:, None] + 0.5
        steepness = (self._drop_px() / (rows - self.horizon_px)).astype(np.float32)
        across = np.arange(self.width_px, dtype=np.float32) - self.width_px / 2
        return across * steepness * np.float32(1.93 / self.height_px), 7 * steepness

    def wall(self) -> tuple[Reals, Reals, float]:
        """Across [width] and up [rows, 1] in metres above the foot, and metres a pixel there."""
        metres = self.metres_per_px()
        across = (np.arange(self.width_px, dtype=np.float32) - self.width_px / 2) * metres
        up = (self.foot_px - 0.5 - np.arange(self.foot_px, dtype=np.float32))[:, None] * metres
        return across.astype(np.float32), up.astype(np.float32), metres

    def metres_per_px(self) -> float:
        """On a wall that stands on the foot's row."""
        return 1.93 / self.height_px * self._drop_px() / max(self.foot_px + 0.5 - self.horizon_px, 1.0)

    def _drop_px(self) -> float:
        """From the horizon down to the feet of someone 7 m away."""
        return max(0.93 * self.height_px - self.horizon_px, 0.02 * self.height_px)


def backdrop(name: str, width_px: int, height_px: int, horizon_px: float, rng: np.random.Generator) -> Pixels:
    """RGB [height, width, 3] of one of BACKGROUNDS; the same state of `rng` gives the same pixels.

    `horizon_px` is the row of the ground's horizon and may lie outside the picture: a camera that looks down
    sees ground only, and then a wall stands on it. Raises ValueError for an unknown name or a size below 1,
    PhotographMissingError where a photograph is needed and scikit-image is not installed.
    """
    if name not in _DRAWN:
        raise ValueError(f"background: {name!r} is none of {', '.join(BACKGROUNDS)}")
    for field, size in (("width_px", width_px), ("height_px", height_px)):
        if size < 1:
            raise ValueError(f"{field}: {size} is below 1")
    draw, open_air = _DRAWN[name]
    frame = _frame(width_px, height_px, horizon_px, open_air, rng)
    picture = draw(frame, rng)
    gain = rng.uniform(0.86, 1.08) * rng.uniform(0.97, 1.03, size=3)
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    return np.clip(picture * gain.astype(np.float32) + 0.5, 0, 255).astype(np.uint8)


# Parts: noise, textures, ground and sky.


def _frame(
    width_px: int, height_px: int, horizon_px: float, open_air: bool, rng: np.random.Generator
) -> _Frame:
    """Ground from just below the horizon in open air, else from the foot of a wall that stands on it."""
    foot = horizon_px + rng.uniform(0.02, 0.05) * height_px
    if not open_air:
        # No wall stands beyond the horizon, and none ends above the picture when the camera looks down.
        foot = max(foot, rng.uniform(0.32, 0.66) * height_px)
    return _Frame(width_px, height_px, horizon_px, min(max(round(foot), 0), height_px))


def _pick(colours: Sequence[Colour], rng: np.random.Generator) -> Reals:
    return np.asarray(colours[int(rng.integers(len(colours)))], dtype=np.float32) + rng.uniform(-8, 8)


def _noise(
    rng: np.random.Generator, width_px: int, height_px: int, cell_px: float, octaves: int = 3
) -> Reals:
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


@lru_cache(maxsize=8)  # decoding a photograph takes longer than all that is drawn from it
def _photograph(file: str) -> Image.Image:
    with Image.open(find("skimage", f"data/{file}")) as image:
        return image.convert("RGB")


@lru_cache(maxsize=4)
def _texture(file: str) -> tuple[Reals, ...]:
    """A grey photograph, mirrored so that it repeats without a seam; each next one is half the size."""
    image = _photograph(file).convert("L")
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
    return _halvings((tile - tile.mean()) / tile.std())


def _halvings(tile: Reals) -> tuple[Reals, ...]:
    tile = np.concatenate([tile, tile[::-1]])
    levels = [np.concatenate([tile, tile[:, ::-1]], axis=1).astype(np.float32)]
    while min(levels[-1].shape) > 4:
        last = levels[-1]
        levels.append((last[::2, ::2] + last[1::2, ::2] + last[::2, 1::2] + last[1::2, 1::2]) / 4)
    return tuple(levels)


def _covered(frame: _Frame, levels: Sequence[Reals], tile_m: float, rng: np.random.Generator) -> Reals:
    """The ground covered by a texture whose first level is `2 · tile_m` wide: [rows, width]."""
    across, away = frame.ground()
    shift = rng.uniform(0, 100, size=2).astype(np.float32)
    covered = np.empty_like(across)
    # Far rows take a coarser level, by the size of a pixel there: otherwise they flicker into grain.
    pixel_m = 1.93 / frame.height_px * away[:, 0] / 7
    level = np.log2(np.maximum(2 * pixel_m * levels[0].shape[1] / (2 * tile_m), 1)).astype(int)
    level = np.minimum(level, len(levels) - 1)
    for number in np.unique(level):
        rows, tile = level == number, levels[number]
        scale = np.float32(tile.shape[1] / (2 * tile_m))
        column = ((across[rows] + shift[0]) * scale).astype(np.int32) % tile.shape[1]
        row = ((away[rows] + shift[1]) * scale).astype(np.int32) % tile.shape[0]
        covered[rows] = tile[row, column]
    return covered


def _clad(frame: _Frame, levels: Sequence[Reals], tile_m: float, rng: np.random.Generator) -> Reals:
    """The wall covered by a texture whose first level is `2 · tile_m` wide: [rows, width]."""
    across, up, metres = frame.wall()
    coarse = int(np.log2(max(metres * levels[0].shape[1] / (2 * tile_m), 1)))
    tile = levels[min(coarse, len(levels) - 1)]
    scale = tile.shape[1] / (2 * tile_m)
    column = ((across + rng.uniform(100, 200)) * scale).astype(np.int32) % tile.shape[1]
    row = ((up + rng.uniform(0, 100)) * scale).astype(np.int32) % tile.shape[0]
    clad: Reals = tile[row, column]
    return clad


def _paint(colour: Reals, light: Reals) -> Reals:
    """A colour [3] made lighter or darker by a share [H, W]: [H, W, 3]."""
    return (1 + light)[..., None] * colour


def _joints(metres: Reals, spacing_m: float, joint_m: float, pixel_m: Reals | float) -> Reals:
    """1 on the joints of a row of slabs, 0 between, fading where a pixel is wider than a joint."""
    beside = np.abs((metres / spacing_m + 0.5) % 1 - 0.5) * spacing_m
    width = np.maximum(joint_m, pixel_m)
    line: Reals = np.clip(1.5 - beside / width, 0, 1) * np.minimum(joint_m / width, 1)
    return line.astype(np.float32)


def _slabs(frame: _Frame, colour: Reals, size_m: tuple[float, float], rng: np.random.Generator) -> Reals:
    """Paved or tiled ground: slabs of `size_m`, each with a tone of its own."""
    across, away = frame.ground()
    across = across + np.float32(rng.uniform(50, 100))
    pixel = np.float32(1.93 / frame.height_px) * away / 7
    # A row's depth in metres grows faster than its width: seen from the side, joints across blur first.
    deep = np.abs(np.gradient(away, axis=0)) if len(away) > 1 else pixel
    joints = np.maximum(_joints(across, size_m[0], 0.015, pixel), _joints(away, size_m[1], 0.015, deep))
    tones = rng.uniform(-0.05, 0.05, size=1024).astype(np.float32)
    number = (
        np.floor(across / size_m[0]).astype(np.int32) * 37 + np.floor(away / size_m[1]).astype(np.int32) * 101
    )
    grain = _noise(rng, frame.width_px, len(away), frame.width_px / 6) * 0.02
    return _paint(colour, tones[number % 1024] + grain - 0.28 * joints)


def _earth(frame: _Frame, colour: Reals, contrast: float, rng: np.random.Generator) -> Reals:
    """Bare ground of fine grain, such as asphalt or lawn."""
    tile = rng.standard_normal((128, 128)).astype(np.float32)
    patches = _patches(frame, 0.03, rng)
    return _paint(colour, contrast * _covered(frame, _halvings(tile), 0.6, rng) + patches)


def _patches(frame: _Frame, contrast: float, rng: np.random.Generator) -> Reals:
    """Wide lighter and darker places of a ground, flatter than wide as perspective makes them."""
    rows = frame.height_px - frame.foot_px
    flat = _noise(rng, frame.width_px, 3 * rows, frame.height_px / 5)
    return contrast * flat[::3]


def _sky(frame: _Frame, rng: np.random.Generator) -> Reals:
    """From the picture's top to the foot: a gradient with clouds, and a far line of roofs or trees."""
    top, low = (np.asarray(colour, dtype=np.float32) for colour in _SKY[int(rng.integers(len(_SKY)))])
    rows = np.linspace(0, 1, frame.foot_px, dtype=np.float32)[:, None, None]
    cloud = np.clip(_noise(rng, frame.width_px, frame.foot_px, frame.height_px / 5), 0, 2)[..., None]
    return top + (low - top) * rows + cloud * (0.05 * (250 - top))


def _far_line(sky: Reals, heights: Reals, colour: Reals, grain: Reals) -> None:
    """Fills the columns of `sky` up to `heights` [width] px above its last row, in place."""
    up = (len(sky) - np.arange(len(sky), dtype=np.float32))[:, None]
    cover = np.clip(heights - up, 0, 1)[..., None]
    sky += cover * (_paint(colour, grain) - sky)


def _stack(above: Reals, ground: Reals, contact: float) -> Reals:
    """Wall over ground, with the shade of `contact` that gathers along the foot of a wall."""
    shade = 1 - contact * np.exp(-np.arange(len(ground), dtype=np.float32) / max(0.03 * len(above), 1))
    return np.concatenate([above, ground * shade[:, None, None]])


# The backgrounds themselves.


def _brick(frame: _Frame, rng: np.random.Generator) -> Reals:
    """A brick wall behind a pavement of slabs."""
    courses = 0.13 * _clad(frame, _texture("brick.png"), rng.uniform(1.0, 1.4), rng)
    stain = 0.05 * _noise(rng, frame.width_px, frame.foot_px, frame.height_px / 4)
    wall = _paint(_pick(((146, 104, 88), (150, 132, 116), (128, 112, 106)), rng), courses + stain)
    return _stack(wall, _slabs(frame, _pick(_STONE, rng), (0.6, 0.9), rng), 0.35)


def _gravel(frame: _Frame, rng: np.random.Generator) -> Reals:
    """A gravel yard before a plastered wall."""
    wall = _plaster(frame, _pick(_PLASTER, rng), rng)
    yard = _paint(
        _pick(((150, 142, 130), (136, 134, 132)), rng),
        0.2 * _covered(frame, _texture("gravel.png"), 1.2, rng),
    )
    return _stack(wall, yard, 0.3)


def _grass(frame: _Frame, rng: np.random.Generator) -> Reals:
    """A meadow under the sky, trees at its end."""
    sky = _sky(frame, rng)
    bumps = _noise(rng, frame.width_px, 1, frame.height_px / 10)[0]
    trees = frame.height_px * rng.uniform(0.05, 0.1) * (1 + 0.25 * bumps)
    leaves = 0.12 * _noise(rng, frame.width_px, frame.foot_px, 8)
    _far_line(sky, trees, np.asarray((88, 100, 82), np.float32), leaves)
    meadow = _paint(
        _pick(_MEADOW, rng),
        0.18 * _covered(frame, _texture("grass.png"), 1.4, rng) + _patches(frame, 0.06, rng),
    )
    return np.concatenate([sky, meadow])


def _wood(frame: _Frame, rng: np.random.Generator) -> Reals:
    """A wall of boards over a tiled floor."""
    across, _, metres = frame.wall()
    grain = 0.12 * _clad(frame, _texture("coffee.png"), rng.uniform(0.8, 1.2), rng)
    board = rng.uniform(0.18, 0.3)
    gaps = _joints(across + np.float32(rng.uniform(0, board)), board, 0.012, metres)
    tones = rng.uniform(-0.08, 0.08, size=256)[np.floor(across / board).astype(np.int32) % 256]
    wall = _paint(_pick(((142, 108, 80), (128, 104, 84), (156, 128, 98)), rng), grain + tones - 0.4 * gaps)
    return _stack(wall, _slabs(frame, _pick(_STONE, rng), (1.0, 1.0), rng), 0.3)


def _rocket(frame: _Frame, rng: np.random.Generator) -> Reals:
    """A launch pad at dusk, a little out of focus and faded, behind slabs."""
    photograph = _photograph("rocket.jpg")
    size = frame.width_px, max(frame.foot_px, 1)
    scale = rng.uniform(0.6, 0.95) * min(photograph.width / size[0], photograph.height / size[1])
    window = scale * size[0], scale * size[1]
    left, top = rng.uniform(0, photograph.width - window[0]), rng.uniform(0, photograph.height - window[1])
    small = max(size[0] // 3, 1), max(size[1] // 3, 1)
    box = (left, top, left + window[0], top + window[1])
    crop = photograph.resize(small, Image.Resampling.BOX, box).resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(crop, dtype=np.float32)[: frame.foot_px]
    grey = pixels.mean(axis=2, keepdims=True)
    faded = 38 + 0.72 * (grey + 0.6 * (pixels - grey))
    return _stack(faded, _slabs(frame, _pick(_STONE, rng), (1.0, 1.0), rng), 0.3)


def _plaster(frame: _Frame, colour: Reals, rng: np.random.Generator) -> Reals:
    """A wall with stains and a darker base."""
    _, up, metres = frame.wall()
    stain = 0.03 * _noise(rng, frame.width_px, frame.foot_px, frame.height_px / 3, octaves=5)
    base = -0.22 * np.clip((rng.uniform(0.2, 0.5) - up) / metres, 0, 1)
    return _paint(colour, stain + base)


def _plaza(frame: _Frame, rng: np.random.Generator) -> Reals:
    """A paved square under the sky, roofs at its end."""
    sky = _sky(frame, rng)
    blocks = rng.uniform(0.02, 0.16, size=24)[np.arange(frame.width_px) * 24 // frame.width_px]
    grain = 0.04 * _noise(rng, frame.width_px, frame.foot_px, 12)
    _far_line(sky, (frame.height_px * blocks).astype(np.float32), _pick(((150, 152, 156),), rng), grain)
    return np.concatenate([sky, _slabs(frame, _pick(_STONE, rng), (0.8, 0.8), rng)])


def _street(frame: _Frame, rng: np.random.Generator) -> Reals:
    """A house with rows of windows, and the pavement before it."""
    colour = _pick(_PLASTER, rng)
    wall = _plaster(frame, colour, rng)
    across, up, metres = frame.wall()
    storey, bay = rng.uniform(2.9, 3.4), rng.uniform(1.9, 2.8)
    glass_m = rng.uniform(0.45, 0.6) * bay, rng.uniform(1.3, 1.6)
    beside = np.abs((across / bay + rng.uniform()) % 1 - 0.5) * bay
    above = np.abs(up % storey - (1.0 + glass_m[1] / 2))

    def within(grow_m: float) -> Reals:
        sides = np.clip((glass_m[0] / 2 + grow_m - beside) / metres + 0.5, 0, 1)
        inside: Reals = sides * np.clip((glass_m[1] / 2 + grow_m - above) / metres + 0.5, 0, 1)
        return inside[..., None]

    wall += within(0.09) * (colour * 1.12 - wall)
    sash = np.maximum(np.clip((0.04 - beside) / metres + 0.5, 0, 1), 0 * up)[..., None]
    glass = np.asarray((84, 94, 104), np.float32) * (
        1 + 0.12 * _noise(rng, frame.width_px, frame.foot_px, 60, 2)[..., None]
    )
    wall += within(0) * (glass + sash * (colour - glass) - wall)
    return _stack(wall, _slabs(frame, _pick(_STONE, rng), (0.5, 0.5), rng), 0.35)


def _room(frame: _Frame, rng: np.random.Generator) -> Reals:
    """A painted wall with a skirting board over a tiled floor."""
    colour = _pick(((196, 192, 182), (172, 182, 180), (188, 176, 166)), rng)
    _, up, metres = frame.wall()
    light = 0.06 * _noise(rng, frame.width_px, frame.foot_px, frame.height_px, octaves=1)
    board = np.clip((0.12 - up) / metres, 0, 1)
    wall = _paint(colour, light + 0.1 * board - 0.25 * _joints(up - 0.12, 1e4, 0.01, metres))
    return _stack(
        wall, _slabs(frame, _pick(((164, 156, 144), (140, 134, 128)), rng), (0.45, 0.45), rng), 0.25
    )


def _park(frame: _Frame, rng: np.random.Generator) -> Reals:
    """Bushes behind a lawn with a path of sand across."""
    rows = np.linspace(-0.1, 0.12, frame.foot_px, dtype=np.float32)[:, None]
    # Fine and flat: in larger lumps of dark and light the detector sees somebody.
    leaves = 0.08 * _noise(rng, frame.width_px, frame.foot_px, frame.height_px / 36) - rows
    bushes = _paint(_pick(((94, 108, 84), (104, 112, 82), (86, 104, 90)), rng), leaves)
    lawn = _earth(frame, _pick(_MEADOW, rng), 0.06, rng)
    across, away = frame.ground()
    # It runs across: one that runs away has the outline of legs, and the detector saw somebody, at 0.85.
    middle = rng.uniform(6.5, 7.5) + rng.uniform(-0.15, 0.15) * across
    edge = _noise(rng, frame.width_px, len(lawn), frame.height_px / 30)
    path = np.clip((rng.uniform(0.7, 1.3) - np.abs(away - middle)) * 12 + 0.4 * edge, 0, 1)[..., None]
    lawn += path * (_earth(frame, _pick(((168, 156, 136),), rng), 0.035, rng) - lawn)
    return _stack(bushes, lawn, 0.3)


def _clouds(frame: _Frame, rng: np.random.Generator) -> Reals:
    """A studio's mottled cloth, that runs over the floor without a seam."""
    colour = _pick(((142, 140, 144), (128, 138, 146), (150, 142, 130), (134, 142, 130)), rng)
    cell = frame.height_px / 4
    tint = np.stack([_noise(rng, frame.width_px, frame.height_px, cell) for _ in range(3)], axis=2)
    grey = tint.mean(axis=2, keepdims=True)
    lit = np.linspace(-0.06, 0.06, frame.height_px, dtype=np.float32)[:, None, None]
    cloth: Reals = colour * (1 + 0.06 * grey + 0.035 * (tint - grey) + lit)
    return cloth


def _concrete(frame: _Frame, rng: np.random.Generator) -> Reals:
    """Panels of concrete before asphalt."""
    across, up, metres = frame.wall()
    panel = rng.uniform(1.6, 2.6), rng.uniform(1.1, 1.5)
    shifted = across + np.float32(rng.uniform(0, panel[0]))
    joints = np.maximum(_joints(shifted, panel[0], 0.02, metres), _joints(up, panel[1], 0.02, metres))
    stain = 0.035 * _noise(rng, frame.width_px, frame.foot_px, frame.height_px / 5, octaves=6)
    wall = _paint(_pick(((158, 158, 156), (146, 144, 140)), rng), stain - 0.22 * joints)
    return _stack(wall, _earth(frame, _pick(((112, 112, 116), (126, 124, 122)), rng), 0.05, rng), 0.35)


# Each with whether its ground runs to the horizon; before a wall, the wall's foot is drawn.
_DRAWN: Mapping[str, tuple[Callable[[_Frame, np.random.Generator], Reals], bool]] = {
    "brick": (_brick, False),
    "gravel": (_gravel, False),
    "grass": (_grass, True),
    "wood": (_wood, False),
    "rocket": (_rocket, False),
    "plaza": (_plaza, True),
    "street": (_street, False),
    "room": (_room, False),
    "park": (_park, False),
    "clouds": (_clouds, False),
    "concrete": (_concrete, False),
}
BACKGROUNDS: Sequence[str] = tuple(_DRAWN)
"""Their names, as the truth table holds them."""
