"""An evaluation in shards gives what the whole gives, in whatever order the shards are added."""

from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pytest

from jaxfacs.evaluate.sums import Confusion, Counts, Examples, Moments, Scores

ROWS, AUS = 301, 5


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(3)
    truth = rng.integers(-1, 2, (ROWS, AUS))
    truth[:, 3] = -1  # an AU nobody coded
    score = rng.random((ROWS, AUS)).round(2).astype(np.float32)
    intensity = np.where(truth >= 0, rng.uniform(0, 5, truth.shape), -1) + (truth >= 0) * 1e4
    predicted = intensity + rng.normal(size=truth.shape)
    emotion = rng.integers(-1, 4, ROWS)
    return truth, score, intensity, predicted, emotion


def shards(seed):
    """Uneven slices, two of them empty, in a random order."""
    rng = np.random.default_rng(seed)
    cuts = [0, 0, *sorted(rng.integers(0, ROWS, 6)), ROWS, ROWS]
    pieces = [slice(a, b) for a, b in pairwise(cuts)]
    rng.shuffle(pieces)
    return pieces


@pytest.mark.parametrize("seed", range(4))
def test_integer_sums_merge_exactly(arrays, seed):
    truth, score, _, _, emotion = arrays
    pieces = shards(seed)
    whole = Counts.of(truth, score, threshold=0.3)
    merged = reduce(add, [Counts.of(truth[p], score[p], threshold=0.3) for p in pieces])
    for name in ("tp_A", "fp_A", "fn_A", "tn_A"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(merged, name))
    merged = reduce(add, [Scores.of(truth[p], score[p]) for p in pieces])
    whole = Scores.of(truth, score)
    np.testing.assert_array_equal(whole.average_precision(), merged.average_precision())
    np.testing.assert_array_equal(whole.roc_auc(), merged.roc_auc())
    called = (emotion + np.arange(ROWS)) % 4
    merged = reduce(add, [Confusion.of(emotion[p], called[p], 4) for p in pieces])
    np.testing.assert_array_equal(merged.count_EE, Confusion.of(emotion, called, 4).count_EE)
    assert merged.count_EE.sum() == (emotion >= 0).sum()


@pytest.mark.parametrize("seed", range(4))
def test_real_sums_merge_to_rounding(arrays, seed):
    truth, score, intensity, predicted, _ = arrays
    pieces = shards(seed)
    whole = Moments.of(intensity, predicted)
    merged = reduce(add, [Moments.of(intensity[p], predicted[p]) for p in pieces])
    for measure in ("icc", "ccc", "pcc", "mae", "mse", "rmse"):
        np.testing.assert_allclose(
            getattr(whole, measure)(), getattr(merged, measure)(), rtol=1e-9, err_msg=measure
        )
    whole = Examples.of(truth, score)
    merged = reduce(add, [Examples.of(truth[p], score[p]) for p in pieces])
    assert whole.partial_accuracy() == pytest.approx(merged.partial_accuracy(), abs=1e-12)
    assert whole.hamming_score() == pytest.approx(merged.hamming_score(), abs=1e-12)


def test_padding_counts_for_nothing(arrays):
    truth, score, intensity, predicted, _ = arrays
    weight = np.r_[np.ones(200), np.zeros(ROWS - 200)]
    np.testing.assert_array_equal(
        Counts.of(truth, score, weight_N=weight).tp_A, Counts.of(truth[:200], score[:200]).tp_A
    )
    np.testing.assert_array_equal(
        Moments.of(intensity, predicted, weight_N=weight).mae(),
        Moments.of(intensity[:200], predicted[:200]).mae(),
    )
    with pytest.raises(ValueError, match="weights"):
        Counts.of(truth, score, weight_N=weight[:5])


def test_a_large_mean_does_not_eat_the_spread():
    x = np.arange(10.0)[:, None] % 3
    far = Moments.of(x + 1e9, x + 1e9)
    assert far.icc()[0] == pytest.approx(1)
    halves = Moments.of(x[:5] + 1e9, x[:5] + 1e9) + Moments.of(x[5:] + 1e9, x[5:] + 1e9)
    assert halves.xx_A[0] == pytest.approx(far.xx_A[0], rel=1e-6)
