"""Mergeable sums: what a shard of an evaluation keeps, so that shards add up to the whole.

Each class is made from arrays by `of`, added with `+` (associative and commutative: exactly for
the integer ones, to rounding for `Moments` and `Examples`), and asked for measures at the end.
Unknown labels never enter. Measures are NaN where they are not defined.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.evaluate import ranking
from jaxfacs.evaluate.ranking import Ranking


def known_labels(
    truth_NA: ArrayLike, known_NA: ArrayLike | None, weight_N: ArrayLike | None = None
) -> np.ndarray:
    """bool N×A: labels that count. By default those that are not negative (−1 = nobody coded).

    `weight_N` 0 marks padded rows. A label that is NaN never counts.
    """
    truth_NA = np.asarray(truth_NA)
    if truth_NA.ndim != 2:
        raise ValueError(f"labels are N×A, not of shape {truth_NA.shape}")
    known = truth_NA >= 0
    if known_NA is not None:
        known_NA = np.asarray(known_NA, bool)
        if known_NA.shape != truth_NA.shape:
            raise ValueError(f"mask of shape {known_NA.shape} for labels of {truth_NA.shape}")
        known &= known_NA
    if weight_N is not None:
        weight_N = np.asarray(weight_N)
        if weight_N.shape != truth_NA.shape[:1]:
            raise ValueError(f"weights of shape {weight_N.shape} for {truth_NA.shape[0]} rows")
        known = known & (weight_N > 0)[:, None]
    return known


def divide(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """Quotient, NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    out = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


class _Added:
    """Adds two dataclasses of arrays field by field."""

    def __add__(self, other: Self) -> Self:
        names = [f.name for f in fields(self)]  # type: ignore[arg-type]
        return type(self)(*(getattr(self, n) + getattr(other, n) for n in names))


@dataclass(frozen=True, eq=False)
class Counts(_Added):
    """True and false positives and negatives per AU (int64 A), each AU cut at its threshold."""

    tp_A: np.ndarray
    fp_A: np.ndarray
    fn_A: np.ndarray
    tn_A: np.ndarray

    @classmethod
    def of(
        cls,
        occurrence_NA: ArrayLike,
        predicted_NA: ArrayLike,
        *,
        threshold: ArrayLike = 0.5,
        known_NA: ArrayLike | None = None,
        weight_N: ArrayLike | None = None,
    ) -> Self:
        """Counts of N×A labels (−1, 0, 1) and probabilities or 0/1 calls; present = p >= threshold.

        `threshold` is one number or one per AU. A prediction that is NaN where a label is known is
        refused: it would count as absent without a word.
        """
        known = known_labels(occurrence_NA, known_NA, weight_N)
        truth, score = np.asarray(occurrence_NA), _scores(predicted_NA, known)
        called = score >= np.asarray(threshold)
        present, absent = known & (truth == 1), known & (truth == 0)
        if np.any(known & (truth != 0) & (truth != 1)):
            raise ValueError("occurrence labels are 0, 1 or negative for unknown")
        total = [present & called, absent & called, present & ~called, absent & ~called]
        return cls(*(cell.sum(axis=0, dtype=np.int64) for cell in total))

    @property
    def known_A(self) -> np.ndarray:
        return self.tp_A + self.fp_A + self.fn_A + self.tn_A

    @property
    def positives_A(self) -> np.ndarray:
        return self.tp_A + self.fn_A

    def occurrence(self) -> np.ndarray:
        """Share of the known labels that are present; what a random order scores as AP."""
        return divide(self.positives_A, self.known_A)

    def accuracy(self) -> np.ndarray:
        return divide(self.tp_A + self.tn_A, self.known_A)

    def recall(self) -> np.ndarray:
        """TP / (TP + FN); NaN where the AU never occurs."""
        return divide(self.tp_A, self.positives_A)

    def precision(self) -> np.ndarray:
        """TP / (TP + FP); NaN where nothing was called present."""
        return divide(self.tp_A, self.tp_A + self.fp_A)

    def f1(self) -> np.ndarray:
        """2 TP / (2 TP + FP + FN); NaN only where the AU neither occurs nor is called."""
        return divide(2 * self.tp_A, 2 * self.tp_A + self.fp_A + self.fn_A)


