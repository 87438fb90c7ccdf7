"""Frames in, answers out, in the order of the frames: whatever the network's clips look like."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.faces.align import ALIGNMENTS
from jaxfacs.faces.detect import Face
from jaxfacs.faces.steps import FaceSteps
from jaxfacs.infer.answer import answer, centred
from jaxfacs.infer.bundle import InputSpec
from jaxfacs.infer.windows import Clip, Run

EMOTION_DECIMALS = 3
AFFECT_DECIMALS = 3
_UNKNOWN_MARGIN = 0.2  # of bundles that do not say how their faces were cut


@dataclass(frozen=True, eq=False)
class FaceResult:
    """What was read from one face in one frame.

    Attributes:
      face_id: stays with the face through the film.
      confidence: of the detector, in [0, 1]; at most 0.5 where the face was missed and its last
        place is used.
      box_4: (x, y, w, h) in pixels of the frame.
      probability_A, intensity_A: over the predictor's `aus`; in [0, 1], and 0 to 5.
      present_A: bool.
      emotion_E: over the predictor's `emotions`, in [0, 1].
      valence_arousal_2: in [-1, 1]; None for networks without.
    """

    face_id: int
    confidence: float
    box_4: np.ndarray
    probability_A: np.ndarray
    intensity_A: np.ndarray
    present_A: np.ndarray
    emotion_E: np.ndarray
    valence_arousal_2: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One frame: its number from 1, its time in seconds, its faces, largest first.

    `readable` is false where the frame itself could not be decoded.
    """

    frame: int
    timestamp: float
    faces: tuple[FaceResult, ...]
    readable: bool = True


