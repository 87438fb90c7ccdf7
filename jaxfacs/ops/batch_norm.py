"""BatchNorm with its activation, forward and backward in few passes over memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

Activation = Literal["none", "relu", "relu6"]

_ACTIVATIONS = {"none": lambda u: u, "relu": jax.nn.relu, "relu6": jax.nn.relu6}


_AXES: ContextVar[tuple[str, ...]] = ContextVar("axes of the devices that share a batch")


@contextmanager
def shared_batch(axes: tuple[str, ...]) -> Iterator[None]:
    """While this is traced, inside shard_map, statistics are those of the rows of all devices.

    Args:
      axes: of the mesh. What is a gradient of a parameter stays that of a device's own rows.
    """
    token = _AXES.set(axes)
    try:
        yield
    finally:
        _AXES.reset(token)


def shared_mean(x: Any) -> Any:
    """The mean over the devices that share a batch; `x` itself where one has all of it."""
    axes = _AXES.get(())
    return lax.pmean(x, axes) if axes else x


def activate(u: jax.Array, activation: Activation) -> jax.Array:
    """Applies an activation by name."""
    return _ACTIVATIONS[activation](u)


def masked(g: jax.Array, u: jax.Array, activation: Activation) -> jax.Array:
    """Returns `g` where the activation of `u` has slope 1, else 0.

    `u` may be the activation's output as well: 0 < u < 6 says the same of both.
    """
    if activation == "none":
        return g
    inside = u > 0 if activation == "relu" else (u > 0) & (u < 6)
    return jnp.where(inside, g, 0)


def along_channels(vector: jax.Array, ndim: int) -> jax.Array:
    """Shapes (C,) so that it meets an array of `ndim` axes without implicit rank promotion."""
    return vector.reshape((1,) * (ndim - 1) + vector.shape)


def batch_norm_inference(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    activation: Activation = "none",
    eps: float = 1e-5,
) -> jax.Array:
    """Normalises `x` (..., C) with given statistics (C,), then applies the activation."""
    mean, gain, bias = (
        along_channels(v, x.ndim) for v in (mean, scale * lax.rsqrt(var + eps), bias)
    )
    u = (x.astype(jnp.float32) - mean) * gain + bias
    return activate(u, activation).astype(x.dtype)


def batch_norm_train(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    activation: Activation = "none",
    eps: float = 1e-5,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises `x` (..., C) with its own statistics, then applies the activation.

    Float32 inside whatever the dtype of `x`. The variance is the mean of squared distances from the
    mean (two passes): the one-pass E[x^2] - E[x]^2 loses all digits where the mean is large. Under
    jit with a sharded batch the sums, and so the statistics, are global.

    Returns:
      y like `x`; mean (C,) and biased variance (C,), float32, through which no gradient flows.
    """
    return _batch_norm(x, scale, bias, activation, eps)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _batch_norm(x, scale, bias, activation, eps) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _forward(x, scale, bias, activation, eps)[0]


def _forward(x, scale, bias, activation, eps):
    axes = tuple(range(x.ndim - 1))
    mean = shared_mean(jnp.mean(x, axes, dtype=jnp.float32))
    centred = x.astype(jnp.float32) - along_channels(mean, x.ndim)
    var = shared_mean(jnp.mean(jnp.square(centred), axes))
    inverse = lax.rsqrt(var + eps)
    gain = along_channels(scale * inverse, x.ndim)
    y = activate(centred * gain + along_channels(bias, x.ndim), activation)
    return (y.astype(x.dtype), mean, var), (x, scale, bias, mean, inverse)


def _backward(activation, eps, residuals, cotangents):
    del eps
    x, scale, bias, mean, inverse = residuals
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    centred = x.astype(jnp.float32) - along_channels(mean, x.ndim)
    gain = along_channels(scale * inverse, x.ndim)
    # The output is not kept: its mask comes again from x, which is read here anyway.
    u = centred * gain + along_channels(bias, x.ndim)
    g = masked(cotangents[0].astype(jnp.float32), u, activation)
    dbias = jnp.sum(g, axes)
    dscale = jnp.sum(g * centred, axes) * inverse
    level, slope = shared_mean((dbias / count, inverse * dscale / count))
    level, slope = along_channels(level, x.ndim), along_channels(slope, x.ndim)
    dx = gain * (g - level - centred * slope)
    return dx.astype(x.dtype), dscale, dbias


_batch_norm.defvjp(_forward, _backward)
