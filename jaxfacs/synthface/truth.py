"""The labels of a rendered clip, true by construction.

Most labels are the intensities that posed the face. Three kinds are read from what came of them:

- 25 (lips part) from the gap between the lips, because 10, 16, 22, 26 and 27 part them too;
- 24 and 28 (lips pressed, sucked in) cannot be told where something else has parted the lips;
- 43 and 45 (eyes closed, blink) part by duration, which one picture does not show. Lids that
  squinting or a look down has all but shut, or that a still has caught half way through a blink,
  are neither open nor closed: unknown.

What the mouth does in speech is no action (`speech`): unknown where it is strong enough to be
taken for one, but for 25 and 26, which are what is seen whatever the reason.

A label that cannot be decided is -1. For L, R and unsided labels of one action see `true_labels`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxfacs.synthface.heads import OPTIONAL, PAIRED, SHAPES

ACTIONS = (
    *("1", "2", "4", "5", "6", "7", "9", "10", "11", "12", "14", "15", "16", "17", "18", "19"),
    *("20", "22", "23", "24", "25", "26", "27", "28", "34", "43", "45"),
)
LABELS = ACTIONS + tuple(side + au for au in PAIRED for side in "LR")

# Gap of the lips beyond that at rest (cm on a face 9 cm wide at the outer eye corners) against
# the intensity of AU 25. 0.12 cm is a pixel of a face that fills a 192-pixel picture: the least
# that can be seen. FACS gives no millimetres; D and E are where 26 and 27 begin.
GAP_CM = (0.0, 0.12, 0.35, 0.7, 1.1, 1.6)
GAP_UNDECIDED_CM = (0.06, 0.16)
EYE_CORNERS_CM = 9.0

PRESENT = 1.0  # FACS A, a trace
# No coder would swear to a trace, and most sets count from B: between these nothing is decided.
ABSENT_BELOW, OCCURS_FROM = 0.5, 1.5
SLIT_CM = 0.22  # an opening that a face of 100 pixels hardly shows
SPEECH_UNKNOWN = 0.5  # speech beyond this intensity could be taken for an action
NEARLY_SHUT = 0.28  # of the resting opening of the eye: lids that do not close, but look so
STRETCH_UNDECIDED = (0.6, 2.5)  # 27 that opens the mouth no further than 26 does
JAW_OF_STRETCH = 2.2  # how much further the jaw goes for 27 than for 26 of the same intensity
TONGUE_SEEN = 3.8  # intensity of 19 from which it passes the lips
BLINK_UNDECIDED = (0.8, 4.0)  # a still half way through a blink


def lip_gap(landmarks: np.ndarray) -> np.ndarray:
    """Height of the mouth's opening, …×68×3 -> …: cm on a face 9 cm wide at the eye corners."""
    width = np.linalg.norm(landmarks[..., 45, :] - landmarks[..., 36, :], axis=-1)
    upper, lower = landmarks[..., [61, 62, 63], :], landmarks[..., [67, 66, 65], :]
    opening = (upper - lower)[..., 1].max(axis=-1)
    return opening * EYE_CORNERS_CM / width


_LIDS = {"R": ([37, 38], [41, 40]), "L": ([43, 44], [47, 46])}  # landmarks: upper, lower


def lid_gap(landmarks: np.ndarray, side: str) -> np.ndarray:
    """Height of the opening between the lids of one eye, …×68×3 -> …, cm."""
    upper, lower = _LIDS[side]
    return (landmarks[..., upper, :] - landmarks[..., lower, :])[..., 1].mean(axis=-1)


