"""BatchNorm and the convolutions that mix channels, against plain JAX and Flax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxfacs import ops

SHAPE = (2, 3, 5, 4, 6)
ACTIVATIONS = {"none": lambda u: u, "relu": jax.nn.relu, "relu6": jax.nn.relu6}


def relative(ours, theirs, tolerance=1e-5):
    scale = np.abs(np.asarray(theirs)).max() + 1e-30
    np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=tolerance)


def draw(out=6):
    keys = jax.random.split(jax.random.key(0), 5)
    x = jax.random.normal(keys[0], SHAPE) * jnp.arange(1.0, 7.0) + 3.0
    return (
        x,
        jax.random.normal(keys[1], (6, out)),
        1 + jax.random.normal(keys[2], (out,)),
        jax.random.normal(keys[3], (out,)),
        jax.random.normal(keys[4], (*SHAPE[:-1], out)),
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_batch_norm_equals_flax(activation):
    x, _, scale, bias, g = draw()
    norm = nnx.BatchNorm(6, momentum=0.0, use_running_average=False, rngs=nnx.Rngs(0))

    graphdef, state = nnx.split(norm)

    def pure(x, scale, bias):
        module = nnx.merge(graphdef, state, copy=True)
        module.scale[...], module.bias[...] = scale, bias
        return ACTIVATIONS[activation](module(x)), (module.mean[...], module.var[...])

    y, pull, (mean, var) = jax.vjp(pure, x, scale, bias, has_aux=True)
    (ours, our_mean, our_var), our_pull = jax.vjp(
        lambda *a: ops.batch_norm_train(*a, activation), x, scale, bias
    )
    relative(ours, y)
    relative(our_mean, mean)
    relative(our_var, var)
    for a, b in zip(our_pull((g, jnp.zeros(6), jnp.zeros(6))), pull(g), strict=True):
        relative(a, b)


def test_variance_survives_a_large_mean():
    x = 1e4 + jax.random.normal(jax.random.key(0), (4, 8, 8, 8, 3))
    y, _, var = ops.batch_norm_train(x, jnp.ones(3), jnp.zeros(3))
    np.testing.assert_allclose(var, np.asarray(x, np.float64).var((0, 1, 2, 3)), rtol=1e-3)
    np.testing.assert_allclose(np.asarray(y).std((0, 1, 2, 3)), 1.0, rtol=1e-3)


def test_constant_input_stays_finite():
    x = jnp.full((2, 2, 2, 2, 3), 7.0)
    gradient = jax.grad(lambda x: ops.batch_norm_train(x, jnp.ones(3), jnp.zeros(3))[0].sum())(x)
    assert np.isfinite(gradient).all()
    matrix = jnp.ones((3, 6))
    gradient = jax.grad(
        lambda x: ops.pointwise_norm(x, matrix, jnp.ones(6), jnp.zeros(6), "relu6")[0].sum()
    )(x)
    assert np.isfinite(gradient).all()


def test_inference_uses_the_given_statistics():
    x, _, scale, bias, _ = draw()
    mean, var = jnp.arange(6.0), jnp.arange(1.0, 7.0)
    ours = ops.batch_norm_inference(x, scale, bias, mean, var, "relu6")
    relative(ours, jax.nn.relu6((x - mean) / jnp.sqrt(var + 1e-5) * scale + bias))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_pointwise_norm_equals_its_parts(activation):
    x, matrix, scale, bias, g = draw(out=15)

    def plain(x, matrix, scale, bias):
        z = x @ matrix
        mean, var = z.mean((0, 1, 2, 3)), z.var((0, 1, 2, 3))
        u = (z - mean) * lax.rsqrt(var + 1e-5) * scale + bias
        return ACTIVATIONS[activation](u), mean, var

    theirs, pull = jax.vjp(plain, x, matrix, scale, bias)
    ours, our_pull = jax.vjp(lambda *a: ops.pointwise_norm(*a, activation), x, matrix, scale, bias)
    for a, b in zip(ours, theirs, strict=True):
        relative(a, b)
    zeros = jnp.zeros(15)
    for a, b in zip(our_pull((g, zeros, zeros)), pull((g, zeros, zeros)), strict=True):
        relative(a, b)


def test_pointwise_norm_keeps_digits_where_channels_agree():
    """Nearly equal channels, nearly opposite weights: the variance is a small difference."""
    keys = jax.random.split(jax.random.key(0), 3)
    base = jax.random.normal(keys[0], (4, 4, 8, 8, 1))
    x = base + 1e-3 * jax.random.normal(keys[1], (4, 4, 8, 8, 6))
    matrix = jax.random.normal(keys[2], (6, 12))
    matrix = matrix - matrix.mean(0)
    _, _, var = ops.pointwise_norm(x, matrix, jnp.ones(12), jnp.zeros(12))
    exact = (np.asarray(x, np.float64) @ np.asarray(matrix, np.float64)).var((0, 1, 2, 3))
    np.testing.assert_allclose(var, exact, rtol=1e-3)


def test_pointwise_conv_equals_matmul():
    x, matrix, _, _, g = draw(out=9)
    theirs, pull = jax.vjp(lambda x, w: x @ w, x, matrix)
    ours, our_pull = jax.vjp(ops.pointwise_conv3d, x, matrix)
    relative(ours, theirs)
    for a, b in zip(our_pull(g), pull(g), strict=True):
        relative(a, b)


@pytest.mark.parametrize(
    ("size", "strides"),
    [
        ((3, 3, 3), (1, 2, 2)),
        ((3, 3, 3), (1, 1, 1)),
        ((1, 5, 2), (1, 2, 1)),
        ((3, 3, 3), (2, 2, 2)),
    ],
)
@pytest.mark.parametrize("shape", [(2, 5, 9, 8, 3), (1, 4, 7, 7, 3)])
def test_conv3d_equals_lax(shape, size, strides):
    x = jax.random.normal(jax.random.key(0), shape)
    kernel = jax.random.normal(jax.random.key(1), (*size, 3, 4))

    def plain(x, kernel):
        return lax.conv_general_dilated(
            x,
            kernel,
            strides,
            [(k // 2, k // 2) for k in size],
            dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        )

    theirs, pull = jax.vjp(plain, x, kernel)
    ours, our_pull = jax.vjp(lambda x, k: ops.conv3d(x, k, strides), x, kernel)
    relative(ours, theirs)
    for a, b in zip(our_pull(theirs), pull(theirs), strict=True):
        relative(a, b)


def test_bfloat16_statistics_are_float32():
    x, matrix, scale, bias, _ = draw(out=15)
    x16, w16 = x.astype(jnp.bfloat16), matrix.astype(jnp.bfloat16)
    y, mean, var = ops.pointwise_norm(x16, w16, scale, bias, "relu6")
    assert (y.dtype, mean.dtype, var.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    relative(var, (x16.astype(jnp.float32) @ w16.astype(jnp.float32)).var((0, 1, 2, 3)), 2e-2)
