"""From the network's numbers to what is said of a face, frame after frame.

network -> calibrated probability -> minus rest -> smoothed -> presence, probability, intensity
by one rule -> emotions
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jaxfacs.emotion import Explanation, Mapper, from_json
from jaxfacs.emotion import person as profiles
from jaxfacs.emotion.person import Person
from jaxfacs.errors import UserError
from jaxfacs.infer import baseline, calibration
from jaxfacs.infer.answer import answer, centred
from jaxfacs.infer.baseline import Baseline
from jaxfacs.infer.bundle import Bundle
from jaxfacs.infer.calibration import Curves
from jaxfacs.infer.results import FaceResult, FrameResult, RawFace, RawFrame
from jaxfacs.infer.smoothing import LONGEST_S, smoother

EMOTION_DECIMALS = 3
AFFECT_DECIMALS = 3
CONFIDENCE_DECIMALS = 2


@dataclass(frozen=True, eq=False)
class Reading:
    """What turns raw network output into the answers of faces.

    Attributes:
      aus: A labels.
      threshold_A: calibrated probability from which an AU is present.
      curves: from the network's probability to the calibrated one; empty: as it is.
      has_intensity, has_affect, has_confidence: what the network answers besides occurrence.
      least_confidence: what is below it is unsure; 0: nothing is.
      own_emotions: names of the network's own emotions; empty if it has none.
      mapper: gives emotions by AUs where the network has none of its own; None: there are none.
    """

    aus: tuple[str, ...]
    threshold_A: np.ndarray
    curves: Curves = ()
    has_intensity: bool = False
    has_affect: bool = False
    has_confidence: bool = False
    least_confidence: float = 0.0
    own_emotions: tuple[str, ...] = ()
    mapper: Mapper | None = None

    @classmethod
    def of(cls, bundle: Bundle, outputs: Collection[str]) -> "Reading":
        """The reading of a bundle.

        Args:
          bundle: as it was read.
          outputs: names of the network's outputs.
        """
        own = bundle.emotions if "emotion" in outputs else ()
        mapper = None if own else bundle.emotion_mapper
        return cls(
            aus=bundle.aus,
            threshold_A=bundle.thresholds_A,
            curves=calibration.curves(bundle.aus, bundle.calibration),
            has_intensity="intensity" in outputs,
            has_affect="valence_arousal" in outputs,
            has_confidence="confidence" in outputs,
            least_confidence=bundle.confidence_threshold or 0.0,
            own_emotions=own,
            mapper=None if mapper is None else from_json(mapper),
        )

    @property
    def emotion_names(self) -> tuple[str, ...]:
        """Names of the emotion scores; empty if there are none."""
        return self.own_emotions or (self.mapper.emotions if self.mapper else ())

    @property
    def thresholds(self) -> dict[str, float]:
        """AU -> threshold."""
        return dict(zip(self.aus, np.asarray(self.threshold_A).tolist(), strict=True))

    def of_person(self, person: Person) -> "Reading":
        """The same with this person's thresholds and edits of the emotion table.

        Raises:
          UserError: the profile edits a table that is not there.
        """
        given = [person.thresholds.get(au, t) for au, t in self.thresholds.items()]
        if person.emotions and self.own_emotions:
            raise UserError(
                f"the profile of {person.name} edits a table of emotions, and this model names "
                'emotions without one; take "emotions" out of the profile'
            )
        mapper = profiles.edited(self.mapper, person)
        # As a bundle keeps them: `answer` compares with probabilities of as many decimals.
        threshold_A = np.clip(np.round(np.array(given, np.float64), 4), 0.0001, 0.9999)
        return replace(self, threshold_A=threshold_A, mapper=mapper)

    def pack(self, outputs: Mapping[str, np.ndarray], row: int) -> np.ndarray:
        """One clip's outputs as a K×V table, K answers: they are interpolated together."""
        probability_KA = np.atleast_2d(outputs["probability"][row])
        columns = [probability_KA]
        if self.has_intensity:
            columns.append(np.atleast_2d(outputs["intensity"][row]))
        if self.has_affect:
            columns.append(np.atleast_2d(outputs["valence_arousal"][row]))
        if self.has_confidence:
            columns.append(np.atleast_2d(outputs["confidence"][row]))
        if self.own_emotions:
            emotion_E = outputs["emotion"][row]
            columns.append(np.broadcast_to(emotion_E, (len(probability_KA), emotion_E.size)))
        return np.concatenate(columns, axis=1).astype(np.float32)

    def calibrated(self, frames: Sequence[RawFrame]) -> list[RawFrame]:
        """The same frames with calibrated probabilities, float64."""
        faces = [raw for frame in frames for raw in frame.faces]
        if not faces:
            return list(frames)
        num_aus = len(self.threshold_A)
        values_NV = np.stack([raw.values_V for raw in faces]).astype(np.float64)
        values_NV[:, :num_aus] = calibration.apply(values_NV[:, :num_aus], self.curves)
        made = (replace(raw, values_V=v) for raw, v in zip(faces, values_NV, strict=True))
        return [replace(f, faces=tuple(next(made) for _ in f.faces)) for f in frames]

    def results(self, seen: Sequence[RawFace]) -> list[FaceResult]:
        """The answers of these faces, each from its row of `pack`'s table, calibrated."""
        if not seen:
            return []
        values_NV = np.stack([raw.values_V for raw in seen])
        num_aus = len(self.threshold_A)
        intensity = values_NV[:, num_aus : 2 * num_aus] if self.has_intensity else None
        probability, present, graded = answer(values_NV[:, :num_aus], self.threshold_A, intensity)
        affect_N2 = None
        first = num_aus * (2 if self.has_intensity else 1)
        if self.has_affect:
            raw = values_NV[:, first : first + 2].astype(np.float64)
            affect_N2 = np.round(np.clip(raw, -1, 1), AFFECT_DECIMALS)
            first += 2
        confidence_N = np.array([raw.face.confidence for raw in seen], np.float64)
        if self.has_confidence:  # a face is as sure as its weakest part: found, and answered
            own_N = np.clip(values_NV[:, first].astype(np.float64), 0, 1)
            confidence_N = np.minimum(confidence_N, own_N)
        unsure_N = np.round(confidence_N, CONFIDENCE_DECIMALS) < self.least_confidence
        emotion = self._emotions(values_NV, probability, graded)
        emotion = np.round(np.asarray(emotion, np.float64), EMOTION_DECIMALS)
        return [
            FaceResult(
                face_id=raw.face_id,
                confidence=float(confidence_N[n]),
                box_4=raw.face.box_4,
                probability_A=probability[n],
                intensity_A=graded[n],
                present_A=present[n],
                emotion_E=emotion[n],
                valence_arousal_2=None if affect_N2 is None else affect_N2[n],
                unsure=bool(unsure_N[n]),
            )
            for n, raw in enumerate(seen)
        ]

    def explain(self, face: FaceResult, emotion: str | None = None) -> Explanation | None:
        """Which AUs spoke for and against an emotion (None: the likeliest) in this face.

        None where emotions are the network's own, which nothing explains, or where there are none.
        """
        if self.own_emotions or self.mapper is None:
            return None
        reading = self._read(self.mapper, face.probability_A[None], face.intensity_A[None])
        return reading.explain(0, emotion)

    def _emotions(
        self, values_NV: np.ndarray, probability_NA: np.ndarray, graded_NA: np.ndarray
    ) -> np.ndarray:
        if self.own_emotions:
            return values_NV[:, values_NV.shape[1] - len(self.own_emotions) :]
        if self.mapper is None:
            return np.zeros((len(values_NV), 0))
        return self._read(self.mapper, probability_NA, graded_NA).probability_TE

    def _read(self, mapper: Mapper, probability_NA: np.ndarray, intensity_NA: np.ndarray):
        # Rules ask what is likelier present than not: as the table's `_c`, at every threshold.
        evidence_NA = centred(probability_NA, self.threshold_A)
        return mapper.apply(self.aus, evidence_NA, intensity_TA=intensity_NA)


