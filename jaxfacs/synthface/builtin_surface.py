"""The resting skin of the built-in head as a smooth function of two parameters.

A head is lofted through horizontal-ish cross-sections of a skull with its face and neck, and
features (orbits, nose, lips, chin) are added as smooth reliefs at their place on the face. The
numbers are this project's own, set by eye within the ranges of ordinary adult anthropometry:
head 22.8 cm high, 15 cm wide, 19.3 cm deep, pupils 6.3 cm apart, nasion to menton 11.7 cm.

Axes as in `heads`: +x the subject's left, +y up (0 at the pupils), +z out of the face (0 at the
ears); cm. Everything is written for the subject's left half (x ≥ 0) and mirrored afterwards.
"""

import numpy as np

# Cross-sections from the crown to the base of the neck. y in front, at the side and behind;
# half width; z of the widest place, of the front and of the back; exponent of the front's
# superellipse (2 is an ellipse, more is a flatter front with sharper corners).
_SECTIONS = np.array(
    # y_front y_side y_back  width z_wide z_front z_back  n
    [
        [11.6, 11.6, 11.6, 0.0, -1.0, -1.0, -1.0, 2.0],
        [11.35, 11.35, 11.35, 1.9, -1.0, 1.2, -3.1, 2.0],
        [10.6, 10.6, 10.4, 3.7, -1.0, 3.6, -5.3, 2.0],
        [9.3, 9.3, 9.0, 5.25, -0.9, 6.0, -7.3, 2.05],
        [7.5, 7.6, 7.2, 6.4, -0.8, 7.9, -8.8, 2.1],
        [5.5, 5.6, 5.2, 7.1, -0.6, 9.1, -9.6, 2.15],
        [3.6, 3.8, 3.2, 7.45, -0.4, 9.5, -9.8, 2.2],
        [2.0, 2.4, 1.4, 7.4, -0.2, 9.55, -9.7, 2.3],
        [0.6, 1.2, -0.2, 7.25, 0.0, 9.25, -9.4, 2.35],
        [-1.0, -0.1, -1.8, 7.2, 0.1, 8.95, -8.9, 2.45],
        [-2.5, -1.2, -3.2, 7.1, 0.2, 8.9, -8.3, 2.45],
        [-4.0, -2.2, -4.5, 6.95, 0.3, 9.05, -7.6, 2.35],
        [-5.5, -3.2, -5.7, 6.75, 0.4, 9.2, -7.0, 2.25],
        [-7.0, -4.2, -6.8, 6.5, 0.5, 9.25, -6.6, 2.15],
        [-8.5, -5.2, -7.8, 6.25, 0.6, 9.0, -6.35, 2.1],
        [-9.8, -6.2, -8.7, 6.0, 0.7, 8.85, -6.2, 2.05],
        [-10.9, -7.0, -9.4, 5.65, 0.8, 8.4, -6.1, 2.05],
        [-11.6, -7.7, -10.1, 5.2, 0.4, 7.2, -6.1, 2.0],
        [-12.0, -8.5, -10.9, 4.85, -0.4, 5.4, -6.15, 1.95],
        [-12.5, -9.2, -11.8, 4.8, -1.0, 3.9, -6.3, 2.0],
        [-13.8, -11.2, -13.0, 5.0, -1.5, 3.3, -6.6, 2.0],
        [-15.8, -13.8, -14.6, 5.6, -1.9, 3.1, -7.2, 2.0],
        [-18.0, -17.0, -16.6, 7.4, -2.2, 3.2, -8.2, 2.0],
    ]
)
_BLUR_CM = 0.45  # rounding of the loft between two sections
_STEP_CM = 0.05


def _loft() -> tuple[np.ndarray, np.ndarray]:
    """Section numbers as smooth functions of v, the arc length down the profile in cm."""
    profile = _SECTIONS[:, [0, 5]]
    knots = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1))])
    v = np.arange(0, knots[-1], _STEP_CM)
    table = np.stack([np.interp(v, knots, column) for column in _SECTIONS.T], axis=1)
    reach = int(4 * _BLUR_CM / _STEP_CM)
    # Past the crown the head goes on as its own mirror image, past the neck as it was going.
    crown = 2 * table[0] * np.array([0, 0, 0, 1, 1, 1, 1, 0])
    sign = np.array([1, 1, 1, -1, -1, -1, -1, 1])
    before = crown + sign * table[reach:0:-1]
    after = 2 * table[-1] - table[-2 : -reach - 2 : -1]
    offset = np.arange(-reach, reach + 1) * _STEP_CM
    kernel = np.exp(-0.5 * (offset / _BLUR_CM) ** 2)
    kernel /= kernel.sum()
    padded = np.concatenate([before, table, after])
    smooth = np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=1)
    smooth[0, 3] = 0.0
    smooth[0, 4:7] = smooth[0, 4:7].mean()
    return v, smooth


