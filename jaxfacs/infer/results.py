"""What prediction gives: results of faces and frames, and what they were made from."""

from dataclasses import dataclass

import numpy as np

from jaxfacs.faces.detect import Face


@dataclass(frozen=True, eq=False)
class FaceResult:
    """What was read from one face in one frame.

    Attributes:
      face_id: stays with the face through the film.
      confidence: in [0, 1]; of the detector, at most 0.5 where the face was missed and its last
        place is used; or the network's own confidence in its answers, where that is lower.
      box_4: (x, y, w, h) in pixels of the frame.
      probability_A, intensity_A: over the predictor's `aus`; in [0, 1], and 0 to 5.
      present_A: bool.
      emotion_E: over the predictor's `emotions`, in [0, 1].
      valence_arousal_2: in [-1, 1]; None for networks without.
      unsure: the confidence, as the table prints it, is below what the bundle asks for.
    """

    face_id: int
    confidence: float
    box_4: np.ndarray
    probability_A: np.ndarray
    intensity_A: np.ndarray
    present_A: np.ndarray
    emotion_E: np.ndarray
    valence_arousal_2: np.ndarray | None = None
    unsure: bool = False


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One frame: its number from 1, its time in seconds, its faces, largest first.

    `readable` is false where the frame itself could not be decoded.
    """

    frame: int
    timestamp: float
    faces: tuple[FaceResult, ...]
    readable: bool = True


@dataclass(frozen=True, eq=False)
class RawFace:
    """One face in one frame as the network answered it, a row of `Reading.pack`'s table."""

    face_id: int
    face: Face
    values_V: np.ndarray


@dataclass(frozen=True, eq=False)
class RawFrame:
    """One frame before its answers are made; fields as in `FrameResult`."""

    frame: int
    timestamp: float
    faces: tuple[RawFace, ...]
    readable: bool = True
