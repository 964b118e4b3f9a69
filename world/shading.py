"""From meshes to a picture: cloth and its patterns, sun and sky, and what a lens and a sensor add.

All light is added up linearly; colours come in and leave as sRGB levels, 0 to 255.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from world.camera import Camera
from world.meshes import Floats, Ints, Material, Mesh, Pixels
from world.raster import rasterise
from world.shadows import ShadowMap, shadow_map

BAND_M = 0.045
"""Height of a stripe, width of a check."""
BOUNCE = 0.5
"""Light from below, as a share of the sky's from above."""
EDGE_M = 0.05
"""A jump in depth that makes an outline."""


@dataclass(frozen=True)
class Light:
    """Sun and sky; a white surface that faces the sun shows `sun` + `sky` of what a picture can hold."""

    direction: tuple[float, float, float]
    """Unit vector towards the sun, which stands above the horizon."""
    sun: float
    sky: float
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Colour of the sun's light, linear."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture and what each of its pixels shows."""

    pixels: Floats
    """[H, W, 3]: sRGB, 0 to 255, neither rounded nor noisy."""
    owner: Ints
    """[H, W]: the owner of the mesh's face that is seen, −1 where the backdrop is."""
    depth: Floats
    """[H, W]: metres along the view axis, infinite where the backdrop is."""


@dataclass(frozen=True, eq=False)
class _Spots:
    """What is seen of a mesh at n places."""

    points: Floats
    """[n, 3], as `normals` (not yet of unit length) and `rest`."""
    normals: Floats
    rest: Floats
    material: Ints
    pixel_m: Floats
    """[n]: a pixel's size there."""


def draw(
    mesh: Mesh,
    materials: Sequence[Material],
    camera: Camera,
    light: Light,
    backdrop: Pixels,
    seed: int,
    supersample: int = 1,
) -> Drawing:
    """Draw a mesh over a backdrop of the camera's size, whose ground at y = 0 takes the mesh's shadow.

    `seed` moves the wrinkles of cloth. `supersample` looks at so many points a pixel in x and in y, and takes
    the mean of their colours.
    """
    large = camera.scaled(supersample)
    hits = rasterise(*large.project(mesh.points), mesh.faces, large.width_px, large.height_px)
    shadow = shadow_map(mesh, light.direction)
    seen = np.flatnonzero(hits.face >= 0)
    face, depth = hits.face.ravel()[seen], hits.depth.ravel()[seen]
    spots = _spots(mesh, face, hits.weights.reshape(-1, 3)[seen], depth / large.focal_px)
    colours = _lit(spots, materials, light, shadow, seed)

    row, column = np.divmod(seen, large.width_px)
    home = row // supersample * camera.width_px + column // supersample
    count = camera.height_px * camera.width_px
    drawn = np.stack([np.bincount(home, colours[:, k], count) for k in range(3)], axis=1)
    covered = np.bincount(home, minlength=count) / supersample**2
    shade = shadow.on_ground(camera).ravel()
    touched = np.flatnonzero((covered > 0) | (shade > 0))
    ground = decode(np.arange(256))[backdrop.reshape(-1, 3)[touched]]
    ground *= 1 - shade[touched, None] * _sun_share(light)
    over = drawn[touched] / supersample**2 + (1 - covered[touched, None]) * ground
    pixels = backdrop.astype(np.float32)
    pixels.reshape(-1, 3)[touched] = encode(over.astype(np.float32))

    middle = slice(supersample // 2, None, supersample)
    face, depth = hits.face[middle, middle], hits.depth[middle, middle]
    if supersample == 1:
        _soften_outlines(pixels, depth)
    return Drawing(pixels, np.where(face < 0, np.int32(-1), mesh.owner[face]), depth)


def finish(
    pixels: Floats, noise: float, blur_px: float, brightness: float, rng: np.random.Generator
) -> Pixels:
    """Pixels [H, W, 3] as a camera gives them: blurred (Gaussian), lit by a factor, noisy, rounded.

    `noise` is a standard deviation in levels, `brightness` a factor on the linear light.
    """
    if blur_px > 0:
        image = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
        pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(blur_px)), dtype=np.float32)
    if brightness != 1:
        pixels = encode(decode(pixels) * np.float32(brightness))
    grain = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(noise)
    return np.clip(np.rint(pixels + grain), 0, 255).astype(np.uint8)


def decode(levels: npt.ArrayLike) -> Floats:
    """Linear light, 0 to 1, of sRGB levels 0 to 255."""
    value = np.asarray(levels, dtype=np.float32) / 255
    linear: Floats = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** np.float32(2.4))
    return linear


def encode(linear: Floats) -> Floats:
    """SRGB levels, 0 to 255, of linear light; what is brighter than 1 becomes 255."""
    value = np.clip(linear, 0, 1)
    low = value <= 0.0031308
    levels: Floats = 255 * np.where(low, 12.92 * value, 1.055 * value ** np.float32(1 / 2.4) - 0.055)
    return levels