_V, _TABLE = _loft()
V_END = float(_V[-1])


def girth(v_N: np.ndarray) -> np.ndarray:
    """Half width of the section at v: the scale between angle and centimetres across."""
    return np.interp(v_N, _V, _TABLE[:, 3])


def skull(q_N: np.ndarray, v_N: np.ndarray) -> np.ndarray:
    """Points N×3 of the head without its features.

    Args:
      q_N: angle about the head from 0 (the midline in front) to π (the midline behind).
      v_N: arc length down the front profile from the crown, 0..V_END cm.
    """
    place = np.clip(v_N / _STEP_CM, 0, len(_V) - 1.001)
    low = place.astype(int)
    rows = _TABLE[low] + (place - low)[:, None] * (_TABLE[low + 1] - _TABLE[low])
    yf, ys, yb, width, z_wide, z_front, z_back, n = rows.T
    sine = np.clip(np.sin(q_N), 0, 1)
    front = q_N < np.pi / 2
    n = np.where(front, n, 2.15)
    depth = np.maximum(1 - sine**n, 0) ** (1 / n)
    z = z_wide + np.where(front, z_front - z_wide, z_back - z_wide) * depth
    t = (1 - np.cos(q_N)) / 2
    y_control = 2 * ys - (yf + yb) / 2
    y = yf * (1 - t) ** 2 + 2 * y_control * t * (1 - t) + yb * t**2
    return np.stack([width * sine, y, z], axis=1)


def descend(y_front: float) -> float:
    """v of the point of the profile at height y."""
    return float(np.interp(-y_front, -_TABLE[:, 0], _V))


def locate(xy_N2: np.ndarray) -> np.ndarray:
    """The parameters (q, v) N×2 of points of the featureless face seen from the front."""
    x, y = np.asarray(xy_N2, float).T
    v = np.interp(-y, -_TABLE[:, 0], _V)
    q = np.arcsin(np.clip(x / girth(v), 0, 0.99))
    for _ in range(12):
        at = skull(q, v)
        dq, dv = x - at[:, 0], y - at[:, 1]
        q = np.clip(q + dq / np.maximum(girth(v) * np.cos(q), 0.6), 0, 1.5)
        slope = (skull(q, v + 0.05)[:, 1] - skull(q, v - 0.05)[:, 1]) / 0.1
        v = np.clip(v + dv / np.minimum(slope, -0.25), 0, V_END)
    return np.stack([q, v], axis=1)


def smoothstep(x: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x, y, cx, cy, sx, sy, tilt_deg: float = 0.0) -> np.ndarray:
    """A Gaussian of height 1 at (cx, cy) with half-widths (sx, sy) turned by `tilt_deg`."""
    c, s = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    u, w = (x - cx) * c + (y - cy) * s, -(x - cx) * s + (y - cy) * c
    return np.exp(-0.5 * ((u / sx) ** 2 + (w / sy) ** 2))


# --- the eye -------------------------------------------------------------------------------

EYE = np.array([3.15, 0.0, 7.05])  # centre of the left eyeball
EYE_RADIUS = 1.22
INNER_CANTHUS, OUTER_CANTHUS = np.array([1.68, -0.14]), np.array([4.58, 0.12])
_LID_SEMI = (1.62, 1.34, 1.36)  # half axes of the ellipsoid that the lids lie on


def lid_line(t: np.ndarray, upper: bool) -> np.ndarray:
    """The lid margin N×2 seen from the front; t runs from 0 (inner) to 1 (outer corner)."""
    chord = INNER_CANTHUS + t[:, None] * (OUTER_CANTHUS - INNER_CANTHUS)
    if upper:
        lift = 0.52 * (4 * t * (1 - t)) ** 0.72 * (1 + 0.16 * (0.5 - t))
    else:
        lift = -0.52 * (4 * t * (1 - t)) ** 0.80 * (1 - 0.30 * (0.5 - t))
    return chord + np.stack([np.zeros_like(t), lift], axis=1)


