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


def test_affect_is_unknown_where_it_is_nan():
    target = RNG.uniform(-1, 1, (6, 2)).astype(np.float32)
    target[2:4, 1] = np.nan
    said = RNG.uniform(-1, 1, target.shape).astype(np.float32)
    known = ~np.isnan(target)
    expected = np.nansum((said - target) ** 2)
    assert value(losses.mse(said, target, known=known)) == pytest.approx((expected, 10), rel=1e-5)
    filled = np.where(known, target, 0.0)
    expected = 0.0
    for v in range(2):
        x, y = said[known[:, v], v], filled[known[:, v], v]
        covariance = ((x - x.mean()) * (y - y.mean())).mean()
        expected += 1 - 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    got = value(losses.ccc_loss(said, target, known=known))
    assert got == pytest.approx((expected, 2), rel=1e-4)
    for loss in (losses.mse, losses.ccc_loss):
        gradient = jax.grad(lambda x, loss=loss: loss(x, target, known=known)[0])(jnp.asarray(said))
        assert np.isfinite(gradient).all() and (np.asarray(gradient)[~known] == 0).all()


def test_ordinal_is_a_binary_question_for_each_letter():
    intensity = np.array([[0.0, 2.0], [-1.0, 5.0], [3.4, 0.9]], np.float32)
    logits = RNG.normal(0, 2, (3, 2, 5)).astype(np.float32)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    letters = {(0, 0): 0, (0, 1): 2, (1, 1): 5, (2, 0): 3, (2, 1): 0}  # how many were reached
    importance = np.array([1.0, 2.0, 0.5, 1.0, 3.0], np.float32)
    terms = {
        at: np.where(np.arange(5) < reached, np.log(p[at]), np.log(1 - p[at]))
        for at, reached in letters.items()
    }
    expected = -sum(row.sum() for row in terms.values())
    assert value(losses.ordinal(logits, intensity)) == pytest.approx((expected, 5), rel=1e-5)
    weighted = -sum((row * importance).sum() for row in terms.values())
    got = value(losses.ordinal(logits, intensity, importance_K=jnp.asarray(importance)))
    assert got == pytest.approx((weighted, 5), rel=1e-5)


def test_cooccurrence_draws_friends_together_and_rivals_apart():
    phi = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 1.0]], np.float32)
    p = np.array([[0.9, 0.2, 0.4], [0.5, 0.5, 0.0]])
    expected = (0.5 * (p[:, 0] - p[:, 1]) ** 2 + 0.3 * p[:, 1] * p[:, 2]) / 0.8
    got = value(losses.cooccurrence(jnp.asarray(p, jnp.float32), jnp.asarray(phi)))
    assert got == pytest.approx((expected.sum(), 2), rel=1e-5)
    nothing = losses.cooccurrence(jnp.asarray(p, jnp.float32), jnp.eye(3))
    assert value(nothing) == (0, 2)


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


def torch_reference(name, torch, x, y):
    """The mean loss in torch's own words, for labels that are all known."""
    functional = torch.nn.functional
    if name == "softmax":
        return functional.cross_entropy(x, y, label_smoothing=0.1)
    if name == "mse":
        return functional.mse_loss(x, y)
    if name == "edge":
        pair = (2 * y[:, :, None] + y[:, None, :]).reshape(len(y), -1)
        return functional.cross_entropy(x.reshape(-1, 4), pair.reshape(-1))
    if name == "ordinal":
        reached = (y[..., None] >= torch.arange(1, 6)).to(x)
        each = functional.binary_cross_entropy_with_logits(x, reached, reduction="none")
        return each.sum(-1).mean()
    p = x.detach().sigmoid()
    y = y.to(x)
    log_p, log_q = functional.logsigmoid(x), functional.logsigmoid(-x)
    if name == "weighted_asymmetric":
        return -(y * log_p + (1 - y) * p * log_q).mean()
    p = x.sigmoid()
    return -(y * (1 - p) ** 2 * log_p + (1 - y) * p**2 * log_q).mean()  # focal


