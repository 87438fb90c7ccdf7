"""Per-AU thresholds tuned on validation data, since no single cut suits frequent and rare AUs."""

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.errors import UserError
from jaxfacs.evaluate.ranking import Ranking, best_f1_cut, recall_cut
from jaxfacs.evaluate.sums import Scores

DEFAULT = 0.5
MIN_POSITIVES = 5  # with fewer, the best cut is one lucky frame: the default is safer
EDGE = 1e-6  # thresholds stay inside (0, 1), so that intensities can be scaled by them


def parse_goal(text: str) -> float | None:
    """What `--threshold-for` asks for: "f1" is None, "recall:0.9" that recall.

    Raises:
      UserError: neither, or a recall that is not above 0 and up to 1.
    """
    if text == "f1":
        return None
    word, _, number = text.partition(":")
    try:
        recall = float(number)
    except ValueError:
        recall = 0.0
    if word != "recall" or not 0 < recall <= 1:
        raise UserError(f"thresholds for {text!r}? give f1, or a recall as in recall:0.9")
    return recall


def tune(
    occurrence_NA: ArrayLike,
    probability_NA: ArrayLike,
    *,
    known_NA: ArrayLike | None = None,
    min_positives: int = MIN_POSITIVES,
    recall: float | None = None,
) -> np.ndarray:
    """The threshold per AU (float32 A) with the highest F1 on these labels, or for a recall.

    Tune on validation data and report on test data: the F1 of the data that a threshold was tuned
    on is too high. Lies midway between the lowest score called present and the next below it. An AU
    with fewer than `min_positives` present or no absent label keeps 0.5.

    Args:
      occurrence_NA: −1 unknown, 0, 1. probability_NA: 0-1.
      known_NA: which labels count besides.
      min_positives: see above.
      recall: in (0, 1]: the highest threshold that finds at least this share of what is there,
        whatever it calls besides. None: the best F1.
    """
    scores = Scores.of(occurrence_NA, probability_NA, known_NA=known_NA)
    return np.array([_tune_one(r, min_positives, recall) for r in scores.rankings], np.float32)


def enough_labels(occurrence_NA: ArrayLike, *, min_positives: int = MIN_POSITIVES) -> np.ndarray:
    """bool A: the AUs with labels enough for `tune`; the others keep 0.5."""
    truth_NA = np.asarray(occurrence_NA)
    present_A = (truth_NA == 1).sum(axis=0)
    return (present_A >= max(min_positives, 1)) & (truth_NA == 0).any(axis=0)


def _tune_one(ranking: Ranking, min_positives: int, recall: float | None) -> float:
    if ranking.positives < max(min_positives, 1) or ranking.negatives == 0:
        return DEFAULT
    cut = best_f1_cut(ranking) if recall is None else recall_cut(ranking, recall)
    lowest_called = np.float32(ranking.score_K[cut])
    is_last = cut == ranking.score_K.size - 1
    next_below = np.float32(0 if is_last else ranking.score_K[cut + 1])
    middle = (lowest_called + next_below) / np.float32(2)
    # Two neighbouring float32 numbers have no middle: it may round down to the one not called.
    threshold = middle if middle > next_below else lowest_called
    return float(np.clip(threshold, EDGE, 1 - EDGE))