@dataclass(frozen=True)
class AnswerSettings:
    """What the user chooses of how a film is read.

    Attributes:
      baseline: "none", "median", "first:SECONDS", "image:PATH" or "profile:PATH"; see
        `infer.baseline`.
      smooth_s: seconds to smooth over, 0 to 60; 0: not at all. See `infer.smoothing`.
      person: path of a profile whose thresholds and edits of the emotion table are used. Its rest
        is taken out only where `baseline` says "profile:" with its path.
      causal: every frame is answered at once, from it and those before.

    Raises:
      UserError: a baseline or a width that there is not.
    """

    baseline: str = "none"
    smooth_s: float = 0.0
    person: str = ""
    causal: bool = False

    def __post_init__(self):
        baseline.parse(self.baseline)
        if not 0 <= self.smooth_s <= LONGEST_S:
            raise UserError(
                f"smoothing over {self.smooth_s} s; give 0 (not at all) to {LONGEST_S:g} seconds"
            )

    def of_stills(self) -> "AnswerSettings":
        """The same for pictures that have nothing to do with each other: no time, no medians."""
        given = baseline.parse(self.baseline).kind in ("image", "profile")
        return replace(self, baseline=self.baseline if given else "none", smooth_s=0.0)


class Stage(Protocol):
    """Something that frames go through: it may hold them back for a while, and keeps order."""

    def push(self, frames: Sequence[RawFrame]) -> list[RawFrame]: ...

    def finish(self) -> list[RawFrame]: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


