"""What a film says of a model without labels: jitter, drift with the head's turns, blinks."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxfacs.faces import detect
from jaxfacs.infer.predictor import Predictor
from jaxfacs.infer.results import FaceResult, FrameResult
from jaxfacs.infer.sources import source as sources

EYES_CLOSED = ("45", "43")
SLACK = 1  # frames by which an answer may miss a blink's ends
STILL = 0.005  # an AU whose probability deviates less did nothing that could follow the head
_TURNS = ("yaw", "pitch", "roll")


class Blink(NamedTuple):
    """First and last frame, from 1; not `sure`: half shut or cast down, counts neither way."""

    first: int
    last: int
    sure: bool = True


def of_film(
    predictor: Predictor,
    path: Path,
    frames: Sequence[FrameResult],
    blinks: Sequence[Blink] | None,
    yunet: Path,
) -> dict[str, Any]:
    """Measures of the face that is there longest.

    Args:
      predictor: that read it.
      path: the film.
      frames: all its results.
      blinks: None: nobody looked for them.
      yunet: the detector's file; where it is missing, the head's turns are.
    """
    faces = _longest(frames)
    number_N = np.array(sorted(faces))
    if len(number_N) < 3:
        return {"frames": len(frames), "with_face": len(number_N)}
    p_NA = np.stack([faces[n].probability_A for n in number_N])
    r_NA = np.stack([faces[n].intensity_A for n in number_N])
    follows_N = np.diff(number_N) == 1
    step_NA = np.abs(np.diff(r_NA, axis=0))[follows_N]
    found: dict[str, Any] = {
        "frames": len(frames),
        "with_face": len(number_N),
        "jitter": {
            au: {
                "mean": round(float(step_NA[:, a].mean()), 4),
                "q95": round(float(np.quantile(step_NA[:, a], 0.95)), 4),
            }
            for a, au in enumerate(predictor.aus)
        },
        "present_share": {
            au: round(float(np.mean([faces[n].present_A[a] for n in number_N])), 4)
            for a, au in enumerate(predictor.aus)
        },
    }
    if yunet.is_file():
        turns_N3 = _turns(path, faces, yunet)
        there_N = np.isfinite(turns_N3).all(1)
        if there_N.sum() >= 3:
            low, high = np.quantile(turns_N3[there_N], [0.05, 0.95], axis=0)
            found["turns"] = {
                t: [round(float(low[k]), 3), round(float(high[k]), 3)] for k, t in enumerate(_TURNS)
            }
            found["with_head"] = {
                au: {
                    t: correlation(p_NA[there_N, a], turns_N3[there_N, k])
                    for k, t in enumerate(_TURNS)
                }
                for a, au in enumerate(predictor.aus)
            }
    if blinks is not None:
        label = next((au for au in EYES_CLOSED if au in predictor.aus), None)
        if label is not None:
            a = predictor.aus.index(label)
            called = {int(n) for n in number_N if faces[n].present_A[a]}
            found["blinks"] = {"label": label, **blinks_found(blinks, called, set(faces))}
    return found


def blinks_found(blinks: Sequence[Blink], called: set[int], seen: set[int]) -> dict[str, Any]:
    """Blinks with an answer in them, without, and answers that are in none.

    Args:
      blinks: of the film.
      called: frames in which the eyes are answered closed.
      seen: frames in which the face was found; blinks outside of them do not count.
    """
    coded = [b for b in blinks if b.sure and seen & set(range(b.first, b.last + 1))]
    hit = [b for b in coded if called & set(range(b.first - SLACK, b.last + 1 + SLACK))]
    false = [run for run in runs(called) if not any(_meet(run, b) for b in blinks)]
    shut = {n for b in coded for n in range(b.first, b.last + 1)} & seen
    return {
        "coded": len(coded),
        "hits": len(hit),
        "missed": [[b.first, b.last] for b in coded if b not in hit],
        "false": [list(run) for run in false],
        "frames_shut": len(shut),
        "frames_shut_called": len(shut & called),
    }


def runs(frames: set[int]) -> list[tuple[int, int]]:
    """First and last of frames that follow each other; one frame's gap is bridged."""
    found: list[tuple[int, int]] = []
    for n in sorted(frames):
        if found and n - found[-1][1] <= 2:
            found[-1] = (found[-1][0], n)
        else:
            found.append((n, n))
    return found


def correlation(p_N: np.ndarray, turn_N: np.ndarray) -> float | None:
    """Pearson's; None where one of them stands still."""
    if p_N.std() < STILL or turn_N.std() < 1e-6:
        return None
    return round(float(np.corrcoef(p_N, turn_N)[0, 1]), 3)


def head_turns(landmarks_5x2: np.ndarray) -> np.ndarray:
    """(yaw, pitch, roll) of five landmarks: what a head's turns do to them, not angles.

    yaw: how far the nose tip is from the middle of the eyes, in eye distances, along the eyes'
    line; pitch: where it is between eyes (0) and mouth (1); roll: the line's tilt in degrees.
    """
    right, left, nose, mouth_r, mouth_l = np.asarray(landmarks_5x2, np.float64)
    across = left - right
    distance = float(np.hypot(*across))
    if distance < 1:
        return np.full(3, np.nan)
    along = across / distance
    down = np.array([-along[1], along[0]])
    eyes, mouth = (right + left) / 2, (mouth_r + mouth_l) / 2
    height = float((mouth - eyes) @ down)
    if abs(height) < 1:
        return np.full(3, np.nan)
    return np.array(
        [
            float((nose - eyes) @ along) / distance,
            float((nose - eyes) @ down) / height,
            float(np.degrees(np.arctan2(along[1], along[0]))),
        ]
    )


def _turns(path: Path, faces: dict[int, FaceResult], yunet: Path) -> np.ndarray:
    """(N, 3), NaN where YuNet does not see the face."""
    detector = detect.create(str(yunet))
    (opened,) = sources.find([str(path)])
    found = []
    for number, _, frame_HWC in opened.frames():
        if number not in faces:
            continue
        near = [] if frame_HWC is None else detector(frame_HWC, near=[faces[number].box_4])
        marks = near[0].landmarks_5x2 if near else None
        found.append(np.full(3, np.nan) if marks is None else head_turns(marks))
    return np.stack(found)


def _longest(frames: Sequence[FrameResult]) -> dict[int, FaceResult]:
    """Frame number -> the face whose id is in most frames."""
    counts = Counter(face.face_id for frame in frames for face in frame.faces)
    if not counts:
        return {}
    chosen = counts.most_common(1)[0][0]
    return {f.frame: face for f in frames for face in f.faces if face.face_id == chosen}


def _meet(run: tuple[int, int], blink: Blink) -> bool:
    return run[0] <= blink.last + SLACK and run[1] >= blink.first - SLACK
