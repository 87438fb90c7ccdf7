"""Losses against their formulas written out in numpy, and exact zeros where nothing is known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxfacs.train import losses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (6, 4)).astype(np.float32)
OCCURRENCE = RNG.integers(-1, 2, (6, 4)).astype(np.int8)
OCCURRENCE[5] = [1, -1, 1, 1]  # has no pair
INTENSITY = np.where(OCCURRENCE < 0, -1, RNG.uniform(0, 5, (6, 4))).astype(np.float32)
WEIGHT_A = np.array([1.0, 3.0, 0.5, 7.0], np.float32)
P = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
KNOWN = OCCURRENCE >= 0


def value(loss) -> tuple[float, float]:
    return float(loss[0]), float(loss[1])


def test_bce_is_the_weighted_log_likelihood():
    y = OCCURRENCE == 1
    expected = -(WEIGHT_A * y * np.log(P) + ~y * np.log(1 - P))[KNOWN].sum()
    total, weight = value(losses.bce(LOGITS, OCCURRENCE, positive_weight_A=jnp.asarray(WEIGHT_A)))
    assert total == pytest.approx(expected, rel=1e-5) and weight == KNOWN.sum()


def test_bce_equals_torch():
    torch = pytest.importorskip("torch")
    everything_known = np.abs(OCCURRENCE)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(LOGITS),
        torch.tensor(everything_known.astype(np.float32)),
        pos_weight=torch.tensor(WEIGHT_A),
    )
    total, weight = losses.bce(LOGITS, everything_known, positive_weight_A=jnp.asarray(WEIGHT_A))
    assert float(total / weight) == pytest.approx(float(expected), rel=1e-6)


def test_focal_is_bce_at_gamma_0_and_less_above():
    plain = value(losses.bce(LOGITS, OCCURRENCE))
    assert value(losses.focal(LOGITS, OCCURRENCE, gamma=0.0)) == pytest.approx(plain, rel=1e-5)
    true_p = np.where(OCCURRENCE == 1, P, 1 - P)
    expected = (-((1 - true_p) ** 2) * np.log(true_p))[KNOWN].sum()
    got = value(losses.focal(LOGITS, OCCURRENCE, gamma=2.0))
    assert got == pytest.approx((expected, KNOWN.sum()), rel=1e-5)


def test_weighted_asymmetric_is_the_published_formula_and_stops_its_factor():
    y = OCCURRENCE == 1
    expected = -(WEIGHT_A * (y * np.log(P) + ~y * P * np.log(1 - P)))[KNOWN].sum()
    arguments = {"label_weight_A": jnp.asarray(WEIGHT_A)}
    p = jnp.asarray(P, jnp.float32)
    total, _ = value(losses.weighted_asymmetric(p, OCCURRENCE, **arguments))
    assert total == pytest.approx(expected, rel=1e-5)
    gradient = jax.grad(lambda p: losses.weighted_asymmetric(p, OCCURRENCE, **arguments)[0])(p)
    absent = -WEIGHT_A * P * (-1 / (1 - P))  # as if the factor p were a constant
    np.testing.assert_allclose(gradient[OCCURRENCE == 0], absent[OCCURRENCE == 0], rtol=1e-4)


def test_bp_mll_is_the_mean_over_pairs_and_skips_examples_without_one():
    expected, examples = 0.0, 0
    for scores, labels in zip(LOGITS, OCCURRENCE, strict=True):
        pairs = list(itertools.product(np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)))
        if pairs:
            expected += np.mean([np.exp(scores[q] - scores[k]) for k, q in pairs])
            examples += 1
    assert 0 < examples < len(LOGITS)
    assert value(losses.bp_mll(LOGITS, OCCURRENCE)) == pytest.approx((expected, examples), rel=1e-5)


def test_softmax_cross_entropy_smooths_and_masks():
    label = np.array([0, 3, -1, 2, 1, -1])
    log_p = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
    known = label >= 0
    true = log_p[np.arange(6), np.maximum(label, 0)]
    expected = (-0.9 * true - 0.1 * log_p.mean(1))[known].sum()
    got = value(losses.softmax_cross_entropy(LOGITS, label, smoothing=0.1))
    assert got == pytest.approx((expected, 4), rel=1e-5)


def test_mse_counts_known_intensities():
    expected = ((LOGITS - INTENSITY) ** 2)[INTENSITY >= 0].sum()
    got = value(losses.mse(LOGITS, INTENSITY))
    assert got == pytest.approx((expected, (INTENSITY >= 0).sum()), rel=1e-5)


def test_ccc_loss_is_lins_coefficient_per_au():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 5, (40, 3)).astype(np.float32)
    truth[rng.random(truth.shape) < 0.3] = -1
    truth[:, 2] = -1
    truth[0, 2] = 4.0  # one known label has no correlation
    said = (truth + rng.normal(0, 1, truth.shape)).astype(np.float32)
    expected = 0.0
    for a in range(2):
        x, y = said[truth[:, a] >= 0, a], truth[truth[:, a] >= 0, a]
        covariance = ((x - x.mean()) * (y - y.mean())).mean()
        expected += 1 - 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert value(losses.ccc_loss(said, truth)) == pytest.approx((expected, 2), rel=1e-4)


def test_heatmap_mse_leaves_out_maps_nobody_coded():
    target = RNG.uniform(0, 1, (2, 3, 3, 2)).astype(np.float32)
    target[1, :, :, 0] = -1
    maps = RNG.uniform(0, 1, target.shape).astype(np.float32)
    known = np.ones(target.shape, bool)
    known[1, :, :, 0] = False
    expected = ((maps - target) ** 2)[known].sum()
    assert value(losses.heatmap_mse(maps, target)) == pytest.approx((expected, 27), rel=1e-5)


def test_edge_cross_entropy_classes_are_2_yi_plus_yj():
    occurrence = np.array([[1, 0, -1]], np.int8)
    logits = RNG.normal(size=(1, 9, 4)).astype(np.float32)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    classes = {0: 3, 1: 2, 3: 1, 4: 0}  # edge index -> class; the third AU is unknown
    expected = -sum(log_p[0, edge, label] for edge, label in classes.items())
    got = value(losses.edge_cross_entropy(logits, occurrence))
    assert got == pytest.approx((expected, 4), rel=1e-5)


OCCURRENCE_LOSSES = {
    "bce": lambda x, y, w: losses.bce(x, y, weight_B=w),
    "focal": lambda x, y, w: losses.focal(x, y, weight_B=w),
    "weighted_asymmetric": lambda x, y, w: losses.weighted_asymmetric(
        jax.nn.sigmoid(x), y, weight_B=w
    ),
    "bp_mll": lambda x, y, w: losses.bp_mll(x, y, weight_B=w),
    "mse": lambda x, y, w: losses.mse(x, y.astype(jnp.float32), weight_B=w),
    "ccc": lambda x, y, w: losses.ccc_loss(x, y.astype(jnp.float32), weight_B=w),
}


@pytest.mark.parametrize("name", OCCURRENCE_LOSSES)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_unknown_and_padding_have_exactly_no_part(name, seed):
    """However wild the prediction for an unknown label is, value and gradients do not see it."""
    rng = np.random.default_rng(seed)
    y = rng.integers(-1, 2, (5, 4)).astype(np.int8)
    x = rng.normal(0, 3, (5, 4)).astype(np.float32)
    wild = np.where(y < 0, rng.choice([-1e30, 1e30, 0.0], y.shape), x).astype(np.float32)
    weight_B = np.array([1, 1, 0, 1, 1], np.float32)
    wild[2] = 1e30
    loss = OCCURRENCE_LOSSES[name]
    clean = np.delete(x, 2, 0), np.delete(y, 2, 0), np.delete(weight_B, 2)
    expected = value(loss(*map(jnp.asarray, clean)))
    got, gradient = jax.value_and_grad(lambda x: loss(x, y, weight_B)[0])(jnp.asarray(wild))
    assert float(got) == pytest.approx(expected[0], rel=1e-5, abs=1e-6)
    assert float(loss(wild, y, weight_B)[1]) == expected[1]
    assert (np.asarray(gradient)[(y < 0) | (weight_B[:, None] == 0)] == 0).all()
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", OCCURRENCE_LOSSES)
def test_nothing_known_is_zero_over_zero_with_zero_gradient(name):
    y = -np.ones((5, 4), np.int8)
    loss = OCCURRENCE_LOSSES[name]
    total, gradient = jax.value_and_grad(lambda x: loss(x, y, None)[0])(jnp.asarray(LOGITS[:5]))
    assert float(total) == 0 and float(loss(LOGITS[:5], y, None)[1]) == 0
    assert (np.asarray(gradient) == 0).all()


@pytest.mark.parametrize("name", OCCURRENCE_LOSSES)
def test_extreme_logits_stay_finite(name):
    x = jnp.asarray(np.where(OCCURRENCE == 1, -80.0, 80.0).astype(np.float32))
    total, gradient = jax.value_and_grad(lambda x: OCCURRENCE_LOSSES[name](x, OCCURRENCE, None)[0])(
        x
    )
    if name != "bp_mll":  # exp(160) is what BP-MLL says of so wrong an order; the step is skipped
        assert np.isfinite(total) and np.isfinite(gradient).all()
    else:
        assert not np.isnan(total)


def test_bfloat16_predictions_are_summed_in_float32():
    total, _ = losses.bce(jnp.asarray(LOGITS, jnp.bfloat16), OCCURRENCE)
    assert total.dtype == jnp.float32