def _spots(mesh: Mesh, face: Ints, weights: Floats, pixel_m: Floats) -> _Spots:
    values = np.concatenate([mesh.points, mesh.normals, mesh.rest], axis=1).astype(np.float32)
    corners = mesh.faces[face]
    first, second, third = (values[corners[:, k]] * weights[:, k, None] for k in range(3))
    mixed = first + second + third
    return _Spots(mixed[:, :3], mixed[:, 3:6], mixed[:, 6:], mesh.material[face], pixel_m)


def _lit(spots: _Spots, materials: Sequence[Material], light: Light, shadow: ShadowMap, seed: int) -> Floats:
    """Linear colours [n, 3] of the spots."""
    relief = np.array([material.relief for material in materials], np.float32)[spots.material]
    wavy = np.flatnonzero(relief)
    normals = spots.normals.copy()
    normals[wavy] -= _wrinkles(spots.rest[wavy], seed) * relief[wavy, None]
    normals /= np.maximum(np.sqrt(np.einsum("nk,nk->n", normals, normals)), 1e-6)[:, None]

    sunlit = np.maximum(normals @ np.asarray(light.direction, np.float32), 0)
    facing = np.flatnonzero(sunlit)
    off = normals[facing] * np.float32(1.5 * shadow.texel_m)
    sunlit[facing] *= shadow.sunlight(spots.points[facing] + off)
    sky = light.sky * (BOUNCE + (1 - BOUNCE) * (normals[:, 1:2] + 1) / 2)
    colours = _albedo(spots, materials)
    colours *= sky + sunlit[:, None] * np.asarray(light.tint, np.float32) * np.float32(light.sun)
    return colours


def _albedo(spots: _Spots, materials: Sequence[Material]) -> Floats:
    """Linear colours [n, 3] of the cloth; a pattern's edges fade over a pixel."""
    base = decode([material.colour for material in materials])
    other = decode([material.pattern_colour or material.colour for material in materials])
    share = np.zeros(len(spots.material), np.float32)
    for number, each in enumerate(materials):
        if each.pattern != "plain":
            at = np.flatnonzero(spots.material == number)
            x, y, z = spots.rest[at].T
            share[at] = _bands(y, spots.pixel_m[at])
            if each.pattern == "checked":  # |x| − |z| runs around the body, and along arms held out
                share[at] = (share[at] + _bands(abs(x) - abs(z), spots.pixel_m[at])) / 2
    colours: Floats = base[spots.material] + share[:, None] * (other - base)[spots.material]
    return colours


def _bands(along_m: Floats, pixel_m: Floats) -> Floats:
    """0 and 1 in turn, each BAND_M long, from 0 upwards, with edges as soft as a pixel."""
    inside = 0.5 - abs((along_m / BAND_M - 0.5) % 2 - 1)  # of a band of ones; its edge is at 0
    share: Floats = np.clip(0.5 + inside * BAND_M / pixel_m, 0, 1)
    return share


def _wrinkles(rest: Floats, seed: int) -> Floats:
    """Slopes [n, 3] of a waving cloth at rest points [n, 3]: waves, each bent by another one."""
    rng = np.random.default_rng([seed, 0xC1])
    slope = np.zeros_like(rest)
    for length_m in (0.21, 0.13, 0.08, 0.05):
        wave, bend = rng.normal(size=(2, 3)).astype(np.float32)
        wave *= np.float32(2 * np.pi / length_m) / np.linalg.norm(wave)
        bend *= np.float32(np.pi / length_m) / np.linalg.norm(bend)
        start = rng.uniform(0, 2 * np.pi, 2).astype(np.float32)
        warp = rest @ bend + start[1]
        rise = np.cos(rest @ wave + start[0] + np.sin(warp)) * np.float32(0.2 * length_m / (2 * np.pi))
        slope += np.outer(rise, wave) + np.outer(rise * np.cos(warp), bend)  # each up to 0.2 and 0.1
    return slope


def _sun_share(light: Light) -> Floats:
    """The sun's share [3] of the light on level ground."""
    sun = np.asarray(light.tint, np.float32) * np.float32(light.sun * light.direction[1])
    return sun / (sun + np.float32(light.sky))


def _soften_outlines(pixels: Floats, depth: Floats) -> None:
    """Mix, in place, pixels where the depth jumps with their four neighbours."""
    flat = np.minimum(depth, 1e6)
    down = np.pad(abs(np.diff(flat, axis=0)) > EDGE_M, ((1, 1), (0, 0)))
    across = np.pad(abs(np.diff(flat, axis=1)) > EDGE_M, ((0, 0), (1, 1)))
    row, column = np.nonzero(down[1:] | down[:-1] | across[:, 1:] | across[:, :-1])
    bottom, right = depth.shape[0] - 1, depth.shape[1] - 1
    near = [pixels[np.clip(row + dy, 0, bottom), column] for dy in (-1, 1)]
    near += [pixels[row, np.clip(column + dx, 0, right)] for dx in (-1, 1)]
    pixels[row, column] = encode((decode(pixels[row, column]) + decode(near).mean(axis=0)) / 2)