class Answers:
    """Takes the raw frames of one film in order and gives their results, in order.

    Memory does not grow with the film: with a baseline "first:SECONDS" or smoothing the frames of
    some seconds wait, else none.

    Args:
      reading: makes answers of a network's numbers.
      settings: see there.
      fps: of the film, where it is known; bounds how many frames wait where times stand still.
      rest: of baseline "image:" and "profile:", as `baseline.given_rest` gives it; a profile is
        read here if it is None.

    Raises:
      UserError: a profile that cannot be read, or not be used with this network.
    """

    def __init__(
        self,
        reading: Reading,
        settings: AnswerSettings = AnswerSettings(),
        *,
        fps: float | None = None,
        rest: Person | None = None,
    ):
        if settings.person:
            reading = reading.of_person(profiles.load(Path(settings.person)))
        choice = baseline.parse(settings.baseline)
        if rest is None and choice.kind == "profile":
            rest = profiles.load(Path(choice.path))
        self.reading = reading
        self._baseline = Baseline(
            settings.baseline,
            aus=reading.aus,
            intensity=reading.has_intensity,
            rest=rest,
            causal=settings.causal,
            fps=fps,
        )
        self._stages: dict[str, Stage] = {"baseline": self._baseline}
        if settings.smooth_s:
            self._stages["smoothing"] = smoother(settings.smooth_s, causal=settings.causal)

    def push(self, frames: Sequence[RawFrame]) -> list[FrameResult]:
        """Takes the next frames; returns the results that became known."""
        frames = self.reading.calibrated(frames)
        for stage in self._stages.values():
            frames = stage.push(frames)
        return self._results(frames)

    def finish(self) -> list[FrameResult]:
        """Returns the results of all frames that are left."""
        frames: list[RawFrame] = []
        for stage in self._stages.values():
            frames = [*stage.push(frames), *stage.finish()]
        return self._results(frames)

    def state(self) -> dict[str, Any]:
        """Arrays and JSON values from which `restore` goes on as if nothing had been between."""
        return {
            f"{name}.{key}": value
            for name, stage in self._stages.items()
            for key, value in stage.state().items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave; this must have been made as that one was."""
        for name, stage in self._stages.items():
            first = f"{name}."
            stage.restore(
                {k.removeprefix(first): v for k, v in state.items() if k.startswith(first)}
            )

    def set_rest(self, rest: Person | None) -> None:
        """From now on everybody's rest is this; None: the baseline that was chosen."""
        self._baseline.set_rest(rest)

    def rest_from_last(self, seconds: float) -> bool:
        """From now on each face's rest is its median over the last seconds, up to 30; live only.

        Returns whether any face was there; else nothing changes. Faces that come later keep the
        baseline that was chosen; `set_rest(None)` takes it back.
        """
        return self._baseline.from_last(seconds)

    def _results(self, frames: Sequence[RawFrame]) -> list[FrameResult]:
        results = iter(self.reading.results([raw for frame in frames for raw in frame.faces]))
        return [
            FrameResult(
                frame.frame,
                frame.timestamp,
                tuple(next(results) for _ in frame.faces),
                frame.readable,
            )
            for frame in frames
        ]
