"""What a mapper reads and what it says: evidence of AUs in, emotions and their reasons out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.facs import ACTION_UNITS, Code, format, parse, split_label

MOST = 10  # AUs that an explanation names a side; no rule asks for more


@dataclass(frozen=True)
class Reason:
    """One AU's say in one emotion.

    Attributes:
      au: label.
      weight: positive speaks for the emotion, negative against it.
      present: the evidence, 0-1: an AU can speak by being absent.
    """

    au: str
    weight: float
    present: float

    def __str__(self) -> str:
        return self.au if self.present >= 0.5 else f"no {self.au}"


@dataclass(frozen=True)
class Explanation:
    """Why one frame got one emotion.

    Attributes:
      emotion, probability: what is explained.
      speaks_for, speaks_against: the deciding AUs, the strongest first.
      unjudged: AUs that the mapper asks about for this emotion and nobody could tell.
    """

    emotion: str
    probability: float
    speaks_for: tuple[Reason, ...]
    speaks_against: tuple[Reason, ...]
    unjudged: tuple[str, ...]

    def __str__(self) -> str:
        def names(reasons: Sequence[Reason]) -> str:
            return ", ".join(map(str, reasons))

        parts = [f"{self.emotion} {self.probability:.2f}"]
        parts += [f"for {names(self.speaks_for)}"] if self.speaks_for else []
        parts += [f"against {names(self.speaks_against)}"] if self.speaks_against else []
        parts += [f"not judged {', '.join(self.unjudged)}"] if self.unjudged else []
        return "; ".join(parts)


@dataclass(frozen=True, eq=False)
class Reading:
    """Emotions of T frames.

    Attributes:
      emotions: E names.
      aus: A labels of the evidence.
      present_TA: the evidence, chance 0-1 that the AU is present, NaN unknown.
      probability_TE: float32, each row sums to 1; NaN where a frame has no evidence at all.
      weight_TEA: float32, how much each AU spoke for (> 0) or against (< 0) each emotion. The unit
        is the mapper's own; compare within one reading.
      unjudged: emotion -> AUs the mapper asks about that the evidence does not have.
    """

    emotions: tuple[str, ...]
    aus: tuple[str, ...]
    present_TA: np.ndarray
    probability_TE: np.ndarray
    weight_TEA: np.ndarray
    unjudged: Mapping[str, tuple[str, ...]]

    def explain(
        self, frame: int = 0, emotion: str | None = None, *, most: int = MOST
    ) -> Explanation:
        """The reasons for `emotion` (None: the likeliest) in one frame, at most `most` a side."""
        row_E = self.probability_TE[frame]
        if emotion is None:
            e = 0 if np.isnan(row_E).all() else int(np.nanargmax(row_E))
        else:
            e = self.emotions.index(emotion)
        weight_A = self.weight_TEA[frame, e]
        order = np.argsort(-np.abs(weight_A), kind="stable")
        present_A = self.present_TA[frame]
        reasons = [Reason(self.aus[a], float(weight_A[a]), float(present_A[a])) for a in order]
        return Explanation(
            self.emotions[e],
            float(row_E[e]),
            tuple(r for r in reasons if r.weight > 0)[:most],
            tuple(r for r in reasons if r.weight < 0)[:most],
            self.unjudged.get(self.emotions[e], ()),
        )


class Mapper(Protocol):
    """What every mapper from AUs to emotions offers."""

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions it tells apart, in the order of `Reading.probability_TE`."""
        ...

    def apply(
        self,
        aus: Sequence[str],
        probability_TA: ArrayLike,
        *,
        intensity_TA: ArrayLike | None = None,
    ) -> Reading:
        """Reads T frames.

        Args:
          aus: A labels; sides ("L12") are used where a mapper asks for them, and elsewhere the
            stronger of two sides stands for the AU.
          probability_TA: chance 0-1 that the AU is present; NaN where nobody can tell.
          intensity_TA: 0-5 or NaN; None if there is none.
        """
        ...

    def to_json(self) -> dict[str, Any]:
        """JSON values from which `jaxfacs.emotion.from_json` makes the same mapper."""
        ...