@dataclass(frozen=True)
class CropSpec:
    """How a face becomes the network's input; the same as when its records were built.

    Attributes:
      steps: of the records; `steps.size` is the side of their frames, which training shrinks to
        the network's.
      size: side of the network's frames in pixels.
      share: of the side of the records' frames, whose middle evaluation saw
        (`data.augment.crop` of the run).
    """

    steps: FaceSteps
    size: int
    share: float = 1.0

    @classmethod
    def of_card(cls, card: Mapping[str, Any], size: int) -> "CropSpec":
        """From what a record set keeps as its `crop`; earlier ones keep no steps, only a margin.

        Raises:
          UserError: the words are not known here, or cannot be done without given landmarks.
        """
        words = card.get("steps", [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UserError("its face steps are not a list of words; export the model again")
        try:
            steps = FaceSteps.parse(words)
        except UserError as error:
            raise UserError(f"{error}; or update jaxfacs, if a newer one made it") from error
        chosen = ALIGNMENTS.get(steps.alignment)
        if chosen is not None and not chosen.from_5:
            raise UserError(
                f"its faces are laid by '{steps.alignment}', which needs {chosen.needs}; no "
                "detector here finds them in a film; train on records made with 'eyes-mouth' or "
                "'box:0.1'"
            )
        margin = float(card.get("margin", steps.margin if words else _UNKNOWN_MARGIN))
        stored = int(card.get("size", size))
        share = float(card.get("share", 1.0))
        if not 0 < share <= 1:
            raise UserError(f"its share of a face is {share}, not above 0 and up to 1")
        return cls(replace(steps, margin=margin, size=stored), size, share)

    @property
    def needs_landmarks(self) -> bool:
        """Whether the detector must tell where eyes and mouth are."""
        return self.steps.alignment != "box"

    def __call__(
        self,
        frame_HWC: np.ndarray,
        box_4: np.ndarray,
        landmarks_5x2: np.ndarray | None = None,
    ) -> np.ndarray:
        """The network's uint8 size×size×3 of one face; without landmarks that of an upright one."""
        matrix = None
        if self.needs_landmarks:
            if landmarks_5x2 is not None:
                matrix = self.steps.matrix(landmarks_5x2)
            if matrix is None:
                matrix = self.steps.typical(box_4)
        face = self.steps.cut(frame_HWC, box_4, landmarks_5x2, matrix_23=matrix)
        side = max(1, round(self.steps.size * self.share))
        low = (self.steps.size - side + 1) // 2
        face = face[low : low + side, low : low + side]
        if side == self.size:
            return face
        how = cv2.INTER_AREA if side > self.size else cv2.INTER_LINEAR
        return cv2.resize(face, (self.size, self.size), interpolation=how)


@dataclass(frozen=True, eq=False)
class Reading:
    """What turns raw network output into the answers of faces.

    Attributes:
      threshold_A: probability from which an AU is present.
      has_intensity, has_affect, num_emotions: what the network answers besides occurrence.
      emotions: (N×A probabilities with every threshold at 0.5, N×A intensities) -> N×E scores; used
        where the network has no emotions of its own.
    """

    threshold_A: np.ndarray
    has_intensity: bool
    num_emotions: int
    emotions: Callable[[np.ndarray, np.ndarray], np.ndarray]
    has_affect: bool = False

    def pack(self, outputs: Mapping[str, np.ndarray], row: int) -> np.ndarray:
        """One clip's outputs as a K×V table, K answers: they are interpolated together."""
        probability_KA = np.atleast_2d(outputs["probability"][row])
        columns = [probability_KA]
        if self.has_intensity:
            columns.append(np.atleast_2d(outputs["intensity"][row]))
        if self.has_affect:
            columns.append(np.atleast_2d(outputs["valence_arousal"][row]))
        if self.num_emotions:
            emotion_E = outputs["emotion"][row]
            columns.append(np.broadcast_to(emotion_E, (len(probability_KA), emotion_E.size)))
        return np.concatenate(columns, axis=1).astype(np.float32)

    def results(self, seen: Sequence[tuple[int, Face, np.ndarray]]) -> list[FaceResult]:
        """The answers of faces given as (id, face, row of `pack`'s table)."""
        if not seen:
            return []
        values_NV = np.stack([values for _, _, values in seen])
        num_aus = len(self.threshold_A)
        intensity = values_NV[:, num_aus : 2 * num_aus] if self.has_intensity else None
        probability, present, graded = answer(values_NV[:, :num_aus], self.threshold_A, intensity)
        affect_N2 = None
        if self.has_affect:
            first = num_aus * (2 if self.has_intensity else 1)
            raw = values_NV[:, first : first + 2].astype(np.float64)
            affect_N2 = np.round(np.clip(raw, -1, 1), AFFECT_DECIMALS)
        if self.num_emotions:
            emotion = values_NV[:, values_NV.shape[1] - self.num_emotions :]
        else:
            emotion = self.emotions(centred(probability, self.threshold_A), graded)
        emotion = np.round(np.asarray(emotion, np.float64), EMOTION_DECIMALS)
        return [
            FaceResult(
                face_id=face_id,
                confidence=face.confidence,
                box_4=face.box_4,
                probability_A=probability[n],
                intensity_A=graded[n],
                present_A=present[n],
                emotion_E=emotion[n],
                valence_arousal_2=None if affect_N2 is None else affect_N2[n],
            )
            for n, (face_id, face, _) in enumerate(seen)
        ]


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
      reading: makes answers of outputs.
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
        spec: InputSpec,
        step: int = 1,
        hop: int = 1,
        batch: int = 8,
        still: bool = False,
    ):
        self._submit, self._follow, self._crop = submit, follow, crop
        self._reading, self._spec = reading, spec
        self._step, self._hop, self._batch, self._still = step, hop, batch, still
        self._patience = 2 * batch * hop + spec.frames * step
        self._frame = 0
        self._runs: dict[int, Run] = {}
        self._clips: list[Clip] = []
        self._under_way: deque[tuple[list[Clip], Callable[[], Mapping[str, np.ndarray]]]] = deque()
        self._waiting: deque[_Waiting] = deque()

    def push(self, frame_HWC: np.ndarray | None, timestamp: float) -> Iterator[FrameResult]:
        """Takes the next frame (None: it did not decode); yields the results that became ready."""
        self._frame += 1
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
        ready: list[_Waiting] = []
        seen: list[tuple[int, Face, np.ndarray]] = []
        while self._waiting:
            values = [run.value(place) for _, _, run, place in self._waiting[0].faces]
            known = [v for v in values if v is not None]
            if len(known) < len(values):
                break
            ready.append(self._waiting.popleft())
            seen += [(i, f, v) for (i, f, _, _), v in zip(ready[-1].faces, known, strict=True)]
        results = iter(self._reading.results(seen))
        for frame in ready:
            faces = tuple(next(results) for _ in frame.faces)
            yield FrameResult(frame.frame, frame.timestamp, faces, frame.readable)