def true_labels(
    intensity: Mapping[str, np.ndarray],
    *,
    blink_T: np.ndarray,
    landmarks_T68x3: np.ndarray,
    rest_68x3: np.ndarray,
    speech: Mapping[str, np.ndarray] | None = None,
    optional: Sequence[str] = OPTIONAL,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the labels of a posed clip.

    An unsided label of a paired action is the stronger of its two sides.

    Args:
      intensity: label of heads.SHAPES -> intensity 0..5 of each of T frames; blinks left out.
      blink_T: how far (0..5) a blink closes both eyes.
      landmarks_T68x3: of the posed face, before the head turns.
      rest_68x3: of the same person at rest, lips closed.
      speech: movement of the mouth that is no expression, in intensity of the shapes.
      optional: those of heads.OPTIONAL that the head has; the others are unknown.

    Returns:
      (intensity_TA float32 0..5, occurrence_TA int8) over LABELS; both -1 where undecided.
    """
    frames = len(blink_T)
    zero = np.zeros(frames, np.float32)
    value = {label: np.clip(intensity.get(label, zero), 0, 5) for label in (*SHAPES, *OPTIONAL)}
    spoken = speech or {}
    value["26"] = np.maximum(value["26"], spoken.get("26", zero))
    for label in value:
        mimed = (spoken.get(label, zero) > SPEECH_UNKNOWN) & (value[label] < PRESENT)
        if label not in ("25", "26"):
            value[label] = np.where(mimed, -1, value[label])
    for au in PAIRED:
        value[au] = _stronger(value["L" + au], value["R" + au])
    for au in OPTIONAL:
        if au not in optional:
            value[au] = np.full(frames, -1.0)

    gap = lip_gap(landmarks_T68x3) - lip_gap(rest_68x3)
    value["25"] = np.interp(gap, GAP_CM, range(6))
    near_closed = (gap > GAP_UNDECIDED_CM[0]) & (gap < GAP_UNDECIDED_CM[1])
    value["25"] = np.where(near_closed, -1, value["25"])
    parted = gap > GAP_UNDECIDED_CM[0]
    for au in ("24", "28"):
        value[au] = np.where(parted & (value[au] >= PRESENT), -1, value[au])

    # The tongue is seen when it passes the lips, not on its way there.
    hidden = (value["19"] > 0.3) & (value["19"] < TONGUE_SEEN)
    value["19"] = np.where(hidden, -1, value["19"])
    # A stretched mouth holds a dropped jaw, and counts as one: FACS scores 27 in place of 26, but
    # tables without 27 have no other name for it, and coders who are not told both write 26. On its
    # way it is what a dropped jaw looks like. How far a tongue drops the jaw is not known.
    stretch, tongue = value["27"], intensity.get("19", zero)
    value["26"] = np.maximum(value["26"], np.minimum(JAW_OF_STRETCH * stretch, 5))
    dropped = (tongue >= PRESENT) & (value["26"] < PRESENT)
    value["26"] = np.where(dropped, -1, value["26"])
    underway = (stretch > STRETCH_UNDECIDED[0]) & (stretch < STRETCH_UNDECIDED[1])
    value["27"] = np.where(underway, -1, stretch)

    value["45"] = np.clip(blink_T, 0, 5)
    for side in "LR":
        slit = max(NEARLY_SHUT * float(lid_gap(rest_68x3, side)), SLIT_CM)
        unlike = (
            (lid_gap(landmarks_T68x3, side) < slit)
            & (value[side + "43"] < PRESENT)
            & (blink_T < PRESENT)
        )
        value[side + "43"] = np.where(unlike, -1, value[side + "43"])
    if frames == 1:
        # A still cannot tell a blink from closed eyes: what it shows is coded as 43.
        half = (blink_T > BLINK_UNDECIDED[0]) & (blink_T < BLINK_UNDECIDED[1])
        for label in ("L43", "R43"):
            caught = np.where(half, -1, np.maximum(value[label], blink_T))
            value[label] = np.where(value[label] >= PRESENT, value[label], caught)
    value["43"] = _stronger(value["L43"], value["R43"])
    if frames == 1:
        value["45"] = np.where(blink_T > BLINK_UNDECIDED[0], -1, value["45"])
        value["45"] = np.where(value["43"] >= PRESENT, -1, value["45"])
    labels_TA = np.stack([value[label] for label in LABELS], axis=1).astype(np.float32)
    occurrence_TA = occurrence(labels_TA)
    # A gap of the lips is seen or not, at any intensity; where it is not sure it is -1 already.
    gap_T = labels_TA[:, column("25")]
    occurrence_TA[:, column("25")] = np.where(gap_T < 0, -1, gap_T >= PRESENT)
    return labels_TA, occurrence_TA


def _stronger(left_T: np.ndarray, right_T: np.ndarray) -> np.ndarray:
    """The stronger side; unknown where one side is and the other does not occur."""
    strongest = np.maximum(left_T, right_T)
    unknown = (np.minimum(left_T, right_T) < 0) & (strongest < PRESENT)
    return np.where(unknown, -1, strongest)


def occurrence(intensity_TA: np.ndarray) -> np.ndarray:
    """int8: 1 from between A and B on, 0 below half a trace, -1 between and where unknown."""
    traces = (intensity_TA >= ABSENT_BELOW) & (intensity_TA < OCCURS_FROM)
    unknown = (intensity_TA < 0) | traces
    return np.where(unknown, -1, intensity_TA >= OCCURS_FROM).astype(np.int8)


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
