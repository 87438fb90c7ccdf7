"""Calibration: a curve per AU, fitted on validation data, under which "0.8" comes true in 80 %.

A curve is a monotone piecewise-linear function on probability, kept as its knots, whatever it was
fitted by. So prediction needs numpy alone, and the order of two frames never turns round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.evaluate.sums import divide, known_labels

Method = Literal["temperature", "isotonic", "none"]
METHODS: tuple[Method, ...] = ("temperature", "isotonic", "none")

BINS = 10
MIN_LABELS = 10  # of each kind, present and absent, for a curve of two numbers
# Isotonic regression has as many numbers as it likes, and frames of one clip resemble each other.
ISOTONIC_MIN_LABELS = 200
SLOPE_LIMITS = (0.05, 20.0)  # of the logit: never flat and never a step, so that order is kept
# Of the slope's logarithm, before any label is seen: where scores hardly differ a steep slope may
# be chance, and would make certainties of higher scores than validation shows.
SLOPE_DEVIATION = 0.5
_LOGIT_REACH, _LOGIT_STEP = 12.0, 0.2  # knots of the two-number curve; off by less than 1e-3
DIGITS = 7


@dataclass(frozen=True, eq=False)
class Curve:
    """A calibrated probability over a raw one: straight lines between K knots.

    Attributes:
      probability_K: in [0, 1], strictly rising. Outside of it the curve is level.
      calibrated_K: in [0, 1], never falling.
      method: how it was found.

    Raises:
      ValueError: knots that are no such function.
    """

    probability_K: np.ndarray
    calibrated_K: np.ndarray
    method: str = ""

    def __post_init__(self):
        for name in ("probability_K", "calibrated_K"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        x_K, y_K = self.probability_K, self.calibrated_K
        if x_K.ndim != 1 or x_K.shape != y_K.shape or not x_K.size:
            raise ValueError(f"knots of {x_K.shape} and {y_K.shape} values are no curve")
        both = np.concatenate([x_K, y_K])
        if not np.all((both >= 0) & (both <= 1)):  # NaN is neither
            raise ValueError("knots of a calibration lie in 0 to 1")
        if np.any(np.diff(x_K) <= 0) or np.any(np.diff(y_K) < 0):
            raise ValueError("a calibration rises: its knots are in order, none twice")

    def __call__(self, probability: np.ndarray) -> np.ndarray:
        """float64 of the same shape; exactly monotone, rounding errors included."""
        x_K, y_K = self.probability_K, self.calibrated_K
        if x_K.size == 1:
            return np.full(np.shape(probability), y_K[0])
        p = np.clip(np.asarray(probability, np.float64), x_K[0], x_K[-1])
        k = np.clip(np.searchsorted(x_K, p, side="right") - 1, 0, x_K.size - 2)
        share = (p - x_K[k]) / (x_K[k + 1] - x_K[k])
        return np.clip(y_K[k] + share * (y_K[k + 1] - y_K[k]), y_K[k], y_K[k + 1])

    def to_json(self) -> dict[str, Any]:
        return {
            "probability": self.probability_K.tolist(),
            "calibrated": self.calibrated_K.tolist(),
            "method": self.method,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Curve":
        return cls(content["probability"], content["calibrated"], str(content.get("method", "")))


Curves = Sequence[Curve | None]  # one an AU; None: the probability is taken as it is


def apply(probability: ArrayLike, curves: Curves) -> np.ndarray:
    """Calibrated probabilities, float64 of the same shape (…, A)."""
    found = np.array(probability, np.float64)
    for a, curve in enumerate(curves):
        if curve is not None:
            found[..., a] = curve(found[..., a])
    return found


def fit(
    occurrence_NA: ArrayLike,
    probability_NA: ArrayLike,
    *,
    method: Method = "temperature",
    known_NA: ArrayLike | None = None,
) -> tuple[Curve | None, ...]:
    """A curve per AU, fitted on labels that the network did not learn from.

    "temperature": σ(a·logit p + b), a temperature and a bias, by maximum likelihood on Platt's
    smoothed targets (Platt 1999; Guo et al. 2017 is b = 0), log a pulled towards 0. "isotonic": the
    monotone steps nearest to the labels (Zadrozny & Elkan 2002), by scikit-learn, where there are
    `ISOTONIC_MIN_LABELS` present and as many absent labels; "temperature" where there are fewer. An
    AU with fewer than `MIN_LABELS` of either has no curve.

    Args:
      occurrence_NA: −1 unknown, 0, 1.
      probability_NA: 0-1, as the network answers.
      method: see above; "none" fits nothing.
      known_NA: which labels count besides.
    """
    if method not in METHODS:
        raise ValueError(f"calibration {method!r} is none of {', '.join(METHODS)}")
    truth_NA, p_NA = np.asarray(occurrence_NA), np.asarray(probability_NA, np.float64)
    known_NA = known_labels(truth_NA, known_NA)

    def fitted(a: int) -> Curve | None:
        rows = known_NA[:, a]
        p_N, y_N = p_NA[rows, a], truth_NA[rows, a] == 1
        fewest = min(y_N.sum(), (~y_N).sum())
        if method == "none" or fewest < MIN_LABELS:
            return None
        if method == "isotonic" and fewest >= ISOTONIC_MIN_LABELS:
            return _isotonic(p_N, y_N)
        return _temperature(p_N, y_N)

    return tuple(fitted(a) for a in range(truth_NA.shape[1]))


def cross_fitted(
    occurrence_NA: ArrayLike,
    probability_NA: ArrayLike,
    group_N: ArrayLike,
    *,
    method: Method = "temperature",
) -> np.ndarray:
    """Calibrated probabilities (N, A), each by a curve fitted on other people than its own.

    The people are cut into two halves, alternately by how many rows they have; each half is
    calibrated by the other. What `fit` promises on new people is measured on these.

    Args:
      occurrence_NA, probability_NA, method: see `fit`.
      group_N: whose row it is: a number a person, or a clip where nobody knows the person.
    """
    truth_NA, p_NA = np.asarray(occurrence_NA), np.asarray(probability_NA)
    second_N = _second_half(np.asarray(group_N))
    found_NA = np.array(p_NA, np.float64)
    for rows_N in (second_N, ~second_N):
        curves = fit(truth_NA[~rows_N], p_NA[~rows_N], method=method)
        found_NA[rows_N] = apply(p_NA[rows_N], curves)
    return found_NA


@dataclass(frozen=True, eq=False)
class Bins:
    """What came true among predictions of like height, for one AU: K bins that hold any.

    Attributes:
      predicted_K: mean probability. present_K: share of present labels. count_K: labels.
    """

    predicted_K: np.ndarray
    present_K: np.ndarray
    count_K: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean |predicted − present|, weighted by count; NaN if none.

        Naeini et al. 2015. Even a perfect network has some: about √(0.6·p(1−p)·bins / labels).
        """
        total = self.count_K.sum()
        gap = np.abs(self.predicted_K - self.present_K)
        return float((gap * self.count_K).sum() / total) if total else float("nan")


