"""Per-AU thresholds tuned on validation data, since no single cut suits frequent and rare AUs."""

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.evaluate.ranking import Ranking, best_f1_cut
from jaxfacs.evaluate.sums import Scores

DEFAULT = 0.5
MIN_POSITIVES = 5  # with fewer, the best cut is one lucky frame: the default is safer
EDGE = 1e-6  # thresholds stay inside (0, 1), so that intensities can be scaled by them


def tune(
    occurrence_NA: ArrayLike,
    probability_NA: ArrayLike,
    *,
    known_NA: ArrayLike | None = None,
    min_positives: int = MIN_POSITIVES,
) -> np.ndarray:
    """The threshold per AU (float32 A) with the highest F1 on these labels.

    Tune on validation data and report on test data: the F1 of the data that a threshold was tuned
    on is too high. Lies midway between the lowest score called present and the next below it. An AU
    with fewer than `min_positives` present or no absent label keeps 0.5.
    """
    scores = Scores.of(occurrence_NA, probability_NA, known_NA=known_NA)
    return np.array([_tune_one(r, min_positives) for r in scores.rankings], np.float32)


def _tune_one(ranking: Ranking, min_positives: int) -> float:
    if ranking.positives < max(min_positives, 1) or ranking.negatives == 0:
        return DEFAULT
    cut = best_f1_cut(ranking)
    lowest_called = np.float32(ranking.score_K[cut])
    is_last = cut == ranking.score_K.size - 1
    next_below = np.float32(0 if is_last else ranking.score_K[cut + 1])
    middle = (lowest_called + next_below) / np.float32(2)
    # Two neighbouring float32 numbers have no middle: it may round down to the one not called.
    threshold = middle if middle > next_below else lowest_called
    return float(np.clip(threshold, EDGE, 1 - EDGE))
