"""Preparing the face of a recording: every frame in, one crop of the same face out.

The same code when records are built from films, from pictures and from rendered faces. What is
done is told by the words of `steps`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.faces import align
from jaxfacs.faces.crop import square
from jaxfacs.faces.detect import Face, overlap
from jaxfacs.faces.points import haar_square
from jaxfacs.faces.steps import PRESETS, FaceSteps, detector
from jaxfacs.faces.track import follower

__all__ = ["PRESETS", "FaceCut", "FaceSteps", "Known", "prepared"]

# A given box this many times as wide as the frame, or landmarks that ask for such a crop, is a
# fault of the file; cutting it would fill the memory.
_WIDEST = 2


@dataclass(frozen=True, eq=False)
class Known:
    """What is given about the face of one frame.

    Attributes:
      box_4: (x, y, w, h) in pixels; None or NaN: not known.
      landmarks_K2: (x, y) in pixels, in one of the orders of `points`; None or NaN: not known.
    """

    box_4: np.ndarray | None = None
    landmarks_K2: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class FaceCut:
    """The face of one frame.

    Attributes:
      frame_HWC: uint8 RGB size×size crop.
      box_4: float32 (x, y, w, h) of the face in pixels of the frame it was cut from.
      found: whether this frame says where the face is: the detector saw it (here or, bridged by
        the tracker, just before), or its place was given. Where not, the crop shows the place
        where it was last.
      matrix_2x3: float64; a point p of the frame lies at matrix @ (x, y, 1) in the crop, the
        middle of the first pixel of either being (0.5, 0.5).
    """

    frame_HWC: np.ndarray
    box_4: np.ndarray
    found: bool
    matrix_2x3: np.ndarray


def prepared(
    frames: Iterable[np.ndarray], steps: FaceSteps, known: Iterable[Known] | None = None
) -> Iterator[FaceCut]:
    """Cuts one and the same face out of every frame: exactly one `FaceCut` a frame, in order.

    Lazy: of the frames only the one at hand is kept.

    A frame without a face is cut where the face was last found in this recording; before the first
    find at the given box, if there is one, else in the largest square at the picture's centre.

    Args:
      frames: uint8 RGB H×W×3 (or grey H×W) of one recording.
      steps: what to do.
      known: one for each frame. With a detector the given box (in its terms: the Haar cascade's
        square) picks the face that overlaps it; where the detector misses, the box is used, off by
        as much as it was when the face was last found, so that the crop does not jump. Without it
        the face is the largest of the first frame that has one, followed from there; when it is
        lost, the largest again.

    Raises:
      UserError: the steps need given boxes or landmarks and `known` is None; landmarks are in no
        known order or do not hold what the alignment needs.
      ValueError: a frame is empty or no 8-bit picture; `known` ends before the frames.
    """
    if known is None:
        steps.require_given(boxes=False)
    steps.require()
    return _cuts(frames, steps, known)


def _cuts(
    frames: Iterable[np.ndarray], steps: FaceSteps, known: Iterable[Known] | None
) -> Iterator[FaceCut]:
    given = iter(known) if known is not None else None
    find = _FINDERS.get(steps.detection, _detected)(steps)
    last: _Plan | None = None
    shape: tuple[int, ...] = ()
    for number, raw in enumerate(frames):
        frame = _picture(raw, number)
        facts = Known() if given is None else next(given, None)
        if facts is None:
            raise ValueError(f"known faces end before frame {number}")
        if frame.shape != shape:  # pictures of another size: a place in one is none in the next
            last, shape = None, frame.shape
        place = find(frame, facts)
        plan = None if place is None else _plan(steps, place, frame, first=last is None)
        if plan is None and last is None and facts.box_4 is not None:
            plan = _plan(steps, _Place(facts.box_4, found=False), frame, first=True)
        found = plan is not None and plan.found
        last = plan or last
        yield _cut(steps, frame, last or _central(steps, frame), found=found)


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a face is in a frame: its square, and its landmarks if the finder knows them."""

    box_4: np.ndarray
    points_K2: np.ndarray | None = None
    found: bool = True


@dataclass(frozen=True, eq=False)
class _Plan:
    """How to cut: the square with a margin, or (margin None) what the matrix says."""

    box_4: np.ndarray
    matrix_23: np.ndarray
    margin: float | None
    points_K2: np.ndarray | None = None
    found: bool = True


def _plan(steps: FaceSteps, place: _Place, frame: np.ndarray, *, first: bool) -> _Plan | None:
    """None where the place is no place in this frame."""
    if not _usable(place.box_4, frame):
        return None
    if steps.alignment == "box":
        margin = 0.0 if steps.detection == "none" else steps.margin
        return _squared(steps, place.box_4, margin, found=place.found)
    matrix = None
    if place.points_K2 is not None:
        matrix = steps.matrix(place.points_K2)
    elif first:
        matrix = steps.typical(place.box_4)
    if matrix is None:
        return None
    side = steps.size / np.sqrt(max(abs(float(np.linalg.det(matrix[:, :2]))), 1e-12))
    if not 1 <= side <= _WIDEST * max(frame.shape[:2]):
        return None
    return _Plan(place.box_4, matrix, None, place.points_K2, place.found)


