"""How alike two faces look: for telling people of one film apart, not for recognising anybody.

Measured on 24 rendered people under the same light in the same poses (frames up to 3 s apart, boxes
of the Haar cascade): at a threshold that takes 1 % of the strangers for somebody, the gradients and
colours below know 99.8 % of the faces again, a correlation of small grey crops 87 %, colours alone
40 %. Of 20 real people no two come nearer than 0.92.
"""

import cv2
import numpy as np

from jaxfacs.faces.crop import crop

_SIDE = 48
_MARGIN = 0.1  # of the box, on each side: some hair
_GRADIENTS = cv2.HOGDescriptor((_SIDE, _SIDE), (16, 16), (8, 8), (8, 8), 9)
_HUES, _SATURATIONS = 18, 10
_WRAP = 3  # hues that are repeated at the ends, as hue is a circle
_COLOUR_WEIGHT = 0.25

SIZE = _GRADIENTS.getDescriptorSize() + _HUES * _SATURATIONS
MOST = 1.0 + _COLOUR_WEIGHT  # likeness of a face with itself


def look(frame_HWC: np.ndarray, box_4: np.ndarray) -> np.ndarray:
    """float32 of SIZE numbers: gradients (zero mean, unit norm), and shares of hues in the face."""
    face = crop(frame_HWC, box_4, size=_SIDE, margin=_MARGIN)
    gradients = np.ravel(_GRADIENTS.compute(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)))
    gradients = gradients - gradients.mean()
    rim = round(_SIDE * _MARGIN / (1 + 2 * _MARGIN))
    inner = cv2.cvtColor(face[rim:-rim:2, rim:-rim:2], cv2.COLOR_RGB2HSV)
    bins = [_HUES, _SATURATIONS]
    colours = cv2.calcHist([inner], [0, 1], None, bins, [0, 180, 0, 256])
    # Blurred, so that light that warms a little does not move all skin into the next bin.
    ring = np.concatenate([colours[-_WRAP:], colours, colours[:_WRAP]])
    colours = cv2.GaussianBlur(ring, (0, 0), 1.0)[_WRAP:-_WRAP].ravel()
    norm = max(float(np.linalg.norm(gradients)), 1e-6)
    return np.concatenate([gradients / norm, colours / colours.sum()]).astype(np.float32)


def alikeness(looks_KD: np.ndarray, look_D: np.ndarray) -> float:
    """The best of K looks against one: up to MOST; strangers rarely reach 1.08."""
    split = _GRADIENTS.getDescriptorSize()
    gradients_K = looks_KD[:, :split] @ look_D[:split]
    colours_K = np.minimum(looks_KD[:, split:], look_D[split:]).sum(1)
    return float((gradients_K + _COLOUR_WEIGHT * colours_K).max())
