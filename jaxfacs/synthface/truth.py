"""The labels of a rendered clip, true by construction.

Most labels are the intensities that posed the face. Three kinds are read from what came of them:

- 25 (lips part) from the gap between the lips, because 10, 16, 22, 26 and 27 part them too;
- 24 and 28 (lips pressed, sucked in) cannot be told where something else has parted the lips;
- 43 and 45 (eyes closed, blink) part by duration, which one picture does not show.

A label that cannot be decided is -1. For L, R and unsided labels of one action see `true_labels`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxfacs.synthface.heads import PAIRED, SHAPES

ACTIONS = (
    *("1", "2", "4", "5", "6", "7", "9", "10", "11", "12", "14", "15", "16", "17", "18", "20"),
    *("22", "23", "24", "25", "26", "27", "28", "43", "45"),
)
LABELS = ACTIONS + tuple(side + au for au in PAIRED for side in "LR")

# Gap of the lips beyond that at rest (cm on a face 9 cm wide at the outer eye corners) against
# the intensity of AU 25. 0.12 cm is a pixel of a face that fills a 192-pixel picture: the least
# that can be seen. FACS gives no millimetres; D and E are where 26 and 27 begin.
GAP_CM = (0.0, 0.12, 0.35, 0.7, 1.1, 1.6)
GAP_UNDECIDED_CM = (0.06, 0.16)
EYE_CORNERS_CM = 9.0

PRESENT = 1.0  # FACS A, a trace


def lip_gap(landmarks: np.ndarray) -> np.ndarray:
    """Height of the mouth's opening, …×68×3 -> …: cm on a face 9 cm wide at the eye corners."""
    width = np.linalg.norm(landmarks[..., 45, :] - landmarks[..., 36, :], axis=-1)
    upper, lower = landmarks[..., [61, 62, 63], :], landmarks[..., [67, 66, 65], :]
    opening = (upper - lower)[..., 1].max(axis=-1)
    return opening * EYE_CORNERS_CM / width


def true_labels(
    intensity: Mapping[str, np.ndarray],
    *,
    blink_T: np.ndarray,
    landmarks_T68x3: np.ndarray,
    rest_68x3: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the labels of a posed clip.

    An unsided label of a paired action is the stronger of its two sides.

    Args:
      intensity: label of heads.SHAPES -> intensity 0..5 of each of T frames; blinks left out.
      blink_T: how far (0..5) a blink closes both eyes.
      landmarks_T68x3: of the posed face, before the head turns.
      rest_68x3: of the same person at rest, lips closed.

    Returns:
      (intensity_TA float32 0..5, occurrence_TA int8) over LABELS; both -1 where undecided.
    """
    frames = len(blink_T)
    zero = np.zeros(frames, np.float32)
    value = {label: np.clip(intensity.get(label, zero), 0, 5) for label in SHAPES}
    for au in PAIRED:
        value[au] = np.maximum(value["L" + au], value["R" + au])

    gap = lip_gap(landmarks_T68x3) - lip_gap(rest_68x3)
    value["25"] = np.interp(gap, GAP_CM, range(6))
    near_closed = (gap > GAP_UNDECIDED_CM[0]) & (gap < GAP_UNDECIDED_CM[1])
    value["25"] = np.where(near_closed, -1, value["25"])
    parted = gap > GAP_UNDECIDED_CM[0]
    for au in ("24", "28"):
        value[au] = np.where(parted & (value[au] >= PRESENT), -1, value[au])

    value["45"] = np.clip(blink_T, 0, 5)
    if frames == 1:
        # A still cannot tell a blink from closed eyes: what it shows is coded as 43.
        for label in ("L43", "R43", "43"):
            value[label] = np.maximum(value[label], blink_T)
        value["45"] = np.where(value["43"] >= PRESENT, -1, value["45"])
    labels_TA = np.stack([value[label] for label in LABELS], axis=1).astype(np.float32)
    return labels_TA, occurrence(labels_TA)


def occurrence(intensity_TA: np.ndarray) -> np.ndarray:
    """int8: 1 from intensity 1 (a trace) on, 0 below, -1 where the intensity is unknown."""
    return np.where(intensity_TA < 0, -1, intensity_TA >= PRESENT).astype(np.int8)


def column(label: str) -> int:
    """Where a label stands in LABELS."""
    return LABELS.index(label)


def shown(
    occurrence_TA: np.ndarray, present: Sequence[str], absent: Sequence[str] = ()
) -> np.ndarray:
    """bool T: frames in which all of `present` occur and none of `absent`."""
    on = occurrence_TA[:, [column(x) for x in present]] == 1
    off = occurrence_TA[:, [column(x) for x in absent]] == 0
    return on.all(axis=1) & off.all(axis=1)