def _squared(steps: FaceSteps, box_4: np.ndarray, margin: float, *, found: bool) -> _Plan:
    return _Plan(
        box_4, align.square_matrix(*square(box_4, margin), steps.size), margin, None, found
    )


def _central(steps: FaceSteps, frame: np.ndarray) -> _Plan:
    height, width = frame.shape[:2]
    side = min(height, width)
    box_4 = np.array([(width - side) / 2, (height - side) / 2, side, side], np.float32)
    return _squared(steps, box_4, 0.0, found=False)


def _cut(steps: FaceSteps, frame: np.ndarray, plan: _Plan, *, found: bool) -> FaceCut:
    picture = steps.cut(
        frame,
        plan.box_4,
        plan.points_K2,
        matrix_23=None if plan.margin is not None else plan.matrix_23,
        margin=plan.margin,
    )
    return FaceCut(picture, np.asarray(plan.box_4, np.float32), found, plan.matrix_23)


_Finder = Callable[[np.ndarray, Known], _Place | None]


def _whole(_: FaceSteps) -> _Finder:
    def find(frame: np.ndarray, _: Known) -> _Place:
        return _Place(np.array([0, 0, frame.shape[1], frame.shape[0]], np.float32))

    return find


def _given_box(_: FaceSteps) -> _Finder:
    return lambda frame, facts: None if facts.box_4 is None else _Place(facts.box_4)


def _given_points(_: FaceSteps) -> _Finder:
    def find(frame: np.ndarray, facts: Known) -> _Place | None:
        points = facts.landmarks_K2
        return None if points is None else _Place(haar_square(points), points)

    return find


def _detected(steps: FaceSteps) -> _Finder:
    """Looks for the face that the given box names, or follows the largest."""
    follow = follower(detector(steps.detection))
    followed: int | None = None
    offset_3 = np.array([0.0, 0.0, 1.0])

    def find(frame: np.ndarray, facts: Known) -> _Place | None:
        nonlocal followed, offset_3
        truth = _truth(facts, frame)
        faces: list[tuple[int, Face]] = follow(frame)
        if truth is not None:
            faces = [item for item in faces if overlap(item[1].box_4, truth) > 0.3]
        chosen = next((item for item in faces if item[0] == followed), faces[0] if faces else None)
        if chosen is not None:
            followed, face = chosen
            if truth is not None:
                offset_3 = _offset(truth, face.box_4)
            return _Place(face.box_4, face.landmarks_5x2)
        if truth is not None:
            return _Place(_moved(truth, offset_3), facts.landmarks_K2, found=False)
        return None

    return find


_FINDERS = {"none": _whole, "boxes": _given_box, "landmarks": _given_points}


def _truth(facts: Known, frame: np.ndarray) -> np.ndarray | None:
    """The given box, or the one around the given landmarks."""
    box = facts.box_4
    if box is None and facts.landmarks_K2 is not None:
        box = haar_square(facts.landmarks_K2)
    return box if box is not None and _usable(box, frame) else None


def _usable(box_4: np.ndarray, frame: np.ndarray) -> bool:
    """Whether this can be the box of a face that the frame shows, in part at least."""
    x, y, width, height = (float(v) for v in box_4)
    frame_height, frame_width = frame.shape[:2]
    return (
        bool(np.isfinite((x, y, width, height)).all())
        and min(width, height) >= 1
        and max(width, height) <= _WIDEST * max(frame_height, frame_width)
        and -width < x < frame_width
        and -height < y < frame_height
    )


def _offset(known_4: np.ndarray, found_4: np.ndarray) -> np.ndarray:
    """Shift of the centre (x, y) in sides of the known square, and the ratio of the sides."""
    side = known_4[2:].max()
    shift_2 = found_4[:2] + found_4[2:] / 2 - known_4[:2] - known_4[2:] / 2
    return np.array([*(shift_2 / side), found_4[2] / side])


def _moved(known_4: np.ndarray, offset_3: np.ndarray) -> np.ndarray:
    side = known_4[2:].max() * offset_3[2]
    centre_2 = known_4[:2] + known_4[2:] / 2 + known_4[2:].max() * offset_3[:2]
    return np.array([*(centre_2 - side / 2), side, side], np.float32)


def _picture(frame: np.ndarray, number: int) -> np.ndarray:
    """The frame as uint8 H×W×3; grey ones are repeated in each colour."""
    shape = "×".join(map(str, frame.shape))
    grey = frame.ndim == 2 or frame.shape[2:] == (1,)
    colour = frame.shape[2:] == (3,)
    if frame.dtype != np.uint8 or frame.size == 0 or not (grey or colour):
        raise ValueError(f"frame {number} is {frame.dtype} {shape}, no 8-bit grey or RGB picture")
    if grey:
        return cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_GRAY2RGB)
    return frame
