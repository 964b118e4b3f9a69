"""A plan drawn: the picture as JPEG bytes, and the truth about it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from world.backgrounds import backdrop
from world.bodies import load_bodies, shape
from world.camera import Camera
from world.figures import Figure, figure
from world.marks import mark_persons
from world.meshes import Floats, Material, Mesh, merge
from world.pictures import encode_jpeg
from world.plans import Plan, Shot
from world.poses import bend, draw_pose
from world.shading import Light, draw, finish
from world.things import superellipsoid
from world.truth import Kind, TruthPerson, TruthPicture

JPEG_QUALITY = 88
NOISE = 3.0
"""Standard deviation of the sensor's noise, in levels."""


@dataclass(frozen=True, eq=False)
class Take:
    """A made picture and what is known of it."""

    jpeg: bytes
    picture: TruthPicture
    persons: list[TruthPerson]


def take(plan: Plan, supersample: int = 1) -> Take:
    """Draw a plan. Raises world.bodies.BodyDataMissingError without body data."""
    rng = np.random.default_rng([*plan.seed, 0x7A])
    figures = [place(shot, owner, rng) for owner, shot in enumerate(plan.shots)]
    camera = _camera(plan, figures, rng)
    scene = backdrop(plan.background, plan.width_px, plan.height_px, _horizon(camera), rng)
    drawing = None
    pixels: Floats = scene.astype(np.float32)
    if figures:
        mesh, materials = _assemble([*figures, *_obstacles(plan, figures, rng)])
        drawing = draw(mesh, materials, camera, _light(rng), scene, int(rng.integers(2**31)), supersample)
        pixels = drawing.pixels
    finished = finish(pixels, NOISE, plan.blur_px, plan.brightness, rng)
    jpeg = encode_jpeg(Image.fromarray(finished), JPEG_QUALITY)
    persons = [] if drawing is None else mark_persons(plan, figures, camera, drawing)
    return Take(jpeg, _picture(plan, jpeg, len(persons)), persons)


def place(shot: Shot, owner: int, rng: np.random.Generator) -> Figure:
    """The figure of a shot where it stands."""
    data = load_bodies()
    height = float(np.random.default_rng([shot.identity.number, 0xB0]).uniform(-1, 1))
    body = shape(data, shot.identity.look, height)
    posed = bend(data, body, draw_pose(shot.pose, rng, shot.stride), rng.uniform(-15, 15))
    dressed = figure(data, body, shot.identity.look, posed, owner)
    c, s = np.cos(np.radians(shot.yaw_deg)), np.sin(np.radians(shot.yaw_deg))
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=np.float32)
    shift = np.array([shot.at_m[0], 0, shot.at_m[1]], dtype=np.float32)
    keypoints = (dressed.keypoints @ turn.T + shift).astype(np.float32)
    return replace(dressed, mesh=dressed.mesh.moved(turn, shift), keypoints=keypoints)


def _camera(plan: Plan, figures: Sequence[Figure], rng: np.random.Generator) -> Camera:
    """A camera some metres away, framed as the kind of picture wants it."""
    distance, pitch = rng.uniform(5, 9), rng.uniform(2, 12)
    height = 0.95 + distance * np.tan(np.radians(pitch))
    camera = Camera(
        (0.0, float(height), float(distance)), float(pitch), plan.width_px, plan.height_px, 1.0, (0.0, 0.0)
    )
    if not figures:
        return replace(
            camera, focal_px=plan.height_px * distance / 2, centre_px=(plan.width_px / 2, plan.height_px / 2)
        )
    points = np.concatenate([each.mesh.points for each in figures])
    if plan.kind is Kind.CUT_OFF:
        points = points[points[:, 1] > 0.57 * points[:, 1].max()]
    shown, _ = camera.project(points)
    low, high = shown.min(axis=0), shown.max(axis=0)
    fill = {Kind.FAR: (0.22, 0.36), Kind.VAGUE: (0.16, 0.24), Kind.SCENE: (0.8, 0.92)}.get(
        plan.kind, (0.84, 0.93)
    )
    size = np.array([plan.width_px, plan.height_px])
    focal = float(np.min(np.array([0.95, rng.uniform(*fill)]) * size / (high - low)))
    slack = size - focal * (high - low)
    share = rng.uniform(0.35, 0.65, 2)  # nearer the middle than the edge, where there is room
    if plan.kind in (Kind.FAR, Kind.VAGUE):
        share = rng.uniform((0.1, 0.6), (0.9, 0.95))  # on the ground, in the lower half
    corner = slack * share
    if plan.kind is Kind.CUT_OFF:
        corner[1] = slack[1]  # the picture ends at the waist
    centre = corner - focal * low
    return replace(camera, focal_px=focal, centre_px=(float(centre[0]), float(centre[1])))


