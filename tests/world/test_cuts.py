"""Pieces of a mesh, cut along lines: nothing lost, hems straight, sides kept."""

import numpy as np
import pytest

from world.cuts import Piece, cut, smooth, whole
from world.meshes import Floats, Ints, vertex_normals

GRID = 9


def sheet() -> tuple[Floats, Ints]:
    """A square of 1 × 1 in x and y that faces +z, and two points that no face uses."""
    y, x = np.mgrid[0:GRID, 0:GRID] / (GRID - 1)
    points = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1)
    corner = (np.arange(GRID - 1)[:, None] * GRID + np.arange(GRID - 1)).ravel()
    right, up = corner + 1, corner + GRID
    faces = np.concatenate([np.stack(t, axis=1) for t in ((corner, right, up), (right, up + 1, up))])
    unused = np.array([[9.0, 9, 9], [8, 8, 8]])
    return np.concatenate([unused, points]).astype(np.float32), (faces + 2).astype(np.int32)


def tube(radius: float, rings: int, around: int = 16) -> tuple[Floats, Ints]:
    """An open tube along y that faces outwards."""
    turn = np.arange(around) * 2 * np.pi / around
    ring = radius * np.stack([np.sin(turn), 0 * turn, np.cos(turn)], axis=1)
    points = np.concatenate([ring + np.array([0, 0.1 * level, 0]) for level in range(rings)])
    base = (np.arange(rings - 1)[:, None] * around + np.arange(around)).ravel()
    side = (np.arange(rings - 1)[:, None] * around + (np.arange(around) + 1) % around).ravel()
    up, side_up = base + around, side + around
    faces = np.concatenate([np.stack(t, axis=1) for t in ((base, side, up), (side, side_up, up))])
    return points.astype(np.float32), faces.astype(np.int32)


POINTS, FACES = sheet()
SHEET = whole(FACES)


def areas(piece: Piece) -> Floats:
    """[F, 3]: doubled area vectors of a piece of the sheet."""
    a, b, c = piece.of(POINTS)[piece.faces].transpose(1, 0, 2)
    return np.asarray(np.cross(b - a, c - a))


def area(piece: Piece) -> float:
    return float(np.linalg.norm(areas(piece), axis=1).sum() / 2)


def slanted(points: Floats) -> Floats:
    return np.asarray(points[:, 0] + 0.3 * points[:, 1] - 0.617, np.float32)


def test_a_whole_piece_has_the_triangles_and_only_their_points() -> None:
    assert SHEET.of(POINTS)[SHEET.faces] == pytest.approx(POINTS[FACES])
    assert len(SHEET.vertices) == GRID**2


def test_values_of_one_number_a_vertex_and_of_many_are_carried_over() -> None:
    assert SHEET.of(POINTS[:, 1]) == pytest.approx(SHEET.of(POINTS)[:, 1])


def test_a_cut_and_its_other_side_make_up_the_whole() -> None:
    values = slanted(SHEET.of(POINTS))
    inside, outside = area(cut(SHEET, values)), area(cut(SHEET, -values))
    assert inside == pytest.approx(0.617 - 0.15, abs=1e-5)
    assert inside + outside == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("line", [0.3, 0.5, 0.51, 0.999])
def test_a_hem_is_straight_and_exactly_at_its_line(line: float) -> None:
    piece = cut(SHEET, SHEET.of(POINTS)[:, 1] - np.float32(line))
    y = piece.of(POINTS)[:, 1]
    hem = y > line - 1e-3
    assert y[hem] == pytest.approx(line, abs=1e-5)
    x = np.sort(piece.of(POINTS)[hem, 0])
    assert (x[0], x[-1]) == (0, 1)
    assert np.diff(x).max() <= 1 / (GRID - 1) + 1e-6


def test_nothing_reaches_over_the_line() -> None:
    piece = cut(SHEET, slanted(SHEET.of(POINTS)))
    assert slanted(piece.of(POINTS)).max() < 1e-5


def test_cut_triangles_keep_their_side() -> None:
    for sign in (1, -1):
        piece = cut(SHEET, sign * slanted(SHEET.of(POINTS)))
        assert (areas(piece)[:, 2] > 0).all()


