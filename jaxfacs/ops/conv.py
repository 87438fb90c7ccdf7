"""Convolutions that mix channels: pointwise, dense, and pointwise with BatchNorm folded in."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxfacs.ops.batch_norm import Activation, activate, masked
from jaxfacs.ops.depthwise import DIMENSIONS, Stride


@jax.custom_vjp
def pointwise_conv3d(x_BTHWC: jax.Array, kernel_IxO: jax.Array) -> jax.Array:
    """Multiplies the channels of `x_BTHWC` by a matrix; answers in the dtype of `x_BTHWC`.

    The gradients are products of 2D arrays: autodiff's 5D ones cost XLA transposed copies.
    """
    return _matmul(x_BTHWC, kernel_IxO)


def _matmul(x, w):
    y = lax.dot_general(_rows(x), w, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)
    return y.astype(x.dtype).reshape(*x.shape[:-1], w.shape[1])


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

    Made for layers that widen. z = x W is never normalised by itself: the statistics of z follow
    from those of the narrow x (mean(z) = mean(x) W, var(z) = diag(W' Cov(x) W)), so the norm folds
    into the matrix; and the sums that BatchNorm's gradient needs over z follow from x'g, which is
    the kernel's gradient anyway. This saves four of nine passes over the widest arrays.

    Returns:
      y (..., O) like `x_BTHWC`; mean and biased variance of z, (O,) float32, without gradient.
    """
    return _pointwise_norm(x_BTHWC, kernel_IxO, scale, bias, activation, eps)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _pointwise_norm(x, w, scale, bias, activation, eps) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _pointwise_norm_fwd(x, w, scale, bias, activation, eps)[0]


def _pointwise_norm_fwd(x, w, scale, bias, activation, eps):
    axes = tuple(range(x.ndim - 1))
    w32 = w.astype(jnp.float32)
    x_mean = jnp.mean(x, axes, dtype=jnp.float32)
    # Centred before squaring: Cov(x) = E[xx'] - mean mean' would lose digits.
    centred = (x.astype(jnp.float32) - x_mean).astype(x.dtype)
    rows = _rows(centred)
    covariance = _rows_product(rows, rows) / rows.shape[0]
    var = jnp.sum(w32 * (covariance @ w32), axis=0)
    inverse = lax.rsqrt(var + eps)
    folded = (w32 * (scale * inverse)).astype(x.dtype)
    u = lax.dot_general(rows, folded, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)
    y = activate(u + bias, activation).astype(x.dtype).reshape(*x.shape[:-1], w.shape[1])
    return (y, x_mean @ w32, var), (centred, w, scale, inverse, covariance, y)


def _pointwise_norm_bwd(activation, eps, residuals, cotangents):
    del eps
    centred, w, scale, inverse, covariance, y = residuals
    count = centred.size // centred.shape[-1]
    w32 = w.astype(jnp.float32)
    gain = scale * inverse
    g = _rows(masked(cotangents[0], y, activation))
    rows = _rows(centred)
    products = _rows_product(rows, g)  # x'g, (I, O)
    dbias = jnp.sum(g, axis=0, dtype=jnp.float32)
    dscale = inverse * jnp.sum(w32 * products, axis=0)
    # With zhat = centred W inverse, dz = gain (g - dbias/N - zhat dscale/N). Then dW = centred'dz
    # and dx = dz W', each written without dz.
    dw = gain * (products - (covariance @ w32) * (inverse * dscale))
    back = (w32 * gain).T.astype(g.dtype)
    correction = (w32 * (gain * inverse * dscale / count)) @ w32.T
    dx = (
        lax.dot_general(g, back, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)
        - lax.dot_general(
            rows,
            correction.astype(rows.dtype),
            (((1,), (0,)), ((), ())),
            preferred_element_type=jnp.float32,
        )
        - w32 @ (gain * dbias / count)
    )
    dx = dx.astype(centred.dtype).reshape(centred.shape)
    return dx, dw.astype(w.dtype), dscale, dbias


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
