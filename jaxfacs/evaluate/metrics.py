"""The measures of AU papers, per AU, with unknown labels masked.

Every function takes labels and predictions as N×A arrays and gives float64 A, NaN where the
measure is not defined for that AU (`partial_accuracy` and `hamming_score` look at whole examples
and give one number). Labels that are negative (−1: nobody coded) or outside `known_NA` do not
count. For evaluation in shards use the sums in `jaxfacs.evaluate.sums`, which these wrap.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.evaluate.sums import Counts, Examples, Moments, Scores, divide


def average_precision(
    occurrence_NA: ArrayLike, score_NA: ArrayLike, *, known_NA: ArrayLike | None = None
) -> np.ndarray:
    """Area under the precision-recall steps (scikit-learn's AP); NaN without a positive."""
    return Scores.of(occurrence_NA, score_NA, known_NA=known_NA).average_precision()


def roc_auc(
    occurrence_NA: ArrayLike, score_NA: ArrayLike, *, known_NA: ArrayLike | None = None
) -> np.ndarray:
    """Area under the ROC curve, ties counted half; NaN unless the AU both occurs and is absent."""
    return Scores.of(occurrence_NA, score_NA, known_NA=known_NA).roc_auc()


def f1(
    occurrence_NA: ArrayLike,
    predicted_NA: ArrayLike,
    *,
    known_NA: ArrayLike | None = None,
    threshold: ArrayLike = 0.5,
) -> np.ndarray:
    """2 TP / (2 TP + FP + FN), present = prediction >= threshold (one, or one per AU)."""
    return Counts.of(occurrence_NA, predicted_NA, known_NA=known_NA, threshold=threshold).f1()


def accuracy(
    occurrence_NA: ArrayLike,
    predicted_NA: ArrayLike,
    *,
    known_NA: ArrayLike | None = None,
    threshold: ArrayLike = 0.5,
) -> np.ndarray:
    """Share of known labels called rightly. High for any rare AU: read it beside occurrence."""
    return Counts.of(occurrence_NA, predicted_NA, known_NA=known_NA, threshold=threshold).accuracy()


def recall(
    occurrence_NA: ArrayLike,
    predicted_NA: ArrayLike,
    *,
    known_NA: ArrayLike | None = None,
    threshold: ArrayLike = 0.5,
) -> np.ndarray:
    """TP / (TP + FN); NaN where the AU never occurs."""
    return Counts.of(occurrence_NA, predicted_NA, known_NA=known_NA, threshold=threshold).recall()


def precision(
    occurrence_NA: ArrayLike,
    predicted_NA: ArrayLike,
    *,
    known_NA: ArrayLike | None = None,
    threshold: ArrayLike = 0.5,
) -> np.ndarray:
    """TP / (TP + FP); NaN where nothing was called present (scikit-learn says 0 and warns)."""
    counts = Counts.of(occurrence_NA, predicted_NA, known_NA=known_NA, threshold=threshold)
    return counts.precision()


def partial_accuracy(
    occurrence_NA: ArrayLike,
    predicted_NA: ArrayLike,
    *,
    known_NA: ArrayLike | None = None,
    threshold: ArrayLike = 0.5,
) -> float:
    """Mean over examples of the share of an example's known AUs called rightly.

    Bartissol 2017, §2.4.6.3, eq. 18. With every label known it equals the mean accuracy over AUs,
    which is why his tables 3 and 5 show the same number twice.
    """
    examples = Examples.of(occurrence_NA, predicted_NA, known_NA=known_NA, threshold=threshold)
    return examples.partial_accuracy()


def hamming_score(
    occurrence_NA: ArrayLike,
    predicted_NA: ArrayLike,
    *,
    known_NA: ArrayLike | None = None,
    threshold: ArrayLike = 0.5,
) -> float:
    """Mean over examples of |present and called| / |present or called|; 1 where both are empty.

    The multi-label accuracy of Godbole & Sarawagi 2004 that Bocklisch et al. 2015, §4.1, use.
    """
    examples = Examples.of(occurrence_NA, predicted_NA, known_NA=known_NA, threshold=threshold)
    return examples.hamming_score()


def icc(
    intensity_NA: ArrayLike, predicted_NA: ArrayLike, *, known_NA: ArrayLike | None = None
) -> np.ndarray:
    """ICC(3,1), labels and predictions as two raters; NaN below 2 labels or without any spread."""
    return Moments.of(intensity_NA, predicted_NA, known_NA=known_NA).icc()


def icc_of_raters(rating_NK: ArrayLike) -> float:
    """ICC(3,1) of N targets rated by K raters: two-way mixed, consistency, single rater.

    Shrout & Fleiss 1979, Psychological Bulletin 86. NaN below two targets or two raters.
    """
    rating = np.asarray(rating_NK, float)
    targets, raters = rating.shape
    if targets < 2 or raters < 2:
        return float("nan")
    centred = rating - rating.mean()
    between = raters * (centred.mean(1) ** 2).sum() / (targets - 1)
    residual = centred - centred.mean(1, keepdims=True) - centred.mean(0, keepdims=True)
    error = (residual**2).sum() / ((targets - 1) * (raters - 1))
    return float(divide(between - error, between + (raters - 1) * error))


def ccc(
    intensity_NA: ArrayLike, predicted_NA: ArrayLike, *, known_NA: ArrayLike | None = None
) -> np.ndarray:
    """Lin's concordance correlation: 2 cov / (var x + var y + (mean x − mean y)²)."""
    return Moments.of(intensity_NA, predicted_NA, known_NA=known_NA).ccc()


def pcc(
    intensity_NA: ArrayLike, predicted_NA: ArrayLike, *, known_NA: ArrayLike | None = None
) -> np.ndarray:
    """Pearson's correlation."""
    return Moments.of(intensity_NA, predicted_NA, known_NA=known_NA).pcc()


def mae(
    intensity_NA: ArrayLike, predicted_NA: ArrayLike, *, known_NA: ArrayLike | None = None
) -> np.ndarray:
    """Mean absolute error, in the unit of the labels."""
    return Moments.of(intensity_NA, predicted_NA, known_NA=known_NA).mae()


def mse(
    intensity_NA: ArrayLike, predicted_NA: ArrayLike, *, known_NA: ArrayLike | None = None
) -> np.ndarray:
    """Mean squared error."""
    return Moments.of(intensity_NA, predicted_NA, known_NA=known_NA).mse()


def rmse(
    intensity_NA: ArrayLike, predicted_NA: ArrayLike, *, known_NA: ArrayLike | None = None
) -> np.ndarray:
    """Root of the mean squared error."""
    return Moments.of(intensity_NA, predicted_NA, known_NA=known_NA).rmse()
