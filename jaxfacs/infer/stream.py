"""Frames in, answers out, in the order of the frames: whatever the network's clips look like."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from jaxfacs.faces.detect import Face
from jaxfacs.infer.answers import Answers, Reading
from jaxfacs.infer.bundle import InputSpec
from jaxfacs.infer.crop_spec import CropSpec
from jaxfacs.infer.results import FrameResult, RawFace, RawFrame
from jaxfacs.infer.windows import Clip, Run


@dataclass(eq=False)
class _Waiting:
    frame: int
    timestamp: float
    readable: bool
    faces: list[tuple[int, Face, Run, int]] = field(default_factory=list)  # id, face, run, place


class Stream:
    """Takes the frames of one film one by one and gives each one's result once it is known.

    A result waits for the clips that its faces are in, and those for a batch; so it comes some
    frames later (at most about `2·batch·hop` and a clip). Memory does not grow with the film: the
    crops of open clips are kept, frames are not.

    Args:
      submit: starts the network on B×T×H×W×3 uint8 clips and returns a function that waits for its
        outputs; two batches may be under way.
      follow: gives the (id, face) list of a frame.
      crop: cuts a face.
      reading: packs outputs. answers: makes results of them, frame after frame.
      spec: what the network reads.
      step, hop: see `windows.Run`.
      batch: clips to gather before the network runs.
      still: frames have nothing to do with each other.
    """

    def __init__(
        self,
        *,
        submit: Callable[[np.ndarray], Callable[[], Mapping[str, np.ndarray]]],
        follow: Callable[[np.ndarray], list[tuple[int, Face]]],
        crop: CropSpec,
        reading: Reading,
        answers: Answers,
        spec: InputSpec,
        step: int = 1,
        hop: int = 1,
        batch: int = 8,
        still: bool = False,
    ):
        self._submit, self._follow, self._crop = submit, follow, crop
        self._reading, self._answers, self._spec = reading, answers, spec
        self._step, self._hop, self._batch, self._still = step, hop, batch, still
        self._patience = 2 * batch * hop + spec.frames * step
        self._frame = 0
        self._runs: dict[int, Run] = {}
        self._clips: list[Clip] = []
        self._under_way: deque[tuple[list[Clip], Callable[[], Mapping[str, np.ndarray]]]] = deque()
        self._waiting: deque[_Waiting] = deque()

    def push(
        self, frame_HWC: np.ndarray | None, timestamp: float, number: int | None = None
    ) -> Iterator[FrameResult]:
        """Takes the next frame (None: it did not decode); yields the results that became ready.

        `number` is the frame's in its film, from 1; None: one more than that of the one before.
        """
        self._frame = self._frame + 1 if number is None else number
        waiting = _Waiting(self._frame, timestamp, frame_HWC is not None)
        self._waiting.append(waiting)
        if frame_HWC is not None:
            self._look(frame_HWC, waiting)
        while len(self._clips) >= self._batch:
            self._start(self._batch)
        if self._clips and len(self._waiting) > self._patience:
            self._start(len(self._clips))
        elif len(self._waiting) > self._patience:
            self._fetch(0)
        self._fetch(1)
        yield from self._ready()

    def finish(self) -> Iterator[FrameResult]:
        """Yields the results of all frames that are left."""
        for run in self._runs.values():
            self._close(run)
        self._runs = {}
        while self._clips:
            self._start(min(self._batch, len(self._clips)))
        self._fetch(0)
        yield from self._ready()
        yield from self._answers.finish()

    def _look(self, frame_HWC: np.ndarray, waiting: _Waiting) -> None:
        faces = self._follow(frame_HWC)
        present = {face_id for face_id, _ in faces}
        for face_id in [i for i in self._runs if i not in present]:
            self._close(self._runs.pop(face_id))
        for face_id, face in faces:
            run = self._runs.get(face_id)
            if run is None:
                run = self._runs[face_id] = Run(self._spec, step=self._step, hop=self._hop)
            run.append(self._crop(frame_HWC, face.box_4, face.landmarks_5x2))
            waiting.faces.append((face_id, face, run, run.length - 1))
            self._clips.extend(run.clips())
        if self._still:
            for face_id in present:
                self._close(self._runs.pop(face_id))

    def _close(self, run: Run) -> None:
        run.close()
        self._clips.extend(run.clips())

    def _start(self, count: int) -> None:
        clips, self._clips = self._clips[:count], self._clips[count:]
        outputs = self._submit(np.stack([clip.frames_THWC for clip in clips]))
        # From here on only the answers' places are needed, not the pictures.
        kept = [Clip(clip.run, clip.frames_THWC[:0], clip.answers) for clip in clips]
        self._under_way.append((kept, outputs))

    def _fetch(self, allowed: int) -> None:
        """Waits until at most `allowed` batches are under way."""
        while len(self._under_way) > allowed:
            clips, outputs = self._under_way.popleft()
            values = outputs()
            for row, clip in enumerate(clips):
                clip.run.receive(clip, self._reading.pack(values, row))

    def _ready(self) -> Iterator[FrameResult]:
        ready: list[RawFrame] = []
        while self._waiting:
            oldest = self._waiting[0]
            values = [run.value(place) for _, _, run, place in oldest.faces]
            known = [v for v in values if v is not None]
            if len(known) < len(values):
                break
            self._waiting.popleft()
            faces = tuple(
                RawFace(face_id, face, value)
                for (face_id, face, _, _), value in zip(oldest.faces, known, strict=True)
            )
            ready.append(RawFrame(oldest.frame, oldest.timestamp, faces, oldest.readable))
        yield from self._answers.push(ready)
