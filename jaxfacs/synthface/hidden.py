"""Which labels a picture cannot show, because what they are read from is covered.

A coder who cannot see the brows does not code AU 1, 2 and 4: neither does the renderer, whatever
it knows.
"""

import numpy as np

from jaxfacs.synthface.heads import PAIRED
from jaxfacs.synthface.truth import PRESENT

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

# What is read in one place -> its landmarks; "" for all actions of the mouth that have no sides.
_PLACES = {"": [*_MOUTH]} | {au: [*points] for au, points in _BOTH.items()}
for _au, _points in _RIGHT.items():
    _PLACES["R" + _au], _PLACES["L" + _au] = [*_points], [int(_OPPOSITE[p]) for p in _points]
_WEIGHTS_68X = np.zeros((68, len(_PLACES)), np.float32)
for _i, _points in enumerate(_PLACES.values()):
    _WEIGHTS_68X[_points, _i] = 1 / len(_points)


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
    share_TX = covered_T68.astype(np.float32) @ _WEIGHTS_68X
    off = dict(zip(_PLACES, (share_TX > _MOST).T, strict=True))
    column = {label: i for i, label in enumerate(labels)}
    hidden_TA = np.zeros(intensity_TA.shape, bool)
    if not any(part.any() for part in off.values()):
        return hidden_TA
    for label, i in column.items():
        au = label.lstrip("LR")
        if au not in _RIGHT:
            hidden_TA[:, i] = off[au if au in _BOTH else ""]
        elif label[0] in "LR":
            hidden_TA[:, i] = off[label]
        else:
            shown = np.zeros(len(covered_T68))
            for side in (x + au for x in "LR"):
                if side in column:
                    seen = np.where(off[side], -1, intensity_TA[:, column[side]])
                    shown = np.maximum(shown, seen)
            acts = intensity_TA[:, i] >= PRESENT
            alone = (off["L" + au] | off["R" + au]) & acts & (shown < PRESENT)
            hidden_TA[:, i] = (off["L" + au] & off["R" + au]) | alone
    return hidden_TA
