"""The camera of the made world: a pinhole that looks towards −z, without roll."""

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np

from world.meshes import Floats


@dataclass(frozen=True)
class Camera:
    """World: metres, y up. Picture: pixels, x to the right as in the world, y down from the upper edge."""

    position_m: tuple[float, float, float]
    pitch_deg: float
    """Positive looks down."""
    width_px: int
    height_px: int
    focal_px: float
    centre_px: tuple[float, float]
    """Where the view axis meets the picture; need not be its middle."""

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Pixels [V, 2] and depths [V] in metres along the view axis, of points [V, 3] in the world.

        The pixels of a point that is not in front of the camera (depth ≤ 0) mean nothing, but are finite.
        """
        seen = (points - np.asarray(self.position_m, np.float32)) @ self._axes().T
        depth: Floats = seen[:, 2]
        scale = self.focal_px / np.maximum(depth, 1e-3)
        x, y = self.centre_px
        pixels = np.stack([x + seen[:, 0] * scale, y - seen[:, 1] * scale], axis=1)
        return pixels.astype(np.float32), depth

    def rays(self) -> Floats:
        """Unit directions [H, W, 3] in the world through the pixels' centres."""
        x = (np.arange(self.width_px, dtype=np.float32) + 0.5 - self.centre_px[0]) / self.focal_px
        y = (self.centre_px[1] - 0.5 - np.arange(self.height_px, dtype=np.float32)) / self.focal_px
        _, up, ahead = self._axes()
        rays = np.empty((self.height_px, self.width_px, 3), np.float32)
        length = np.sqrt(1 + x**2 + (y**2)[:, None])
        rays[:, :, 0] = x / length
        rays[:, :, 1] = (ahead[1] + y * up[1])[:, None] / length
        rays[:, :, 2] = (ahead[2] + y * up[2])[:, None] / length
        return rays

    def scaled(self, factor: int) -> "Camera":
        """The same view in a picture `factor` times as large."""
        x, y = self.centre_px
        return Camera(
            position_m=self.position_m,
            pitch_deg=self.pitch_deg,
            width_px=self.width_px * factor,
            height_px=self.height_px * factor,
            focal_px=self.focal_px * factor,
            centre_px=(x * factor, y * factor),
        )

    def _axes(self) -> Floats:
        """Unit vectors to the right, up, and along the view, as rows [3, 3]."""
        s, c = sin(radians(self.pitch_deg)), cos(radians(self.pitch_deg))
        return np.array([[1, 0, 0], [0, c, -s], [0, -s, -c]], dtype=np.float32)