class Evidence:
    """AU evidence by label. An AU that is not among the labels is NaN: unknown, not absent."""

    def __init__(
        self, aus: Sequence[str], probability_TA: ArrayLike, intensity_TA: ArrayLike | None
    ):
        self.aus = tuple(aus)
        for label in self.aus:
            split_label(label)
        self.probability_TA = _checked(probability_TA, self.aus, "probabilities", 1.0)
        shape = self.probability_TA.shape
        if intensity_TA is None:
            self.intensity_TA = np.full(shape, np.nan)
        else:
            self.intensity_TA = _checked(intensity_TA, self.aus, "intensities", 5.0)
            if self.intensity_TA.shape != shape:
                raise ValueError(f"intensities of {self.intensity_TA.shape}, not {shape}")
        self._column = {label: a for a, label in enumerate(self.aus)}

    @property
    def frames(self) -> int:
        return self.probability_TA.shape[0]

    def columns(self, label: str) -> tuple[int, ...]:
        """Where the evidence for a label stands: its own column, else those of its two sides."""
        if label in self._column:
            return (self._column[label],)
        side, _ = split_label(label)
        if side:
            return ()
        return tuple(self._column[s + label] for s in "LR" if s + label in self._column)

    def present(self, label: str) -> np.ndarray:
        """Chance that the AU is present (T), NaN unknown; for "12" the stronger of two sides."""
        return self._strongest(self.probability_TA, label)

    def intensity(self, label: str) -> np.ndarray:
        """Intensity 0-5 (T), NaN unknown."""
        return self._strongest(self.intensity_TA, label)

    def credit(self, weight_TEA: np.ndarray, label: str, say_TE: np.ndarray) -> None:
        """Adds what a label says to the column it was read from: of two sides the stronger."""
        columns = self.columns(label)
        if not columns:
            return
        present_TC = np.nan_to_num(self.probability_TA[:, columns], nan=-1.0)
        strongest_T = np.argmax(present_TC, axis=1)
        for c, column in enumerate(columns):
            weight_TEA[:, :, column] += np.where((strongest_T == c)[:, None], say_TE, 0)

    def _strongest(self, values_TA: np.ndarray, label: str) -> np.ndarray:
        strongest = np.full(self.frames, np.nan)
        for a in self.columns(label):
            strongest = np.fmax(strongest, values_TA[:, a])
        return strongest


def explain(
    mapper: Mapper,
    probability: Mapping[str, float],
    *,
    intensity: Mapping[str, float] | None = None,
    emotion: str | None = None,
    most: int = MOST,
) -> Explanation:
    """Reads one face given as label -> probability (0-1); labels left out are unknown."""
    aus = tuple(probability)
    intensity_TA = [[(intensity or {}).get(au, np.nan) for au in aus]]
    reading = mapper.apply(aus, [[probability[au] for au in aus]], intensity_TA=intensity_TA)
    return reading.explain(0, emotion, most=most)


def explain_codes(
    mapper: Mapper, codes: str | Sequence[Code], *, emotion: str | None = None, most: int = MOST
) -> Explanation:
    """Reads one fully coded face, as "1+2+5B+26": what is not written is absent.

    A code without a letter is present with unknown intensity; one without a side is on both sides.
    """
    formula = parse(codes) if isinstance(codes, str) else parse(format(codes))
    probability, intensity = {}, {}
    for number, unit in ACTION_UNITS.items():
        for side in ("", "L", "R") if unit.sided else ("",):
            scored = [c for c in formula if c.au == number and (side in ("", c.side) or not c.side)]
            levels = [np.nan if c.intensity is None else float(c.intensity) for c in scored]
            probability[f"{side}{number}"] = float(bool(scored))
            intensity[f"{side}{number}"] = max(levels) if levels else 0.0
    return explain(mapper, probability, intensity=intensity, emotion=emotion, most=most)


def emotion_names(values: Any) -> tuple[str, ...]:
    """Names read from JSON, as a tuple; ValueError unless they are different, non-empty strings."""
    if not isinstance(values, list | tuple) or not all(isinstance(v, str) and v for v in values):
        raise ValueError(f"emotions are a list of names, not {values!r}")
    if len(set(values)) != len(values):
        raise ValueError(f"an emotion stands twice among {', '.join(values)}")
    return tuple(values)


def normalised(score_TE: np.ndarray) -> np.ndarray:
    """Rows that sum to 1 (float32); a row without any score is shared out evenly."""
    total_T1 = score_TE.sum(axis=1, keepdims=True)
    even = np.full_like(score_TE, 1 / score_TE.shape[1])
    shared = np.divide(score_TE, total_T1, out=even, where=total_T1 > 0)
    return shared.astype(np.float32)


def softmax(logit_TE: np.ndarray) -> np.ndarray:
    """float32 distribution of logits, safe for large ones."""
    power = np.exp(logit_TE - logit_TE.max(axis=1, keepdims=True))
    return (power / power.sum(axis=1, keepdims=True)).astype(np.float32)


def _checked(values, aus: tuple[str, ...], what: str, highest: float) -> np.ndarray:
    array = np.asarray(values, float)
    if array.ndim != 2 or array.shape[1] != len(aus):
        raise ValueError(f"{what} of shape {array.shape} for {len(aus)} AUs; they are T×A")
    # Negative is how records say unknown (−1); no probability or intensity is below 0.
    array = np.where(array < 0, np.nan, array)
    if np.any(array > highest + 1e-6):
        raise ValueError(f"{what} above {highest:g}")
    return array