def eye_reach(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """1 about where the lids end and the orbit's rim begins; from the centre of the eye, cm."""
    return np.sqrt((dx / 1.95) ** 2 + ((dy - 0.08) / np.where(dy > 0.08, 1.30, 1.28)) ** 2)


def lid_depth(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """z of the lids, an ellipsoid about the eyeball; from the centre of the eye, cm."""
    ax, ay, az = _LID_SEMI
    return EYE[2] + az * np.sqrt(np.maximum(1 - (dx / ax) ** 2 - (dy / ay) ** 2, 0.02))


def _eye_relief(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """z of the face with the orbit and the lids worked in."""
    dx, dy = x - EYE[0], y - EYE[1]
    # The orbit: deepest beside the nose, shallow at the outer rim.
    socket = 0.38 * bump(x, y, 1.95, 0.25, 0.85, 0.75) + 0.16 * bump(x, y, 3.3, 0.2, 1.25, 1.0)
    socket += 0.12 * bump(x, y, 2.6, -1.25, 0.9, 0.4, -25)
    z = z - socket
    lid, reach = lid_depth(dx, dy), eye_reach(dx, dy)
    z = z + (lid - z) * smoothstep(reach, 1.12, 0.62)
    # The fold above the lid, which hangs a little over the crease.
    crease = 0.86 + 0.10 * np.cos(np.clip(dx / 1.7, -1, 1) * np.pi / 2) - 0.05 * dx
    span = np.exp(-0.5 * (dx / 1.15) ** 4)
    z -= 0.11 * span * np.exp(-0.5 * ((dy - crease) / 0.10) ** 2)
    z += 0.12 * span * np.exp(-0.5 * ((dy - crease - 0.34) / 0.24) ** 2)
    z += 0.20 * bump(x, y, 2.9, 1.18, 1.35, 0.35)
    # The bag under the eye.
    z += 0.05 * bump(dx, dy, 0.1, -0.85, 1.0, 0.16)
    z -= 0.06 * bump(dx, dy, -0.3, -1.12, 1.0, 0.13, -8)
    return z


# --- the nose ------------------------------------------------------------------------------

_NOSE_Y = [1.4, 0.5, -0.5, -1.5, -2.5, -3.3, -3.85, -4.25, -4.6, -4.95, -5.3, -5.7]
_NOSE_HEIGHT = [0.0, 0.20, 0.66, 1.18, 1.74, 2.14, 2.26, 2.02, 1.20, 0.50, 0.14, 0.0]
_NOSE_WIDTH = [1.1, 0.90, 0.86, 0.94, 1.04, 1.10, 1.14, 1.12, 1.02, 0.80, 0.6, 0.5]


def _nose_relief(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    fine = np.linspace(-5.7, 1.4, 143)
    soft = np.hanning(13) / np.hanning(13).sum()

    def along(values: list[float]) -> np.ndarray:
        line = np.interp(fine, _NOSE_Y[::-1], values[::-1])
        line = np.convolve(np.pad(line, 6, "edge"), soft, "valid")
        return np.interp(y, fine, line)

    height, width = along(_NOSE_HEIGHT), along(_NOSE_WIDTH)
    z = height * np.exp(-((np.abs(x) / width) ** (2.1 + 0.5 * smoothstep(y, -2.2, -3.8))))
    z += 0.16 * bump(x, y, 0, -3.85, 0.75, 0.55)
    # The wing: cut off sharply at the cheek and below, running softly into the tip and upwards.
    inner = 0.88 * (1 - (x / 1.15) ** 2) ** 2
    across = np.where(x > 1.15, ((x - 1.15) / 0.66) ** 2, inner)
    along_y = (y + 4.38) / np.where(y > -4.38, 0.95, 0.72)
    z += 0.72 * np.clip(1 - across - along_y**2, 0, 1) ** 0.75
    z -= 0.14 * bump(x, y, 1.86, -4.45, 0.13, 0.42, 12)
    z -= 0.50 * bump(x, y, 0.70, -4.80, 0.28, 0.15, 14)
    z += 0.12 * bump(x, y, 0, -4.85, 0.25, 0.25)
    return z


# --- the mouth -----------------------------------------------------------------------------

MOUTH_HALF = 2.55  # from the midline to a lip corner
SLIT_GAPE = 0.16  # half the width of the slit in the flat domain; the lips themselves touch


def slit(x: np.ndarray) -> np.ndarray:
    """y of the line where the lips meet."""
    s = np.clip(np.abs(x) / MOUTH_HALF, 0, 1.3)
    return -7.16 + 0.10 * np.exp(-0.5 * ((s - 0.42) / 0.22) ** 2) - 0.02 * s**2


def lip_border(x: np.ndarray, upper: bool) -> np.ndarray:
    """y of the edge of the red of the lips."""
    s = np.clip(np.abs(x) / MOUTH_HALF, 0, 1)
    if upper:
        height = 0.74 * (1 - s**1.5) ** 0.9 + 0.05 * np.exp(-0.5 * ((s - 0.17) / 0.09) ** 2)
        height -= 0.09 * np.exp(-0.5 * (s / 0.07) ** 2)
        return slit(x) + height
    return slit(x) - 0.95 * (1 - s**2.3) ** 0.85


def _gape(x: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """How far the flat domain is spread at `distance` from the slit to keep the lips apart."""
    half = SLIT_GAPE * np.clip(1 - (x / MOUTH_HALF) ** 2, 0, 1) ** 0.5
    return half * np.exp(-np.maximum(distance - half, 0) / 0.35)


def spread(xy_N2: np.ndarray, below: bool) -> np.ndarray:
    """Where in the flat domain points of the resting face lie: the slit there is a lens."""
    x, y = xy_N2.T
    rest = np.abs(y - slit(x))
    distance = rest
    for _ in range(30):
        distance = rest + _gape(x, distance)
    return np.stack([x, slit(x) + (-1 if below else 1) * distance], axis=1)


def _mouth_relief(x: np.ndarray, y: np.ndarray, below: np.ndarray) -> np.ndarray:
    s = np.clip(x / MOUTH_HALF, 0, 1)
    z = 0.34 * bump(x, y, 0, -6.6, 1.7, 1.5)
    z -= 0.10 * bump(x, y, 0, -5.75, 0.2, 0.5) - 0.07 * bump(x, y, 0.46, -5.85, 0.17, 0.45)
    z -= 0.24 * bump(x, y, 0, -8.75, 1.5, 0.40) - 0.42 * bump(x, y, 0, -10.1, 1.35, 0.95)
    z -= 0.34 * bump(x, y, 2.75, -7.2, 0.34, 0.42) + 0.06 * bump(x, y, 3.05, -8.0, 0.3, 0.8, -15)
    line = slit(x)
    for flag, upper, crest in ((~below, True, 0.36), (below, False, 0.42)):
        border = lip_border(x, upper)
        span = np.maximum(np.abs(border - line), 0.06)
        u = np.abs(y - line) / span  # 0 at the slit, 1 at the border
        fullness = crest * (1 - s**2) ** 0.6
        profile = np.where(
            u < 1,
            1.0
            - 1.25 * np.clip(0.42 - u, 0, 1) ** 2 / 0.42**2
            - 0.42 * np.clip(u - 0.42, 0, 1) / 0.58,
            0.58 * np.exp(-((u - 1) * span / 0.28)),
        )
        z += np.where(flag & (x < MOUTH_HALF), fullness * profile, 0)
    return z


def beyond_furrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """cm outwards from the furrow that runs from the wing of the nose to beside the mouth."""
    return x - (1.95 + 1.25 * np.clip((-4.5 - y) / 3.2, 0, 1) ** 0.8)


def features(at_N3: np.ndarray, below_N: np.ndarray) -> np.ndarray:
    """Works the face into points N×3 of the skull.

    Args:
      at_N3: points of `skull`, x ≥ 0.
      below_N: bool, the point belongs to the lower lip's side of the mouth.
    """
    x, y, z = at_N3.T.copy()
    front = smoothstep(z, 0.5, 4.0)
    y = y + front * np.where(below_N, 1, -1) * _gape(x, np.abs(y - slit(x)))
    # Soft shapes that bulge along the skull's own outward direction.
    out = np.stack([x / 7.2, np.zeros_like(x), np.maximum(z, 0) / 9.3], axis=1)
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)
    bulge = (
        0.16 * bump(x, y, 2.4, 1.75, 1.5, 0.55, 8)
        + 0.16 * bump(x, y, 0, 1.55, 0.8, 0.6)
        + 0.26 * bump(x, y, 4.9, -2.1, 1.4, 0.9, 12)
        + 0.30 * bump(x, y, 3.5, -3.2, 1.3, 1.1)
        - 0.16 * bump(x, y, 5.0, -6.2, 1.1, 1.7, 20)
        - 0.28 * bump(x, y, 6.4, 2.6, 0.8, 1.5)
        + 0.10 * bump(x, y, 2.4, 4.6, 1.7, 1.3)
        + 0.22 * bump(x, y, 3.2, -9.4, 1.5, 0.9, 35)
    )
    x, y, z = (np.stack([x, y, z], axis=1) + (front * bulge)[:, None] * out).T
    z = z + front * (_eye_relief(x, y, z) - z)
    furrow = beyond_furrow(x, y)
    on = smoothstep(y, -8.2, -7.0) * smoothstep(y, -4.0, -4.8)
    z += (
        front
        * on
        * (
            0.07 * np.exp(-0.5 * ((furrow - 0.45) / 0.4) ** 2)
            - 0.07 * np.exp(-0.5 * (furrow / 0.16) ** 2)
        )
    )
    z += front * _nose_relief(x, y)
    z += front * _mouth_relief(x, y, below_N)
    # The tip and the wings of the nose hang over its underside.
    y = y - 0.20 * bump(x, y, 0, -4.2, 0.9, 0.45) - 0.14 * bump(x, y, 1.25, -4.75, 0.4, 0.28)
    return np.stack([x, y, z], axis=1)
