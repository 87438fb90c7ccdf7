"""Moving a face's box along with its picture, between two detections.

The face as it was when it was detected is a small patch. In each later frame the place of the patch
is refined from the place before by optical flow (pyramidal Lucas-Kanade) on a grid of points, of
which the majority decides on shift, size and tilt. Flow is always measured from that first patch,
so errors do not add up; how much the picture there still looks like it is told, so that the caller
can detect anew.
"""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from jaxfacs.faces.detect import Face

_SIDE = 64  # of the patch, pixels
_GRID = 8  # points on a side
_FIRST, _LAST = 0.1, 0.9  # of the patch, where the points lie: the rim is background
_FEWEST = 20  # points that must agree
# Pixels of the patch: after a shift of less, the picture at the old place tells enough; after one
# of more, the flow is measured again from the new place.
_NEAR, _FAR = 0.7, 5.0
_MIDDLE = _SIDE / 2 * (1 + 1j)
_TURN = 0.35  # rad, and log of size: beyond it, it is another view and must be detected anew

_LINE = np.linspace(_FIRST * _SIDE, _LAST * _SIDE, _GRID, dtype=np.float32)
_FLOW: Any = {
    "winSize": (13, 13),
    "maxLevel": 2,  # with the window: shifts of up to a quarter of the face are followed
    "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 12, 0.02),
    "minEigThreshold": 2e-4,
}
_NO_GUESS: Any = None
_POINTS_N2 = np.stack(np.meshgrid(_LINE, _LINE), -1).reshape(-1, 1, 2)
_POINTS_N = _POINTS_N2[:, 0, 0] + 1j * _POINTS_N2[:, 0, 1].astype(np.float64)


@dataclass(frozen=True, eq=False)
class Anchor:
    """A face as it was detected.

    Attributes:
      face: the detection.
      patch: _SIDE² grey uint8, the square of its box.
      turn, shift: complex: a point z = x + iy of the face's frame now lies at turn·z + shift.
    """

    face: Face
    patch: np.ndarray
    turn: complex = 1.0 + 0j
    shift: complex = 0j


def anchored(frame_HWC: np.ndarray, face: Face) -> Anchor:
    """The start: a face where it was just detected."""
    return Anchor(face, _sampled(frame_HWC, face.box_4, 1.0 + 0j, 0j))


def moved(anchor: Anchor, frame_HWC: np.ndarray) -> tuple[Anchor, float]:
    """The face in the next frame, and how much the picture there looks like it, up to 1.

    A likeness of -1: it was not found again.
    """
    turn, shift = anchor.turn, anchor.shift
    corner, scale = _corner_and_scale(anchor.face.box_4)
    patch = _sampled(frame_HWC, anchor.face.box_4, turn, shift)
    for _ in range(2):
        step = _step(anchor.patch, patch)
        if step is None:
            return anchor, -1.0
        more, by = step
        shift = turn * (corner - more * corner + by / scale) + shift
        turn = turn * more
        far = abs(by + (more - 1) * _MIDDLE)
        if far > _NEAR:
            patch = _sampled(frame_HWC, anchor.face.box_4, turn, shift)
        if far < _FAR:
            break
    if abs(np.log(turn)) > _TURN:
        return anchor, -1.0
    return replace(anchor, turn=turn, shift=shift), likeness(anchor.patch, patch)


