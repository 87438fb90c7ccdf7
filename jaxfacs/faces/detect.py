"""Finding faces in a frame: OpenCV's Haar cascade (no extra file), or YuNet from its .onnx file.

Both answer with the same kind of square: the one the Haar cascade draws, from the brows to below
the lower lip. So records cropped with one detector suit a network that reads films with the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import cv2
import numpy as np

from jaxfacs.errors import UserError

# Films are searched at the scale where the smallest face asked for is this wide: the cascades'
# windows are 20-24 px, and below 26 px equalised noise begins to pass.
_SMALLEST_PX = 26
# A face that is already followed is searched only around its last box, brought to this width.
_NEAR_FACE_PX = 64
_NEAR_REGION = 2.0  # side of the searched square, in face sides
# Below this a followed face counts as not seen. It is far below `score`, which new faces must
# reach: a face that was there a frame ago needs less proof than one from nowhere.
_KEEP_SCORE = 0.1
SHARED = 0.15
_NEARLY = 0.9  # of the smallest size asked for: detectors' sizes vary by that


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one frame.

    Attributes:
      box_4: float32 (x, y, w, h) in pixels of the frame, origin top left; may cross the border.
      confidence: in [0, 1].
      landmarks_5x2: the subject's right eye, left eye, nose tip, right and left mouth corner, in
        pixels; None where the detector gives none.
    """

    box_4: np.ndarray
    confidence: float
    landmarks_5x2: np.ndarray | None = None


class Detector(Protocol):
    """Faces of an RGB uint8 H×W×3 frame, largest first.

    `near` restricts the search to the neighbourhood of these boxes: ten times cheaper, at most one
    face for each box, and with a lower bar, for faces that were there in the frame before.
    """

    name: str
    gives_landmarks: bool

    def __call__(
        self, frame_HWC: np.ndarray, near: Sequence[np.ndarray] | None = None
    ) -> list[Face]: ...


def create(name: str = "haar", *, min_size: float = 0.08, score: float = 0.5) -> Detector:
    """A detector.

    Args:
      name: "haar", or the path of a YuNet .onnx file (opencv_zoo's face_detection_yunet_2023mar).
      min_size: side of the smallest face looked for, as a fraction of the frame's shorter side.
        Halving it quadruples the time.
      score: confidence in [0, 1] that a face must reach to be reported.

    Raises:
      UserError: no such detector, or the file is missing, damaged or not YuNet.
    """
    if not 0.01 <= min_size <= 1:
        raise UserError(f"min_size is {min_size}; it is a fraction of the frame, 0.01 to 1")
    if not 0 <= score <= 1:
        raise UserError(f"score is {score}; it is a confidence, 0 to 1")
    if name == "haar":
        return HaarDetector(min_size=min_size, score=score)
    if name.lower().endswith(".onnx"):
        return YuNetDetector(Path(name), min_size=min_size, score=score)
    raise UserError(f"no face detector '{name}'; use haar or the path of a YuNet .onnx file")