def bins(
    present_N: np.ndarray, probability_N: np.ndarray, *, equal: Literal["width", "mass"] = "width"
) -> Bins:
    """Bins of one AU's known labels.

    Args:
      present_N: bool.
      probability_N: 0-1.
      equal: `BINS` bins of equal width on [0, 1]; or of equal mass: cut where each holds a tenth of
        the labels, equal probabilities together.
    """
    p_N = np.asarray(probability_N, np.float64)
    if equal == "width" or not p_N.size:
        number_N = np.minimum((p_N * BINS).astype(int), BINS - 1)
    else:
        inner = np.unique(np.quantile(p_N, np.arange(1, BINS) / BINS, method="higher"))
        number_N = np.searchsorted(inner, p_N, side="right")
    count_K = np.bincount(number_N, minlength=BINS)
    sums = (np.bincount(number_N, weights=v, minlength=BINS) for v in (p_N, present_N))
    predicted_K, present_K = (divide(s, count_K) for s in sums)
    held = count_K > 0
    return Bins(predicted_K[held], present_K[held], count_K[held])


@dataclass(frozen=True, eq=False)
class Reliability:
    """How far the probabilities of each AU come true, before and after a calibration.

    Attributes:
      before, after: bins of equal width, one an AU; for plots.
      columns: measure -> A values: `ece_before`, `ece_after` (equal width), `ece_mass_before`,
        `ece_mass_after` (equal mass), `brier_before`, `brier_after` (mean squared error), and
        `known`, `present` labels. NaN where an AU has no known label.
      methods: of each AU's curve, "none" where it has none.
      measured: on whom, in words.
    """

    before: tuple[Bins, ...]
    after: tuple[Bins, ...]
    columns: Mapping[str, np.ndarray]
    methods: tuple[str, ...]
    measured: str