def _horizon(camera: Camera) -> float:
    """The row of the ground's horizon, often above the picture."""
    return camera.centre_px[1] - camera.focal_px * float(np.tan(np.radians(camera.pitch_deg)))


def _light(rng: np.random.Generator) -> Light:
    """Daylight from somewhere before the people."""
    side, up = np.radians(rng.uniform(-60, 60)), np.radians(rng.uniform(35, 65))
    towards = (np.cos(up) * np.sin(side), np.sin(up), np.cos(up) * np.cos(side))
    warmth = rng.uniform(-0.06, 0.06)
    return Light(
        direction=tuple(float(v) for v in towards),  # type: ignore[arg-type]
        sun=float(rng.uniform(0.6, 0.75)),
        sky=float(rng.uniform(0.42, 0.52)),
        tint=(1 + warmth, 1.0, 1 - warmth),
    )


@dataclass(frozen=True, eq=False)
class Obstacle:
    """Something that stands before a person."""

    mesh: Mesh
    materials: tuple[Material, ...]


def _obstacles(plan: Plan, figures: Sequence[Figure], rng: np.random.Generator) -> list[Obstacle]:
    """A board before the person, where the kind of picture hides something."""
    reach = {
        Kind.HEAD_HIDDEN: (0.76, 1.12),
        Kind.HIPS_HIDDEN: (0.0, rng.uniform(0.73, 0.77)),
        Kind.MOSTLY_HIDDEN: (0.0, rng.uniform(0.8, 0.84)),
    }.get(plan.kind)
    if reach is None:
        return []
    tall = float(figures[0].mesh.points[:, 1].max())
    low, high = (share * tall for share in reach)
    width = rng.uniform(1.1, 1.6)
    board = superellipsoid((width, high - low, 0.08), (0.08, 0.08))
    grey = int(rng.integers(60, 200))
    colour = (grey, int(grey * rng.uniform(0.8, 1.0)), int(grey * rng.uniform(0.6, 1.0)))
    shift = np.array([rng.uniform(-0.1, 0.1), (low + high) / 2, 0.75], dtype=np.float32)
    return [Obstacle(board.moved(np.eye(3, dtype=np.float32), shift), (Material(colour),))]


def _assemble(parts: Sequence[Figure | Obstacle]) -> tuple[Mesh, list[Material]]:
    meshes: list[Mesh] = []
    materials: list[Material] = []
    for part in parts:
        meshes.append(replace(part.mesh, material=(part.mesh.material + len(materials)).astype(np.int32)))
        materials += part.materials
    return merge(meshes), materials


def _picture(plan: Plan, jpeg: bytes, persons: int) -> TruthPicture:
    return TruthPicture(
        picture=plan.name,
        kind=plan.kind,
        width_px=plan.width_px,
        height_px=plan.height_px,
        background=plan.background,
        persons=persons,
        blur_px=plan.blur_px,
        brightness=plan.brightness,
        image_sha256=hashlib.sha256(jpeg).hexdigest(),
    )
