"""Triangles for the built-in head's skin: fine at the eyes, nose and lips, coarse on the skull.

The half head is unrolled to the plane (u across, v down, nearly true to length on the face).
Points on the lid margins, the lips and the midline are fixed; the others are pushed apart by
springs until edges have the wanted length (the idea of Persson and Strang, "A simple mesh
generator in MATLAB", SIAM Review 46, 2004), over OpenCV's Delaunay triangulation.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.synthface import builtin_parts as parts
from jaxfacs.synthface import builtin_surface as surface

_TRIANGULATIONS, _STEPS = 9, 4  # and steps of the springs on each
_PRESSURE = 1.15  # wanted lengths are a little too long, so that points spread to the rims


@dataclass(frozen=True, eq=False)
class HalfSkin:
    """The subject's left half of the skin.

    Attributes:
      qv_N2: parameters of `surface.skull` for N vertices.
      below_N: bool, on the lower lip's side of the mouth.
      seam_N: bool, on the midline: shared with the other half.
      triangles_F3: counter-clockwise seen from outside.
      eye_loop: indices about the eye: upper margin from the inner to the outer corner, then the
        lower margin back to (not including) the inner corner.
      upper_lip, lower_lip: indices from the midline to the corner, which both hold.
    """

    qv_N2: np.ndarray
    below_N: np.ndarray
    seam_N: np.ndarray
    triangles_F3: np.ndarray
    eye_loop: np.ndarray
    upper_lip: np.ndarray
    lower_lip: np.ndarray


EYE_POINTS = 19  # on one lid margin, both corners counted
LIP_POINTS = 20  # on one lip from the midline to the corner


def half_skin() -> HalfSkin:
    """Meshes the half head. Deterministic."""
    eye, eye_rings = _eye_points()
    lips, lip_rings = _lip_points()
    loops = _flatten(np.concatenate([eye, lips]))
    upper, lower = _lip_indices(len(eye))
    edge = _edge_points(loops[upper[0], 1], loops[lower[0], 1])
    rings = _flatten(np.concatenate([eye_rings, lip_rings]))
    fixed = np.concatenate([loops, edge])
    rings = _thin(rings, fixed, 0.55)
    fixed = np.concatenate([fixed, rings])
    holes = [loops[: len(eye)], np.concatenate([loops[upper], loops[lower[::-1]]])]
    points, triangles = _relax(fixed, holes)
    points[np.abs(points[:, 0]) < 1e-6, 0] = 0
    girth = np.maximum(surface.girth(points[:, 1]), 1e-9)
    qv = np.stack([np.clip(points[:, 0] / girth, 0, np.pi), points[:, 1]], axis=1)
    seam = np.zeros(len(points), bool)
    seam[len(loops) : len(loops) + _seam_count(edge)] = True
    seam[[upper[0], lower[0]]] = True
    below = _below(points, qv)
    below[lower[:-1]] = True
    below[upper] = False
    return HalfSkin(qv, below, seam, triangles, np.arange(len(eye)), upper, lower)


def _flatten(xy_N2: np.ndarray) -> np.ndarray:
    qv = surface.locate(xy_N2)
    return np.stack([qv[:, 0] * surface.girth(qv[:, 1]), qv[:, 1]], axis=1)


def _below(points: np.ndarray, qv: np.ndarray) -> np.ndarray:
    at = surface.skull(qv[:, 0], qv[:, 1])
    return at[:, 1] < surface.slit(at[:, 0])


def _eye_points() -> tuple[np.ndarray, np.ndarray]:
    t = (1 - np.cos(np.linspace(0, np.pi, EYE_POINTS))) / 2
    loop = np.concatenate([surface.lid_line(t, True), surface.lid_line(t, False)[-2:0:-1]])
    tangent = np.roll(loop, -1, axis=0) - np.roll(loop, 1, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    outward = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    rings = [loop + outward * d for d in (0.11, 0.23, 0.36, 0.50)]
    return loop, np.concatenate(rings)


def _lip_points() -> tuple[np.ndarray, np.ndarray]:
    """The slit's two edges (corner last, then the lower one without it), and rings about it."""
    x = surface.MOUTH_HALF * np.sin(np.linspace(0, np.pi / 2, LIP_POINTS))
    edges, rings = [], []
    for upper in (True, False):
        border = surface.lip_border(x, upper)
        line = surface.slit(x)
        edge = surface.spread(np.stack([x, line], axis=1), not upper)
        edges.append(edge if upper else edge[:-1])
        for part in (0.25, 0.5, 0.75, 1.0):
            ring = np.stack([x, line + part * (border - line)], axis=1)
            rings.append(surface.spread(ring, not upper)[1:])
        out = 0.16 if upper else -0.16
        reach = 1 + 0.04 * (x / surface.MOUTH_HALF) ** 8
        rings.append(surface.spread(np.stack([x * reach, border + out], axis=1), not upper)[1:])
    return np.concatenate(edges), np.concatenate(rings)


