"""A z-buffered triangle rasteriser in numpy, made for meshes whose triangles are a pixel or two.

Small triangles are sorted by the size of the box of pixel centres that they may cover, and every
size is tested in one vectorised go, so nothing is gathered per candidate pixel; of larger ones the
covered stretch of each row is worked out, so that no pixel is tested in vain. The depth test is
`np.maximum.at` over 64-bit keys: inverse depth in the upper half, triangle number in the lower.
The answer is a triangle number per pixel (deferred shading); `barycentric` says where in it.

Arrays of points (V×2) and corners (F×3) are fastest where each column lies together in memory
(`planar`), as numpy then runs through memory in one stretch; the answer comes so, too.
"""

from dataclasses import dataclass

import numpy as np

# Up to this many pixels a side testing the whole box is cheapest; above it, row by row.
_SMALL = 3
_SPAN_BATCH = 1 << 14  # large triangles at once, which bounds memory
_SLACK = np.float32(1e-4)  # pixels


@dataclass(frozen=True, eq=False)
class Raster:
    """What each pixel sees.

    Attributes:
      pixel_N: int32 flat indices (row * width + column) of covered pixels, ascending.
      triangle_N: int32, the nearest triangle there.
      inverse_depth_N: float32, 1 / distance along the optical axis.
    """

    pixel_N: np.ndarray
    triangle_N: np.ndarray
    inverse_depth_N: np.ndarray


def planar(array: np.ndarray, dtype: type | None = None) -> np.ndarray:
    """The same array (rows × columns) with each column together in memory."""
    return np.asfortranarray(array, dtype)