class HaarDetector:
    """Viola-Jones: one cascade proposes, two others vote.

    The proposer alone sees faces in clouds and shirts. On 220 pictures (films, crowds, 1/f noise,
    with YuNet as the judge) the `alt` cascade agreed with 97 % of its 143 true faces and 7 % of its
    116 false ones, `alt2` with 98 % and 17 %; the proposer's own level weight was 6 ± 2 for true
    and 1.5 ± 2 for false ones. The log-odds below weigh the three together: at a score of 0.5 they
    refuse 4 % of the true faces and pass 4 % of the false ones.
    """

    name = "haar"
    gives_landmarks = False
    _WEIGHT, _WEIGHT_MIDDLE = 0.7, 3.5
    _VOTES: ClassVar = {"alt": 2.2, "alt2": 1.0}

    def __init__(self, *, min_size: float, score: float):
        self._propose = _cascade("haarcascade_frontalface_default.xml")
        self._voters = {
            "alt": _cascade("haarcascade_frontalface_alt.xml"),
            "alt2": _cascade("haarcascade_frontalface_alt2.xml"),
        }
        self._min_size = min_size
        self._score = score

    def __call__(
        self, frame_HWC: np.ndarray, near: Sequence[np.ndarray] | None = None
    ) -> list[Face]:
        grey = cv2.cvtColor(_checked(frame_HWC), cv2.COLOR_RGB2GRAY)
        if near is not None:
            found = [face for box in near if (face := self._around(grey, box)) is not None]
            return largest_first(found)
        scale = min(1.0, _SMALLEST_PX / (self._min_size * min(grey.shape)))
        small = _resized(grey, scale)
        smallest = max(24, round(self._min_size * min(small.shape)))
        faces = self._search(small, (smallest, smallest), None)
        faces = [_scaled(f, 1 / scale) for f in faces if f.confidence >= self._score]
        return without_overlaps(faces)

    def _around(self, grey: np.ndarray, box_4: np.ndarray) -> Face | None:
        region, offset = _region(grey, box_4)
        if region is None:
            return None
        scale = min(2.0, _NEAR_FACE_PX / float(box_4[2]))
        expected = scale * float(box_4[2])
        bounds = [(round(k * expected),) * 2 for k in (0.75, 1.4)]
        faces = self._search(_resized(region, scale), bounds[0], bounds[1])
        faces = [f for f in faces if f.confidence >= _KEEP_SCORE]
        if not faces:
            return None
        return _scaled(max(faces, key=lambda f: f.confidence), 1 / scale, offset)

    def _search(self, grey, smallest, largest) -> list[Face]:
        boxes, _, weights = self._propose.detectMultiScale3(
            cv2.equalizeHist(grey),
            scaleFactor=1.1,
            minNeighbors=2,
            minSize=smallest,
            maxSize=largest or (0, 0),
            outputRejectLevels=True,
        )
        return [
            Face(np.asarray(box, np.float32), self._confidence(grey, box, float(weight)))
            for box, weight in zip(boxes, np.ravel(weights), strict=True)
        ]

    def _confidence(self, grey: np.ndarray, box, weight: float) -> float:
        x, y, w, h = (int(v) for v in box)
        pad = int(0.3 * w)  # the voters' windows need the face's surroundings
        x0, y0 = max(0, x - pad), max(0, y - pad)
        patch = grey[y0 : y + h + pad, x0 : x + w + pad]
        scale = np.array([96 / patch.shape[1], 96 / patch.shape[0]] * 2)
        proposed = np.array([x - x0, y - y0, w, h]) * scale
        patch = cv2.equalizeHist(cv2.resize(patch, (96, 96), interpolation=cv2.INTER_AREA))
        logit = self._WEIGHT * (weight - self._WEIGHT_MIDDLE)
        for name, cascade in self._voters.items():
            votes = cascade.detectMultiScale(patch, 1.1, 1, 0, (42, 42), (84, 84))
            agrees = any(overlap(np.asarray(vote), proposed) > 0.4 for vote in votes)
            logit += self._VOTES[name] if agrees else -self._VOTES[name]
        return float(1 / (1 + np.exp(-logit)))


class YuNetDetector:
    """YuNet (Wu et al. 2023) through `cv2.FaceDetectorYN`: slower to start, finds turned faces."""

    name = "yunet"
    gives_landmarks = True
    # YuNet's rectangle -> the Haar cascade's square, medians over 143 faces that both found; the
    # ratio of the sides varies by 6 %, the centre by 4 % of the side.
    _SIDE, _RAISE = 1.05, 0.026
    # Trained on faces of 10 to 300 px (opencv_zoo's README): small faces set the working scale.
    _FACE_PX = 20

    def __init__(self, path: Path, *, min_size: float, score: float):
        self._net = _load_yunet(path)
        self._min_size = min_size
        self._score = score

    def __call__(
        self, frame_HWC: np.ndarray, near: Sequence[np.ndarray] | None = None
    ) -> list[Face]:
        frame = _checked(frame_HWC)
        if near is not None:
            found = [face for box in near if (face := self._around(frame, box)) is not None]
            return largest_first(found)
        shorter = min(frame.shape[:2])
        scale = min(1.0, self._FACE_PX / (self._min_size * shorter))
        faces = [_scaled(f, 1 / scale) for f in self._search(_resized(frame, scale), self._score)]
        smallest = _NEARLY * self._min_size * shorter
        return without_overlaps([f for f in faces if f.box_4[2] >= smallest])

    def _around(self, frame: np.ndarray, box_4: np.ndarray) -> Face | None:
        region, offset = _region(frame, box_4)
        if region is None:
            return None
        scale = min(2.0, _NEAR_FACE_PX / float(box_4[2]))
        faces = self._search(_resized(region, scale), _KEEP_SCORE)
        faces = [_scaled(f, 1 / scale, offset) for f in faces]
        return max(faces, key=lambda f: overlap(f.box_4, box_4), default=None)

    def _search(self, frame_HWC: np.ndarray, score: float) -> list[Face]:
        self._net.setInputSize((frame_HWC.shape[1], frame_HWC.shape[0]))
        self._net.setScoreThreshold(score)
        _, rows = self._net.detect(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR))
        # On strips of a few pixels the network answers with infinities.
        return [] if rows is None else [self._face(row) for row in rows if np.isfinite(row).all()]

    def _face(self, row: np.ndarray) -> Face:
        x, y, w, h = row[:4]
        side = self._SIDE * np.sqrt(max(w * h, 1.0))
        centre_x, centre_y = x + w / 2, y + h / 2 - self._RAISE * h
        box = np.array([centre_x - side / 2, centre_y - side / 2, side, side], np.float32)
        return Face(box, float(row[14]), np.asarray(row[4:14], np.float32).reshape(5, 2))