def _lip_indices(start: int) -> tuple[np.ndarray, np.ndarray]:
    upper = start + np.arange(LIP_POINTS)
    lower = start + LIP_POINTS + np.arange(LIP_POINTS - 1)
    return upper, np.append(lower, upper[-1])


def _edge_points(v_upper: float, v_lower: float) -> np.ndarray:
    """The rim of the half head: midline in front (without the slit), behind, and the neck."""

    def walk(q: float, start: float, stop: float) -> np.ndarray:
        v = np.linspace(start, stop, 400)
        line = np.stack([q * surface.girth(v), v], axis=1)
        wanted = np.concatenate([[0], np.cumsum((v[1] - v[0]) / _edge_length(line)[1:])])
        at = np.interp(np.linspace(0, wanted[-1], round(wanted[-1]) + 1), wanted, v)
        return np.stack([q * surface.girth(at), at], axis=1)

    end = surface.V_END - 1e-6
    front = np.concatenate([walk(0, 0, v_upper)[:-1], walk(0, v_lower, end)[1:]])
    back = walk(np.pi, 0, end)[1:]
    across = np.linspace(0, back[-1, 0], 22)[1:-1]
    base = np.stack([across, np.full_like(across, end)], axis=1)
    return np.concatenate([front, back, base])


def _seam_count(edge: np.ndarray) -> int:
    return len(edge) - 20


def _edge_length(points_N2: np.ndarray) -> np.ndarray:
    """The wanted edge length in cm at points of the flat domain."""
    girth = np.maximum(surface.girth(points_N2[:, 1]), 1e-3)
    x, y, z = surface.skull(np.clip(points_N2[:, 0] / girth, 0, np.pi), points_N2[:, 1]).T
    eye = np.hypot((x - surface.EYE[0]) / 1.0, y - surface.EYE[1])
    mouth = np.hypot(np.maximum(np.abs(x) - 1.6, 0), y + 7.2)
    nose = np.hypot(np.maximum(np.abs(x) - 1.1, 0), y + 4.45)
    brow = np.hypot(np.maximum(np.abs(x - 2.9) - 1.9, 0), y - 2.1)
    bridge = np.hypot(np.maximum(np.abs(x) - 1.2, 0), np.maximum(np.abs(y + 0.6) - 1.0, 0))
    face = np.hypot(np.maximum(np.abs(x) - 4.0, 0) / 1.2, np.maximum(np.abs(y + 2.5) - 7.5, 0))
    length = 0.34 + 0.18 * face
    for distance, least, flat in (
        (eye, 0.15, 1.3),
        (mouth, 0.17, 0.7),
        (nose, 0.16, 0.5),
        (brow, 0.23, 0.3),
        (bridge, 0.21, 0.3),
    ):
        length = np.minimum(length, least + 0.14 * np.maximum(distance - flat, 0))
    length = np.minimum(
        length, np.where(y > 1.0, 0.30 + 0.2 * np.maximum(y - 6.5, 0) + 0.15 * face, 9)
    )
    length = np.minimum(length, 1.25) + 0.2 * (z < 0)
    hairline = np.abs(parts.scalp(np.stack([x, y, z], axis=1)) - 0.2)
    return np.minimum(length, 0.45 + 0.5 * np.maximum(hairline - 0.6, 0))


def _thin(points: np.ndarray, fixed: np.ndarray, share: float) -> np.ndarray:
    """Leaves out points nearer than `share` of the wanted length to those kept before."""
    kept = list(fixed)
    new = []
    for point, length in zip(points, _edge_length(points), strict=True):
        if np.min(np.sum((np.asarray(kept) - point) ** 2, axis=1)) > (share * length) ** 2:
            kept.append(point)
            new.append(point)
    return np.array(new)


