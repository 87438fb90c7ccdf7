"""The network for small face crops: its size, and what its options do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxfacs import models
from jaxfacs.errors import UserError
from jaxfacs.models.backbones.face_resnet import standardised
from jaxfacs.models.network import create_backbone

RNG = np.random.default_rng(0)


def test_the_whole_network_has_fewer_than_three_million_parameters():
    def make():
        return nnx.state(models.create("face_resnet", rngs=nnx.Rngs(0), num_aus=51))

    forms = jax.tree.leaves(jax.eval_shape(make))
    assert 2_000_000 < sum(x.size for x in forms) < 3_000_000


def test_exposure_and_contrast_change_nothing():
    body = create_backbone("face_resnet", width=0.2, size=32, rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(body)

    @jax.jit
    def features(x):
        return nnx.merge(graphdef, state, copy=True)(x, train=False, dropout_key=None)["features"]

    x = jnp.asarray(RNG.normal(0, 1, (2, 32, 32, 3)), jnp.float32)
    same = np.abs(features(x) - features(0.5 * x + 0.3)).max()
    other = np.abs(features(x) - features(x[:, ::-1])).max()
    assert same < 0.01 * other


def test_an_empty_picture_stays_empty():
    x = jnp.full((1, 8, 8, 3), 0.7) + 1e-3 * jnp.asarray(RNG.normal(size=(1, 8, 8, 3)))
    assert np.abs(standardised(x)).max() < 0.5


def test_other_sizes_are_refused_with_the_remedy():
    body = create_backbone("face_resnet", width=0.2, size=32, rngs=nnx.Rngs(0))
    with pytest.raises(UserError, match=r"32 pixels, not .*48.*--data.size 32"):
        body(jnp.zeros((1, 48, 48, 3)), train=False, dropout_key=None)
    with pytest.raises(UserError, match=r"width 0\.01"):
        create_backbone("face_resnet", width=0.01, rngs=nnx.Rngs(0))
