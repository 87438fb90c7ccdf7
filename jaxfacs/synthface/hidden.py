"""Which labels a picture cannot show, because what they are read from is covered.

A coder who cannot see the brows does not code AU 1, 2 and 4: neither does the renderer, whatever
it knows.
"""

import numpy as np

from jaxfacs.synthface.heads import PAIRED

# Action -> landmarks that it is read from on the subject's right side, and on both sides.
_RIGHT_BROW, _RIGHT_EYE = range(17, 22), range(36, 42)
_RIGHT_MOUTH, _MOUTH = (48, 49, 50, 58, 59, 60, 61, 67), range(48, 68)
_NOSE = (28, 29, 30, 31, 32, 33)
_RIGHT = dict.fromkeys(PAIRED, _RIGHT_MOUTH) | {
    "1": _RIGHT_BROW,
    "2": _RIGHT_BROW,
    "4": _RIGHT_BROW,
    "5": _RIGHT_EYE,
    "6": _RIGHT_EYE,
    "7": _RIGHT_EYE,
    "9": _NOSE,
    "43": _RIGHT_EYE,
}
_BOTH = {"45": (*range(36, 48),), "26": (*range(48, 68), 7, 8, 9), "17": (*range(48, 68), 7, 8, 9)}
_MOST = 0.5  # share of the landmarks that may be covered

# Landmark of the right half -> the one opposite.
_OPPOSITE = np.arange(68)
for _a, _b in (
    *((i, 16 - i) for i in range(8)),
    *((17 + i, 26 - i) for i in range(5)),
    *((31, 35), (32, 34), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *((48, 54), (49, 53), (50, 52), (58, 56), (59, 55), (60, 64), (61, 63), (67, 65)),
):
    _OPPOSITE[_a], _OPPOSITE[_b] = _b, _a


def unseen(
    labels: tuple[str, ...], intensity_TA: np.ndarray, covered_T68: np.ndarray
) -> np.ndarray:
    """Bool T×A: labels that cannot be told.

    Args:
      labels: A names, as `truth.LABELS`.
      intensity_TA: what is true, −1 unknown. A paired action of which one side is covered is still
        told from the other, unless it acts on the covered side alone.
      covered_T68: landmarks that are not to be seen.
    """
    column = {label: i for i, label in enumerate(labels)}
    hidden_TA = np.zeros(intensity_TA.shape, bool)
    for label, i in column.items():
        au = label.lstrip("LR")
        if label[0] in "LR":
            hidden_TA[:, i] = _covered(covered_T68, au, left=label[0] == "L")
        elif au not in _RIGHT:
            points = list(_BOTH.get(au, _MOUTH))
            hidden_TA[:, i] = covered_T68[:, points].mean(axis=1) > _MOST
        else:
            right, left = (_covered(covered_T68, au, left=x) for x in (False, True))
            shown = np.zeros(len(covered_T68))
            for side, off in (("R", right), ("L", left)):
                if side + au in column:
                    seen = np.where(off, -1, intensity_TA[:, column[side + au]])
                    shown = np.maximum(shown, seen)
            acts = intensity_TA[:, i] >= 1
            hidden_TA[:, i] = (right & left) | ((right | left) & acts & (shown < 1))
    return hidden_TA


def _covered(covered_T68: np.ndarray, au: str, *, left: bool) -> np.ndarray:
    points = np.array(_RIGHT[au])
    return covered_T68[:, _OPPOSITE[points] if left else points].mean(axis=1) > _MOST
