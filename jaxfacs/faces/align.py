"""Bringing landmarks to fixed places of the crop, and blacking out what is not face.

A crop's matrix is 2×3 in the convention that the middle of the first pixel lies at (0.5, 0.5):
a point p of the frame lies at matrix @ (x, y, 1) in the crop.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.faces.points import AVERAGE_MM, AVERAGE_68x2, as_68, centres, similarity

# Beyond this the crop would be averaged from more than 64 samples a pixel.
_MOST_SAMPLES = 8
# The Bocklisch paper draws its ellipse in a figure and gives no numbers.
_ELLIPSE_HALF_WIDTH, _ELLIPSE_HALF_HEIGHT = 0.38, 0.5
_LIFTED = (0, *range(16, 27))  # both ends of the jaw, and the brows
_FRACTION_BITS = 4  # of the corners that cv2 fills between


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where landmarks come to lie.

    Attributes:
      side: pixels of the square that the template is written for.
      template_N2: places in it.
      points: K×2 landmarks -> the N×2 that are brought there; NaN where they are not given.
      fit: (N×2, N×2) -> 2×3 matrix, or None where it is not determined.
      needs: what the landmarks must hold, in words.
      from_5: whether five landmarks, as YuNet's, suffice.
      lift: pixels of the square by which the hull mask rises above the brows; None: no mask.
    """

    side: int
    template_N2: np.ndarray
    points: Callable[[np.ndarray], np.ndarray]
    fit: Callable[[np.ndarray, np.ndarray], np.ndarray | None]
    needs: str
    from_5: bool = False
    lift: float | None = None

    def matrix(self, points_K2: np.ndarray, size: int) -> np.ndarray | None:
        """The 2×3 matrix from the frame to a crop of `size` pixels; None for a face in one spot."""
        points = self.points(points_K2)
        if not np.isfinite(points).all():
            return None
        found = self.fit(points, self.template_N2 * (size / self.side))
        if found is None or not np.isfinite(found).all():
            return None
        return found


def _affine(source_32: np.ndarray, target_32: np.ndarray) -> np.ndarray | None:
    """The matrix that brings three points exactly onto three; None where they lie on a line."""
    source_33 = np.column_stack([source_32, np.ones(3)])
    edges = source_32[1:] - source_32[0]
    area = abs(float(edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0]))
    if area <= 1e-3 * float((edges**2).sum()):
        return None
    return np.linalg.solve(source_33, target_32).T


