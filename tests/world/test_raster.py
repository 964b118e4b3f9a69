import numpy as np
import pytest

from world.camera import Camera
from world.meshes import Floats, Ints
from world.raster import Hits, rasterise


def draw(
    corners: list[tuple[float, float]],
    faces: list[tuple[int, int, int]],
    depth: list[float] | float = 1.0,
    size: tuple[int, int] = (6, 5),
    cull: bool = True,
    parallel: bool = False,
) -> Hits:
    """Faces are given counter-clockwise as seen."""
    depths = np.full(len(corners), depth, np.float32)
    return rasterise(np.array(corners, np.float32), depths, np.array(faces, np.int32), *size, cull, parallel)


def covered(hits: Hits) -> set[tuple[int, int]]:
    return {(int(column), int(row)) for row, column in np.argwhere(hits.face >= 0)}


def square(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (left, bottom), (right, bottom), (right, top)]


SQUARE = [(0, 1, 2), (0, 2, 3)]


def test_a_square_covers_exactly_its_pixels() -> None:
    hits = draw(square(1, 1, 4, 3), SQUARE)
    assert covered(hits) == {(x, y) for x in (1, 2, 3) for y in (1, 2)}


def test_edges_on_pixel_centres_take_those_at_the_left_and_top() -> None:
    assert covered(draw(square(0.5, 1.5, 3.5, 3.5), SQUARE)) == {(x, y) for x in (0, 1, 2) for y in (1, 2)}


def test_a_triangle_covers_the_centres_inside_it() -> None:
    hits = draw([(0, 0), (0, 4), (4, 4)], [(0, 1, 2)])
    assert covered(hits) >= {(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)}
    assert not covered(hits) & {(1, 0), (2, 1), (3, 2), (4, 3), (2, 0)}


def test_a_triangle_between_pixel_centres_covers_nothing() -> None:
    assert covered(draw([(1.6, 1.6), (1.6, 2.4), (2.4, 2.4)], [(0, 1, 2)])) == set()


def test_where_nothing_is_hit_there_is_no_face_no_weight_and_no_end() -> None:
    hits = draw(square(1, 1, 2, 2), SQUARE)
    assert hits.face[0, 0] == -1
    assert hits.weights[0, 0].tolist() == [0, 0, 0]
    assert hits.depth[0, 0] == np.inf


def test_the_nearer_face_wins_in_either_order() -> None:
    corners = square(0, 0, 3, 3) + square(2, 0, 5, 3)
    for first, second in ((2.0, 1.0), (1.0, 2.0)):
        hits = draw(corners, [*SQUARE, (4, 5, 6), (4, 6, 7)], [first] * 4 + [second] * 4)
        assert hits.depth[1].tolist() == [first, first, 1.0, second, second, np.inf]
        assert (hits.face[1, 2] >= 2) == (second < first)


def test_of_equally_near_faces_the_first_wins() -> None:
    corners = square(0, 0, 3, 3)
    assert set(draw(corners, [*SQUARE, *SQUARE]).face.ravel().tolist()) == {-1, 0, 1}


def test_crossing_faces_part_where_they_cross() -> None:
    hits = draw(
        [*square(0, 0, 6, 5), *square(0, 0, 6, 5)],
        [*SQUARE, (4, 5, 6), (4, 6, 7)],
        [1, 1, 2, 2, 2, 2, 1, 1],
        parallel=True,
    )
    assert (hits.face[:, :3] < 2).all()
    assert (hits.face[:, 3:] >= 2).all()


def test_faces_that_turn_their_back_are_dropped_only_if_culled() -> None:
    turned = [(0, 2, 1), (0, 3, 2)]
    assert covered(draw(square(1, 1, 4, 3), turned)) == set()
    assert covered(draw(square(1, 1, 4, 3), turned, cull=False)) == covered(draw(square(1, 1, 4, 3), SQUARE))


def test_a_face_that_looks_at_the_camera_is_not_culled() -> None:
    camera = Camera((0.0, 0.0, 4.0), 0.0, 20, 20, 20.0, (10.0, 10.0))
    corners = np.array([(-1, -1, 0), (1, -1, 0), (0, 1, 0)], np.float32)
    for faces, seen in (([[0, 1, 2]], True), ([[0, 2, 1]], False)):  # its normal is +z, then −z
        hits = rasterise(*camera.project(corners), np.array(faces, np.int32), 20, 20)
        assert (hits.face >= 0).any() == seen


def test_a_face_with_a_corner_behind_the_near_plane_is_dropped() -> None:
    assert covered(draw(square(1, 1, 4, 3), SQUARE, [1, 1, 1, 0.05])) == covered(
        draw(square(1, 1, 4, 3), SQUARE[:1])
    )
    assert covered(draw(square(1, 1, 4, 3), SQUARE, [-1, 1, 1, 1])) == set()


