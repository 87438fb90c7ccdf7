"""ViT-B/16: its size, what it refuses, and that places are told apart by their positions alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxfacs import models
from jaxfacs.errors import UserError
from jaxfacs.models.backbones.vit import CHANNELS, sine_positions


def _made(**options):
    return models.split(models.create_backbone("vit_b", rngs=nnx.Rngs(0), **options))


def test_parameters_are_those_of_table_1_less_class_token_and_positions():
    _, params, stats = jax.eval_shape(_made)
    assert sum(p.size for p in jax.tree.leaves(params)) == 85_637_376
    assert not jax.tree.leaves(stats)


def test_positions_are_sines_and_cosines_of_the_place():
    table = sine_positions(3)
    assert table.shape == (3, CHANNELS)
    np.testing.assert_allclose(table[0, :2], [0, 1])
    np.testing.assert_allclose(table[2, :2], [np.sin(2), np.cos(2)], rtol=1e-6)
    np.testing.assert_allclose(table[2, -2], np.sin(2 * 10_000 ** (-(CHANNELS - 2) / CHANNELS)))


def test_equal_patches_answer_by_where_they_are():
    graphdef, params, stats = _made(depth=1)
    x = jnp.ones((1, 32, 48, 3))
    taps = jax.jit(lambda p, x: models.apply(graphdef, p, stats, x, train=False)[0])(params, x)
    assert taps["map"].shape == (1, 2, 3, CHANNELS)
    places = taps["map"].reshape(6, CHANNELS)
    apart = np.abs(places[:, None] - places[None]).max(-1) + np.eye(6)
    assert apart.min() > 1e-3


@pytest.mark.parametrize(
    ("size", "options", "match"),
    [(40, {}, "multiple of 16"), (16, {}, "too small"), (32, {"depth": 0}, "depth 0")],
)
def test_what_does_not_fit_is_refused(size, options, match):
    with pytest.raises(UserError, match=match):
        network = models.create("vit_b", rngs=nnx.Rngs(0), num_aus=2, **{"depth": 1, **options})
        jax.eval_shape(lambda x: network(x, train=False), jnp.zeros((1, 1, size, size, 3)))
