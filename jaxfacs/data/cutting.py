"""From one recording of a delivery to clips: pictures read, faces prepared, flow, JPEGs.

Runs in worker processes, and in Beam's.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from jaxfacs.data import flow, schema, writer
from jaxfacs.data.delivery import Delivery, Film, LeftOut, Pictures, Recording
from jaxfacs.data.frames import frames_of
from jaxfacs.faces import points
from jaxfacs.faces.align import moved
from jaxfacs.faces.prepare import FaceCut, FaceSteps, Known, prepared


@dataclass(frozen=True)
class CutSettings:
    """What decides the records besides the delivery.

    Attributes:
      steps: from a picture to a face crop.
      frames: of the longest clip.
      quality: of the JPEGs, 1–100.
      flow: whether clips carry optical flow.
    """

    steps: FaceSteps
    frames: int
    quality: int
    flow: bool


@dataclass(eq=False)
class Cut:
    """What became of a recording.

    Attributes:
      clips: in order.
      left_out: frames that could not be used.
      not_found: frames that are kept although no face was found in them.
      pixel_sum_3, pixel_square_3: of all crops' grey levels, by colour. pixels: how many.
      seconds: of work, by stage.
    """

    clips: list[schema.Clip] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    not_found: int = 0
    pixel_sum_3: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))
    pixel_square_3: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))
    pixels: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def count_pixels(self, frame_HWC: np.ndarray) -> None:
        """Adds a crop to the sums; whole numbers add up alike in whatever order they come."""
        flat = frame_HWC.reshape(-1, 1, 3)
        mean, deviation = cv2.meanStdDev(flat)
        self.pixel_sum_3 += np.rint(mean[:, 0] * len(flat)).astype(np.int64)
        squares = (deviation[:, 0] ** 2 + mean[:, 0] ** 2) * len(flat)
        self.pixel_square_3 += np.rint(squares).astype(np.int64)
        self.pixels += len(flat)


@dataclass(frozen=True, eq=False)
class Cutter:
    """Cuts recordings of one delivery. Picklable.

    Attributes:
      source: folder of the delivery.
      settings: see `CutSettings`.
      num_aus, num_attributes: of the delivery. phases: whether any recording codes them.
    """

    source: Path
    settings: CutSettings
    num_aus: int
    num_attributes: int
    phases: bool

    @classmethod
    def of(cls, source: Path, settings: CutSettings, delivery: Delivery) -> "Cutter":
        phases = any(r.phase_TA is not None for r in delivery.recordings)
        counts = len(delivery.aus), len(delivery.attributes)
        return cls(source, settings, *counts, phases)

    def __call__(self, recording: Recording) -> Cut:
        cut = Cut()
        try:
            self._cut(recording, cut)
        except (cv2.error, ValueError, OSError) as error:
            # One bad recording never ends a build of days.
            cut = Cut()
            where = recording.frames
            path = where.path if isinstance(where, Film) else recording.name
            text = " ".join(str(error).split())[:200]
            cut.left_out.append(LeftOut(path, None, f"failed: {text}"))
        return cut

    def _cut(self, recording: Recording, cut: Cut) -> None:
        taken: list[tuple[int, float]] = []

        def frames() -> Iterator[np.ndarray]:
            for t, time_s, frame in frames_of(recording, self.source, cut.left_out):
                taken.append((t, time_s))
                yield frame

        def known() -> Iterator[Known]:
            while True:  # asked once for each frame, after it was read
                yield _known(recording, taken[-1][0])

        start = time.perf_counter()
        kept: list[_Kept] = []
        before: tuple[int, np.ndarray] | None = None
        for face in self._faces(recording, frames(), known()):
            t, time_s = taken[-1]
            cut.seconds["read and find faces"] += time.perf_counter() - start
            start = time.perf_counter()
            jpeg = writer.encode_jpeg(face.frame_HWC, quality=self.settings.quality)
            cut.count_pixels(face.frame_HWC)
            cut.not_found += not face.found
            cut.seconds["encode"] += time.perf_counter() - start
            field_before = None
            if self.settings.flow:
                start = time.perf_counter()
                grey = cv2.cvtColor(face.frame_HWC, cv2.COLOR_RGB2GRAY)
                if before is not None and not _gap(recording, before[0], t):
                    field_before = flow.pack(flow.farneback(before[1], grey))
                before = (t, grey)
                cut.seconds["flow"] += time.perf_counter() - start
            kept.append(_Kept.of(t, time_s, face, jpeg, field_before))
            start = time.perf_counter()
        for first, end in self._chunks(recording, kept):
            cut.clips.append(self._clip(recording, kept, first, end))

    def _faces(
        self, recording: Recording, frames: Iterator[np.ndarray], known: Iterator[Known]
    ) -> Iterator[FaceCut]:
        """A face for each frame: followed from frame to frame, or anew in each still."""
        if not recording.stills:
            yield from prepared(frames, self.settings.steps, known)
            return
        for frame in frames:
            yield from prepared([frame], self.settings.steps, [next(known)])

    def _chunks(self, recording: Recording, kept: Sequence["_Kept"]) -> Iterator[tuple[int, int]]:
        """Yields (first, end) places of each clip's frames: no gap and no other emotion inside."""
        length = 1 if recording.stills else self.settings.frames
        first = 0
        for k in range(1, len(kept) + 1):
            if k == len(kept) or k - first == length or self._ends(recording, kept[k - 1], kept[k]):
                yield first, k
                first = k

    def _ends(self, recording: Recording, before: "_Kept", after: "_Kept") -> bool:
        other = _emotion(recording, before.t) != _emotion(recording, after.t)
        return other or _gap(recording, before.t, after.t)

    def _clip(
        self, recording: Recording, kept: Sequence["_Kept"], first: int, end: int
    ) -> schema.Clip:
        chunk = kept[first:end]
        t_T = [frame.t for frame in chunk]
        frames = len(chunk)
        occurrence_TA, intensity_TA = labels(recording, t_T, self.num_aus)
        packed, scale_F = None, None
        if self.settings.flow:
            run_first, run_end = _run(recording, kept, first, end)
            run = kept[run_first + 1 : run_end]
            fields = [frame.flow for frame in run if frame.flow is not None]
            packed, scale_F = flow.of_clip(fields, first - run_first, frames, size=chunk[0].size)
        affect = recording.valence_arousal_T2
        return schema.Clip(
            clip_id=_clip_id(recording, t_T[0]),
            subject=recording.subject,
            frames=[frame.jpeg for frame in chunk],
            occurrence_TA=occurrence_TA,
            intensity_TA=intensity_TA,
            emotion=_emotion(recording, t_T[0]),
            timestamps_T=np.array([frame.time_s for frame in chunk]),
            box_T4=np.stack([frame.box_4 for frame in chunk]),
            found_T=np.array([frame.found for frame in chunk]),
            landmarks_T68x2=_landmarks(recording, chunk),
            valence_arousal_T2=None if affect is None else affect[t_T].astype(np.float32),
            phase_TA=self._optional(recording.phase_TA, t_T, self.phases, -1, np.int8),
            attributes_TK=self._optional(
                recording.attributes_TK, t_T, self.num_attributes > 0, np.nan, np.float32
            ),
            flow=packed,
            flow_scale_F=scale_F,
        )

    def _optional(self, label_T, t_T: list[int], wanted: bool, unknown: float, dtype) -> np.ndarray:
        if not wanted:
            return None  # type: ignore[return-value]
        if label_T is None:
            width = self.num_aus if dtype == np.int8 else self.num_attributes
            return np.full((len(t_T), width), unknown, dtype)
        return np.asarray(label_T[t_T], dtype)