def rasterize(
    xy_V2: np.ndarray,
    inverse_depth_V: np.ndarray,
    triangles_F3: np.ndarray,
    *,
    height: int,
    width: int,
    two_sided_F: np.ndarray | None = None,
) -> Raster:
    """Finds the nearest triangle at every pixel centre (column + ½, row + ½).

    Args:
      xy_V2: float32 screen positions in pixels, y down.
      inverse_depth_V: float32, 1 / distance; positive, or the triangle is dropped.
      triangles_F3: int32. Seen counter-clockwise = front; the back is culled.
      height: of the picture.
      width: of the picture.
      two_sided_F: bool, triangles that are seen from behind too.

    Two triangles at one depth: the one with the higher number wins, so the answer is a pure
    function of the input. Pixel centres on an edge belong to both triangles.
    """
    x, y = np.ascontiguousarray(xy_V2[:, 0]), np.ascontiguousarray(xy_V2[:, 1])
    a, b, c = np.ascontiguousarray(triangles_F3.T, np.intp)
    xa, ya, xb, yb, xc, yc = (v.take(i) for i in (a, b, c) for v in (x, y))
    # Twice the area with y down: positive where the triangle is seen counter-clockwise.
    area = (xc - xa) * (yb - ya) - (xb - xa) * (yc - ya)
    seen = area > 0
    if two_sided_F is not None:
        seen |= two_sided_F & (area != 0)
    facing = np.flatnonzero(seen)
    xa, ya, xb, yb, xc, yc, area = (v.take(facing) for v in (xa, ya, xb, yb, xc, yc, area))
    # First pixel centre at or after the least corner, last at or before the greatest.
    left = np.ceil(np.minimum(np.minimum(xa, xb), xc) - 0.5)
    right = np.floor(np.maximum(np.maximum(xa, xb), xc) - 0.5)
    top = np.ceil(np.minimum(np.minimum(ya, yb), yc) - 0.5)
    bottom = np.floor(np.maximum(np.maximum(ya, yb), yc) - 0.5)
    seen = (left <= right) & (top <= bottom)
    seen &= (right >= 0) & (bottom >= 0) & (left < width) & (top < height)
    near = inverse_depth_V > 0
    if not near.all():
        seen &= near.take(a.take(facing)) & near.take(b.take(facing)) & near.take(c.take(facing))
    kept = np.flatnonzero(seen)
    xa, ya, xb, yb, xc, yc, area = (v.take(kept) for v in (xa, ya, xb, yb, xc, yc, area))
    left, right, top, bottom = (v.take(kept) for v in (left, right, top, bottom))
    keep = facing.take(kept)

    inverse_area = 1.0 / area
    left = np.maximum(left, 0)
    top = np.maximum(top, 0)
    columns = (np.minimum(right, width - 1) - left + 1).astype(np.int32)
    rows = (np.minimum(bottom, height - 1) - top + 1).astype(np.int32)
    # Barycentric weights of corners b and c are affine in the pixel: weight = start + dx*x + dy*y.
    b_dx = -(yc - ya) * inverse_area
    b_dy = (xc - xa) * inverse_area
    c_dx = (yb - ya) * inverse_area
    c_dy = -(xb - xa) * inverse_area
    from_x, from_y = left + 0.5 - xa, top + 0.5 - ya
    b_start = b_dx * from_x + b_dy * from_y
    c_start = c_dx * from_x + c_dy * from_y
    za = inverse_depth_V.take(a.take(keep))
    zb = inverse_depth_V.take(b.take(keep)) - za
    zc = inverse_depth_V.take(c.take(keep)) - za
    z_start = za + b_start * zb + c_start * zc
    z_dx, z_dy = b_dx * zb + c_dx * zc, b_dy * zb + c_dy * zc
    first = top.astype(np.int32) * width + left.astype(np.int32)
    table = (b_start, c_start, z_start, b_dx, c_dx, z_dx, b_dy, c_dy, z_dy)

    keys = np.zeros(height * width, np.int64)
    small = (rows <= _SMALL) & (columns <= _SMALL)
    for index, box_rows, box_columns in _boxes(rows, columns, small):
        # Every pixel of the boxes is tested; the boxes lie inside the picture.
        t = [column.take(index)[:, None] for column in table]
        dy, dx = np.divmod(np.arange(box_rows * box_columns, dtype=np.int32), box_columns)
        offset = dy * np.int32(width) + dx
        dx, dy = dx.astype(np.float32), dy.astype(np.float32)
        weight_b = t[0] + (t[3] * dx + t[6] * dy)
        weight_c = t[1] + (t[4] * dx + t[7] * dy)
        inside = (weight_b >= 0) & (weight_c >= 0)
        weight_b += weight_c
        inside &= weight_b <= 1
        hit = np.flatnonzero(inside)
        depth = (t[2] + (t[5] * dx + t[8] * dy)).take(hit)
        which, place = np.divmod(hit, len(offset))
        which = index.take(which)
        _keep_nearest(keys, first.take(which) + offset.take(place), depth, keep.take(which))
    large = np.flatnonzero(~small)
    for start in range(0, len(large), _SPAN_BATCH):
        index = large[start : start + _SPAN_BATCH]
        part = [column.take(index) for column in table]
        (owner, row), (which, x) = _spans(part, rows.take(index), columns.take(index))
        start_depth = part[2].take(owner) + part[8].take(owner) * row
        of = index.take(owner)
        base = first.take(of) + row.astype(np.int32) * np.int32(width)
        step = part[5].take(owner)
        depth = start_depth.take(which) + step.take(which) * x.astype(np.float32)
        _keep_nearest(keys, base.take(which) + x, depth, keep.take(of).take(which))

    pixel = np.flatnonzero(keys)
    found = keys[pixel]
    return Raster(
        pixel_N=pixel.astype(np.int32),
        triangle_N=(found & 0xFFFFFFFF).astype(np.int32),
        inverse_depth_N=(found >> 32).astype(np.int32).view(np.float32),
    )


