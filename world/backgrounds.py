"""What stands behind the people of the made world: walls, skies and parks over a ground that takes a shadow.

Some are built round photographs that the scikit-image wheel carries (world/SOURCES.md names their terms),
the rest is drawn from noise and lines. Nobody is in them; the wheel's cat and cup are left out, because
yolo11n-pose sees a person in parts of them (up to 0.86 and 0.91). Colours are muted, so that clothes stay
legible.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from world.meshes import Pixels, Reals
from world.surfaces import (
    Colour,
    Frame,
    draw_frame,
    earth,
    grid,
    joints,
    noise,
    paint,
    patches,
    photograph,
    pick,
    slabs,
    stains,
    texture,
    textured,
)

PLASTER: Sequence[Colour] = (
    (186, 178, 162),
    (164, 164, 160),
    (172, 150, 130),
    (150, 158, 164),
    (190, 182, 172),
)
MEADOW: Sequence[Colour] = ((112, 122, 82), (98, 116, 78), (126, 124, 88))
SKY: Sequence[tuple[Colour, Colour]] = (
    ((142, 164, 190), (206, 212, 214)),
    ((168, 174, 182), (204, 206, 206)),
    ((160, 164, 184), (218, 206, 194)),
)
"""Above, and near the horizon."""


def backdrop(name: str, width_px: int, height_px: int, horizon_px: float, rng: np.random.Generator) -> Pixels:
    """RGB [height, width, 3] of one of BACKGROUNDS; the same state of `rng` gives the same pixels.

    `horizon_px` is the row of the ground's horizon and may lie outside the picture: a camera that looks down
    sees ground only, and then a wall stands on it. Raises PhotographMissingError where a photograph is needed
    and scikit-image is not installed.
    """
    draw, open_air = _DRAWN[name]
    picture = draw(draw_frame(width_px, height_px, horizon_px, open_air, rng), rng)
    gain = rng.uniform(0.86, 1.08) * rng.uniform(0.97, 1.03, size=3)
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    return np.clip(picture * gain.astype(np.float32) + 0.5, 0, 255).astype(np.uint8)


def _brick(frame: Frame, rng: np.random.Generator) -> Reals:
    """A brick wall behind a pavement of slabs."""
    courses = 0.13 * textured(frame.wall(), texture("brick.png"), rng.uniform(1.0, 1.4), rng)
    stain = 0.05 * stains(frame, frame.height_px / 4, rng)
    wall = paint(pick(((146, 104, 88), (150, 132, 116), (128, 112, 106)), rng), courses + stain)
    return _stack(wall, slabs(frame, (0.6, 0.9), rng), 0.35)


def _gravel(frame: Frame, rng: np.random.Generator) -> Reals:
    """A gravel yard before a plastered wall."""
    wall = _plaster(frame, pick(PLASTER, rng), rng)
    colour = pick(((150, 142, 130), (136, 134, 132)), rng)
    yard = paint(colour, 0.2 * textured(frame.ground(), texture("gravel.png"), 1.2, rng))
    return _stack(wall, yard, 0.3)


def _grass(frame: Frame, rng: np.random.Generator) -> Reals:
    """A meadow under the sky, trees at its end."""
    sky = _sky(frame, rng)
    bumps = noise(frame.width_px, 1, frame.height_px / 10, rng)[0]
    trees = frame.height_px * rng.uniform(0.05, 0.1) * (1 + 0.25 * bumps)
    _far_line(sky, trees, np.asarray((88, 100, 82), np.float32), 0.12 * stains(frame, 8, rng))
    colour = pick(MEADOW, rng)
    blades = 0.18 * textured(frame.ground(), texture("grass.png"), 1.4, rng)
    return np.concatenate([sky, paint(colour, blades + patches(frame, 0.06, rng))])


def _wood(frame: Frame, rng: np.random.Generator) -> Reals:
    """A wall of boards over a tiled floor."""
    plane = frame.wall()
    grain = 0.12 * textured(plane, texture("coffee.png"), rng.uniform(0.8, 1.2), rng)
    board = rng.uniform(0.18, 0.3)
    gaps = joints(plane.across + np.float32(rng.uniform(0, board)), board, 0.012, plane.pixel_m)
    tones = rng.uniform(-0.08, 0.08, size=256)[np.floor(plane.across / board).astype(np.int32) % 256]
    colour = pick(((142, 108, 80), (128, 104, 84), (156, 128, 98)), rng)
    return _stack(paint(colour, grain + tones - 0.4 * gaps), slabs(frame, (1.0, 1.0), rng), 0.3)


def _rocket(frame: Frame, rng: np.random.Generator) -> Reals:
    """A launch pad at dusk, a little out of focus and faded, behind slabs."""
    pad = photograph("rocket.jpg")
    width, height = frame.width_px, max(frame.foot_px, 1)
    scale = rng.uniform(0.6, 0.95) * min(pad.width / width, pad.height / height)
    left, top = rng.uniform(0, pad.width - scale * width), rng.uniform(0, pad.height - scale * height)
    box = (left, top, left + scale * width, top + scale * height)
    small = pad.resize((max(width // 3, 1), max(height // 3, 1)), Image.Resampling.BOX, box)
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    faded = 38 + 0.72 * (grey + 0.6 * (pixels - grey))
    return _stack(faded[: frame.foot_px], slabs(frame, (1.0, 1.0), rng), 0.3)


def _plaza(frame: Frame, rng: np.random.Generator) -> Reals:
    """A paved square under the sky, roofs at its end."""
    sky = _sky(frame, rng)
    blocks = rng.uniform(0.02, 0.16, size=24)[np.arange(frame.width_px) * 24 // frame.width_px]
    grain = 0.04 * stains(frame, 12, rng)
    _far_line(sky, (frame.height_px * blocks).astype(np.float32), pick(((150, 152, 156),), rng), grain)
    return np.concatenate([sky, slabs(frame, (0.8, 0.8), rng)])


def _street(frame: Frame, rng: np.random.Generator) -> Reals:
    """A house with rows of windows, and the pavement before it."""
    colour, plane = pick(PLASTER, rng), frame.wall()
    wall = _plaster(frame, colour, rng)
    storey, bay = rng.uniform(2.9, 3.4), rng.uniform(1.9, 2.8)
    width, height = rng.uniform(0.45, 0.6) * bay, rng.uniform(1.3, 1.6)
    beside = np.abs((plane.across / bay + rng.uniform()) % 1 - 0.5) * bay
    above = np.abs(plane.along % storey - (1.0 + height / 2))

    def within(from_middle_m: Reals, half_m: float) -> Reals:
        inside: Reals = np.clip((half_m - from_middle_m) / plane.pixel_m + 0.5, 0, 1)[..., None]
        return inside

    frames = within(beside, width / 2 + 0.09) * within(above, height / 2 + 0.09)
    wall += frames * (colour * 1.12 - wall)
    glass = paint(np.asarray((84, 94, 104), np.float32), 0.12 * stains(frame, 60, rng, octaves=2))
    glass += within(beside, 0.04) * (colour - glass)  # the sash
    wall += within(beside, width / 2) * within(above, height / 2) * (glass - wall)
    return _stack(wall, slabs(frame, (0.5, 0.5), rng), 0.35)


def _room(frame: Frame, rng: np.random.Generator) -> Reals:
    """A painted wall with a skirting board over a tiled floor."""
    colour, plane = pick(((196, 192, 182), (172, 182, 180), (188, 176, 166)), rng), frame.wall()
    light = 0.06 * stains(frame, frame.height_px, rng, octaves=1)
    light += 0.1 * np.clip((0.12 - plane.along) / plane.pixel_m, 0, 1)
    light -= 0.25 * joints(plane.along - 0.12, 1e4, 0.01, plane.pixel_m)
    floor = slabs(frame, (0.45, 0.45), rng, ((164, 156, 144), (140, 134, 128)))
    return _stack(paint(colour, light), floor, 0.25)


def _park(frame: Frame, rng: np.random.Generator) -> Reals:
    """Bushes behind a lawn with a path of sand across."""
    rows = np.linspace(-0.1, 0.12, frame.foot_px, dtype=np.float32)[:, None]
    # Fine and flat: in larger lumps of dark and light the detector sees somebody.
    leaves = 0.08 * stains(frame, frame.height_px / 36, rng) - rows
    bushes = paint(pick(((94, 108, 84), (104, 112, 82), (86, 104, 90)), rng), leaves)
    lawn, plane = earth(frame, pick(MEADOW, rng), 0.06, rng), frame.ground()
    # It runs across: one that runs away has the outline of legs, and the detector saw somebody, at 0.85.
    middle = rng.uniform(6.5, 7.5) + rng.uniform(-0.15, 0.15) * plane.across
    edge = noise(frame.width_px, len(lawn), frame.height_px / 30, rng)
    path = np.clip((rng.uniform(0.7, 1.3) - np.abs(plane.along - middle)) * 12 + 0.4 * edge, 0, 1)
    lawn += path[..., None] * (earth(frame, pick(((168, 156, 136),), rng), 0.035, rng) - lawn)
    return _stack(bushes, lawn, 0.3)


def _clouds(frame: Frame, rng: np.random.Generator) -> Reals:
    """A studio's mottled cloth, that runs over the floor without a seam."""
    colour = pick(((142, 140, 144), (128, 138, 146), (150, 142, 130), (134, 142, 130)), rng)
    size = frame.width_px, frame.height_px, frame.height_px / 4
    tint = np.stack([noise(*size, rng) for _ in range(3)], axis=2)
    grey = tint.mean(axis=2, keepdims=True)
    lit = np.linspace(-0.06, 0.06, frame.height_px, dtype=np.float32)[:, None, None]
    cloth: Reals = colour * (1 + 0.06 * grey + 0.035 * (tint - grey) + lit)
    return cloth


