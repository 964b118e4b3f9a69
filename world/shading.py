"""From meshes to a picture: cloth and its patterns, sun and sky, shadows, and what a lens and a sensor add.

All light is added up linearly; colours come in and leave as sRGB levels, 0 to 255.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from world.camera import Camera
from world.meshes import Floats, Ints, Material, Mesh
from world.raster import Hits, Indices, rasterise

BAND_M = 0.045
"""Height of a stripe, width of a check."""
MAP_SIZE = 256
"""Texels along each side of the shadow map."""
BOUNCE = 0.5
"""Light from below, as a share of the sky's from above."""
EDGE_M = 0.05
"""A jump in depth that makes an outline."""


@dataclass(frozen=True)
class Light:
    """Sun and sky; a white surface that faces the sun shows `sun` + `sky` of what a picture can hold."""

    direction: tuple[float, float, float]
    """Unit vector towards the sun, its height (y) above 0.3."""
    sun: float
    sky: float
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Colour of the sun's light, linear."""

    def __post_init__(self) -> None:
        if abs(np.linalg.norm(self.direction) - 1) > 1e-3 or self.direction[1] <= 0.3:
            raise ValueError(f"direction: {self.direction} is no unit vector with y above 0.3")


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture and what each of its pixels shows."""

    pixels: Floats
    """[H, W, 3]: sRGB, 0 to 255, neither rounded nor noisy."""
    face: Ints
    """[H, W]: index of the mesh's face, −1 where the backdrop is."""
    owner: Ints
    """[H, W]: the owner of that face, −1 where the backdrop is."""
    depth: Floats
    """[H, W]: metres along the view axis, infinite where the backdrop is."""


def draw(
    mesh: Mesh,
    materials: Sequence[Material],
    camera: Camera,
    light: Light,
    backdrop: npt.NDArray[np.uint8],
    seed: int,
    supersample: int = 1,
) -> Drawing:
    """Draw a mesh over a backdrop [H, W, 3], whose ground at y = 0 takes the mesh's shadow.

    `seed` moves the wrinkles of cloth. `supersample` looks at so many points a pixel in x and in y, and takes
    the mean of their colours. Raises ValueError naming what does not fit together.
    """
    _check(mesh, materials, camera, backdrop, supersample)
    large = camera.scaled(supersample)
    hits = rasterise(*large.project(mesh.points), mesh.faces, large.width_px, large.height_px)
    shadow = _shadow_map(mesh, light)
    seen = np.flatnonzero(hits.face >= 0)
    row, column = np.divmod(seen, large.width_px)
    home = row // supersample * camera.width_px + column // supersample
    colours = _lit(mesh, materials, hits, seen, light, shadow, large.focal_px, seed)

    count = camera.height_px * camera.width_px
    drawn = np.stack([np.bincount(home, colours[:, k], count) for k in range(3)], axis=1)
    covered = np.bincount(home, minlength=count) / supersample**2
    shade = _ground_shadow(shadow, camera).ravel()
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
    return Drawing(pixels, face, np.where(face < 0, np.int32(-1), mesh.owner[face]), depth)