@dataclass(frozen=True, eq=False)
class _Kept:
    """A frame that will be in a clip; its pixels are gone but for the JPEG."""

    t: int
    time_s: float
    jpeg: bytes
    size: int
    box_4: np.ndarray
    found: bool
    matrix_2x3: np.ndarray
    flow: tuple[bytes, float] | None

    @classmethod
    def of(cls, t: int, time_s: float, face: FaceCut, jpeg: bytes, flow_before) -> "_Kept":
        size = face.frame_HWC.shape[0]
        return cls(t, time_s, jpeg, size, face.box_4, face.found, face.matrix_2x3, flow_before)


def labels(
    recording: Recording, t_T: Sequence[int] | slice, num_aus: int
) -> tuple[np.ndarray, np.ndarray]:
    """int8 occurrence and float32 intensity of some frames, unknown where nobody coded."""
    count = len(np.arange(len(recording.frames))[t_T])
    occurrence, intensity = recording.occurrence_TA, recording.intensity_TA
    if intensity is None:
        intensity_TA = np.full((count, num_aus), -1, np.float32)
    else:
        intensity_TA = np.asarray(intensity[t_T], np.float32)
    if occurrence is None:
        return writer.occurrence_of(intensity_TA), intensity_TA
    return np.asarray(occurrence[t_T], np.int8), intensity_TA


def _emotion(recording: Recording, t: int) -> int:
    return -1 if recording.emotion_T is None else int(recording.emotion_T[t])


def _gap(recording: Recording, before: int, t: int) -> bool:
    """Whether frames are left out between two that follow each other here."""
    if recording.stills:
        return True
    if recording.place_T is None:
        return t != before + 1
    return int(recording.place_T[t]) != int(recording.place_T[before]) + 1


def _run(recording: Recording, kept: Sequence[_Kept], first: int, end: int) -> tuple[int, int]:
    """The run of frames without a gap around kept[first:end]."""
    while first > 0 and not _gap(recording, kept[first - 1].t, kept[first].t):
        first -= 1
    while end < len(kept) and not _gap(recording, kept[end - 1].t, kept[end].t):
        end += 1
    return first, end


def _clip_id(recording: Recording, t: int) -> str:
    if recording.stills and isinstance(recording.frames, Pictures):
        path = recording.frames.paths[t]
        return path if recording.frames.paths.count(path) == 1 else f"{path}#{t}"
    place = t if recording.place_T is None else int(recording.place_T[t])
    return f"{recording.name}:{place}"


def _known(recording: Recording, t: int) -> Known:
    boxes, landmarks = recording.box_T4, recording.landmarks_TK2
    return Known(
        box_4=None if boxes is None or np.isnan(boxes[t]).any() else boxes[t],
        landmarks_K2=None if landmarks is None or np.isnan(landmarks[t]).any() else landmarks[t],
    )


def _landmarks(recording: Recording, chunk: Sequence[_Kept]) -> np.ndarray | None:
    """float32 T×68×2 in pixels of the crops, NaN where a point is not annotated."""
    landmarks = recording.landmarks_TK2
    if landmarks is None:
        return None
    out = np.full((len(chunk), 68, 2), np.nan, np.float32)
    for row, frame in zip(out, chunk, strict=True):
        row[:] = points.as_68(moved(frame.matrix_2x3, landmarks[frame.t]))
    return out