def _concrete(frame: Frame, rng: np.random.Generator) -> Reals:
    """Panels of concrete before asphalt."""
    panel = rng.uniform(1.6, 2.6), rng.uniform(1.1, 1.5)
    between = grid(frame.wall(), rng.uniform(0, panel[0]), panel, 0.02)
    stain = 0.035 * stains(frame, frame.height_px / 5, rng, octaves=6)
    wall = paint(pick(((158, 158, 156), (146, 144, 140)), rng), stain - 0.22 * between)
    return _stack(wall, earth(frame, pick(((112, 112, 116), (126, 124, 122)), rng), 0.05, rng), 0.35)


def _plaster(frame: Frame, colour: Reals, rng: np.random.Generator) -> Reals:
    """A wall with stains and a darker base."""
    plane = frame.wall()
    stain = 0.03 * stains(frame, frame.height_px / 3, rng, octaves=5)
    base = -0.22 * np.clip((rng.uniform(0.2, 0.5) - plane.along) / plane.pixel_m, 0, 1)
    return paint(colour, stain + base)


def _sky(frame: Frame, rng: np.random.Generator) -> Reals:
    """From the picture's top to the foot: a gradient with clouds."""
    top, low = (np.asarray(colour, dtype=np.float32) for colour in SKY[int(rng.integers(len(SKY)))])
    rows = np.linspace(0, 1, frame.foot_px, dtype=np.float32)[:, None, None]
    cloud = np.clip(stains(frame, frame.height_px / 5, rng), 0, 2)[..., None]
    return top + (low - top) * rows + cloud * (0.05 * (250 - top))


def _far_line(sky: Reals, heights: Reals, colour: Reals, grain: Reals) -> None:
    """Roofs or trees: fills the columns of `sky` up to `heights` [width] px above its last row, in place."""
    up = (len(sky) - np.arange(len(sky), dtype=np.float32))[:, None]
    cover = np.clip(heights - up, 0, 1)[..., None]
    sky += cover * (paint(colour, grain) - sky)


def _stack(above: Reals, ground: Reals, contact: float) -> Reals:
    """Wall over ground, with the shade of `contact` that gathers along the foot of a wall."""
    shade = 1 - contact * np.exp(-np.arange(len(ground), dtype=np.float32) / max(0.03 * len(above), 1))
    return np.concatenate([above, ground * shade[:, None, None]])


# Each with whether its ground runs to the horizon; before a wall, the wall's foot is drawn.
_DRAWN: Mapping[str, tuple[Callable[[Frame, np.random.Generator], Reals], bool]] = {
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
