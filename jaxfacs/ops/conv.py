"""Convolutions that mix channels: pointwise, dense, and pointwise with BatchNorm folded in."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxfacs.ops.batch_norm import Activation, activate, along_channels, masked
from jaxfacs.ops.depthwise import DIMENSIONS, Stride


@jax.custom_vjp
def pointwise_conv3d(x_BTHWC: jax.Array, kernel_IxO: jax.Array) -> jax.Array:
    """Multiplies the channels of `x_BTHWC` by a matrix; answers in the dtype of `x_BTHWC`.

    The gradients are products of 2D arrays: autodiff's 5D ones cost XLA transposed copies.
    """
    return _matmul(x_BTHWC, kernel_IxO)


def _matmul(x, w):
    return _product(_rows(x), w).astype(x.dtype).reshape(*x.shape[:-1], w.shape[1])


def _product(a, b):
    """Returns the matrix product in float32."""
    return lax.dot_general(a, b, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)


def _rows(x):
    return x.reshape(-1, x.shape[-1])


def _rows_product(a, b):
    """Returns sum over rows of a_i b_j, float32: (N, I), (N, J) -> (I, J)."""
    return lax.dot_general(a, b, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)


def _pointwise_fwd(x, w):
    return _matmul(x, w), (x, w)


def _pointwise_bwd(residuals, g):
    x, w = residuals
    return _matmul(g, w.T), _rows_product(_rows(x), _rows(g)).astype(w.dtype)


pointwise_conv3d.defvjp(_pointwise_fwd, _pointwise_bwd)


def pointwise_norm(
    x_BTHWC: jax.Array,
    kernel_IxO: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    activation: Activation = "none",
    eps: float = 1e-5,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Pointwise convolution, BatchNorm over its output, activation: one operation.

    Made for layers that widen. BatchNorm takes the mean away again, so x is centred while it is
    narrow, and the variance of z = x W needs one pass and no second mean. What BatchNorm's gradient
    sums over z follows from x'g, which is the kernel's gradient anyway, and its terms in z from
    the narrow x: dz, and z in the backward pass, are never formed. That saves five passes over the
    widest arrays of the network.

    Returns:
      y (..., O) like `x_BTHWC`; mean and biased variance of z, (O,) float32, without gradient.
    """
    return _pointwise_norm(x_BTHWC, kernel_IxO, scale, bias, activation, eps)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _pointwise_norm(x, w, scale, bias, activation, eps) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _pointwise_norm_fwd(x, w, scale, bias, activation, eps)[0]


def _pointwise_norm_fwd(x, w, scale, bias, activation, eps):
    w32 = w.astype(jnp.float32)
    x_mean = jnp.mean(x, tuple(range(x.ndim - 1)), dtype=jnp.float32)
    centred = (x.astype(jnp.float32) - along_channels(x_mean, x.ndim)).astype(x.dtype)
    z = _product(_rows(centred), w)
    # Not from Cov(x), though it would save this pass: w' Cov(x) w cancels where x is correlated.
    var = jnp.mean(jnp.square(z), axis=0)
    inverse = lax.rsqrt(var + eps)
    u = z * (scale * inverse)[None] + bias[None]
    y = activate(u, activation).astype(x.dtype)
    y = y.reshape(*x.shape[:-1], w.shape[1])
    return (y, x_mean @ w32, var), (centred, w, scale, inverse, y)


def _pointwise_norm_bwd(activation, eps, residuals, cotangents):
    del eps
    centred, w, scale, inverse, y = residuals
    rows = _rows(centred)
    count = rows.shape[0]
    w32 = w.astype(jnp.float32)
    gain = scale * inverse
    g = _rows(masked(cotangents[0], y, activation))
    products = _rows_product(rows, g)
    covariance = _rows_product(rows, rows) / count
    dbias = jnp.sum(g, axis=0, dtype=jnp.float32)
    dscale = inverse * jnp.sum(w32 * products, axis=0)
    # With zhat = centred W inverse: dz = gain (g - dbias/N - zhat dscale/N), dW = centred' dz and
    # dx = dz W', each multiplied out so that only g is wide.
    dw = gain[None] * (products - (covariance @ w32) * (inverse * dscale)[None])
    correction = (w32 * (gain * inverse * dscale / count)[None]) @ w32.T
    dx = (
        _product(g, (w32 * gain[None]).T.astype(g.dtype))
        - _product(rows, correction.astype(rows.dtype))
        - (w32 @ (gain * dbias / count))[None]
    )
    return dx.astype(centred.dtype).reshape(centred.shape), dw.astype(w.dtype), dscale, dbias


_pointwise_norm.defvjp(_pointwise_norm_fwd, _pointwise_norm_bwd)


def conv3d(
    x_BTHWC: jax.Array, kernel_TxHxWxIxO: jax.Array, strides: Stride = (1, 1, 1)
) -> jax.Array:
    """Convolves with a dense kernel, padding k//2 on each side.

    With temporal stride 1 it runs as one 2D convolution a frame, the temporal taps stacked among
    the input channels.
    """
    if strides[0] != 1:
        return lax.conv_general_dilated(
            x_BTHWC,
            kernel_TxHxWxIxO,
            strides,
            [(k // 2, k // 2) for k in kernel_TxHxWxIxO.shape[:3]],
            dimension_numbers=DIMENSIONS,
        )
    kt, kh, kw, i, o = kernel_TxHxWxIxO.shape
    b, t, h, w, _ = x_BTHWC.shape
    xp = jnp.pad(x_BTHWC, ((0, 0), (kt // 2, kt // 2), (0, 0), (0, 0), (0, 0)))
    frames = t + 2 * (kt // 2) - kt + 1
    stacked = jnp.concatenate([xp[:, j : j + frames] for j in range(kt)], axis=-1)
    y = lax.conv_general_dilated(
        stacked.reshape(b * frames, h, w, kt * i),
        kernel_TxHxWxIxO.transpose(1, 2, 0, 3, 4).reshape(kh, kw, kt * i, o),
        strides[1:],
        [(kh // 2, kh // 2), (kw // 2, kw // 2)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y.reshape(b, frames, *y.shape[1:])
