"""Face crops for records, made by the code that prediction uses."""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from jaxfacs.faces.crop import crop, square
from jaxfacs.faces.detect import create, overlap
from jaxfacs.faces.track import follower

NO_DETECTOR = "none"


# Loading three cascades takes longer than searching one picture.
_detector = functools.cache(create)


def require_detector(name: str) -> None:
    """Raises UserError where there is no such detector: before the work, not in each process."""
    if name != NO_DETECTOR:
        _detector(name)


@dataclass(frozen=True)
class CropSettings:
    """How a face is cut out; stored with the set, so that prediction can do the same.

    Attributes:
      detector: "haar", the path of a YuNet .onnx file, or "none" (the known box, or the whole
        picture).
      margin: added on each side of the box, as a share of it.
      size: side of the crop in pixels.
    """

    detector: str = "haar"
    margin: float = 0.1
    size: int = 112


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """The face of one frame.

    Attributes:
      frame_HWC: uint8 RGB size×size crop.
      box_4: float32 (x, y, w, h) in pixels of the frame it was cut from.
      found: whether the detector saw it, in this frame or (bridged by the tracker) just before.
      low_2, scale: a point p of the frame lies at (p − low) · scale in the crop.
    """

    frame_HWC: np.ndarray
    box_4: np.ndarray
    found: bool
    low_2: np.ndarray
    scale: float


def face_crops(
    frames: Iterable[np.ndarray],
    settings: CropSettings,
    *,
    known: Iterable[np.ndarray] | None = None,
) -> Iterator[FaceCrop | None]:
    """Yields the crop of one and the same face in every frame; None where there is none.

    Args:
      frames: uint8 RGB, in order, of one take.
      settings: detector, margin, size.
      known: boxes where the face is known to be, in the terms of the detector (the Haar cascade's
        square). The detected face is the one that overlaps it. Where the detector misses, `found`
        is false and the known box is used, off by as much as it was when the face was last found,
        so that the crop does not jump. Without `known` the face is the largest of the first frame
        that has one, followed from there; when it is lost, the largest again.
    """
    size, margin = settings.size, settings.margin
    known_boxes = iter(known) if known is not None else None
    step = None if settings.detector == NO_DETECTOR else follower(_detector(settings.detector))
    followed: int | None = None
    offset_3 = np.array([0.0, 0.0, 1.0])
    for frame in frames:
        truth = next(known_boxes) if known_boxes is not None else None
        if step is None:
            whole = np.array([0, 0, frame.shape[1], frame.shape[0]], np.float32)
            box, margin = (whole, 0.0) if truth is None else (truth, margin)
            yield _cut(frame, box, margin, size, found=False)
            continue
        faces = step(frame)
        if truth is not None:
            faces = [item for item in faces if overlap(item[1].box_4, truth) > 0.3]
        chosen = next((item for item in faces if item[0] == followed), faces[0] if faces else None)
        if chosen is not None:
            followed, face = chosen
            if truth is not None:
                offset_3 = _offset(truth, face.box_4)
            yield _cut(frame, face.box_4, margin, size, found=True)
        elif truth is not None:
            yield _cut(frame, _moved(truth, offset_3), margin, size, found=False)
        else:
            yield None


def _offset(known_4: np.ndarray, found_4: np.ndarray) -> np.ndarray:
    """Shift of the centre (x, y) in sides of the known square, and the ratio of the sides."""
    shift_2 = found_4[:2] + found_4[2:] / 2 - known_4[:2] - known_4[2:] / 2
    return np.array([*(shift_2 / known_4[2]), found_4[2] / known_4[2]])


def _moved(known_4: np.ndarray, offset_3: np.ndarray) -> np.ndarray:
    side = known_4[2] * offset_3[2]
    centre_2 = known_4[:2] + known_4[2:] / 2 + known_4[2] * offset_3[:2]
    return np.array([*(centre_2 - side / 2), side, side], np.float32)


def _cut(
    frame: np.ndarray, box_4: np.ndarray, margin: float, size: int, *, found: bool
) -> FaceCrop:
    low_2, side = square(box_4, margin)
    return FaceCrop(
        frame_HWC=crop(frame, box_4, size=size, margin=margin),
        box_4=np.asarray(box_4, np.float32),
        found=found,
        low_2=low_2,
        scale=size / side,
    )
