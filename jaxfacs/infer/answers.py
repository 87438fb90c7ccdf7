"""From the network's numbers to what is said of a face, frame after frame."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxfacs.infer.answer import answer, centred
from jaxfacs.infer.results import FaceResult, FrameResult, RawFace, RawFrame

EMOTION_DECIMALS = 3
AFFECT_DECIMALS = 3


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

    def results(self, seen: Sequence[RawFace]) -> list[FaceResult]:
        """The answers of these faces, each from its row of `pack`'s table."""
        if not seen:
            return []
        values_NV = np.stack([raw.values_V for raw in seen])
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
                face_id=raw.face_id,
                confidence=raw.face.confidence,
                box_4=raw.face.box_4,
                probability_A=probability[n],
                intensity_A=graded[n],
                present_A=present[n],
                emotion_E=emotion[n],
                valence_arousal_2=None if affect_N2 is None else affect_N2[n],
            )
            for n, raw in enumerate(seen)
        ]


class Answers:
    """Takes the raw frames of one film in order and gives their results, in order.

    Args:
      reading: makes answers of a network's numbers.
    """

    def __init__(self, reading: Reading):
        self._reading = reading

    def push(self, frames: Sequence[RawFrame]) -> Iterator[FrameResult]:
        """Takes the next frames; yields the results that became known."""
        results = iter(self._reading.results([raw for frame in frames for raw in frame.faces]))
        for frame in frames:
            faces = tuple(next(results) for _ in frame.faces)
            yield FrameResult(frame.frame, frame.timestamp, faces, frame.readable)

    def finish(self) -> Iterator[FrameResult]:
        """Yields the results of all frames that are left."""
        yield from ()

    def state(self) -> dict[str, Any]:
        """Arrays and JSON values from which `restore` goes on as if nothing had been between."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
