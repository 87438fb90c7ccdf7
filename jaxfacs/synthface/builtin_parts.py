"""What the built-in head's skin does not hold: eyeballs, lid margins, lashes, the inside of the
mouth, teeth, tongue and ears. All on the subject's left half, mirrored later.

Each piece says how it moves with the skin: a vertex copies `follow` of the movement of the skin
vertex `bind`, and takes the rest from the jaw to the share `jaw`.
"""

from dataclasses import dataclass

import numpy as np

from jaxfacs.synthface import builtin_surface as surface

SKIN, SCLERA, IRIS, TEETH, MOUTH, LASHES = range(6)

IRIS_ANGLE_DEG = 28.5  # half angle of the iris seen from the centre of the eyeball
_EYE_RINGS_DEG = (0, 9, 19, IRIS_ANGLE_DEG, 33, 43, 56, 71, 92)
_EYE_SEGMENTS = 24
_EAR_SEGMENTS = 26

_UPPER_TEETH_CM = (0.84, 0.66, 0.76, 0.70, 0.70, 0.95)  # widths from the midline outwards
_LOWER_TEETH_CM = (0.54, 0.58, 0.68, 0.70, 0.72, 1.00)
_UPPER_HEIGHT_CM = (1.02, 0.90, 1.00, 0.86, 0.80, 0.74)
_LOWER_HEIGHT_CM = (0.88, 0.90, 0.98, 0.86, 0.80, 0.74)
UPPER_EDGE_Y, LOWER_EDGE_Y = -7.34, -7.26
_INCISOR_Z = 8.75


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of the left half of the head.

    Attributes:
      vertices_N3: cm.
      triangles_F3: counter-clockwise from outside; indices into the piece, or, where negative,
        −1 − k for vertex k of the skin.
      part: index into `heads.PARTS`, one number or one for each triangle.
      bind_N: skin vertex whose movement is copied, −1 for none.
      follow_N: share of that movement.
      jaw_N: share of the jaw's rotation in the rest.
      seam: whether vertices at x = 0 are shared with the mirror image.
    """

    vertices_N3: np.ndarray
    triangles_F3: np.ndarray
    part: int | np.ndarray
    bind_N: np.ndarray
    follow_N: np.ndarray
    jaw_N: np.ndarray
    seam: bool = False


def _rigid(vertices: np.ndarray, triangles: np.ndarray, part, jaw=0.0, seam=False) -> Piece:
    n = len(vertices)
    return Piece(
        vertices, triangles, part, np.full(n, -1), np.zeros(n), np.full(n, float(jaw)), seam
    )


def grid(rows: int, columns: int, closed: bool = False) -> np.ndarray:
    """Triangles of a grid, counter-clockwise where rows go down and columns to the right."""
    i, j = np.meshgrid(
        np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij"
    )
    a, b = i * columns + j, i * columns + (j + 1) % columns
    c, d = a + columns, b + columns
    return np.concatenate(
        [np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)]
    )


def eyeball() -> Piece:
    polar = np.deg2rad(_EYE_RINGS_DEG[1:])[:, None]
    turn = np.linspace(0, 2 * np.pi, _EYE_SEGMENTS, endpoint=False)[None]
    direction = np.stack(
        [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar) + 0 * turn], -1
    ).reshape(-1, 3)
    direction = np.concatenate([[[0, 0, 1.0]], direction])
    ring = 1 + np.arange(_EYE_SEGMENTS)
    cap = np.stack([np.zeros_like(ring), ring, np.roll(ring, -1)], axis=1)
    rest = grid(len(polar), _EYE_SEGMENTS, closed=True) + 1
    triangles = np.concatenate([cap, rest])
    outer = direction[triangles].min(axis=1)[:, 2]
    part = np.where(outer > np.cos(np.deg2rad(IRIS_ANGLE_DEG)) - 1e-6, IRIS, SCLERA)
    return _rigid(surface.EYE + surface.EYE_RADIUS * direction, triangles, part)


def lid_margin(skin: np.ndarray, loop: np.ndarray) -> Piece:
    """The thickness of the lids: from their edge back to the eyeball."""
    rim = skin[loop] - surface.EYE
    across = rim[:, :2] * np.minimum(1.04, 1.10 / np.linalg.norm(rim[:, :2], axis=1))[:, None]
    radius = surface.EYE_RADIUS * 0.95
    depth = np.sqrt(np.maximum(radius**2 - (across**2).sum(axis=1), 0.05))
    inner = np.concatenate([across, depth[:, None]], axis=1) + surface.EYE
    n = len(loop)
    k = np.arange(n)
    outer_k, outer_next = -1 - loop[k], -1 - loop[(k + 1) % n]
    triangles = np.concatenate(
        [np.stack([outer_k, k, outer_next], 1), np.stack([outer_next, k, (k + 1) % n], 1)]
    )
    return Piece(inner, triangles, SKIN, loop.copy(), np.full(n, 1.0), np.zeros(n))


def lashes(skin: np.ndarray, loop: np.ndarray, margin: int) -> Piece:
    """Single hairs on both lids, and the dark line that their roots make on the upper one.

    Args:
      skin: skin vertices.
      loop: the lid margin; its first `margin` points are the upper lid's.
    """
    vertices, triangles, bind = [], [], []

    def hair(root: np.ndarray, base: np.ndarray, towards: np.ndarray, host: int) -> None:
        first = len(vertices)
        vertices.extend([root - base, root + base, root + towards])
        triangles.append([first, first + 1, first + 2])
        bind.extend([host] * 3)

    upper = loop[:margin]
    lower = np.append(loop[margin:], loop[0])[::-1]
    for line, sign, reach, every in ((upper, 1, 0.55, 2), (lower, -1, 0.28, 1)):
        last = len(line) - 1
        for i in range(2, last, 1):
            for part in np.arange(every) / every:
                t = (i + part) / last
                root = skin[line[i]] * (1 - part) + skin[line[min(i + 1, last)]] * part
                along = skin[line[min(i + 1, last)]] - skin[line[i - 1]]
                along *= (0.016 if sign > 0 else 0.010) / max(np.linalg.norm(along), 1e-6)
                length = reach * (0.55 + 0.6 * t - 0.25 * t**3)
                out = np.array([0.75 * (t - 0.35), sign * 0.55, 0.62])
                base = along if sign > 0 else -along
                hair(
                    root + np.array([0, 0, 0.015]),
                    base,
                    out * length / np.linalg.norm(out),
                    line[i],
                )
    first = len(vertices)
    low = skin[upper] + [0, -0.01, 0.012]
    thick = 0.055 * np.sin(np.pi * np.linspace(0.06, 0.94, margin)) ** 0.5
    high = low + np.stack([0 * thick, thick, 0.02 + 0 * thick], axis=1)
    vertices.extend([*high, *low])
    triangles.extend(grid(2, margin) + first)
    bind.extend([*upper, *upper])
    n = len(vertices)
    return Piece(
        np.array(vertices), np.array(triangles), LASHES, np.array(bind), np.ones(n), np.zeros(n)
    )


def mouth_bag(skin: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> Piece:
    """The inner side of the lips, and the cavity behind the teeth."""
    ring = np.concatenate([upper, lower[-2::-1]])
    n, corner = len(ring), len(upper) - 1
    rim = skin[ring]
    sign = np.where(np.arange(n) < corner, 1.0, -1.0)
    share = np.sqrt(np.clip(1 - (rim[:, 0] / surface.MOUTH_HALF) ** 2, 0, 1))
    jaw = np.where(np.arange(n) < corner, 0.0, 1.0)
    jaw += np.where(np.arange(n) < corner, 1, -1) * 0.5 * (1 - share)
    # Scale of x, step up or down, depth, how far the lips take it along.
    steps = (
        (0.995, 0.05, 0.20, 1.0),
        (0.99, 0.30, 0.42, 0.85),
        (1.02, 0.85, 0.60, 0.45),
        (1.10, 1.25, 1.60, 0.1),
        (1.00, 1.35, 3.60, 0.0),
        (0.75, 1.00, 5.60, 0.0),
    )
    vertices, follow = [], []
    for wide, up, deep, held in steps:
        vertices.append(
            rim * [wide, 1, 1]
            + np.stack([0 * sign, sign * up * (0.25 + 0.75 * share), -deep + 0 * sign], 1)
        )
        follow.append(np.full(n, held))
    end = np.array([[0, -7.3, 2.9]])
    points = np.concatenate([*vertices, end])
    inside = grid(len(steps), n)
    first = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)
    outer = -1 - ring
    joint = np.concatenate(
        [
            np.stack([outer[:-1], first[:, 0], outer[1:]], 1),
            np.stack([outer[1:], first[:, 0], first[:, 1]], 1),
        ]
    )
    last = (len(steps) - 1) * n + first
    fan = np.stack([last[:, 0], np.full(n - 1, len(points) - 1), last[:, 1]], axis=1)
    triangles = np.concatenate([joint, inside, fan])
    part = np.full(len(triangles), MOUTH)
    part[: len(joint)] = SKIN
    row = inside.min(axis=1) // n
    part[len(joint) : len(joint) + len(inside)][row == 0] = SKIN
    return Piece(
        points,
        triangles,
        part,
        np.append(np.tile(ring, len(steps)), -1),
        np.append(np.concatenate(follow), 0),
        np.append(np.tile(jaw, len(steps)), 0.5),
        seam=True,
    )


def _arch(s: np.ndarray, z_front: float) -> tuple[np.ndarray, np.ndarray]:
    """Position and outward direction on the dental arch at s cm from the midline."""
    a = np.linspace(0, 1.45, 400)
    line = np.stack([2.75 * np.sin(a), z_front - 4.0 * (1 - np.cos(a))], axis=1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.stack([np.interp(s, length, line[:, k]) for k in (0, 1)], axis=-1)
    normal = np.stack([at[..., 0] / 2.75**2, (at[..., 1] - z_front + 4.0) / 16], axis=-1)
    return at, normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def teeth(upper: bool) -> list[Piece]:
    widths, heights = (
        (_UPPER_TEETH_CM, _UPPER_HEIGHT_CM) if upper else (_LOWER_TEETH_CM, _LOWER_HEIGHT_CM)
    )
    z_front = _INCISOR_Z - (0.0 if upper else 0.22)
    edge_y, up = (UPPER_EDGE_Y, 1) if upper else (LOWER_EDGE_Y, -1)
    vertices, triangles = [], []
    start = 0.0
    across, down = np.linspace(0, 1, 5), np.linspace(0, 1, 5)
    for number, (width, height) in enumerate(zip(widths, heights, strict=True)):
        c, d = np.meshgrid(across, down)  # d: 0 at the biting edge, 1 at the gum
        narrow = 0.86 + 0.14 * np.sin(np.pi * np.clip(0.25 + 0.5 * (1 - d), 0, 1)) ** 2
        s = start + width * (0.5 + (c - 0.5) * 0.985 * narrow)
        at, out = _arch(s, z_front)
        bulge = (
            0.14 * (1 - (2 * c - 1) ** 4) * (0.55 + 0.45 * np.sin(np.pi * d)) - 0.10 * (1 - d) ** 2
        )
        round_edge = 0.07 * np.abs(2 * c - 1) ** 3 * (1 - d) ** 3
        lift = 0.07 if number == 1 and upper else 0.0
        y = edge_y + up * (lift + round_edge + d * (height - lift))
        xyz = np.stack([at[..., 0] + out[..., 0] * bulge, y, at[..., 1] + out[..., 1] * bulge], -1)
        faces = grid(5, 5) + sum(len(v) for v in vertices)
        triangles.append(faces[:, ::-1] if upper else faces)
        vertices.append(xyz.reshape(-1, 3))
        start += width
    jaw = 0.0 if upper else 1.0
    gum_s, gum_d = np.meshgrid(np.linspace(0, start, 14), np.array([0.0, 0.5, 1.0]))
    at, out = _arch(gum_s, z_front)
    raised = 0.02 + 0.10 * np.sin(np.pi * gum_d)
    base = np.interp(gum_s, np.cumsum(widths), heights) - 0.16
    y = edge_y + up * (base + 0.75 * gum_d)
    gum = np.stack([at[..., 0] + out[..., 0] * raised, y, at[..., 1] + out[..., 1] * raised], -1)
    faces = grid(3, 14)
    gum_faces = faces[:, ::-1] if upper else faces
    return [
        _rigid(np.concatenate(vertices), np.concatenate(triangles), TEETH, jaw),
        _rigid(gum.reshape(-1, 3), gum_faces, MOUTH, jaw, seam=True),
    ]


def tongue() -> Piece:
    s, c = np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 6), indexing="ij")
    half = 1.75 * (1 - s**3.5) ** 0.5
    x = half * np.sin(c * np.pi / 2)
    top = -7.85 - 0.55 * s**2 + 0.30 * np.sin(np.pi * s)
    y = top - 0.75 * (1 - np.cos(c * np.pi / 2)) + 0.10 * np.clip(np.abs(c) * 4, 0, 1) - 0.1
    z = 3.4 + 4.85 * s
    n = 9
    xyz = np.stack([x, y, z], axis=-1)[::-1].reshape(-1, 3)
    return _rigid(xyz, grid(n, 6)[:, ::-1], MOUTH, 0.92, seam=True)


def ear() -> Piece:
    rings = np.array([0.0, 0.25, 0.42, 0.55, 0.66, 0.76, 0.86, 0.94, 1.0])
    turn = np.linspace(0, 2 * np.pi, _EAR_SEGMENTS, endpoint=False)
    r, a = np.meshgrid(rings, turn, indexing="ij")
    lobe = surface.smoothstep(-np.sin(a), 0.1, 1.0)
    back, up = np.cos(a), np.sin(a)
    wide = 1.60 * (1 - 0.24 * lobe + 0.14 * np.clip(up, 0, 1))
    # Inner rings gather at the ear's hole, low in front.
    p = r * wide * back - 0.55 * (1 - r)
    h = r * 2.95 * up - 0.30 * (1 - r)
    rim = np.where(back > 0, 1.0, np.clip(1 + 1.3 * back, 0, 1) + 0.5 * np.clip(up, 0, 1)) * (
        1 - lobe * 0.75
    )
    w = 0.34 * rim * np.exp(-0.5 * ((r - 0.92) / 0.07) ** 2)
    w -= 0.12 * rim * np.exp(-0.5 * ((r - 0.76) / 0.07) ** 2)
    w += (
        0.30
        * np.exp(-0.5 * ((r - 0.58) / 0.09) ** 2)
        * np.clip(0.6 + 0.6 * back, 0, 1)
        * (1 - lobe)
    )
    w -= 0.75 * np.exp(-0.5 * (r / 0.30) ** 2)
    w += 0.25 * surface.bump(p, h, -1.15, -0.35, 0.28, 0.5)
    w += 0.05 - 0.25 * r**2
    front = np.stack([p, h, w], axis=-1)
    behind_r = np.array([0.97, 0.80, 0.5])[:, None]
    behind = np.stack(
        [
            behind_r * wide[0] * back[0],
            behind_r * 2.95 * up[0],
            np.array([-0.42, -0.62, -1.0])[:, None] + 0 * wide[0],
        ],
        axis=-1,
    )
    local = np.concatenate([front.reshape(-1, 3), behind.reshape(-1, 3)])
    tilt, flare = np.deg2rad(10), np.deg2rad(24)
    axis_h = np.array([0.06, np.cos(tilt), -np.sin(tilt)])
    axis_p = np.array([np.sin(flare), -np.sin(tilt) * 0.9, -np.cos(flare)])
    axis_w = np.array([np.cos(flare), 0, np.sin(flare)])
    vertices = (
        np.array([7.40, -1.15, -0.55]) + local @ np.stack([axis_h, axis_p, axis_w])[[1, 0, 2]]
    )
    triangles = grid(len(rings) + 3, _EAR_SEGMENTS, closed=True)
    area = np.linalg.norm(
        np.cross(
            vertices[triangles[:, 1]] - vertices[triangles[:, 0]],
            vertices[triangles[:, 2]] - vertices[triangles[:, 0]],
        ),
        axis=1,
    )
    return _rigid(vertices, triangles[area > 1e-7], SKIN)


def scalp(at_N3: np.ndarray) -> np.ndarray:
    """Depth inside the hairline in cm (negative outside) of points of the skin."""
    x, y, z = np.abs(at_N3[:, 0]), at_N3[:, 1], at_N3[:, 2]
    front_y = 6.7 - 0.25 * np.cos(x * 1.3) - 0.035 * x**2 - 2.0 * surface.smoothstep(x, 4.4, 6.2)
    forehead = y - front_y
    sideburn = np.minimum(2.4 - z, y + 1.2)
    low = -1.5 - 0.9 * np.clip(-z - 1.0, 0, 4.5)
    behind = np.minimum(y - low, -0.8 - z)
    temple = np.minimum(2.6 - z + 0.35 * (y - 3), y - 0.0)
    return np.maximum(np.maximum(forehead, behind), np.maximum(np.minimum(sideburn, 0.3), temple))