def reliability(
    occurrence_NA: ArrayLike,
    before_NA: ArrayLike,
    after_NA: ArrayLike,
    *,
    curves: Curves,
    measured: str,
) -> Reliability:
    """Compares probabilities before and after a calibration with what was there.

    Args:
      occurrence_NA: −1 unknown, 0, 1.
      before_NA, after_NA: 0-1.
      curves: those that are used from now on, for the names of their methods.
      measured: on whom, in words.
    """
    truth_NA = np.asarray(occurrence_NA)
    known_NA = known_labels(truth_NA, None)
    columns: dict[str, list[float]] = {}
    drawn: dict[str, list[Bins]] = {"before": [], "after": []}
    for a in range(truth_NA.shape[1]):
        rows = known_NA[:, a]
        present_N = truth_NA[rows, a] == 1
        for when, p_NA in (("before", before_NA), ("after", after_NA)):
            p_N = np.asarray(p_NA, np.float64)[rows, a]
            by_width = bins(present_N, p_N)
            drawn[when].append(by_width)
            mass = bins(present_N, p_N, equal="mass").error
            brier = float(np.mean((p_N - present_N) ** 2)) if p_N.size else float("nan")
            for name, value in (("ece", by_width.error), ("ece_mass", mass), ("brier", brier)):
                columns.setdefault(f"{name}_{when}", []).append(value)
        columns.setdefault("known", []).append(int(rows.sum()))
        columns.setdefault("present", []).append(int(present_N.sum()))
    arrays = {name: np.array(values) for name, values in columns.items()}
    methods = tuple("none" if curve is None else curve.method for curve in curves)
    return Reliability(tuple(drawn["before"]), tuple(drawn["after"]), arrays, methods, measured)


def _temperature(p_N: np.ndarray, y_N: np.ndarray) -> Curve:
    """σ(a·logit p + b) as knots."""
    from scipy.optimize import minimize

    logit_N = _logit(p_N)
    present = y_N.sum()
    absent = y_N.size - present
    target_N = np.where(y_N, (present + 1) / (present + 2), 1 / (absent + 2))

    def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        slope, bias = np.exp(numbers[0]), numbers[1]
        z_N = slope * logit_N + bias
        error_N = _sigmoid(z_N) - target_N
        total = np.mean(np.logaddexp(0, z_N) - target_N * z_N)
        pull = numbers[0] / SLOPE_DEVIATION**2 / y_N.size
        total += 0.5 * pull * numbers[0]
        falls = [np.mean(error_N * slope * logit_N) + pull, np.mean(error_N)]
        return float(total), np.array(falls)

    limits = (tuple(np.log(SLOPE_LIMITS)), (-20.0, 20.0))
    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=limits)
    slope, bias = np.exp(found.x[0]), found.x[1]
    raised = np.arange(-_LOGIT_REACH, _LOGIT_REACH + _LOGIT_STEP, _LOGIT_STEP)
    # Even in what comes out as well: a steep curve rises between two knots of the input.
    logits = np.union1d(raised, np.clip((raised - bias) / slope, -_LOGIT_REACH, _LOGIT_REACH))
    x_K = np.round(_sigmoid(logits), DIGITS)
    return _curve(x_K, _sigmoid(slope * logits + bias), "temperature")


def _isotonic(p_N: np.ndarray, y_N: np.ndarray) -> Curve:
    from sklearn.isotonic import IsotonicRegression

    # No step says never or always: that a few labels agree proves no certainty.
    edge = 1 / (y_N.size + 2)
    found = IsotonicRegression(y_min=edge, y_max=1 - edge).fit(p_N, y_N.astype(float))
    return _curve(np.round(found.X_thresholds_, DIGITS), found.y_thresholds_, "isotonic")


def _curve(x_K: np.ndarray, y_K: np.ndarray, method: str) -> Curve:
    x_K, first = np.unique(x_K, return_index=True)
    return Curve(x_K, np.maximum.accumulate(np.round(y_K[first], DIGITS)), method)


def _second_half(group_N: np.ndarray) -> np.ndarray:
    """bool N: the groups of every other place in order of size, so that both halves are alike."""
    groups, inverse_N, count = np.unique(group_N, return_inverse=True, return_counts=True)
    rank = np.empty(groups.size, int)
    rank[np.argsort(-count, kind="stable")] = np.arange(groups.size)
    return (rank % 2 == 1)[inverse_N]


def _logit(p: np.ndarray) -> np.ndarray:
    edge = 1e-7  # float32 says 1 of what is certain
    p = np.clip(p, edge, 1 - edge)
    return np.log(p) - np.log1p(-p)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * z))