def finish(
    pixels: Floats, noise: float, blur_px: float, brightness: float, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
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


def _check(
    mesh: Mesh,
    materials: Sequence[Material],
    camera: Camera,
    backdrop: npt.NDArray[np.uint8],
    supersample: int,
) -> None:
    if supersample < 1:
        raise ValueError(f"supersample: {supersample} is below 1")
    if backdrop.shape != (camera.height_px, camera.width_px, 3):
        raise ValueError(f"backdrop: {backdrop.shape} is not {(camera.height_px, camera.width_px, 3)}")
    if not len(mesh.faces):
        raise ValueError("mesh: it has no faces")
    if mesh.material.max() >= len(materials):
        raise ValueError(f"materials: there is no number {mesh.material.max()}, only {len(materials)}")
    for at, material in enumerate(materials):
        if material.pattern not in ("plain", "striped", "checked"):
            raise ValueError(f"materials: pattern {material.pattern!r} of number {at} is unknown")
        if material.pattern != "plain" and material.pattern_colour is None:
            raise ValueError(f"materials: number {at} is {material.pattern}, but has no pattern_colour")


def _lit(
    mesh: Mesh,
    materials: Sequence[Material],
    hits: Hits,
    seen: Indices,
    light: Light,
    shadow: "_ShadowMap",
    focal_px: float,
    seed: int,
) -> Floats:
    """Linear colours [n, 3] of the pixels `seen`."""
    face = hits.face.ravel()[seen]
    points, normals, rest = _interpolated(mesh, face, hits.weights.reshape(-1, 3)[seen])
    material = mesh.material[face]
    relief = np.array([material.relief for material in materials], np.float32)[material]
    wavy = np.flatnonzero(relief)
    normals[wavy] -= _wrinkles(rest[wavy], seed) * relief[wavy, None]
    normals /= np.maximum(np.sqrt(np.einsum("nk,nk->n", normals, normals)), 1e-6)[:, None]

    sunlit = np.maximum(normals @ np.asarray(light.direction, np.float32), 0)
    facing = np.flatnonzero(sunlit)
    sunlit[facing] *= shadow.sunlight(points[facing] + normals[facing] * np.float32(1.5 * shadow.texel_m))
    sky = light.sky * (BOUNCE + (1 - BOUNCE) * (normals[:, 1:2] + 1) / 2)
    colours = _albedo(materials, material, rest, hits.depth.ravel()[seen] / focal_px)
    colours *= sky + sunlit[:, None] * np.asarray(light.tint, np.float32) * np.float32(light.sun)
    return colours


def _interpolated(mesh: Mesh, face: Ints, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Points, normals (not yet of unit length) and rest points, [n, 3] each."""
    values = np.concatenate([mesh.points, mesh.normals, mesh.rest], axis=1).astype(np.float32)
    corners = mesh.faces[face]
    first, second, third = (values[corners[:, k]] * weights[:, k, None] for k in range(3))
    mixed = first + second + third
    return mixed[:, :3], mixed[:, 3:6], mixed[:, 6:]


def _albedo(materials: Sequence[Material], material: Ints, rest: Floats, pixel_m: Floats) -> Floats:
    """Linear colours [n, 3] of the cloth; a pattern's edges fade over `pixel_m` [n], a pixel's size there."""
    base = decode([material.colour for material in materials])
    other = decode([material.pattern_colour or material.colour for material in materials])
    share = np.zeros(len(material), np.float32)
    for number, each in enumerate(materials):
        if each.pattern != "plain":
            at = np.flatnonzero(material == number)
            x, y, z = rest[at].T
            share[at] = _bands(y, pixel_m[at])
            if each.pattern == "checked":  # |x| − |z| runs around the body, and along arms held out
                share[at] = (share[at] + _bands(abs(x) - abs(z), pixel_m[at])) / 2
    colours: Floats = base[material] + share[:, None] * (other - base)[material]
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


@dataclass(frozen=True, eq=False)
class _ShadowMap:
    """What the sun sees, without perspective."""

    axes: Floats
    """[3, 3]: right, up, and towards the sun, as rows."""
    origin: Floats
    """[3]: along these axes, the map's corner and a height above everything."""
    texel_m: float
    distance: Floats
    """[MAP_SIZE, MAP_SIZE]: metres from that height down to the first surface, infinite without one."""

    def places(self, points: Floats) -> tuple[Floats, Floats]:
        """Where points [n, 3] are: texels [n, 2] (column, row; centres at +0.5) and distances [n]."""
        there = points @ self.axes.T - self.origin
        return there[:, :2] / np.float32(self.texel_m), -there[:, 2]

    def sunlight(self, points: Floats) -> Floats:
        """Shares [n] of sunlight: the mean over a square of three texels around each point."""
        texels, distance = self.places(points)
        near = self.distance.ravel()
        corner = np.floor(texels - 1.5).astype(np.int64)
        part = (texels - 1.5 - corner).astype(np.float32)
        corner = np.clip(corner, 0, MAP_SIZE - 4)
        first = corner[:, 1] * MAP_SIZE + corner[:, 0]
        whole = np.float32(1)
        across = (1 - part[:, 0], whole, whole, part[:, 0])
        light = np.zeros(len(points), np.float32)
        reach = distance - np.float32(self.texel_m)
        for step, down in enumerate((1 - part[:, 1], whole, whole, part[:, 1])):
            line = sum((near[first + step * MAP_SIZE + k] > reach) * across[k] for k in range(4))
            light += line * down
        light /= 9
        return light


def _shadow_map(mesh: Mesh, light: Light) -> _ShadowMap:
    """The sun's view of the whole mesh."""
    sun = np.asarray(light.direction, np.float64)
    up = np.cross(sun, (1, 0, 0))  # never parallel: the sun stands above the horizon
    up /= np.linalg.norm(up)
    axes = np.stack([np.cross(up, sun), up, sun]).astype(np.float32)
    there = mesh.points @ axes.T
    low, high = there.min(axis=0), there.max(axis=0)
    texel_m = float((high - low)[:2].max()) / (MAP_SIZE - 8)
    origin = np.array([*(low[:2] - 4 * texel_m), high[2] + 1], np.float32)
    blank = _ShadowMap(axes, origin, texel_m, np.empty((0, 0), np.float32))
    texels, distance = blank.places(mesh.points)
    # The map's rows run up, so the faces that look at the sun run clockwise in it.
    turned = np.ascontiguousarray(mesh.faces[:, ::-1])
    hits = rasterise(texels, distance, turned, MAP_SIZE, MAP_SIZE, parallel=True)
    return _ShadowMap(axes, origin, texel_m, hits.depth)


def _ground_shadow(shadow: _ShadowMap, camera: Camera) -> Floats:
    """How much [H, W] of the sunlight is kept from the ground at each pixel, 0 to 1."""
    shade = np.zeros((camera.height_px, camera.width_px), np.float32)
    rays = camera.rays()
    eye = np.asarray(camera.position_m, np.float32)
    below = rays[:, :, 1].max(axis=1) < -1e-3
    if eye[1] <= 0 or not below.any():
        return shade
    rays = rays[below].reshape(-1, 3)
    texels, _ = shadow.places(eye - rays * (eye[1] / rays[:, 1:2]))
    inside = np.flatnonzero(((texels > 1) & (texels < MAP_SIZE - 1)).all(axis=1))
    # Everything stands above the ground, so whatever the map holds at a place lies between ground and sun.
    dark = _blurred(np.isfinite(shadow.distance).astype(np.float32)).ravel()
    corner = np.floor(texels[inside] - 0.5).astype(np.int64)
    x, y = (texels[inside] - 0.5 - corner).astype(np.float32).T
    first = corner[:, 1] * MAP_SIZE + corner[:, 0]
    upper = dark[first] * (1 - x) + dark[first + 1] * x
    lower = dark[first + MAP_SIZE] * (1 - x) + dark[first + MAP_SIZE + 1] * x
    part = np.zeros(len(rays), np.float32)
    part[inside] = upper * (1 - y) + lower * y
    shade[below] = part.reshape(-1, camera.width_px)
    return shade


def _blurred(mask: Floats) -> Floats:
    """A mask [S, S] that fades over four texels or so."""
    for _ in range(2):
        for axis in (0, 1):
            mask = (np.roll(mask, 1, axis) + mask + np.roll(mask, -1, axis)) / np.float32(3)  # its rim is 0
    return mask


def _sun_share(light: Light) -> Floats:
    """The sun's share [3] of the light on level ground."""
    sun = np.asarray(light.tint, np.float32) * np.float32(light.sun * light.direction[1])
    return sun / (sun + np.float32(light.sky))


def _soften_outlines(pixels: Floats, depth: Floats) -> None:
    """Mix, in place, pixels where the depth jumps with their four neighbours."""
    flat = np.minimum(depth, 1e6)
    down, across = (abs(np.diff(flat, axis=axis)) > EDGE_M for axis in (0, 1))
    edge = np.zeros(depth.shape, bool)
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    row, column = np.nonzero(edge)
    height, width = depth.shape
    near = [(np.clip(row + dy, 0, height - 1), column) for dy in (-1, 1)]
    near += [(row, np.clip(column + dx, 0, width - 1)) for dx in (-1, 1)]
    around = np.mean([decode(pixels[at]) for at in near], axis=0)
    pixels[row, column] = encode((decode(pixels[row, column]) + around) / 2)
