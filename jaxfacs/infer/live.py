"""One camera or client, live: an answer for every frame at once, from the past alone."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from jaxfacs.faces.detect import Face
from jaxfacs.infer.answers import Answers, Reading
from jaxfacs.infer.bundle import InputSpec
from jaxfacs.infer.crop_spec import CropSpec
from jaxfacs.infer.results import FrameResult, RawFace, RawFrame

Follow = Callable[[np.ndarray], list[tuple[int, Face]]]

# A clip's time is covered by at most so many times its frames; a faster camera loses the oldest.
_FASTEST = 8


@dataclass(eq=False)
class _Crops:
    """The latest crops of one face, oldest first, with their times in seconds."""

    crops: deque[np.ndarray]
    times: deque[float] = field(default_factory=deque)


class Live:
    """Takes frames one by one; between the two calls for a frame its clips may go anywhere.

    A frame's clip of a face ends with that frame. The rest of it lies in the past, and where the
    face has been there for too short a time its first crop is repeated. Networks that answer once
    per clip answer for the newest frame as they are, those that answer per frame with their last
    answer. Frames are taken by their times where the network knows its rate, so the rate may vary.

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
        self._faces: dict[int, _Crops] = {}
        self._looked: tuple[int, float, bool, list[tuple[int, Face]]] | None = None

    def look(self, frame_HWC: np.ndarray | None, timestamp: float, number: int) -> np.ndarray:
        """Finds the faces of the next frame (None: it did not decode).

        Args:
          frame_HWC: uint8 RGB. timestamp: seconds, above the one before. number: of the frame.

        Returns:
          uint8 B×T×H×W×3, one clip for each face; B may be 0.
        """
        faces = self._follow(frame_HWC) if frame_HWC is not None else []
        self._looked = (number, timestamp, frame_HWC is not None, faces)
        self._faces = {i: self._faces[i] for i, _ in faces if i in self._faces}
        side = self._spec.size
        clips = [np.zeros((0, self._spec.frames, side, side, 3), np.uint8)]
        for face_id, face in faces:
            assert frame_HWC is not None
            crop_HWC = self._crop(frame_HWC, face.box_4, face.landmarks_5x2)
            clips.append(self._clip(face_id, crop_HWC, timestamp)[None])
        return np.concatenate(clips)

    def answer(self, outputs: Mapping[str, np.ndarray]) -> FrameResult:
        """The result of the frame last looked at, from the network's outputs for its clips.

        With no clip any mapping will do, also an empty one.
        """
        if self._looked is None:
            raise ValueError("no frame was looked at since the last answer")
        number, timestamp, readable, faces = self._looked
        self._looked = None
        seen = tuple(
            RawFace(face_id, face, self._reading.pack(outputs, row)[-1])
            for row, (face_id, face) in enumerate(faces)
        )
        (result,) = self._answers.push([RawFrame(number, timestamp, seen, readable)])
        return result

    def set_rest(self, seconds: float) -> bool:
        """From now on each face's rest is its median over the last seconds.

        Returns whether any face was there; else nothing changes.
        """
        return self._answers.rest_from_last(seconds)

    def clear_rest(self) -> None:
        """From now on the baseline that was chosen, whatever `set_rest` did."""
        self._answers.set_rest(None)

    def _clip(self, face_id: int, crop_HWC: np.ndarray, timestamp: float) -> np.ndarray:
        spec = self._spec
        most = (spec.frames - 1) * self._step + 1
        if self._step_s is not None:
            most = _FASTEST * spec.frames
        seen = self._faces.setdefault(face_id, _Crops(deque(maxlen=most), deque(maxlen=most)))
        seen.crops.append(crop_HWC)
        seen.times.append(timestamp)
        back_T = np.arange(spec.frames - 1, -1, -1)
        if self._step_s is None:
            places_T = len(seen.crops) - 1 - back_T * self._step
        else:
            span_s = (spec.frames - 1) * self._step_s
            while len(seen.times) > 1 and seen.times[1] <= timestamp - span_s:
                seen.times.popleft()
                seen.crops.popleft()
            places_T = _nearest(np.array(seen.times), timestamp - back_T * self._step_s)
        return np.stack([seen.crops[max(0, int(place))] for place in places_T])


def _nearest(times_N: np.ndarray, wanted_T: np.ndarray) -> np.ndarray:
    """Index of the time nearest to each wanted one; `times_N` rises."""
    after_T = np.clip(np.searchsorted(times_N, wanted_T), 0, len(times_N) - 1)
    before_T = np.maximum(after_T - 1, 0)
    nearer_before = wanted_T - times_N[before_T] <= times_N[after_T] - wanted_T
    return np.where(nearer_before, before_T, after_T)
