"""The bank of binary networks against the same networks one by one."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export
from tiny_backbone import create_tiny

from jaxfacs import models
from jaxfacs.errors import UserError

B, T, SIZE, K = 3, 2, 12, 5
KEY = jax.random.key(4)


@pytest.fixture(scope="module", autouse=True)
def tiny_backbones():
    """AlexNet's 60 million parameters are made in test_every_model."""
    with pytest.MonkeyPatch.context() as patch:
        module = importlib.import_module("jaxfacs.models.one_vs_all")
        patch.setattr(module, "create_backbone", create_tiny)
        yield


@pytest.fixture(scope="module")
def x_BTHWC():
    return np.random.default_rng(0).standard_normal((B, T, SIZE, SIZE, 3), np.float32)


def made(**options):
    options = {"num_aus": K, **options}
    return models.create("one_vs_all", rngs=nnx.Rngs(0), **options)


def learner(graphdef):
    """A training pass of one module, compiled: (outputs, statistics, gradients)."""

    def learn(params, stats, x, key, weights):
        def loss(params):
            outputs, new = models.apply(graphdef, params, stats, x, train=True, dropout_key=key)
            return (jnp.square(outputs["occurrence"] - 1.0) * weights).sum(), (outputs, new)

        (_, (outputs, new)), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return outputs["occurrence"], new, gradient

    return jax.jit(learn)


@pytest.mark.parametrize(("chunk", "per_frame"), [(0, False), (1, True), (2, False)])
def test_equals_separate_networks(x_BTHWC, chunk, per_frame):
    """Answers, gradients, statistics and dropout, also where K is no multiple of the chunk."""
    bank = made(chunk=chunk, per_frame=per_frame, dropout=0.3, fc_dropout=0.2)
    weights = jnp.arange(1.0, K + 1)
    graphdef, params, stats = models.split(bank)
    found, new, gradient = learner(graphdef)(params, stats, x_BTHWC, KEY, weights)
    assert found.shape == ((B, T, K) if per_frame else (B, K))
    one = learner(nnx.split(bank.bank)[0])
    for k, key in enumerate(jax.random.split(KEY, K)):
        own = [jax.tree.map(lambda v, k=k: v[k], tree["bank"]) for tree in (params, stats)]
        expected, expected_new, expected_gradient = one(*own, x_BTHWC, key, weights[k])
        np.testing.assert_allclose(found[..., k], expected[..., 0], atol=1e-6)
        for stacked, single in ((new, expected_new), (gradient, expected_gradient)):
            jax.tree.map(
                lambda s, e, k=k: np.testing.assert_allclose(s[k], e, rtol=1e-5, atol=1e-6),
                stacked["bank"],
                single,
            )


def test_networks_start_apart(x_BTHWC):
    answers = made()(x_BTHWC, train=False)["occurrence"]
    assert len(np.unique(np.asarray(answers)[0])) == K


def test_shared_trunk_equals_separate_networks_with_a_frozen_one(x_BTHWC):
    bank = made(shared_trunk=True, hidden=7, dropout=0.3, fc7=4)
    graphdef, params, stats = models.split(bank)
    assert params["bank"]["fc7"]["kernel"].shape == (K, 4, 7)
    found, new, gradient = learner(graphdef)(params, stats, x_BTHWC, KEY, 1.0)
    jax.tree.map(np.testing.assert_array_equal, new, stats)  # a frozen trunk keeps its statistics
    assert not any(np.any(g) for g in jax.tree.leaves(gradient["trunk"]))
    features = bank.trunk(x_BTHWC, train=False)["features"]
    one = learner(nnx.split(bank.bank)[0])
    for k, key in enumerate(jax.random.split(KEY, K)):
        own = jax.tree.map(lambda v, k=k: v[k], params["bank"])
        expected, _, expected_gradient = one(own, {}, features, key, 1.0)
        np.testing.assert_allclose(found[:, k], expected[:, 0], atol=1e-6)
        jax.tree.map(
            lambda s, e, k=k: np.testing.assert_allclose(s[k], e, rtol=1e-5, atol=1e-6),
            gradient["bank"],
            expected_gradient,
        )


def test_is_one_program_however_many_networks(x_BTHWC):
    def lines(count: int) -> int:
        graphdef, params, stats = models.split(made(num_aus=count))
        f = jax.jit(lambda p: models.apply(graphdef, p, stats, x_BTHWC, train=False)[0])
        return len(f.lower(params).as_text().splitlines())

    assert lines(3) == lines(9)


@pytest.mark.parametrize("options", [{}, {"chunk": 2}, {"shared_trunk": True}])
def test_exports_for_any_batch_size(x_BTHWC, options):
    graphdef, params, stats = models.split(made(**options))

    def answer(x):
        return models.apply(graphdef, params, stats, x, train=False)[0]["occurrence"]

    (batch,) = export.symbolic_shape("b")
    form = jax.ShapeDtypeStruct((batch, *x_BTHWC.shape[1:]), jnp.float32)
    found = export.export(jax.jit(answer))(form).call(x_BTHWC)
    np.testing.assert_allclose(found, jax.jit(answer)(x_BTHWC), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_aus": 0}, "num_aus 0"),
        ({"chunk": -1}, "chunk -1"),
        ({"shared_trunk": True, "hidden": 0}, "hidden 0"),
        ({"tap": "map"}, "shared_trunk"),
        ({"shared_trunk": True, "tap": "fc9"}, "fc9"),
        ({"intensity": True}, "intensity"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        made(**options)


def test_tap_with_places_is_refused(x_BTHWC):
    with pytest.raises(UserError, match="tap map"):
        made(shared_trunk=True, tap="map")(x_BTHWC, train=False)
