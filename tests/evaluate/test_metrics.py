"""Measures equal scikit-learn's and published examples; unknown labels change nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from jaxfacs.evaluate import metrics, thresholds
from jaxfacs.evaluate.sums import Confusion

CLASSIFY = [metrics.accuracy, metrics.recall, metrics.precision, metrics.f1]
RANK = [metrics.average_precision, metrics.roc_auc]
REGRESS = [metrics.icc, metrics.ccc, metrics.pcc, metrics.mae, metrics.mse, metrics.rmse]


@st.composite
def labelled(draw, max_rows=40):
    """Occurrence (−1, 0, 1) and scores with many ties, N×A."""
    shape = (draw(st.integers(1, max_rows)), draw(st.integers(1, 4)))
    truth = draw(hnp.arrays(np.int8, shape, elements=st.integers(-1, 1)))
    step = draw(st.sampled_from([2, 5, 1000]))
    score = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, step))) / step
    return truth, score.astype(np.float32)


def per_au(truth, score, measure):
    columns = []
    for a in range(truth.shape[1]):
        known = truth[:, a] >= 0
        columns.append(measure(truth[known, a], score[known, a]) if known.any() else np.nan)
    return np.array(columns, float)


@given(labelled())
@settings(deadline=None, max_examples=60)
def test_ranks_equal_scikit_learn(data):
    truth, score = data

    def both(y):
        return len(set(y.tolist())) == 2

    expected = per_au(
        truth, score, lambda y, s: sk.average_precision_score(y, s) if y.any() else np.nan
    )
    np.testing.assert_allclose(metrics.average_precision(truth, score), expected, atol=1e-12)
    expected = per_au(truth, score, lambda y, s: sk.roc_auc_score(y, s) if both(y) else np.nan)
    np.testing.assert_allclose(metrics.roc_auc(truth, score), expected, atol=1e-12)


@given(labelled(), st.floats(0.1, 0.9))
@settings(deadline=None, max_examples=60)
def test_calls_equal_scikit_learn(data, threshold):
    truth, score = data

    def with_sk(measure):
        return per_au(truth, score, lambda y, s: measure(y, s >= threshold, zero_division=np.nan))

    for ours, theirs in [
        (metrics.recall, sk.recall_score),
        (metrics.precision, sk.precision_score),
        (metrics.f1, sk.f1_score),
    ]:
        expected = with_sk(theirs)
        np.testing.assert_allclose(ours(truth, score, threshold=threshold), expected, atol=1e-12)
    expected = per_au(truth, score, lambda y, s: sk.accuracy_score(y, s >= threshold))
    np.testing.assert_allclose(
        metrics.accuracy(truth, score, threshold=threshold), expected, atol=1e-12
    )


@given(labelled())
@settings(deadline=None, max_examples=40)
def test_hamming_score_is_the_mean_jaccard_of_samples(data):
    truth, score = data
    truth = np.abs(truth)  # every label known
    truth, score = np.c_[truth, truth], np.c_[score, score]  # scikit-learn wants two columns
    expected = sk.jaccard_score(truth, score >= 0.5, average="samples", zero_division=1.0)
    assert metrics.hamming_score(truth, score) == pytest.approx(expected, abs=1e-12)


@given(labelled(), st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_what_is_unknown_changes_nothing(data, seed):
    truth, score = data
    junk = np.where(truth >= 0, score, np.random.default_rng(seed).random(score.shape))
    for measure in [*CLASSIFY, *RANK, metrics.partial_accuracy, metrics.hamming_score]:
        np.testing.assert_array_equal(measure(truth, score), measure(truth, junk))
        hidden = np.where(truth >= 0, truth, 1)
        np.testing.assert_array_equal(
            measure(truth, score), measure(hidden, score, known_NA=truth >= 0)
        )
    for measure in REGRESS:
        np.testing.assert_array_equal(measure(truth, score), measure(truth, junk))


@given(labelled(), st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_the_order_of_examples_changes_nothing(data, seed):
    truth, score = data
    order = np.random.default_rng(seed).permutation(len(truth))
    for measure in CLASSIFY + RANK:
        np.testing.assert_array_equal(measure(truth, score), measure(truth[order], score[order]))


def test_a_monotone_map_of_the_scores_keeps_the_ranks():
    rng = np.random.default_rng(0)
    truth, logit = rng.integers(-1, 2, (500, 6)), rng.normal(size=(500, 6)).round(1)
    for measure in RANK:
        np.testing.assert_array_equal(
            measure(truth, logit), measure(truth, 1 / (1 + np.exp(-logit)))
        )


# Shrout & Fleiss 1979, table 2: six targets, four judges.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)


def test_icc_of_the_worked_example():
    assert metrics.icc_of_raters(SHROUT_FLEISS) == pytest.approx(0.7148, abs=5e-5)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(2, 30), st.just(2)), elements=st.floats(0, 5)),
)
@settings(deadline=None)
def test_icc_of_two_raters_is_the_anova(rating):
    x, y = rating[:, :1], rating[:, 1:]
    if x.std() + y.std() < 1e-3:  # the two formulas round differently where nothing varies
        return
    assert metrics.icc(x, y)[0] == pytest.approx(metrics.icc_of_raters(rating), abs=1e-9)


def test_regression_measures_against_their_definitions():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 5, (200, 3))
    predicted = truth * 0.7 + rng.normal(size=truth.shape) + 0.4
    truth[rng.random(truth.shape) < 0.2] = -1
    for a in range(3):
        known = truth[:, a] >= 0
        x, y = truth[known, a], predicted[known, a]
        lin = 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
        for measure, expected in [
            (metrics.mae, sk.mean_absolute_error(x, y)),
            (metrics.mse, sk.mean_squared_error(x, y)),
            (metrics.rmse, np.sqrt(sk.mean_squared_error(x, y))),
            (metrics.pcc, np.corrcoef(x, y)[0, 1]),
            (metrics.ccc, lin),
        ]:
            assert measure(truth, predicted)[a] == pytest.approx(expected, abs=1e-12)


def test_undefined_is_nan_not_zero():
    nothing_known = np.full((5, 1), -1)
    no_positive, no_negative = np.zeros((5, 1), int), np.ones((5, 1), int)
    low, high = np.full((5, 1), 0.1), np.full((5, 1), 0.9)
    for measure in CLASSIFY + RANK + REGRESS:
        assert np.isnan(measure(nothing_known, low)[0])
    assert np.isnan(metrics.average_precision(no_positive, low)[0])
    assert np.isnan(metrics.roc_auc(no_positive, low)[0])
    assert np.isnan(metrics.roc_auc(no_negative, low)[0])
    assert np.isnan(metrics.recall(no_positive, low)[0])
    assert np.isnan(metrics.precision(no_negative, low)[0])
    assert np.isnan(metrics.f1(no_positive, low)[0])
    assert metrics.f1(no_positive, high)[0] == 0
    assert metrics.f1(no_negative, low)[0] == 0
    assert np.isnan(metrics.icc(no_negative, high)[0])  # no spread on either side
    assert np.isnan(metrics.partial_accuracy(nothing_known, low))
    assert metrics.hamming_score(no_positive, low) == 1  # nothing there and nothing called


def test_partial_accuracy_counts_each_example_once():
    truth = np.array([[1, 0, -1, -1], [1, 1, 1, 0], [-1, -1, -1, -1]])
    called = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
    assert metrics.partial_accuracy(truth, called) == pytest.approx((1 / 2 + 3 / 4) / 2)


def test_partial_accuracy_of_whole_labels_is_the_mean_accuracy():
    rng = np.random.default_rng(2)
    truth, score = rng.integers(0, 2, (50, 7)), rng.random((50, 7))
    assert metrics.partial_accuracy(truth, score) == pytest.approx(
        metrics.accuracy(truth, score).mean()
    )


@pytest.mark.parametrize(
    ("truth", "score", "message"),
    [
        (np.zeros(3), np.zeros(3), "N×A"),
        (np.zeros((3, 2)), np.zeros((3, 3)), "shape"),
        (np.full((3, 2), 9), np.zeros((3, 2)), "0, 1 or negative"),
        (np.zeros((3, 2)), np.full((3, 2), np.nan), "NaN"),
    ],
)
def test_wrong_arrays_are_refused(truth, score, message):
    with pytest.raises(ValueError, match=message):
        metrics.f1(truth, score)


def test_wrong_masks_are_refused():
    with pytest.raises(ValueError, match="mask"):
        metrics.f1(np.zeros((3, 2)), np.zeros((3, 2)), known_NA=np.ones((3, 1), bool))


@given(labelled(max_rows=60))
@settings(deadline=None, max_examples=80)
def test_no_threshold_beats_the_tuned_one(data):
    truth, score = data
    score = score * np.float32(0.98) + np.float32(0.01)  # inside (0, 1), where thresholds live
    tuned = thresholds.tune(truth, score, min_positives=1)
    assert tuned.dtype == np.float32 and np.all((tuned > 0) & (tuned < 1))
    ours = metrics.f1(truth, score, threshold=tuned)
    for a in range(truth.shape[1]):
        known = truth[:, a] >= 0
        if set(truth[known, a].tolist()) != {0, 1}:
            assert tuned[a] == thresholds.DEFAULT
            continue
        others = [
            sk.f1_score(truth[known, a], score[known, a] >= t) for t in np.unique(score[known, a])
        ]
        assert ours[a] == pytest.approx(max(others))


def test_rare_aus_keep_the_default_threshold():
    truth = np.zeros((100, 1), int)
    truth[:4] = 1
    score = np.linspace(0.3, 0, 100)[:, None].astype(np.float32)
    assert thresholds.tune(truth, score)[0] == thresholds.DEFAULT
    assert thresholds.tune(truth, score, min_positives=4)[0] < 0.3


def test_neighbouring_float32_scores_are_parted():
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    truth = np.array([[1]] * 5 + [[0]] * 5)
    score = np.array([[high]] * 5 + [[low]] * 5)
    tuned = thresholds.tune(truth, score)
    assert metrics.f1(truth, score, threshold=tuned)[0] == 1


def test_confusion():
    truth = np.array([0, 0, 1, 2, 2, -1])
    called = np.array([0, 1, 1, 2, 0, 0])
    table = Confusion.of(truth, called, 3)
    np.testing.assert_array_equal(
        table.count_EE, sk.confusion_matrix(truth[:5], called[:5], labels=[0, 1, 2])
    )
    assert table.accuracy() == pytest.approx(3 / 5)
    np.testing.assert_allclose(table.recall(), [0.5, 1, 0.5])
    np.testing.assert_allclose(
        table.f1(), sk.f1_score(truth[:5], called[:5], average=None, labels=[0, 1, 2])
    )
    with pytest.raises(ValueError, match="below 2"):
        Confusion.of(truth, called, 2)