@dataclass(frozen=True, eq=False)
class Moments:
    """First and second moments of truth x and prediction y per AU (float64 A).

    Kept about the mean and merged after Chan, Golub & LeVeque 1983: sums of squares lose all digits
    when the mean is large against the spread.
    """

    n_A: np.ndarray
    mean_x_A: np.ndarray
    mean_y_A: np.ndarray
    xx_A: np.ndarray
    yy_A: np.ndarray
    xy_A: np.ndarray
    absolute_A: np.ndarray
    square_A: np.ndarray

    @classmethod
    def of(
        cls,
        intensity_NA: ArrayLike,
        predicted_NA: ArrayLike,
        *,
        known_NA: ArrayLike | None = None,
        weight_N: ArrayLike | None = None,
    ) -> Self:
        """Moments of N×A labels (negative = unknown) and predictions in the same unit."""
        return cls._of_known(
            intensity_NA, predicted_NA, known_labels(intensity_NA, known_NA, weight_N)
        )

    @classmethod
    def of_signed(
        cls, truth_NV: ArrayLike, predicted_NV: ArrayLike, *, weight_N: ArrayLike | None = None
    ) -> Self:
        """Moments of labels that may be negative, as valence and arousal are; NaN = unknown."""
        known = ~np.isnan(np.asarray(truth_NV, float))
        return cls._of_known(truth_NV, predicted_NV, known_labels(known, known, weight_N))

    @classmethod
    def _of_known(cls, intensity_NA: ArrayLike, predicted_NA: ArrayLike, known: np.ndarray) -> Self:
        y = np.where(known, _scores(predicted_NA, known), 0.0).astype(float)
        x = np.where(known, np.asarray(intensity_NA), 0.0).astype(float)
        n = known.sum(axis=0).astype(float)
        mean_x = np.divide(x.sum(0), n, out=np.zeros_like(n), where=n > 0)
        mean_y = np.divide(y.sum(0), n, out=np.zeros_like(n), where=n > 0)
        dx, dy = np.where(known, x - mean_x, 0), np.where(known, y - mean_y, 0)
        return cls(
            n,
            mean_x,
            mean_y,
            (dx * dx).sum(0),
            (dy * dy).sum(0),
            (dx * dy).sum(0),
            np.abs(x - y).sum(0),
            ((x - y) ** 2).sum(0),
        )

    def __add__(self, other: Self) -> Self:
        n = self.n_A + other.n_A
        share = np.divide(other.n_A, n, out=np.zeros_like(n), where=n > 0)
        gap_x, gap_y = other.mean_x_A - self.mean_x_A, other.mean_y_A - self.mean_y_A
        cross = self.n_A * share
        return type(self)(
            n,
            self.mean_x_A + gap_x * share,
            self.mean_y_A + gap_y * share,
            self.xx_A + other.xx_A + gap_x * gap_x * cross,
            self.yy_A + other.yy_A + gap_y * gap_y * cross,
            self.xy_A + other.xy_A + gap_x * gap_y * cross,
            self.absolute_A + other.absolute_A,
            self.square_A + other.square_A,
        )

    def icc(self) -> np.ndarray:
        """ICC(3,1) with truth and prediction as the two raters (Shrout & Fleiss 1979).

        For two raters (MSR − MSE) / (MSR + MSE) is 2 cov / (var x + var y). NaN below two labels or
        where both are constant.
        """
        return self._with_spread(divide(2 * self.xy_A, self.xx_A + self.yy_A))

    def ccc(self) -> np.ndarray:
        """Concordance correlation (Lin 1989), with variances over n."""
        shift = self.n_A * (self.mean_x_A - self.mean_y_A) ** 2
        return self._with_spread(divide(2 * self.xy_A, self.xx_A + self.yy_A + shift))

    def pcc(self) -> np.ndarray:
        """Pearson correlation; NaN where either side is constant."""
        return self._with_spread(divide(self.xy_A, np.sqrt(self.xx_A) * np.sqrt(self.yy_A)))

    def mae(self) -> np.ndarray:
        return divide(self.absolute_A, self.n_A)

    def mse(self) -> np.ndarray:
        return divide(self.square_A, self.n_A)

    def rmse(self) -> np.ndarray:
        return np.sqrt(self.mse())

    def _with_spread(self, value_A: np.ndarray) -> np.ndarray:
        return np.where(self.n_A >= 2, value_A, np.nan)


