"""A z-buffered triangle rasteriser in numpy, made for meshes whose triangles are a pixel or two.

Small triangles are sorted by the size of the box of pixel centres that they may cover, and every
size is tested in one vectorised go, so nothing is gathered per candidate pixel; of larger ones the
covered stretch of each row is worked out, so that no pixel is tested in vain. The depth test is
`np.maximum.at` over 64-bit keys: inverse depth in the upper half, triangle number in the lower.
The answer is a triangle number per pixel (deferred shading); `barycentric` says where in it.
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
    a, b, c = np.ascontiguousarray(triangles_F3.T)
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
        seen &= near[triangles_F3[facing]].all(axis=1)
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
    table = np.stack([b_start, c_start, z_start, b_dx, c_dx, z_dx, b_dy, c_dy, z_dy])

    keys = np.zeros(height * width, np.int64)
    small = (rows <= _SMALL) & (columns <= _SMALL)
    for index, box_rows, box_columns in _boxes(rows, columns, small):
        # Every pixel of the boxes is tested; the boxes lie inside the picture.
        t = table[:, index][:, :, None, None]
        dx = np.arange(box_columns, dtype=np.float32)
        dy = np.arange(box_rows, dtype=np.float32)[:, None]
        weight_b = t[0] + t[3] * dx + t[6] * dy
        weight_c = t[1] + t[4] * dx + t[7] * dy
        inside = (weight_b >= 0) & (weight_c >= 0) & (weight_b + weight_c <= 1)
        depth = np.broadcast_to(t[2] + t[5] * dx + t[8] * dy, inside.shape)[inside]
        offset = (np.arange(box_rows)[:, None] * width + np.arange(box_columns)).astype(np.int32)
        pixel = (first[index, None, None] + offset)[inside]
        triangle = np.broadcast_to(keep[index, None, None], inside.shape)[inside]
        _keep_nearest(keys, pixel, depth, triangle)
    large = np.flatnonzero(~small)
    for start in range(0, len(large), _SPAN_BATCH):
        index = large[start : start + _SPAN_BATCH]
        (owner, row), (which, x) = _spans(table[:, index], rows[index], columns[index])
        t = table[:, index[owner]]
        start_depth = t[2] + t[8] * row
        base = first[index[owner]] + row.astype(np.int32) * width
        depth = start_depth.take(which) + t[5].take(which) * x.astype(np.float32)
        pixel = base.take(which) + x
        _keep_nearest(keys, pixel, depth, keep[index[owner]].take(which))

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
      (corner_N3 int32 vertex indices, weight_N3 float32 that sum to 1).
    """
    corner = triangles_F3.take(raster.triangle_N, axis=0)
    place = np.empty((len(xy_V2), 3), np.float32)
    place[:, :2], place[:, 2] = xy_V2, inverse_depth_V
    a, b, c = (place.take(corner[:, k], axis=0) for k in range(3))
    row, column = np.divmod(raster.pixel_N, np.int32(width))
    px, py = column + np.float32(0.5) - a[:, 0], row + np.float32(0.5) - a[:, 1]
    bx, by = b[:, 0] - a[:, 0], b[:, 1] - a[:, 1]
    cx, cy = c[:, 0] - a[:, 0], c[:, 1] - a[:, 1]
    inverse_area = 1.0 / (cx * by - bx * cy)
    weight_b = (cx * py - cy * px) * inverse_area
    weight_c = (by * px - bx * py) * inverse_area
    weight_a = (1.0 - weight_b - weight_c) * a[:, 2]
    weight_b *= b[:, 2]
    weight_c *= c[:, 2]
    scale = 1.0 / (weight_a + weight_b + weight_c)
    weight = np.empty((len(corner), 3), np.float32)
    weight[:, 0], weight[:, 1], weight[:, 2] = weight_a * scale, weight_b * scale, weight_c * scale
    return corner, weight


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