def overlap(a_4: np.ndarray, b_4: np.ndarray) -> float:
    """Intersection over union of two (x, y, w, h) boxes, in [0, 1]."""
    width = min(a_4[0] + a_4[2], b_4[0] + b_4[2]) - max(a_4[0], b_4[0])
    height = min(a_4[1] + a_4[3], b_4[1] + b_4[3]) - max(a_4[1], b_4[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = float(width * height)
    return common / (float(a_4[2] * a_4[3]) + float(b_4[2] * b_4[3]) - common)


def largest_first(faces: Sequence[Face]) -> list[Face]:
    """`faces` sorted by area; ties by place, so that the order never depends on threads."""
    return sorted(faces, key=lambda f: (-f.box_4[2] * f.box_4[3], f.box_4[0], f.box_4[1]))


def without_overlaps(faces: Sequence[Face]) -> list[Face]:
    """Keeps the surer of two faces that share more than `SHARED` of the smaller square.

    A mouth over a collar and tie passes all three cascades; it shares the chin with the real face.
    """
    kept: list[Face] = []
    for face in sorted(largest_first(faces), key=lambda f: -f.confidence):
        if all(shared(k.box_4, face.box_4) <= SHARED for k in kept):
            kept.append(face)
    return largest_first(kept)


def shared(a_4: np.ndarray, b_4: np.ndarray) -> float:
    """Common area as a fraction of the smaller box."""
    a, b = float(a_4[2] * a_4[3]), float(b_4[2] * b_4[3])
    union = overlap(a_4, b_4)
    return union * (a + b) / (1 + union) / min(a, b)


def _region(picture: np.ndarray, box_4: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """The part of `picture` around a box, and its top left corner; None outside the picture."""
    centre, side = box_4[:2] + box_4[2:] / 2, _NEAR_REGION * float(max(box_4[2:]))
    low = np.maximum(np.floor(centre - side / 2), 0).astype(int)
    high = np.minimum(np.ceil(centre + side / 2), picture.shape[1::-1]).astype(int)
    if np.any(high - low < 24):
        return None, low
    return picture[low[1] : high[1], low[0] : high[0]], low.astype(np.float32)


def _scaled(face: Face, factor: float, offset_2: np.ndarray | None = None) -> Face:
    shift = np.zeros(2, np.float32) if offset_2 is None else offset_2
    box = np.float32(factor) * face.box_4
    box[:2] += shift
    points = face.landmarks_5x2
    if points is not None:
        points = np.float32(factor) * points + shift
    return Face(box, face.confidence, points)


def _resized(picture: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return picture
    size = tuple(max(1, round(scale * n)) for n in picture.shape[1::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(picture, size, interpolation=how)


def _checked(frame_HWC: np.ndarray) -> np.ndarray:
    if frame_HWC.ndim != 3 or frame_HWC.shape[2] != 3 or frame_HWC.dtype != np.uint8:
        raise ValueError(f"a frame is uint8 H×W×3 RGB, not {frame_HWC.dtype} {frame_HWC.shape}")
    return np.ascontiguousarray(frame_HWC)


def _cascade(filename: str) -> cv2.CascadeClassifier:
    if not hasattr(cv2, "CascadeClassifier"):
        raise UserError(
            f"OpenCV {cv2.__version__} has no Haar cascades; install "
            "'opencv-python-headless>=4.13,<5' or give the path of a YuNet .onnx file"
        )
    cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / filename))
    if cascade.empty():
        raise UserError(f"OpenCV's {filename} is missing; reinstall opencv-python-headless")
    return cascade


def _load_yunet(path: Path) -> cv2.FaceDetectorYN:
    if not path.is_file():
        raise UserError(f"no face detector file {path}; see opencv_zoo's face_detection_yunet")
    if path.read_bytes()[:7] == b"version":
        raise UserError(f"{path} is a Git LFS pointer, not the model; fetch the real file")
    try:
        net = cv2.FaceDetectorYN.create(str(path), "", (64, 64), 0.5, 0.3, 1000)
        net.detect(np.zeros((64, 64, 3), np.uint8))
    except cv2.error as error:
        raise UserError(
            f"{path} is not a YuNet model that OpenCV can run; "
            "use opencv_zoo's face_detection_yunet_2023mar.onnx"
        ) from error
    return net
