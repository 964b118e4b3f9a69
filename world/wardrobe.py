"""What a figure wears, collected: pieces bent with its body, things attached to it, and their materials."""

from dataclasses import dataclass, field, replace

import numpy as np

from world.bodies import Body, BodyData
from world.cuts import Piece, smooth
from world.garments import Cloth, group
from world.meshes import Floats, Ints, Material, Mesh, Reals, vertex_normals
from world.poses import Posed


@dataclass
class Wardrobe:
    """Collects meshes and their materials."""

    data: BodyData
    body: Body
    posed: Posed
    owner: int
    meshes: list[Mesh] = field(default_factory=list)
    materials: list[Material] = field(default_factory=list)

    def wear(self, piece: Piece, materials: list[Material], index: Ints, push: Reals, rounds: int) -> None:
        """Bend a piece with the body, push it off along its normals (decimetres, [P]), paint it."""
        rest = smooth(piece.of(self.body.points), piece, rounds)
        points = self.posed.points(rest, piece.of(self.data.weights))
        if push.any():
            out = smooth(vertex_normals(points, piece.faces), piece, 2)
            out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)
            points = points + out * (push[:, None] / 10).astype(np.float32)
        normals = vertex_normals(points, piece.faces)
        material = (index + len(self.materials)).astype(np.int32)
        owner = np.full(len(piece.faces), self.owner, np.int32)
        self.meshes.append(Mesh(points, normals, rest, piece.faces, material, owner))
        self.materials += materials

    def cloth(self, cloth: Cloth, materials: list[Material]) -> None:
        """Wear a garment; `materials`: the cloth and its trim."""
        self.wear(cloth.piece, materials, cloth.material, cloth.push, cloth.rounds)

    def attach(self, mesh: Mesh, materials: list[Material], turn: Reals, shift: Reals) -> None:
        """Add a thing that keeps its shape, turned by [3, 3] and shifted by [3] metres."""
        moved = mesh.moved(turn.astype(np.float32), shift.astype(np.float32))
        self.meshes.append(replace(moved, material=(mesh.material + len(self.materials)).astype(np.int32)))
        self.materials += materials

    def bone(self, name: str) -> int:
        """Index of a bone of the rig."""
        return [bone.name for bone in self.data.bones].index(name)

    def surface(self, places: Reals) -> tuple[Floats, Floats]:
        """The tights' nearest points to places of the base mesh [N, 3], bent, and their outward normals."""
        tights = group(self.data, "helper-tights")
        points = self.posed.points(tights.of(self.body.points), tights.of(self.data.weights))
        base = tights.of(self.data.points)
        nearest = [int(np.linalg.norm(base - place, axis=1).argmin()) for place in places]
        return points[nearest], vertex_normals(points, tights.faces)[nearest]
