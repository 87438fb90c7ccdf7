"""Cutting the square around a face out of a frame."""

import cv2
import numpy as np


def crop(frame_HWC: np.ndarray, box_4: np.ndarray, *, size: int, margin: float = 0.2) -> np.ndarray:
    """The face as a square picture.

    The square is centred on the box; its side is the box's longer side × (1 + 2·margin). Parts
    outside the frame repeat the frame's edge. Shrinking averages over pixels (no aliasing).

    Args:
      frame_HWC: uint8 RGB.
      box_4: (x, y, w, h) in pixels.
      size: side of the result in pixels.
      margin: what is added on each side, as a fraction of the box; 0.2 keeps chin and forehead of
        the Haar cascade's square.

    Returns:
      uint8 size×size×3.
    """
    low, side = square(box_4, margin)
    if side > size:
        return _shrunk(frame_HWC, low, side, size)
    scale = size / side
    # Pixel centres lie at +0.5: target (u + 0.5) = scale * (source + 0.5 - low).
    shift = 0.5 * scale - 0.5 - scale * low
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(
        frame_HWC, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def square(box_4: np.ndarray, margin: float) -> tuple[np.ndarray, float]:
    """Top left corner (x, y) and side in pixels of the square that `crop` cuts."""
    box = np.asarray(box_4, np.float64)
    side = max(float(box[2:].max()) * (1 + 2 * margin), 1.0)
    return box[:2] + box[2:] / 2 - side / 2, side


def _shrunk(frame_HWC: np.ndarray, low_2: np.ndarray, side: float, size: int) -> np.ndarray:
    """INTER_AREA needs whole source pixels: the square is rounded to them (≤ half a pixel off)."""
    x, y = (int(v) for v in np.round(low_2))
    n = max(1, round(side))
    height, width = frame_HWC.shape[:2]
    # A box far outside the frame still shows its edge: keep at least one row and column.
    x0, x1 = min(max(x, 0), width - 1), max(min(x + n, width), 1)
    y0, y1 = min(max(y, 0), height - 1), max(min(y + n, height), 1)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    part = frame_HWC[y0:y1, x0:x1]
    pads = (max(0, y0 - y), max(0, y + n - y1), max(0, x0 - x), max(0, x + n - x1))
    if any(pads):
        part = cv2.copyMakeBorder(part, *pads, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)
