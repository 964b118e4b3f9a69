"""The shadows of the sun: a map of what it sees, asked for points of surfaces and for the ground."""

from dataclasses import dataclass, replace

import numpy as np

from world.camera import Camera
from world.meshes import Floats, Mesh
from world.raster import rasterise

MAP_SIZE = 256
"""Texels along each side of the map."""


@dataclass(frozen=True, eq=False)
class ShadowMap:
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
        right, down = (texels - 1.5 - corner).astype(np.float32).T
        corner = np.clip(corner, 0, MAP_SIZE - 4)
        first = corner[:, 1] * MAP_SIZE + corner[:, 0]
        whole = np.float32(1)
        light = np.zeros(len(points), np.float32)
        reach = distance - np.float32(self.texel_m)
        for step, height in enumerate((1 - down, whole, whole, down)):
            widths = enumerate((1 - right, whole, whole, right))
            light += height * sum((near[first + step * MAP_SIZE + k] > reach) * width for k, width in widths)
        light /= 9
        return light

    def on_ground(self, camera: Camera) -> Floats:
        """How much [H, W] of the sunlight is kept from the ground at each pixel, 0 to 1."""
        shade = np.zeros((camera.height_px, camera.width_px), np.float32)
        rays = camera.rays()
        below = rays[:, :, 1].max(axis=1) < -1e-3
        rays = rays[below].reshape(-1, 3)
        eye = np.asarray(camera.position_m, np.float32)
        texels, _ = self.places(eye - rays * (eye[1] / rays[:, 1:2]))
        texels = np.clip(texels, 1, MAP_SIZE - 1) - np.float32(0.5)  # the map's rim is without shadow
        corner = texels.astype(np.int64)
        x, y = (texels - corner).astype(np.float32).T
        # Everything stands above the ground: whatever the map holds at a place lies between it and the sun.
        dark = _blurred(np.isfinite(self.distance).astype(np.float32)).ravel()
        first = corner[:, 1] * MAP_SIZE + corner[:, 0]
        upper = dark[first] * (1 - x) + dark[first + 1] * x
        lower = dark[first + MAP_SIZE] * (1 - x) + dark[first + MAP_SIZE + 1] * x
        shade[below] = (upper * (1 - y) + lower * y).reshape(-1, camera.width_px)
        return shade


def shadow_map(mesh: Mesh, direction: tuple[float, float, float]) -> ShadowMap:
    """The view of the whole mesh from a sun in `direction`, a unit vector upwards."""
    up = np.cross(direction, (1, 0, 0))
    up /= np.linalg.norm(up)
    axes = np.stack([np.cross(up, direction), up, direction]).astype(np.float32)
    there = mesh.points @ axes.T
    low, high = there.min(axis=0), there.max(axis=0)
    texel_m = float((high - low)[:2].max()) / (MAP_SIZE - 8)
    origin = np.array([*(low[:2] - 4 * texel_m), high[2] + 1], np.float32)
    blank = ShadowMap(axes, origin, texel_m, np.empty((0, 0), np.float32))
    # The map's rows run up, so the faces that look at the sun run clockwise in it.
    turned = np.ascontiguousarray(mesh.faces[:, ::-1])
    hits = rasterise(*blank.places(mesh.points), turned, MAP_SIZE, MAP_SIZE, parallel=True)
    return replace(blank, distance=hits.depth)


def _blurred(mask: Floats) -> Floats:
    """A mask [S, S] that fades over four texels or so."""
    for _ in range(2):
        for axis in (0, 1):
            mask = (np.roll(mask, 1, axis) + mask + np.roll(mask, -1, axis)) / np.float32(3)  # its rim is 0
    return mask