@pytest.mark.parametrize(
    "name", ["softmax", "mse", "edge", "ordinal", "weighted_asymmetric", "focal"]
)
def test_value_and_gradient_equal_torch(name):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, (6, 4))
    shape, label = {
        "softmax": ((6, 4), rng.integers(0, 4, 6)),
        "mse": ((6, 4), rng.uniform(0, 5, (6, 4)).astype(np.float32)),
        "edge": ((6, 16, 4), y),
        "ordinal": ((6, 4, 5), rng.uniform(0, 5, (6, 4)).astype(np.float32)),
    }.get(name, ((6, 4), y))
    ours = {
        "softmax": lambda x: losses.softmax_cross_entropy(x, label, smoothing=0.1),
        "mse": lambda x: losses.mse(x, label),
        "edge": lambda x: losses.edge_cross_entropy(x, label),
        "ordinal": lambda x: losses.ordinal(x, label),
        "weighted_asymmetric": lambda x: losses.weighted_asymmetric(jax.nn.sigmoid(x), label),
        "focal": lambda x: losses.focal(x, label),
    }[name]
    x = rng.normal(0, 1, shape).astype(np.float32)
    got, gradient = jax.value_and_grad(lambda x: ours(x)[0] / ours(x)[1])(jnp.asarray(x))
    there = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    expected = torch_reference(name, torch, there, torch.tensor(label))
    expected.backward()
    assert float(got) == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, there.grad, rtol=1e-4, atol=1e-6)


SMOOTH = {
    "bce": lambda x: losses.bce(x, OCCURRENCE, positive_weight_A=jnp.asarray(WEIGHT_A)),
    "focal": lambda x: losses.focal(x, OCCURRENCE, positive_weight_A=jnp.asarray(WEIGHT_A)),
    "bp_mll": lambda x: losses.bp_mll(x, OCCURRENCE),
    "softmax": lambda x: losses.softmax_cross_entropy(
        x, np.array([0, 3, -1, 2, 1, -1]), smoothing=0.1
    ),
    "mse": lambda x: losses.mse(x, INTENSITY),
    "ccc": lambda x: losses.ccc_loss(x, INTENSITY),
    "cooccurrence": lambda x: losses.cooccurrence(
        jax.nn.sigmoid(x), jnp.asarray(np.corrcoef(LOGITS.T), jnp.float32)
    ),
    "heatmap": lambda x: losses.heatmap_mse(
        x.reshape(1, 3, 2, 4), np.abs(LOGITS).reshape(1, 3, 2, 4)
    ),
    "edge": lambda x: losses.edge_cross_entropy(
        x.reshape(3, 2, 4)[:, [0, 1, 1, 0]], OCCURRENCE[:3, :2]
    ),
    "ordinal": lambda x: losses.ordinal(x[:, :3, None] - jnp.arange(5.0), INTENSITY[:, :3]),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_is_the_slope(name):
    """Central differences along random directions."""
    rng = np.random.default_rng(4)
    loss = jax.jit(lambda x: SMOOTH[name](x)[0])
    x = rng.normal(0, 1, (6, 4)).astype(np.float32)
    gradient = np.asarray(jax.grad(loss)(x), np.float64)
    assert np.abs(gradient).max() > 1e-2
    for _ in range(4):
        way = rng.normal(0, 1, x.shape).astype(np.float32)
        step = np.float32(5e-3)
        slope = (float(loss(x + step * way)) - float(loss(x - step * way))) / (2 * float(step))
        assert slope == pytest.approx((gradient * way).sum(), rel=5e-3, abs=5e-3)


@pytest.mark.parametrize("name", ["edge", "heatmap", "ordinal", "cooccurrence", "bce", "mse"])
def test_frames_of_clips_count_as_examples(name):
    """(B, T, ...) is B T examples, each with the weight of its clip."""
    rng = np.random.default_rng(5)
    y = rng.integers(-1, 2, (3, 2, 4)).astype(np.int8)
    heat = rng.uniform(-0.02, 1, (3, 2, 3, 3, 2)).astype(np.float32)
    phi = jnp.asarray(np.corrcoef(rng.normal(size=(4, 9))), jnp.float32)
    shape, loss = {
        "edge": ((16, 4), lambda x, y, _, w: losses.edge_cross_entropy(x, y, weight_B=w)),
        "heatmap": ((3, 3, 2), lambda x, _, h, w: losses.heatmap_mse(x, h, weight_B=w)),
        "ordinal": ((4, 5), lambda x, y, _, w: losses.ordinal(x, y * 2.0, weight_B=w)),
        "cooccurrence": ((4,), lambda x, _, __, w: losses.cooccurrence(x, phi, weight_B=w)),
        "bce": ((4,), lambda x, y, _, w: losses.bce(x, y, weight_B=w)),
        "mse": ((4,), lambda x, y, _, w: losses.mse(x, y * 2.0, weight_B=w)),
    }[name]
    x = rng.normal(0, 1, (3, 2, *shape)).astype(np.float32)
    weight_B = np.array([1.0, 0.0, 1.0], np.float32)
    clips = value(loss(x, y, heat, jnp.asarray(weight_B)))
    flat = [v.reshape(6, *v.shape[2:]) for v in (x, y, heat)]
    frames = value(loss(*flat, jnp.asarray(np.repeat(weight_B, 2))))
    assert clips[1] > 0 and clips == pytest.approx(frames, rel=1e-5)


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
