"""One camera or client, live: an answer for every frame at once, from what was seen so far."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from jaxfacs.faces.detect import Face
from jaxfacs.infer.answers import Answers, Reading
from jaxfacs.infer.bundle import InputSpec
from jaxfacs.infer.crop_spec import CropSpec
from jaxfacs.infer.results import FrameResult, RawFace, RawFrame

Follow = Callable[[np.ndarray], list[tuple[int, Face]]]

# A clip's time is covered by at most so many times its frames; a faster camera loses the oldest.
_FASTEST = 8


class _Crops:
    """The latest crops of one face with their times; places count from its first crop."""

    def __init__(self, most: int):
        self.crops: deque[np.ndarray] = deque(maxlen=most)
        self.times: deque[float] = deque(maxlen=most)
        self.count = 0

    def append(self, crop_HWC: np.ndarray, timestamp: float) -> int:
        """Returns the new crop's place."""
        self.crops.append(crop_HWC)
        self.times.append(timestamp)
        self.count += 1
        return self.count - 1

    @property
    def first(self) -> int:
        """Place of the oldest crop that is kept."""
        return self.count - len(self.crops)


class _Asked(NamedTuple):
    """One face in one frame, and where its crop is."""

    face_id: int
    face: Face
    crops: _Crops
    place: int


class _Looked(NamedTuple):
    """One frame, and for each of its faces the clip and the answer that are about it."""

    number: int
    timestamp: float
    readable: bool
    faces: list[tuple[_Asked, int, int]]