def _start_points(fixed: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """A triangular lattice thinned at random to the wanted density, clear of the fixed points."""
    rng = np.random.default_rng(0)
    step = 0.13
    v, u = np.meshgrid(
        np.arange(0, surface.V_END, step * np.sqrt(3) / 2), np.arange(0, 24, step), indexing="ij"
    )
    u = u + (np.arange(len(u)) % 2)[:, None] * step / 2
    points = np.stack([u.ravel(), v.ravel()], axis=1)
    points = points[points[:, 0] < np.pi * surface.girth(points[:, 1])]
    length = _edge_length(points)
    keep = rng.random(len(points)) < (step / length) ** 2
    points, length = points[keep], length[keep]
    near = _nearest(points, fixed)
    points = points[near > 0.7 * length]
    return _outside(points, holes)


def _outside(points: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """The points clear of the holes and of the rims in front and behind."""
    to_rim = np.minimum(points[:, 0], np.pi * surface.girth(points[:, 1]) - points[:, 0])
    keep = to_rim > 0.3 * _edge_length(points)
    return points[keep & ~np.any([_inside(points, hole) for hole in holes], axis=0)]


def _nearest(points: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Distance from each point to the nearest fixed one, to a twentieth of a centimetre."""
    cell = 0.05
    place = np.round(np.concatenate([points, fixed]) / cell).astype(int)
    free = np.full(place.max(axis=0) + 1, 255, np.uint8)
    free[tuple(place[len(points) :].T)] = 0
    distance = cv2.distanceTransform(free, cv2.DIST_L2, 5)
    return cell * distance[tuple(place[: len(points)].T)]


def _inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Even-odd test of points N×2 in a closed polygon."""
    x, y = points[:, :1], points[:, 1:]
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, axis=0).T
    crosses = (y0 > y) != (y1 > y)
    at = x0 + (y - y0) * (x1 - x0) / np.where(y1 == y0, 1e-12, y1 - y0)
    return np.sum(crosses & (x < at), axis=1) % 2 == 1


def _delaunay(points: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """Triangles F×3 of points in the half head, without those in the holes or outside."""
    flat = points.astype(np.float32)
    low, high = flat.min(axis=0) - 40, flat.max(axis=0) + 40
    plane = cv2.Subdiv2D((int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])))
    plane.insert(flat)  # pyrefly: ignore  (the stub knows no arrays)
    corners = np.asarray(plane.getTriangleList(), np.float32).reshape(-1, 2)
    key = np.ascontiguousarray(flat).view(np.int64).ravel()
    order = np.argsort(key)
    asked = np.ascontiguousarray(corners).view(np.int64).ravel()
    place = np.minimum(np.searchsorted(key[order], asked), len(key) - 1)
    index = np.where(key[order][place] == asked, order[place], -1).reshape(-1, 3)
    index = index[(index >= 0).all(axis=1)]
    a, b, c = points[index[:, 0]], points[index[:, 1]], points[index[:, 2]]
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    index = np.where((area > 0)[:, None], index[:, ::-1], index)  # v points down
    middle = (a + b + c) / 3
    keep = np.abs(area) > 1e-5
    keep &= middle[:, 0] < np.pi * surface.girth(middle[:, 1]) + 1e-3
    keep &= ~np.any([_inside(middle, hole) for hole in holes], axis=0)
    return index[keep]


def _relax(fixed: np.ndarray, holes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Points (the fixed ones first) with even triangles of the wanted size."""
    points = np.concatenate([fixed, _start_points(fixed, holes)])
    first = len(fixed)
    for _ in range(_TRIANGULATIONS):
        points = np.concatenate([fixed, _outside(points[first:], holes)])
        triangles = _delaunay(points, holes)
        sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
        low, high = sides.min(axis=1), sides.max(axis=1)
        key = np.unique(low * len(points) + high)
        sides = np.stack([key // len(points), key % len(points)], axis=1)
        length = _edge_length(points)[sides].mean(axis=1)
        for _ in range(_STEPS):
            span = points[sides[:, 0]] - points[sides[:, 1]]
            now = np.linalg.norm(span, axis=1)
            want = length * _PRESSURE * np.sqrt((now**2).sum() / (length**2).sum())
            push = (np.maximum(want - now, 0) / np.maximum(now, 1e-9))[:, None] * span
            for axis in (0, 1):
                force = np.bincount(sides[:, 0], push[:, axis], len(points))
                force -= np.bincount(sides[:, 1], push[:, axis], len(points))
                points[first:, axis] += 0.2 * force[first:]
            rim = np.pi * surface.girth(points[first:, 1])
            points[first:, 0] = np.clip(points[first:, 0], 0.05, np.maximum(rim - 0.05, 0.06))
            points[first:, 1] = np.clip(points[first:, 1], 0.05, surface.V_END - 0.05)
    points = np.concatenate([fixed, _outside(points[first:], holes)])
    points = points.astype(np.float32).astype(float)
    return points, _delaunay(points, holes)
