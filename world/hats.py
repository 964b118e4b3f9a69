"""Hats that sit on a head, as closed meshes: material MAIN is the dome, TRIM the visor, brim and pompom.

A head is given as points [H, 3] of what must be covered, the skull or skull and short hair, in the head's own
coordinates (metres, y up, the face to +z). Points below the hat's rim do not count; none of the others comes
nearer to the outside than about the hat's margin.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from world.meshes import Mesh, Reals, merge
from world.things import MAIN, TRIM, superellipsoid, sweep


def cap(head: Reals, owner: int) -> Mesh:
    """A cap with a visor, for the person `owner`."""
    centre, half = _dome_size(head, depth=0.56, exponent=0.9, margin_m=0.012)
    angle = np.linspace(-1.15, 1.15, 15)
    inner = np.stack([half[0] * np.sin(angle), 0 * angle, half[2] * np.cos(angle)], axis=1)
    reach = (0.42 * half[2] + 0.03) * np.cos(angle / 1.15 * np.pi / 2) + 0.004
    out = np.stack([0.45 * np.sin(angle), np.full_like(angle, -0.12), np.cos(angle) ** 0.5], axis=1)
    rim = np.array([0, 0.006, 0])
    # Begins inside the dome, so that no gap opens between the two.
    near, far = 0.94 * inner + rim, inner + rim + out * reach[:, None]
    visor = np.stack([near, far, far - rim, near - rim], axis=1) + centre
    top = centre + half * [0, 1, 0]
    button = superellipsoid((0.02, 0.012, 0.02), (1, 1), (8, 4), centre_m=top, material=TRIM)
    return _hat([_dome(centre, half, 0.9), sweep(visor, TRIM), button], owner)


def woolly_hat(head: Reals, owner: int) -> Mesh:
    """A knitted hat with a rolled brim and a pompom, down to the ears, for the person `owner`."""
    centre, half = _dome_size(head, depth=0.82, exponent=0.8, margin_m=0.014)
    around = np.arange(28) * (2 * np.pi / 28)
    out = np.stack([np.sin(around), 0 * around, np.cos(around)], axis=1)[:, None]
    turn = (np.arange(8) * (2 * np.pi / 8))[:, None]
    # A ring with an oval section; the dome's rim runs through its middle.
    section = out * (0.011 * np.cos(turn)) - np.array([0, 1, 0]) * (0.026 * np.sin(turn))
    brim = section + out * half * [1, 0, 1] + centre + [0, 0.026 * 0.6, 0]
    top = centre + (half + 0.018) * [0, 1, 0]
    pompom = superellipsoid((0.06, 0.055, 0.06), (1, 1), (14, 8), centre_m=top, material=TRIM)
    return _hat([_dome(centre, half, 0.8), sweep(brim, TRIM, closed=True), pompom], owner)


def _hat(parts: Sequence[Mesh], owner: int) -> Mesh:
    hat = merge(parts)
    return replace(hat, owner=np.full_like(hat.owner, owner))


def _dome_size(head: Reals, depth: float, exponent: float, margin_m: float) -> tuple[Reals, Reals]:
    """Centre [3] and half axes [3] of half a superellipsoid over a head, `depth` head widths deep."""
    top = head[:, 1].max()
    # Measured above the ears, so that neither they nor a neck count.
    rim = top - depth * np.ptp(head[head[:, 1] > top - 0.1, 0])
    covered = head[head[:, 1] >= rim].astype(np.float64)
    low, high = covered.min(axis=0), covered.max(axis=0)
    centre = np.array([(low[0] + high[0]) / 2, rim, (low[2] + high[2]) / 2])
    half = np.array([(high[0] - low[0]) / 2, top - rim, (high[2] - low[2]) / 2])
    # The extents alone leave what is between the axes outside: it grows until all is within.
    x, y, z = ((covered - centre) / half).T
    level = (x**2 + z**2) ** (1 / exponent) + np.abs(y) ** (2 / exponent)
    return centre, half * level.max() ** (exponent / 2) + margin_m


def _dome(centre: Reals, half: Reals, exponent: float) -> Mesh:
    """The upper half of a superellipsoid, closed below and a little drawn in at its hem."""
    longitude = np.arange(28) * (2 * np.pi / 28)
    latitude = np.linspace(0, np.pi / 2, 9)[:-1]
    radius = np.concatenate([[0.96], np.cos(latitude) ** exponent])[:, None]
    y = np.concatenate([[-0.03], np.sin(latitude) ** exponent])[:, None]
    x, z = radius * np.sin(longitude), radius * np.cos(longitude)
    rings = np.stack(np.broadcast_arrays(x, y, z), axis=2)
    poles = np.array([[0, -0.03, 0], [0, 1, 0]])
    return sweep(rings * half + centre, MAIN, poles=poles * half + centre)