def test_neighbours_share_the_points_of_a_cut() -> None:
    places = cut(SHEET, slanted(SHEET.of(POINTS))).of(POINTS)
    assert len(np.unique(places.round(5), axis=0)) == len(places)


def test_shares_of_every_point_sum_to_one() -> None:
    piece = cut(SHEET, slanted(SHEET.of(POINTS)))
    assert piece.shares.sum(axis=1) == pytest.approx(1)
    assert (piece.shares >= 0).all()


def test_a_piece_that_lies_inside_stays_as_it_is() -> None:
    piece = cut(SHEET, np.full(GRID**2, -1.0))
    assert piece.of(POINTS)[piece.faces] == pytest.approx(SHEET.of(POINTS)[SHEET.faces])


def test_of_a_piece_that_lies_outside_nothing_is_left() -> None:
    piece = cut(SHEET, np.full(GRID**2, 1.0))
    assert piece.faces.shape == (0, 3)
    assert len(piece.vertices) == 0


def test_what_lies_outside_can_be_cut_again() -> None:
    nothing = cut(SHEET, np.full(GRID**2, 1.0))
    assert len(cut(nothing, nothing.of(POINTS)[:, 0]).faces) == 0


def test_a_cut_piece_can_be_cut_again() -> None:
    right = cut(SHEET, 0.22 - SHEET.of(POINTS)[:, 0])
    band = cut(right, right.of(POINTS)[:, 0] - 0.31)
    window = cut(band, slanted(band.of(POINTS)))
    x = band.of(POINTS)[:, 0]
    assert (x.min(), x.max()) == pytest.approx((0.22, 0.31), abs=1e-5)
    assert area(band) == pytest.approx(0.09, abs=1e-5)
    assert window.shares.sum(axis=1) == pytest.approx(1)
    assert area(window) <= area(band)


def test_a_cut_through_points_leaves_no_slivers() -> None:
    piece = cut(SHEET, SHEET.of(POINTS)[:, 1] - np.float32(0.5))  # exactly a row of the grid
    assert area(piece) == pytest.approx(0.5, abs=1e-4)
    assert len(piece.faces) < 0.75 * len(SHEET.faces)


def test_one_cut_serves_another_body() -> None:
    piece = cut(SHEET, SHEET.of(POINTS)[:, 1] - np.float32(0.43))
    other = POINTS * np.array([2, 3, 1], np.float32)
    assert piece.of(other)[:, 1].max() == pytest.approx(3 * 0.43, abs=1e-5)


def test_smoothing_levels_bumps() -> None:
    points, faces = tube(0.1, rings=12)
    rng = np.random.default_rng(0)
    rough = (points * (1 + rng.uniform(-0.1, 0.1, (len(points), 1)) * [1, 0, 1])).astype(np.float32)
    even = np.hypot(*smooth(rough, whole(faces), 8)[:, [0, 2]].T)
    assert even.std() < 0.5 * np.hypot(*rough[:, [0, 2]].T).std()


def test_smoothing_keeps_a_sleeve_as_wide_as_it_is() -> None:
    points, faces = tube(0.1, rings=12)
    radius = np.hypot(*smooth(points, whole(faces), 8)[:, [0, 2]].T)
    assert radius == pytest.approx(0.1, rel=0.03)


def test_smoothing_leaves_a_rim_on_its_line() -> None:
    points, faces = tube(0.1, rings=12)
    smoothed = smooth(points, whole(faces), 8)
    assert smoothed[:16, 1] == pytest.approx(0, abs=1e-6)
    assert smoothed[-16:, 1] == pytest.approx(1.1, abs=1e-6)


def test_smoothing_keeps_normals_outwards() -> None:
    points, faces = tube(0.1, rings=6)
    smoothed = smooth(points, whole(faces), 5)
    out = smoothed * [1, 0, 1]
    assert ((vertex_normals(smoothed, faces) * out).sum(axis=1) > 0).all()


def test_no_rounds_change_nothing() -> None:
    points, faces = tube(0.1, rings=3)
    assert (smooth(points, whole(faces), 0) == points).all()
