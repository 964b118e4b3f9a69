"""Simple scenes for the tests of drawing: a camera, walls and spheres in one light."""

import numpy as np
import numpy.typing as npt

from world.camera import Camera
from world.meshes import Floats, Material, Mesh
from world.shading import Drawing, Light, draw

WIDTH, HEIGHT = 96, 80
CAMERA = Camera((0.0, 1.0, 5.0), 0.0, WIDTH, HEIGHT, 150.0, (48.0, 40.0))
GREY = Material((128, 128, 128))
CLOSE = CAMERA.scaled(4)
BACKDROP = np.full((HEIGHT, WIDTH, 3), 150, np.uint8)


def light(x: float = 0.0, y: float = 1.0, z: float = 0.0, sun: float = 0.7, sky: float = 0.3) -> Light:
    length = float(np.sqrt(x * x + y * y + z * z))
    return Light((x / length, y / length, z / length), sun, sky)


FRONT = light(0, 0.5, 1)


def sphere(centre: tuple[float, float, float], radius: float, material: int = 0, owner: int = 0) -> Mesh:
    rows, columns = 24, 36
    down, around = np.mgrid[: rows + 1, :columns]
    polar, turn = down * np.pi / rows, around * 2 * np.pi / columns
    unit = np.stack([np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)], 2)
    a = (np.arange(rows)[:, None] * columns + np.arange(columns)).ravel()
    b = (np.arange(rows)[:, None] * columns + (np.arange(columns) + 1) % columns).ravel()
    faces = np.concatenate([np.stack([a, a + columns, b], 1), np.stack([b, a + columns, b + columns], 1)])
    return mesh(unit.reshape(-1, 3) * radius + centre, unit.reshape(-1, 3), faces, material, owner)


def wall(
    left: float, bottom: float, right: float, top: float, z: float = 0.0, material: int = 0, owner: int = 0
) -> Mesh:
    """A rectangle that faces the camera."""
    points = np.array([(left, bottom, z), (right, bottom, z), (right, top, z), (left, top, z)])
    return mesh(points, np.tile([0.0, 0.0, 1.0], (4, 1)), np.array([(0, 1, 2), (0, 2, 3)]), material, owner)


def mesh(
    points: npt.NDArray[np.float64],
    normals: npt.NDArray[np.float64],
    faces: npt.NDArray[np.int64],
    material: int,
    owner: int,
) -> Mesh:
    number = np.full(len(faces), material, np.int32)
    at = points.astype(np.float32)
    return Mesh(
        points=at,
        normals=normals.astype(np.float32),
        rest=at,
        faces=faces.astype(np.int32),
        material=number,
        owner=np.full(len(faces), owner, np.int32),
    )


def shown(
    what: Mesh,
    *materials: Material,
    lit: Light = FRONT,
    seed: int = 0,
    supersample: int = 1,
    camera: Camera = CAMERA,
) -> Drawing:
    backdrop = np.full((camera.height_px, camera.width_px, 3), 150, np.uint8)
    return draw(what, materials or [GREY], camera, lit, backdrop, seed, supersample)


def at(drawing: Drawing, point: tuple[float, float, float], camera: Camera = CAMERA) -> Floats:
    (pixel,), _ = camera.project(np.array([point], np.float32))
    found: Floats = drawing.pixels[int(pixel[1]), int(pixel[0])]
    return found
