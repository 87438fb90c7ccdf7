"""depthwise_conv3d against XLA's grouped convolution, whole and sharded."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxfacs.ops import depthwise_conv3d
from jaxfacs.ops.depthwise import plain_depthwise_conv3d

CASES = [  # x, kernel, strides
    ((2, 4, 7, 9, 5), (3, 3, 3), (1, 1, 1)),
    ((2, 4, 8, 8, 5), (3, 3, 3), (2, 2, 2)),
    ((1, 5, 7, 9, 4), (3, 3, 3), (2, 2, 2)),
    ((1, 5, 14, 9, 4), (3, 5, 1), (1, 2, 2)),
    ((1, 5, 8, 15, 4), (2, 4, 3), (2, 1, 2)),  # even sizes: one row more than the input
    ((1, 6, 16, 9, 3), (5, 5, 5), (2, 2, 1)),
    ((1, 1, 1, 1, 3), (3, 3, 3), (2, 2, 2)),
    ((2, 7, 9, 11, 3), (3, 3, 3), (3, 3, 3)),
    ((2, 3, 5, 6, 7), (1, 1, 1), (1, 1, 1)),
    ((1, 4, 5, 5, 2), (1, 1, 1), (2, 2, 2)),
]


def draw(x_shape, kernel_size, seed=0):
    keys = jax.random.split(jax.random.key(seed), 2)
    return (
        jax.random.normal(keys[0], x_shape),
        jax.random.normal(keys[1], (*kernel_size, x_shape[-1])),
    )


def answers(conv, x, kernel, strides):
    """Output and both gradients under one cotangent, compiled."""

    def run(x, kernel):
        y, pull = jax.vjp(lambda x, k: conv(x, k, strides), x, kernel)
        g = jax.random.normal(jax.random.key(9), y.shape, y.dtype)
        return y, *pull(g)

    return jax.jit(run)(x, kernel)


def assert_relative(ours, theirs, tolerance):
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("x_shape", "size", "strides"), CASES)
def test_equals_grouped_convolution(x_shape, size, strides):
    x, kernel = draw(x_shape, size)
    with jax.numpy_rank_promotion("raise"):
        ours = answers(depthwise_conv3d, x, kernel, strides)
    theirs = answers(plain_depthwise_conv3d, x, kernel, strides)
    for a, b in zip(ours, theirs, strict=True):
        assert_relative(a, b, 1e-5)


@given(
    sizes=st.tuples(st.integers(1, 3), *[st.integers(3, 10)] * 3, st.integers(1, 4)),
    kernel=st.tuples(*[st.integers(1, 4)] * 3),
    strides=st.tuples(*[st.integers(1, 3)] * 3),
)
@settings(max_examples=3, deadline=None, derandomize=True)
def test_any_size_equals_grouped_convolution(sizes, kernel, strides):
    x, k = draw(sizes, kernel)
    ours = answers(depthwise_conv3d, x, k, strides)
    for a, b in zip(ours, answers(plain_depthwise_conv3d, x, k, strides), strict=True):
        assert_relative(a, b, 1e-5)


@pytest.mark.parametrize("strides", [(1, 1, 1), (2, 2, 2)])
def test_bfloat16_accumulates_in_float32(strides):
    x, kernel = (a.astype(jnp.bfloat16) for a in draw((2, 6, 9, 8, 16), (3, 3, 3)))
    ours = answers(depthwise_conv3d, x, kernel, strides)
    exact = answers(
        plain_depthwise_conv3d, x.astype(jnp.float32), kernel.astype(jnp.float32), strides
    )
    y = plain_depthwise_conv3d(x.astype(jnp.float32), kernel.astype(jnp.float32), strides)
    np.testing.assert_array_equal(ours[0], y.astype(jnp.bfloat16))  # rounded once, at the end
    assert [a.dtype for a in ours] == [jnp.bfloat16] * 3
    assert exact[0].dtype == jnp.float32


def test_vmap_over_kernels():
    x, kernel = draw((1, 3, 5, 6, 2), (3, 3, 3))
    kernels = jnp.stack([kernel, 2 * kernel])
    ys = jax.vmap(lambda k: depthwise_conv3d(x, k))(kernels)
    assert_relative(ys[0], depthwise_conv3d(x, kernel), 1e-6)
    assert_relative(ys[1], 2 * depthwise_conv3d(x, kernel), 1e-6)


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "match"),
    [
        ((4, 5, 5, 2), (3, 3, 3, 2), "BTHWC"),
        ((1, 4, 5, 5, 2), (3, 3, 3, 3), "channels"),
        ((1, 0, 5, 5, 2), (3, 3, 3, 2), "too small"),
    ],
)
def test_wrong_shapes_are_refused(x_shape, kernel_shape, match):
    with pytest.raises(ValueError, match=match):
        depthwise_conv3d(jnp.zeros(x_shape), jnp.zeros(kernel_shape))


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from jaxfacs.ops import batch_norm_train, depthwise_conv3d, pointwise_norm
assert jax.device_count() == 8
mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
keys = jax.random.split(jax.random.key(0), 3)
x = jax.random.normal(keys[0], (16, 3, 7, 6, 8)) + jnp.arange(16.0).reshape(16, 1, 1, 1, 1)
kernel = jax.random.normal(keys[1], (3, 3, 3, 8))
matrix = jax.random.normal(keys[2], (8, 12))
ones, zeros = jnp.ones(12), jnp.zeros(12)

def depthwise_gradients(x, kernel):
    def loss(x, kernel):
        return jnp.sum(jnp.sin(depthwise_conv3d(x, kernel, (2, 2, 2))))
    return jax.grad(loss, argnums=(0, 1))(x, kernel)

def norms(x, matrix):
    def loss(x, matrix):
        y, mean, var = pointwise_norm(x, matrix, ones, zeros, "relu6")
        z, mean2, var2 = batch_norm_train(y, ones, zeros)
        return jnp.sum(jnp.sin(z)), (mean, var, mean2, var2)
    (_, stats), grads = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(x, matrix)
    return stats, grads

for function, weights in ((depthwise_gradients, kernel), (norms, matrix)):
    one = jax.jit(function)(x, weights)
    compiled = jax.jit(function).lower(
        jax.device_put(x, split), jax.device_put(weights, whole)
    ).compile()
    many = compiled(jax.device_put(x, split), jax.device_put(weights, whole))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many)):
        scale = float(jnp.abs(a).max())
        np.testing.assert_allclose(np.asarray(a) / scale, np.asarray(b) / scale, atol=2e-5)
    text = compiled.as_text()
    reduces, gathers = text.count(" all-reduce("), text.count(" all-gather(")
    print(function.__name__, "all-reduce", reduces, "gather", gathers)
"""


@pytest.mark.multi_device
def test_sharded_batch_equals_one_device_and_reduces_once(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    done = subprocess.run(
        [sys.executable, "-c", SHARDED], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    # Nothing of the batch travels; the kernel's gradient travels once.
    assert "depthwise_gradients all-reduce 1 gather 0" in done.stdout, done.stdout
    assert "gather 0" in done.stdout.splitlines()[1], done.stdout
