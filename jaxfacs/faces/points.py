"""Facial landmarks: the orders in which they are given, an average face, the square around them.

All points are (x, y) in pixels, origin top left. The orders are told apart by their number:

    68  iBUG / Multi-PIE: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67
    66  the same without the inner mouth corners 60 and 64, as DISFA and UNBC-McMaster give them
        (the active appearance models of CMU and Pittsburgh; the usual reading of their files)
    51  68 without the jaw
    49  66 without the jaw, as BP4D's two-dimensional features and the supervised descent trackers
    5   the subject's right eye, left eye, nose tip, right and left mouth corner, as YuNet's
"""

import numpy as np

from jaxfacs.errors import UserError

_ALL = np.arange(68)
_WITHOUT_INNER_CORNERS = np.delete(_ALL, (60, 64))
IN_68 = {
    68: _ALL,
    66: _WITHOUT_INNER_CORNERS,
    51: _ALL[17:],
    49: _WITHOUT_INNER_CORNERS[17:],
}
KINDS = (*sorted(IN_68, reverse=True), 5)
_RIGHT_EYE, _LEFT_EYE, _MOUTH_CORNERS = slice(36, 42), slice(42, 48), (48, 54)

# The Haar cascade's square against the box of the 68 landmarks: side over width, side over height
# (1.19, less because mouths open), and how far its middle lies above, in sides. Medians of 60
# near-frontal renders; they spread by 4, 7 and 2 %.
HAAR_SIDE, HAAR_SIDE_OF_HEIGHT, HAAR_RAISE = 1.285, 1.1, 0.19

# One half of the built-in rendered head at rest from the front, in sides of its Haar square: the
# jaw from the subject's right to the chin, the right brow, bridge and tip of the nose, its right
# wing to the septum, the right eye, the right half of the mouth.
_JAW = (
    (0.111, 0.439), (0.112, 0.539), (0.133, 0.638), (0.154, 0.741), (0.193, 0.842),
    (0.245, 0.940), (0.311, 1.010), (0.403, 1.048), (0.500, 1.072),
)  # fmt: skip
_BROW = ((0.215, 0.338), (0.278, 0.311), (0.337, 0.308), (0.388, 0.316), (0.441, 0.341))
_BRIDGE = ((0.500, 0.417), (0.500, 0.498), (0.500, 0.571), (0.500, 0.664))
_WING = ((0.429, 0.716), (0.466, 0.732), (0.500, 0.730))
_EYE = (
    (0.244, 0.435), (0.285, 0.416), (0.366, 0.421),
    (0.406, 0.449), (0.365, 0.467), (0.284, 0.463),
)  # fmt: skip
_MOUTH = {
    48: (0.358, 0.842), 49: (0.413, 0.815), 50: (0.477, 0.797), 51: (0.500, 0.805),
    57: (0.500, 0.897), 58: (0.454, 0.886), 59: (0.403, 0.873),
    60: (0.375, 0.841), 61: (0.454, 0.836), 62: (0.500, 0.840),
    66: (0.500, 0.840), 67: (0.454, 0.836),
}  # fmt: skip


def _mirrored() -> np.ndarray:
    """For each of the 68 points the one on the other side of the face."""
    mirror = _ALL.copy()
    for first, last in ((0, 16), (17, 26), (31, 35), (48, 54), (55, 59), (60, 64), (65, 67)):
        mirror[first : last + 1] = np.arange(last, first - 1, -1)
    for right, left in ((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)):
        mirror[[right, left]] = left, right
    return mirror


MIRROR_68 = _mirrored()


def _average() -> np.ndarray:
    half = np.full((68, 2), np.nan)
    for first, part in ((0, _JAW), (17, _BROW), (27, _BRIDGE), (31, _WING), (36, _EYE)):
        half[first : first + len(part)] = part
    for place, point in _MOUTH.items():
        half[place] = point
    other = half[MIRROR_68] * (-1, 1) + (1, 0)
    return np.where(np.isnan(half), other, half)


# 68 points in the unit square that the Haar cascade would draw around this face. One unit is
# 179 mm on the built-in head, whose jaw is 139 mm wide.
AVERAGE_68x2 = _average()
AVERAGE_MM = 179.1


def checked(points_K2: np.ndarray) -> np.ndarray:
    """Landmarks as float64 K×2.

    Raises:
      UserError: their number is none of `KINDS`.
    """
    points = np.asarray(points_K2, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in KINDS:
        raise UserError(
            f"landmarks of the shape {'×'.join(map(str, points.shape))} are none of the known "
            f"orders; give {', '.join(map(str, KINDS))} points (x, y)"
        )
    return points


def as_68(points_K2: np.ndarray) -> np.ndarray:
    """The given points at their places among the 68, float64 68×2; NaN where none is given."""
    points = checked(points_K2)
    whole = np.full((68, 2), np.nan)
    if len(points) == 5:
        whole[30] = points[2]
        whole[list(_MOUTH_CORNERS)] = points[3:]
    else:
        whole[IN_68[len(points)]] = points
    return whole


def centres(points_K2: np.ndarray) -> np.ndarray:
    """3×2: middles of the subject's right eye, of the left eye, and between the mouth corners."""
    points = checked(points_K2)
    if len(points) == 5:
        return np.stack([points[0], points[1], points[3:].mean(0)])
    whole = as_68(points)
    parts = (whole[_RIGHT_EYE], whole[_LEFT_EYE], whole[list(_MOUTH_CORNERS)])
    return np.stack([part.mean(0) for part in parts])


def similarity(source_N2: np.ndarray, target_N2: np.ndarray) -> np.ndarray | None:
    """The 2×3 matrix of turn, scale and shift that brings source closest to target.

    Least squares in closed form: a turn with a scale is one complex number. None where the points
    lie in one place or are not all known.
    """
    source, target = (np.asarray(p, np.float64) @ (1, 1j) for p in (source_N2, target_N2))
    spread = source - source.mean()
    weight = float(np.vdot(spread, spread).real)
    if not np.isfinite(weight) or weight < 1e-9:
        return None
    turn = np.vdot(spread, target - target.mean()) / weight
    shift = target.mean() - turn * source.mean()
    return np.array(
        [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]], np.float64
    )


def haar_square(points_K2: np.ndarray) -> np.ndarray:
    """The square that the Haar cascade would draw, float32 (x, y, side, side), from landmarks.

    With a jaw it is measured at the box of the points, without one at eyes and mouth. NaN where
    these are not known.
    """
    points = np.asarray(points_K2)
    if len(checked(points)) >= 66 and np.isfinite(points).all():
        low, high = points.min(0), points.max(0)
        width, height = (float(v) for v in high - low)
        side = max(HAAR_SIDE * width, HAAR_SIDE_OF_HEIGHT * height)  # a turned head is narrow
        centre_2 = (low + high) / 2 - (0, HAAR_RAISE * side)
    else:
        fit = similarity(centres(AVERAGE_68x2), centres(points))
        if fit is None or not np.isfinite(fit).all():
            return np.full(4, np.nan, np.float32)
        side = float(np.hypot(*fit[:, 0]))
        centre_2 = fit @ (0.5, 0.5, 1)
    return np.array([*(centre_2 - side / 2), side, side], np.float32)