def _of_68(*places: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda points_K2: as_68(points_K2)[list(places)]


# OpenFace aligns by the points that expressions move least (FaceAnalyser, Face_utils.cpp).
_RIGID = (1, 2, 3, 4, 12, 13, 14, 15, 27, 28, 29, *range(31, 37), 39, 40, 41, 42, 45, 46, 47)
_OPENFACE_SIDE, _OPENFACE_PX_PER_MM, _OPENFACE_LIFT = 112, 0.7, 30.0
OPENFACE_68x2 = (
    AVERAGE_68x2 - AVERAGE_68x2.mean(0)
) * AVERAGE_MM * _OPENFACE_PX_PER_MM + _OPENFACE_SIDE / 2

ALIGNMENTS = {
    # ME-GraphAU. Its authors': every frame detected, aligned and cut to 256×256 with MTCNN or
    # another detector (github.com/CVI-SZU/ME-GraphAU, issue 2); the network reads 224 px out of it.
    # Ours: the template, as theirs is not published. It leaves brow to chin within the middle
    # 224 px of an average face, whose mouth lies 1.14 eye distances below its eyes.
    "eyes-mouth": Alignment(
        side=256,
        template_N2=np.array([(88.0, 100.0), (168.0, 100.0), (128.0, 190.0)]),
        points=centres,
        fit=similarity,
        needs="the eyes and the corners of the mouth",
        from_5=True,
    ),
    # SCC-Heatmap. Its authors': affine registration as in Sánchez-Lozano, Tzimiropoulos and
    # Valstar, BMVC 2018; their own script was not released (github.com/EvelynFan/FAU, issue 5).
    # The places are those of the BMVC paper's release (Action-Units-Heatmaps): chin and outer
    # corners of the eyes in 256×256.
    "scc": Alignment(
        side=256,
        template_N2=np.array([(127.65, 227.82), (79.16, 87.04), (176.84, 87.04)]),
        points=_of_68(8, 36, 45),
        fit=_affine,
        needs="68 landmarks (chin 8, outer corners of the eyes 36 and 45)",
    ),
    # OpenFace 2 (Baltrušaitis et al., FG 2018). Its authors': similarity of 24 rigid points to the
    # mean shape at 0.7 px a unit in 112×112, its centre in the middle, black outside the landmarks
    # with brows and jaw ends raised by 30 px. Ours: the built-in head for the mean shape, whose
    # licence forbids it here; centred by the shape instead of their fitted pose; the convex hull
    # instead of their triangles.
    "openface": Alignment(
        side=_OPENFACE_SIDE,
        template_N2=OPENFACE_68x2[list(_RIGID)],
        points=_of_68(*_RIGID),
        fit=similarity,
        needs="68 landmarks with the jaw",
        lift=_OPENFACE_LIFT,
    ),
}


def square_matrix(low_2: np.ndarray, side: float, size: int) -> np.ndarray:
    """2×3 matrix of the upright square at `low` with `side` pixels."""
    scale = size / side
    return np.array([[scale, 0, -scale * low_2[0]], [0, scale, -scale * low_2[1]]])


def moved(matrix_23: np.ndarray, points_K2: np.ndarray) -> np.ndarray:
    """Points of the frame in pixels of the crop, float64 K×2."""
    return np.asarray(points_K2, np.float64) @ matrix_23[:, :2].T + matrix_23[:, 2]


def warp(frame_HWC: np.ndarray, matrix_23: np.ndarray, size: int) -> np.ndarray:
    """The crop that the matrix describes, uint8 size×size×3.

    Parts outside the frame repeat its edge. Shrinking averages up to 8×8 samples a pixel (OpenFace
    takes one, which aliases).
    """
    scale = math.sqrt(abs(float(np.linalg.det(matrix_23[:, :2]))))
    fine = min(max(1, math.ceil(1 / max(scale, 1e-6) - 1e-6)), _MOST_SAMPLES)
    # cv2 counts from the middle of the first pixel.
    matrix = fine * matrix_23
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    cut = cv2.warpAffine(
        frame_HWC,
        matrix,
        (fine * size, fine * size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cut if fine == 1 else cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA)


@functools.cache
def ellipse(size: int) -> np.ndarray:
    """Bool size×size: an upright ellipse as high as the crop, 0.76 as wide.

    After Bocklisch et al. 2015, who leave forehead, eyes, nose and mouth of the Haar cascade's
    square and conceal ears, hair and throat; the proportions are ours (they give none).
    """
    middles = (np.arange(size) + 0.5) / size - 0.5
    y, x = np.meshgrid(middles, middles, indexing="ij")
    inside = (x / _ELLIPSE_HALF_WIDTH) ** 2 + (y / _ELLIPSE_HALF_HEIGHT) ** 2 <= 1
    inside.setflags(write=False)
    return inside


def hull(points_68x2: np.ndarray, size: int, lift: float) -> np.ndarray:
    """Bool size×size: inside the convex hull of landmarks of the crop, brows raised by `lift`."""
    points = np.array(points_68x2, np.float64)
    points[list(_LIFTED), 1] -= lift
    points = points[np.isfinite(points).all(1)]
    # Far outside the crop the fixed-point corners of cv2 would overflow.
    points = np.clip(points, -4 * size, 5 * size) - 0.5
    corners = cv2.convexHull(np.round(points * 2**_FRACTION_BITS).astype(np.int32))
    filled = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(filled, corners, 1, lineType=cv2.LINE_8, shift=_FRACTION_BITS)
    return filled.astype(bool)


def masked(crop_HWC: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """The crop with black outside the mask."""
    return crop_HWC * mask_HW[..., None]