class Live:
    """Takes frames as they come; between looking and answering their clips may go anywhere.

    A clip of a face ends with the newest frame. The rest of it lies in the past, and where the face
    has been there for too short a time its first crop is repeated. Networks that answer once per
    clip answer for the newest frame as they are, those that answer per frame with their last
    answer; of frames that waited together and lie in the later half of one clip, with one each.
    Frames are taken by their times where the network knows its rate, so the rate may vary.

    Args:
      follow: frame -> its faces with ids.
      crop: cuts a face.
      reading: packs outputs.
      answers: makes results of them; must answer each frame at once.
      spec: what the network reads.
      fps: of the frames; None: by their times.
    """

    def __init__(
        self,
        *,
        follow: Follow,
        crop: CropSpec,
        reading: Reading,
        answers: Answers,
        spec: InputSpec,
        fps: float | None = None,
    ):
        self._follow, self._crop = follow, crop
        self._reading, self._answers, self._spec = reading, answers, spec
        self._step = max(1, round(spec.stride * (fps / spec.fps if fps and spec.fps else 1.0)))
        self._step_s = spec.stride / spec.fps if spec.fps and not fps else None
        self._most = (spec.frames - 1) * self._step + 1
        if self._step_s is not None:
            self._most = _FASTEST * spec.frames
        self._faces: dict[int, _Crops] = {}
        self._looked: list[_Looked] = []

    @property
    def at_once(self) -> int:
        """Frames that waited together and are worth looking at together."""
        return max(1, self._spec.frames // 2) if self._spec.per_frame else 1

    def look(self, frame_HWC: np.ndarray | None, timestamp: float, number: int) -> np.ndarray:
        """Finds the faces of the next frame (None: it did not decode).

        Args:
          frame_HWC: uint8 RGB. timestamp: seconds, above the one before. number: of the frame.

        Returns:
          uint8 B×T×H×W×3, one clip for each face; B may be 0.
        """
        return self.look_all([(frame_HWC, timestamp, number)])

    def answer(self, outputs: Mapping[str, np.ndarray]) -> FrameResult:
        """The result of the frame last looked at, from the network's outputs for its clips.

        With no clip any mapping will do, also an empty one.
        """
        (result,) = self.answer_all(outputs)
        return result

    def look_all(self, frames: Iterable[tuple[np.ndarray | None, float, int]]) -> np.ndarray:
        """`look` for several frames that waited, up to `at_once`: fewer clips than one by one."""
        seen = [
            (number, time_s, f is not None, self._see(f, time_s)) for f, time_s, number in frames
        ]
        if len(seen) > self.at_once:
            raise ValueError(f"{len(seen)} frames at once; {self.at_once} is the most")
        side = self._spec.size
        clips = [np.zeros((0, self._spec.frames, side, side, 3), np.uint8)]
        placed: dict[int, tuple[int, np.ndarray]] = {}  # by face: its newest clip, answers' places
        self._looked = []
        for number, timestamp, readable, faces in reversed(seen):
            found = []
            for asked in faces:
                row, places_K = placed.get(id(asked.crops), (-1, np.zeros(0, int)))
                k = self._answer_about(asked, places_K)
                if k is None:
                    row, places_T = len(clips) - 1, self._places(asked)
                    clips.append(self._clip(asked.crops, places_T)[None])
                    places_K = places_T[list(self._spec.answers)]
                    placed[id(asked.crops)] = row, places_K
                    k = len(places_K) - 1
                found.append((asked, row, k))
            self._looked.append(_Looked(number, timestamp, readable, found))
        self._looked.reverse()
        return np.concatenate(clips)

    def answer_all(self, outputs: Mapping[str, np.ndarray]) -> list[FrameResult]:
        """The results of the frames last looked at, in order."""
        if not self._looked:
            raise ValueError("no frame was looked at since the last answer")
        looked, self._looked = self._looked, []
        frames = [
            RawFrame(
                frame.number,
                frame.timestamp,
                tuple(
                    RawFace(asked.face_id, asked.face, self._reading.pack(outputs, row)[k])
                    for asked, row, k in frame.faces
                ),
                frame.readable,
            )
            for frame in looked
        ]
        return self._answers.push(frames)

    def set_rest(self, seconds: float) -> bool:
        """From now on each face's rest is its median over the last seconds.

        Returns whether any face was there; else nothing changes.
        """
        return self._answers.rest_from_last(seconds)

    def clear_rest(self) -> None:
        """From now on the baseline that was chosen, whatever `set_rest` did."""
        self._answers.set_rest(None)

    def _see(self, frame_HWC: np.ndarray | None, timestamp: float) -> list[_Asked]:
        faces = [] if frame_HWC is None else self._follow(frame_HWC)
        self._faces = {i: self._faces[i] for i, _ in faces if i in self._faces}
        asked = []
        for face_id, face in faces:
            assert frame_HWC is not None
            crops = self._faces.setdefault(face_id, _Crops(self._most + self.at_once))
            crop_HWC = self._crop(frame_HWC, face.box_4, face.landmarks_5x2)
            asked.append(_Asked(face_id, face, crops, crops.append(crop_HWC, timestamp)))
        return asked

    def _places(self, asked: _Asked) -> np.ndarray:
        """Places of the crops of the clip that ends with this one."""
        back_T = np.arange(self._spec.frames - 1, -1, -1)
        first = asked.crops.first
        if self._step_s is None:
            return np.maximum(asked.place - back_T * self._step, first)
        times_N = np.array(asked.crops.times)[: asked.place - first + 1]
        return first + _nearest(times_N, times_N[-1] - back_T * self._step_s)

    def _clip(self, crops: _Crops, places_T: np.ndarray) -> np.ndarray:
        return np.stack([crops.crops[int(place)] for place in places_T - crops.first])

    def _answer_about(self, asked: _Asked, places_K: np.ndarray) -> int | None:
        """Which of a later clip's answers is about this crop; None: none is, near enough."""
        if not self._spec.per_frame or not len(places_K):
            return None
        if self._step_s is None:
            far_K, near = np.abs(places_K - asked.place), self._step / 2
        else:
            times = np.array(asked.crops.times)
            far_K = np.abs(
                times[places_K - asked.crops.first] - times[asked.place - asked.crops.first]
            )
            near = self._step_s / 2 + 1e-6
        k = len(far_K) - 1 - int(np.argmin(far_K[::-1]))  # of equal ones the last
        return k if far_K[k] <= near and k >= len(places_K) // 2 else None


def _nearest(times_N: np.ndarray, wanted_T: np.ndarray) -> np.ndarray:
    """Index of the time nearest to each wanted one; `times_N` rises."""
    after_T = np.clip(np.searchsorted(times_N, wanted_T), 0, len(times_N) - 1)
    before_T = np.maximum(after_T - 1, 0)
    nearer_before = wanted_T - times_N[before_T] <= times_N[after_T] - wanted_T
    return np.where(nearer_before, before_T, after_T)