def barycentric(
    raster: Raster,
    xy_V2: np.ndarray,
    inverse_depth_V: np.ndarray,
    triangles_F3: np.ndarray,
    *,
    width: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Perspective-correct weights of the corners of the triangle that each pixel sees.

    Returns:
      (corner_N3 vertex indices, weight_N3 float32 that sum to 1), planar.
    """
    number = raster.triangle_N.astype(np.intp)
    corner_3N = np.empty((3, len(number)), np.intp)
    for k in range(3):
        corner_3N[k] = triangles_F3[:, k].take(number)
    x, y = np.ascontiguousarray(xy_V2[:, 0]), np.ascontiguousarray(xy_V2[:, 1])
    (xa, ya, za), (bx, by, zb), (cx, cy, zc) = (
        [column.take(corner) for column in (x, y, inverse_depth_V)] for corner in corner_3N
    )
    row, column = np.divmod(raster.pixel_N, np.int32(width))
    px, py = column + np.float32(0.5), row + np.float32(0.5)
    for other, first in ((px, xa), (bx, xa), (cx, xa), (py, ya), (by, ya), (cy, ya)):
        other -= first
    weight_3N = np.empty((3, len(number)), np.float32)
    weight_a, weight_b, weight_c = weight_3N
    inverse_area = 1.0 / (cx * by - bx * cy)
    np.multiply(cx * py - cy * px, inverse_area, out=weight_b)
    np.multiply(by * px - bx * py, inverse_area, out=weight_c)
    np.subtract(1.0, weight_b, out=weight_a)
    weight_a -= weight_c
    weight_a *= za
    weight_b *= zb
    weight_c *= zc
    weight_3N *= 1.0 / (weight_a + weight_b + weight_c)
    return corner_3N.T, weight_3N.T


def interpolate(table_VC: np.ndarray, corner_N3: np.ndarray, weight_N3: np.ndarray) -> np.ndarray:
    """Columns of a table of vertices at pixels: planar float32 N×C.

    Args:
      table_VC: float32, planar.
      corner_N3, weight_N3: from `barycentric`.
    """
    rows_CN = np.empty((table_VC.shape[1], len(corner_N3)), np.float32)
    part = np.empty(len(corner_N3), np.float32)
    (a, b, c), (weight_a, weight_b, weight_c) = corner_N3.T, weight_N3.T
    for column, out in zip(table_VC.T, rows_CN, strict=True):
        # With `clip` numpy writes into `out` itself; all indices are inside.
        np.take(column, a, out=out, mode="clip")
        out *= weight_a
        for corner, weight in ((b, weight_b), (c, weight_c)):
            np.take(column, corner, out=part, mode="clip")
            part *= weight
            out += part
    return rows_CN.T


def _keep_nearest(keys, pixel_N, depth_N, triangle_N) -> None:
    bits = np.maximum(depth_N, np.float32(1e-12)).view(np.int32).astype(np.int64)
    np.maximum.at(keys, pixel_N, (bits << 32) | triangle_N)


def _boxes(rows, columns, small):
    """Yields (triangle indices, box rows, box columns) for each size of small box."""
    shape = np.where(small, rows * (_SMALL + 1) + columns, 0)
    order = np.argsort(shape, kind="stable").astype(np.int32)
    bounds = np.searchsorted(shape[order], np.arange((_SMALL + 1) ** 2 + 1))
    for r in range(1, _SMALL + 1):
        for c in range(1, _SMALL + 1):
            kind = r * (_SMALL + 1) + c
            if bounds[kind] < bounds[kind + 1]:
                yield order[bounds[kind] : bounds[kind + 1]], r, c


def _spans(table, rows, columns):
    """The covered stretch of every row of some triangles.

    Each weight is affine in x, so weight >= 0 bounds x from one side; a row's stretch is where
    the three bounds leave room.

    Returns:
      ((triangle, row) per stretch, (stretch, x) per pixel).
    """
    owner = np.repeat(np.arange(len(rows), dtype=np.int32), rows)
    ends = np.cumsum(rows)
    row = np.arange(len(owner), dtype=np.int32) - np.repeat(ends - rows, rows).astype(np.int32)
    row = row.astype(np.float32)
    b_dx, c_dx = table[3].take(owner), table[4].take(owner)
    b = table[0].take(owner) + table[6].take(owner) * row
    c = table[1].take(owner) + table[7].take(owner) * row
    low = np.zeros(len(owner), np.float32)
    high = (columns - 1).astype(np.float32).take(owner)
    with np.errstate(divide="ignore", invalid="ignore"):
        for weight, slope in ((b, b_dx), (c, c_dx), (1 - b - c, -b_dx - c_dx)):
            bound = -weight / slope
            np.maximum(low, bound, out=low, where=slope > 0)
            np.minimum(high, bound, out=high, where=slope < 0)
            high[(slope == 0) & (weight < 0)] = -1
    # A hair of slack, so that rounding leaves no gap between neighbours.
    low = np.ceil(np.minimum(low, 1e6) - _SLACK).astype(np.int32)
    count = np.maximum(np.floor(np.maximum(high, -1) + _SLACK).astype(np.int32) - low + 1, 0)
    which = np.repeat(np.arange(len(owner), dtype=np.int32), count)
    before = np.cumsum(count) - count
    x = np.arange(len(which), dtype=np.int32) - (before - low).astype(np.int32).take(which)
    return (owner, row), (which, x)