@dataclass(frozen=True, eq=False)
class Examples(_Added):
    """Measures that look at one example's whole set of AUs; one without any known AU is left out.

    `partial` sums each example's share of AUs called rightly; `jaccard` sums |both| / |either|.
    """

    n: float
    partial: float
    jaccard: float

    @classmethod
    def of(
        cls,
        occurrence_NA: ArrayLike,
        predicted_NA: ArrayLike,
        *,
        threshold: ArrayLike = 0.5,
        known_NA: ArrayLike | None = None,
        weight_N: ArrayLike | None = None,
    ) -> Self:
        known = known_labels(occurrence_NA, known_NA, weight_N)
        present = np.asarray(occurrence_NA) == 1
        called = _scores(predicted_NA, known) >= np.asarray(threshold)
        seen_N = known.any(axis=1)
        partial_N = divide((known & (present == called)).sum(1), known.sum(1))
        either_N = (known & (present | called)).sum(1)
        both_N = (known & present & called).sum(1)
        # Nothing present and nothing called is a perfect answer, not an undefined one.
        jaccard_N = np.where(either_N == 0, 1.0, divide(both_N, either_N))
        return cls(
            float(seen_N.sum()), float(partial_N[seen_N].sum()), float(jaccard_N[seen_N].sum())
        )

    def partial_accuracy(self) -> float:
        return float(divide(self.partial, self.n))

    def hamming_score(self) -> float:
        return float(divide(self.jaccard, self.n))


@dataclass(frozen=True, eq=False)
class Scores:
    """Every score with its label: what AP and AUC need, exactly.

    Keeps 5 bytes a label (135 MB for a million frames of 27 AUs). Histograms would be smaller, and
    wrong where a network's probabilities crowd near 0 and 1.

    Attributes:
      blocks: pairs of scores N×A and labels int8 N×A (−1 unknown), one pair a batch.
    """

    blocks: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def of(
        cls,
        occurrence_NA: ArrayLike,
        predicted_NA: ArrayLike,
        *,
        known_NA: ArrayLike | None = None,
        weight_N: ArrayLike | None = None,
    ) -> Self:
        known = known_labels(occurrence_NA, known_NA, weight_N)
        truth = np.where(known, np.asarray(occurrence_NA) == 1, -1).astype(np.int8)
        return cls(((_scores(predicted_NA, known), truth),))

    def __add__(self, other: Self) -> Self:
        return type(self)(self.blocks + other.blocks)

    @cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        scores, truths = zip(*self.blocks, strict=True)
        score_NA, truth_NA = np.concatenate(scores), np.concatenate(truths)
        columns = zip(score_NA.T, truth_NA.T, strict=True)
        return tuple(ranking.rank(s[t >= 0], t[t >= 0] == 1) for s, t in columns)

    def average_precision(self) -> np.ndarray:
        return np.array([ranking.average_precision(r) for r in self.rankings])

    def roc_auc(self) -> np.ndarray:
        return np.array([ranking.roc_auc(r) for r in self.rankings])


@dataclass(frozen=True, eq=False)
class Confusion(_Added):
    """int64 E×E: rows the labelled emotion, columns the predicted one; unknown (−1) left out."""

    count_EE: np.ndarray

    @classmethod
    def of(
        cls,
        emotion_N: ArrayLike,
        predicted_N: ArrayLike,
        num_emotions: int,
        *,
        weight_N: ArrayLike | None = None,
    ) -> Self:
        truth, called = np.asarray(emotion_N), np.asarray(predicted_N)
        if truth.shape != called.shape or truth.ndim != 1:
            raise ValueError(f"emotions of shapes {truth.shape} and {called.shape}")
        known = (truth >= 0) & (called >= 0)
        if weight_N is not None:
            known &= np.asarray(weight_N) > 0
        if known.any() and max(truth[known].max(), called[known].max()) >= num_emotions:
            raise ValueError(f"an emotion index is not below {num_emotions}")
        count = np.zeros((num_emotions, num_emotions), np.int64)
        np.add.at(count, (truth[known].astype(int), called[known].astype(int)), 1)
        return cls(count)

    def accuracy(self) -> float:
        return float(divide(np.trace(self.count_EE), self.count_EE.sum()))

    def recall(self) -> np.ndarray:
        """Per emotion; its mean is what some papers call the mean diagonal."""
        return divide(np.diag(self.count_EE), self.count_EE.sum(1))

    def precision(self) -> np.ndarray:
        return divide(np.diag(self.count_EE), self.count_EE.sum(0))

    def f1(self) -> np.ndarray:
        both = self.count_EE.sum(0) + self.count_EE.sum(1)
        return divide(2 * np.diag(self.count_EE), both)


def _scores(predicted_NA: ArrayLike, known_NA: np.ndarray) -> np.ndarray:
    score = np.asarray(predicted_NA)
    if score.shape != known_NA.shape:
        raise ValueError(f"predictions of shape {score.shape} for labels of {known_NA.shape}")
    if np.issubdtype(score.dtype, np.floating) and np.isnan(score[known_NA]).any():
        raise ValueError("a prediction is NaN where the label is known")
    return score
