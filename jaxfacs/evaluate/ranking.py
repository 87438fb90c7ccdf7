"""Measures that depend on the order of the scores: AP, ROC AUC, PR curves, the best cut for F1."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ranking:
    """What every possible cut of one AU's scores gives; equal scores are one cut.

    Attributes:
      score_K: the distinct scores, highest first; cut k calls present what scores >= score_K[k].
      tp_K, fp_K: int64 true and false positives at each cut.
    """

    score_K: np.ndarray
    tp_K: np.ndarray
    fp_K: np.ndarray

    @property
    def positives(self) -> int:
        return int(self.tp_K[-1]) if self.tp_K.size else 0

    @property
    def negatives(self) -> int:
        return int(self.fp_K[-1]) if self.fp_K.size else 0


def rank(score_N: np.ndarray, present_N: np.ndarray) -> Ranking:
    """Sorts one AU's scores (any real numbers, no NaN) with their labels (bool). O(N log N)."""
    order = np.argsort(score_N, kind="stable")[::-1]
    score_N, present_N = score_N[order], present_N[order].astype(np.int64)
    last_of_ties = np.flatnonzero(np.append(score_N[1:] != score_N[:-1], True)[: score_N.size])
    tp_K = np.cumsum(present_N)[last_of_ties]
    return Ranking(score_N[last_of_ties], tp_K, last_of_ties + 1 - tp_K)


def average_precision(ranking: Ranking) -> float:
    """Sum of precision times the step in recall over the cuts; NaN without a positive.

    The step-wise sum of scikit-learn's `average_precision_score`, without interpolation. A random
    order has an expected AP of about the share of positives.
    """
    if ranking.positives == 0:
        return float("nan")
    precision_K = ranking.tp_K / (ranking.tp_K + ranking.fp_K)
    return float(np.sum(precision_K * np.diff(ranking.tp_K, prepend=0)) / ranking.positives)


def roc_auc(ranking: Ranking) -> float:
    """Chance that a positive scores above a negative, ties half; NaN unless both exist."""
    if ranking.positives == 0 or ranking.negatives == 0:
        return float("nan")
    # Trapezes between cuts, in integers until the last division: exact, whatever the order.
    new_fp_K = np.diff(ranking.fp_K, prepend=0)
    twice_area = np.sum(new_fp_K * (2 * ranking.tp_K - np.diff(ranking.tp_K, prepend=0)))
    return float(twice_area / (2 * ranking.positives * ranking.negatives))


def precision_recall(ranking: Ranking) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall (each K) at every cut, recall rising; empty without a positive."""
    if ranking.positives == 0:
        return np.empty(0), np.empty(0)
    return ranking.tp_K / (ranking.tp_K + ranking.fp_K), ranking.tp_K / ranking.positives


def best_f1_cut(ranking: Ranking) -> int:
    """Index of the cut with the highest F1, of equals the strictest. Needs a positive."""
    called_K = ranking.tp_K + ranking.fp_K
    return int(np.argmax(2 * ranking.tp_K / (called_K + ranking.positives)))


def recall_cut(ranking: Ranking, recall: float) -> int:
    """Index of the strictest cut that finds at least this share of the positives (0 < share ≤ 1).

    Needs a positive.
    """
    return int(np.argmax(ranking.tp_K >= recall * ranking.positives - 1e-9))