def test_what_reaches_beyond_the_picture_fills_it() -> None:
    assert (draw(square(-500, -900, 700, 800), SQUARE).face >= 0).all()


def test_faces_around_a_point_cover_every_pixel_exactly_once() -> None:
    rim = [(0, 0), (0, 8), (0, 16), (8, 16), (16, 16), (16, 8), (16, 0), (8, 0)]
    for middle in ((8.0, 8.0), (8.5, 8.5), (7.5, 9.5), (3.14, 11.7)):  # edges through centres, and not
        faces = [(8, k, (k + 1) % 8) for k in range(8)]
        times = sum(draw([*rim, middle], [face], size=(16, 16)).face >= 0 for face in faces)
        assert np.unique(times).tolist() == [1]


def test_neighbours_at_any_place_leave_no_hole_and_share_no_pixel() -> None:
    rng = np.random.default_rng(4)
    times = np.zeros((40, 40), int)
    pixels, faces = patch(rng, 6, 40)
    for face in faces:
        times += rasterise(pixels, np.ones(len(pixels), np.float32), face[None], 40, 40, cull=False).face >= 0
    assert (times == 1).all()


def test_a_net_of_tiny_triangles_has_no_hole() -> None:
    pixels, faces = patch(np.random.default_rng(5), 150, 40)  # some 0.3 px each
    hits = rasterise(pixels, np.ones(len(pixels), np.float32), faces, 40, 40)
    assert (hits.face >= 0).all()


def patch(rng: np.random.Generator, cells: int, size: int) -> tuple[Floats, Ints]:
    """A shaken net of triangles over a whole picture and a little more."""
    pitch = (size + 4) / cells
    y, x = np.mgrid[: cells + 1, : cells + 1] * pitch - 2
    pixels = np.stack([x, y], 2).reshape(-1, 2) + rng.uniform(-0.2, 0.2, ((cells + 1) ** 2, 2)) * pitch
    a = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    b, c, d = a + 1, a + cells + 1, a + cells + 2
    return pixels.astype(np.float32), np.concatenate(
        [np.stack([a, c, d], 1), np.stack([a, d, b], 1)], dtype=np.int32
    )


def test_random_triangles_are_drawn_as_pixel_by_pixel() -> None:
    rng = np.random.default_rng(6)
    pixels = rng.uniform(-5, 25, (60, 2)).astype(np.float32)
    depth = rng.uniform(1, 3, 60).astype(np.float32)
    faces = rng.permutation(60).reshape(20, 3).astype(np.int32)
    hits = rasterise(pixels, depth, faces, 20, 16)
    expected = np.array(
        [[slowly(pixels, depth, faces, x + 0.5, y + 0.5) for x in range(20)] for y in range(16)]
    )
    np.testing.assert_array_equal(hits.face, expected[:, :, 0])
    np.testing.assert_allclose(hits.depth, expected[:, :, 1], rtol=1e-4)


def slowly(pixels: Floats, depth: Floats, faces: Ints, x: float, y: float) -> tuple[float, float]:
    """Face and depth at one point, with the rule of the inverse depth."""
    best = (-1.0, np.inf)
    for number, face in enumerate(faces):
        corners = np.vstack([pixels[face].T.astype(float), np.ones(3)])
        if np.linalg.det(corners) >= 0:
            continue
        weights = np.linalg.solve(corners, [x, y, 1])
        here = float(1 / (weights @ (1 / depth[face])))
        if weights.min() > 0 and here < best[1]:
            best = (float(number), here)
    return best


def test_weights_lead_back_to_the_pixel_in_perspective() -> None:
    camera = Camera((0.2, 1.0, 3.0), 10.0, 30, 30, 30.0, (15.0, 15.0))
    points = np.array([(-1, 0, 1.5), (1.2, 0.1, 0.5), (0.1, 2.2, -4)], np.float32)
    faces = np.array([[0, 1, 2]], np.int32)
    hits = rasterise(*camera.project(points), faces, 30, 30)
    row, column = np.nonzero(hits.face == 0)
    assert len(row) > 100
    weights = hits.weights[row, column]
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    pixels, depth = camera.project(weights @ points)
    np.testing.assert_allclose(pixels, np.stack([column, row], 1) + 0.5, atol=2e-3)
    np.testing.assert_allclose(depth, hits.depth[row, column], rtol=1e-5)


def test_without_perspective_depth_runs_evenly() -> None:
    hits = draw(square(0, 0, 4, 4), SQUARE, [1, 1, 5, 5], parallel=True)
    assert hits.depth[1, :4] == pytest.approx([1.5, 2.5, 3.5, 4.5])


def test_a_mesh_that_is_not_seen_hits_nothing() -> None:
    assert covered(draw(square(100, 1, 104, 3), SQUARE)) == set()
