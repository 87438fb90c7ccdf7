"""The rasteriser against a triangle-by-triangle, pixel-by-pixel reference."""

import numpy as np
import pytest

from jaxfacs.synthface import raster

SIDE = 40


def brute_force(xy_V2, inverse_V, triangles_F3, two_sided_F):
    """Nearest triangle of every pixel centre in float64, and how close the call was."""
    nearest = np.zeros((SIDE, SIDE))
    number = np.full((SIDE, SIDE), -1)
    sure = np.ones((SIDE, SIDE), bool)
    for f, (a, b, c) in enumerate(triangles_F3):
        p = xy_V2[[a, b, c]].astype(np.float64)
        area = np.linalg.det(np.stack([p[1] - p[0], p[2] - p[0]]))
        front = area < 0  # y points down: counter-clockwise to the eye
        if not (front or two_sided_F[f]) or area == 0:
            continue
        for row in range(SIDE):
            for column in range(SIDE):
                q = np.array([column + 0.5, row + 0.5])
                wb = np.linalg.det(np.stack([q - p[0], p[2] - p[0]])) / area
                wc = np.linalg.det(np.stack([p[1] - p[0], q - p[0]])) / area
                wa = 1 - wb - wc
                if abs(min(wa, wb, wc)) < 1e-4:
                    sure[row, column] = False  # on an edge: rounding decides
                if min(wa, wb, wc) < 0:
                    continue
                depth = wa * inverse_V[a] + wb * inverse_V[b] + wc * inverse_V[c]
                if abs(depth - nearest[row, column]) < 1e-6:
                    sure[row, column] = False
                if depth > nearest[row, column]:
                    nearest[row, column], number[row, column] = depth, f
    return nearest, number, sure


@pytest.mark.parametrize("scale", [2.0, 9.0, 60.0])
def test_agrees_with_brute_force(scale):
    rng = np.random.default_rng(int(scale))
    count = 24
    centre = rng.uniform(-4, SIDE + 4, (count, 1, 2))
    xy = (centre + rng.normal(0, scale, (count, 3, 2))).reshape(-1, 2).astype(np.float32)
    inverse = rng.uniform(0.01, 0.1, count * 3).astype(np.float32)
    triangles = np.arange(count * 3, dtype=np.int32).reshape(-1, 3)
    two_sided = rng.random(count) < 0.3
    nearest, number, sure = brute_force(xy, inverse, triangles, two_sided)
    seen = raster.rasterize(xy, inverse, triangles, height=SIDE, width=SIDE, two_sided_F=two_sided)
    found = np.full(SIDE * SIDE, -1)
    depth = np.zeros(SIDE * SIDE)
    found[seen.pixel_N], depth[seen.pixel_N] = seen.triangle_N, seen.inverse_depth_N
    sure = sure.ravel()
    assert sure.mean() > 0.95
    assert (number.ravel() >= 0).any()
    np.testing.assert_array_equal(found[sure], number.ravel()[sure])
    np.testing.assert_allclose(depth[sure], nearest.ravel()[sure], rtol=2e-4, atol=1e-6)
    assert np.all(np.diff(seen.pixel_N) > 0)


def test_nearer_triangle_wins_whatever_the_order():
    corners = np.array([(2, 2), (2, 30), (30, 2)] * 2, np.float32)
    inverse = np.array([0.01] * 3 + [0.02] * 3, np.float32)
    far_first = np.array([(0, 1, 2), (3, 4, 5)], np.int32)
    one = raster.rasterize(corners, inverse, far_first, height=SIDE, width=SIDE)
    other = raster.rasterize(corners, inverse, far_first[::-1], height=SIDE, width=SIDE)
    assert len(one.pixel_N) > 300
    assert set(one.triangle_N) == {1}
    assert set(other.triangle_N) == {0}


def test_backs_are_culled_and_what_is_behind_the_camera_is_dropped():
    corners = np.array([(2, 2), (2, 30), (30, 2)], np.float32)
    inverse = np.full(3, 0.02, np.float32)
    front, back = np.array([(0, 1, 2)], np.int32), np.array([(0, 2, 1)], np.int32)
    options = {"height": SIDE, "width": SIDE}
    assert len(raster.rasterize(corners, inverse, front, **options).pixel_N)
    assert not len(raster.rasterize(corners, inverse, back, **options).pixel_N)
    assert not len(raster.rasterize(corners, -inverse, front, **options).pixel_N)
    shown = raster.rasterize(corners, inverse, back, two_sided_F=np.ones(1, bool), **options)
    assert len(shown.pixel_N)


def test_barycentric_weights_interpolate_with_perspective():
    # A square in space, tilted away: what is drawn on it must not bend at its diagonal.
    space = np.array([(-1, -1, 4), (1, -1, 4), (1, 1, 8), (-1, 1, 8)], np.float32)
    inverse = 1 / space[:, 2]
    xy = (20 + 60 * space[:, :2] * inverse[:, None]).astype(np.float32)
    triangles = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    both = np.ones(2, bool)
    seen = raster.rasterize(xy, inverse, triangles, height=SIDE, width=SIDE, two_sided_F=both)
    corner, weight = raster.barycentric(seen, xy, inverse, triangles, width=SIDE)
    point = np.einsum("nk,nkd->nd", weight, space[corner])
    column, row = seen.pixel_N % SIDE + 0.5, seen.pixel_N // SIDE + 0.5
    np.testing.assert_allclose(20 + 60 * point[:, 0] / point[:, 2], column, atol=1e-3)
    np.testing.assert_allclose(20 + 60 * point[:, 1] / point[:, 2], row, atol=1e-3)
    np.testing.assert_allclose(weight.sum(axis=1), 1, atol=1e-5)


def test_nothing_in_view_is_an_empty_raster():
    corners = np.array([(-9, -9), (-9, -2), (-2, -9)], np.float32)
    seen = raster.rasterize(
        corners,
        np.full(3, 0.1, np.float32),
        np.array([(0, 1, 2)], np.int32),
        height=SIDE,
        width=SIDE,
    )
    assert len(seen.pixel_N) == 0