def face_of(anchor: Anchor) -> Face:
    """The face where it is now; its box stays upright."""
    face, turn, shift = anchor.face, anchor.turn, anchor.shift
    size = abs(turn) * face.box_4[2:]
    middle = turn * _complex(face.box_4[:2] + face.box_4[2:] / 2) + shift
    low = np.array([middle.real, middle.imag]) - size / 2
    points = face.landmarks_5x2
    if points is not None:
        places = turn * _complex(points) + shift
        points = np.stack([places.real, places.imag], -1).astype(np.float32)
    return Face(np.concatenate([low, size]).astype(np.float32), face.confidence, points)


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two grey pictures, -1 to 1; 0 where one is flat."""
    return float(cv2.matchTemplate(a, b, cv2.TM_CCOEFF_NORMED)[0, 0])


def _step(before: np.ndarray, now: np.ndarray) -> tuple[complex, complex] | None:
    """(turn, shift) of the majority of the points from one patch to the other."""
    found_N2, status, _ = cv2.calcOpticalFlowPyrLK(before, now, _POINTS_N2, _NO_GUESS, **_FLOW)
    good_N = status[:, 0] > 0
    from_N, to_N = _POINTS_N, found_N2[:, 0, 0] + 1j * found_N2[:, 0, 1].astype(np.float64)
    # The median shift is right while half of the points are; then whoever fits it decides.
    if good_N.sum() < _FEWEST:
        return None
    moves_N = to_N - from_N
    middle = np.median(moves_N[good_N].real) + 1j * np.median(moves_N[good_N].imag)
    more, by = 1.0 + 0j, middle
    for _ in range(2):
        off_N = np.abs(more * from_N + by - to_N)
        limit = max(2.5 * float(np.median(off_N[good_N])), 0.5)
        used_N = good_N & (off_N <= limit)
        if used_N.sum() < _FEWEST:
            return None
        a, b = from_N[used_N], to_N[used_N]
        mean_a, mean_b = a.mean(), b.mean()
        a = a - mean_a
        more = np.vdot(a, b) / np.vdot(a, a).real
        by = mean_b - more * mean_a
    return complex(more), complex(by)


def _sampled(frame_HWC: np.ndarray, box_4: np.ndarray, turn: complex, shift: complex) -> np.ndarray:
    """The box's square, turned and shifted, as a grey patch; outside the frame repeats its edge."""
    corner, scale = _corner_and_scale(box_4)
    side = _SIDE / scale * abs(turn)
    middle = turn * (corner + (1 + 1j) * _SIDE / scale / 2) + shift
    tilt = turn / abs(turn)
    reach = side / 2 * (abs(tilt.real) + abs(tilt.imag)) + 2
    height, width = frame_HWC.shape[:2]
    x0, x1 = (int(min(max(middle.real + r, 0), width - 1)) for r in (-reach, reach + 1))
    y0, y1 = (int(min(max(middle.imag + r, 0), height - 1)) for r in (-reach, reach + 1))
    x1, y1 = x1 + 1, y1 + 1
    # Averaging over pixels, so that fine texture does not flicker; by whole numbers it is fast.
    n = max(1, min(int(side / _SIDE), x1 - x0, y1 - y0))
    x1, y1 = x1 - (x1 - x0) % n, y1 - (y1 - y0) % n
    region = frame_HWC[y0:y1, x0:x1]
    if n > 1:
        size = (region.shape[1] // n, region.shape[0] // n)
        region = cv2.resize(region, size, interpolation=cv2.INTER_AREA)
    region = cv2.cvtColor(region, cv2.COLOR_RGB2GRAY)
    # Patch pixel p -> frame point turn·(corner + (p + 1/2)/scale) + shift -> pixel of the region.
    a = turn / scale
    b = turn * corner + shift + a * (0.5 + 0.5j)
    matrix = np.array(
        [
            [a.real / n, -a.imag / n, (b.real - x0) / n - 0.5],
            [a.imag / n, a.real / n, (b.imag - y0) / n - 0.5],
        ]
    )
    return cv2.warpAffine(
        region,
        matrix,
        (_SIDE, _SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _corner_and_scale(box_4: np.ndarray) -> tuple[complex, float]:
    side = max(float(box_4[2:].max()), 1.0)
    corner = box_4[:2] + box_4[2:] / 2 - side / 2
    return complex(corner[0], corner[1]), _SIDE / side


def _complex(points: np.ndarray) -> np.ndarray:
    return points[..., 0].astype(np.float64) + 1j * points[..., 1]
