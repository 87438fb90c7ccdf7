"""Lashes as a photograph of 100 pixels shows them: a dark band along the lid, not single hairs.

Along an open eye they frame it from above; when the lid comes down they turn with it and lie as a
dark fringe over the skin below: what a closed eye looks like from afar is mostly this.
"""

import cv2
import numpy as np

from jaxfacs.synthface.look import Look

# iBUG points of the upper and of the lower lid, from corner to corner; the outer corner comes first
# on the picture's left, last on its right.
_LIDS = (((36, 37, 38, 39), (36, 41, 40, 39), 0), ((42, 43, 44, 45), (42, 47, 46, 45), -1))
_OPEN_CM = 0.45  # lids this far apart are open: the lashes point away from the face
_STEPS = np.linspace(0, 1, 13)
_SHIFT = 4  # fractional bits of OpenCV's coordinates
DARK = 0.94  # what the thickest lashes take away of the light


def bands(
    marks_68x3: np.ndarray,
    marks_68x2: np.ndarray,
    look: Look,
    hidden_68: np.ndarray,
    *,
    size: int,
    unit: float,
) -> np.ndarray | None:
    """How dark lashes make each sample of a picture: uint8 size×size, or None without lashes.

    Args:
      marks_68x3: landmarks of the posed face before it turns, in the head's units.
      marks_68x2: the same in samples of the picture.
      look: `lash` and `liner` say how thick they are.
      hidden_68: bool, landmarks that something of the head is before: an eye behind the nose has
        no lashes.
      size: samples a side.
      unit: the head's units a centimetre.
    """
    strength = min(1.0, look.lash + 0.5 * look.liner)
    if strength <= 0:
        return None
    tall = float(np.linalg.norm(marks_68x3[27] - marks_68x3[8])) / unit  # nose root to chin, cm
    scale = float(np.linalg.norm(marks_68x2[27] - marks_68x2[8])) / max(tall, 1e-6)  # samples a cm
    mask = np.zeros((size, size), np.uint8)
    for upper, lower, outer in _LIDS:
        if hidden_68[list(upper)].sum() > 1:
            continue
        gap = np.linalg.norm(marks_68x3[list(upper[1:3])] - marks_68x3[list(lower[1:3])], axis=1)
        shut = 1 - min(1.0, float(gap.mean()) / unit / _OPEN_CM)
        line = _smooth(marks_68x2[list(upper)], outer, 0.22 * strength * scale)
        down = marks_68x2[8] - marks_68x2[27]
        down = down / max(float(np.linalg.norm(down)), 1e-6) * scale
        fan = shut * (0.12 + 0.26 * strength)  # cm that the fringe reaches below the lid's edge
        band = 0.09 + 0.10 * strength
        if fan > 0.05:  # thin out towards the tips
            _draw(mask, line + down * 0.62 * fan, 0.8 * fan * scale, 120 * strength)
            _draw(mask, line + down * 0.25 * fan, 0.5 * fan * scale, 190 * strength)
        _draw(mask, line, band * scale, 255 * min(1.0, 0.35 + strength) * (0.45 + 0.55 * strength))
        faint = _smooth(marks_68x2[list(lower)], outer, 0.0)
        _draw(mask, faint, 0.07 * scale, 95 * strength * (1 - 0.5 * shut))
    return mask


def _smooth(points_4x2: np.ndarray, outer: int, flick: float) -> np.ndarray:
    """A curve through four points of a lid; its outer end goes on for `flick` samples."""
    t = np.array([0, 1 / 3, 2 / 3, 1])
    curve = np.stack([np.polyval(np.polyfit(t, points_4x2[:, k], 3), _STEPS) for k in (0, 1)], 1)
    ahead = curve[outer] - curve[2 if outer == 0 else -3]
    ahead = ahead / max(float(np.linalg.norm(ahead)), 1e-6) * flick
    tip = (curve[outer] + ahead)[None]
    return np.concatenate([tip, curve] if outer == 0 else [curve, tip])


def _draw(mask_HW: np.ndarray, line_K2: np.ndarray, width: float, grey: float) -> None:
    """Adds a line where it is darker than what is there; thinner than a sample it is fainter."""
    whole = max(1, round(width))
    grey *= min(1.0, width / whole)
    points = np.round(line_K2 * (1 << _SHIFT)).astype(np.int32)
    layer = np.zeros_like(mask_HW)
    cv2.polylines(layer, [points], False, int(grey), whole, cv2.LINE_AA, _SHIFT)
    np.maximum(mask_HW, layer, out=mask_HW)
