"""Convolutions that mix channels: pointwise, dense, and pointwise with BatchNorm folded in."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxfacs.ops.batch_norm import Activation, activate, along_channels, masked, shared_mean
from jaxfacs.ops.depthwise import DIMENSIONS, Stride, out_sizes

FEW_CHANNELS = 4  # a picture's, with one to spare


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
    """Returns sum over rows of a_i b_j, float32: (N, I), (N, J) -> (I, J).

    XLA's CPU product of this form takes 1.7 times as long with the wider operand on the left. The
    barrier keeps it from turning the operands round again.
    """
    if a.shape[1] > b.shape[1]:
        return lax.optimization_barrier(_rows_product(b, a)).T
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
    the narrow x: dz, and z in the backward pass, are never formed. That saves several passes over
    the widest arrays of the network.

    Returns:
      y (..., O) like `x_BTHWC`; mean and biased variance of z, (O,) float32, without gradient.
    """
    return _pointwise_norm(x_BTHWC, kernel_IxO, scale, bias, activation, eps)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _pointwise_norm(x, w, scale, bias, activation, eps) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _pointwise_norm_fwd(x, w, scale, bias, activation, eps)[0]


def _pointwise_norm_fwd(x, w, scale, bias, activation, eps):
    w32 = w.astype(jnp.float32)
    x_mean = shared_mean(jnp.mean(x, tuple(range(x.ndim - 1)), dtype=jnp.float32))
    centred = (x.astype(jnp.float32) - along_channels(x_mean, x.ndim)).astype(x.dtype)
    z = _product(_rows(centred), w)
    # Not from Cov(x), though it would save this pass: w' Cov(x) w cancels where x is correlated.
    var = shared_mean(jnp.mean(jnp.square(z), axis=0))
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
    covariance = _rows_product(rows, rows)
    dbias = jnp.sum(g, axis=0, dtype=jnp.float32)
    dscale = inverse * jnp.sum(w32 * products, axis=0)
    level, slope = shared_mean((dbias / count, inverse * dscale / count))
    # With zhat = centred W inverse: dz = gain (g - dbias/N - zhat dscale/N), dW = centred' dz and
    # dx = dz W', each multiplied out so that only g is wide.
    dw = gain[None] * (products - (covariance @ w32) * slope[None])
    correction = (w32 * (gain * slope)[None]) @ w32.T
    dx = (
        _product(g, (w32 * gain[None]).T.astype(g.dtype))
        - _product(rows, correction.astype(rows.dtype))
        - (w32 @ (gain * level))[None]
    )
    return dx.astype(centred.dtype).reshape(centred.shape), dw.astype(w.dtype), dscale, dbias


_pointwise_norm.defvjp(_pointwise_norm_fwd, _pointwise_norm_bwd)


def conv3d(
    x_BTHWC: jax.Array, kernel_TxHxWxIxO: jax.Array, strides: Stride = (1, 1, 1)
) -> jax.Array:
    """Convolves with a dense kernel, padding k//2 on each side.

    Equal to `lax.conv_general_dilated`; differentiable once in both arguments. On CPU, with the few
    channels of a picture, it is one matrix product over patches, and so is the kernel's gradient
    (XLA's 3D convolution takes ten times as long). The patches take kT·kH·kW / (sT·sH·sW) times
    the memory of the input. The gradient in the input, which training does not ask of a stem, and
    everything else is XLA's.
    """
    strides = (int(strides[0]), int(strides[1]), int(strides[2]))
    if x_BTHWC.shape[-1] > FEW_CHANNELS:
        return plain_conv3d(x_BTHWC, kernel_TxHxWxIxO, strides)
    return _conv3d(x_BTHWC, kernel_TxHxWxIxO, strides)


def plain_conv3d(x_BTHWC: jax.Array, kernel: jax.Array, strides: Stride) -> jax.Array:
    """The same operation as XLA's convolution; the reference in tests."""
    return lax.conv_general_dilated(
        x_BTHWC,
        kernel,
        strides,
        [(k // 2, k // 2) for k in kernel.shape[:3]],
        dimension_numbers=DIMENSIONS,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv3d(x, kernel, strides):
    def by_patches(x, kernel):
        p = patches(x, kernel.shape, strides)
        y = _product(_rows(p), kernel.reshape(-1, kernel.shape[-1]))
        return y.astype(x.dtype).reshape(*p.shape[:-1], kernel.shape[-1])

    return lax.platform_dependent(
        x, kernel, cpu=by_patches, default=partial(plain_conv3d, strides=strides)
    )


def _conv3d_fwd(x, kernel, strides):
    return _conv3d(x, kernel, strides), (x, kernel)


def _conv3d_bwd(strides, residuals, g):
    x, kernel = residuals

    def by_patches(x, kernel, g):
        # XLA finds that these are the patches of the forward pass and keeps those.
        p = patches(x, kernel.shape, strides)
        return _rows_product(_rows(p), _rows(g)).reshape(kernel.shape).astype(kernel.dtype)

    def plain(x, kernel, g):
        # In float32, so that what is added up over devices is: XLA's gradient has the operands'
        # dtype, and so would the sum. Cheap for the few channels that come here.
        x, wide, g = (array.astype(jnp.float32) for array in (x, kernel, g))
        found = jax.vjp(lambda k: plain_conv3d(x, k, strides), wide)[1](g)[0]
        return found.astype(kernel.dtype)

    dx = jax.vjp(lambda x: plain_conv3d(x, kernel, strides), x)[1](g)[0]
    return dx, lax.platform_dependent(x, kernel, g, cpu=by_patches, default=plain)


_conv3d.defvjp(_conv3d_fwd, _conv3d_bwd)


def patches(x_BTHWC: jax.Array, kernel_shape: tuple[int, ...], strides: Stride) -> jax.Array:
    """Returns (B, T', H', W', kT·kH·kW·C): what each output sees, padded k//2 on each side."""
    c = x_BTHWC.shape[-1]
    kt, kh, kw = kernel_shape[:3]
    st, sh, sw = strides
    t, h, w = out_sizes(x_BTHWC.shape, kernel_shape, strides)
    # Along W a patch is one run of kw·C neighbours. Runs begin at multiples of sw·C: seen in
    # groups of that length, a run is a few whole groups, the last one cut.
    groups = -(-kw // sw)
    right = sw * (w + groups - 1) - x_BTHWC.shape[3] - kw // 2
    xp = jnp.pad(
        x_BTHWC, ((0, 0), (kt // 2,) * 2, (kh // 2,) * 2, (kw // 2, max(right, 0)), (0, 0))
    )
    xp = xp[:, :, :, : sw * (w + groups - 1)]
    xp = xp.reshape(*xp.shape[:3], w + groups - 1, sw * c)
    runs = [xp[..., j : j + w, :] for j in range(groups)]
    p = jnp.concatenate(runs, axis=-1)[..., : kw * c]
    p = jnp.concatenate([p[:, :, j : j + sh * (h - 1) + 1 : sh] for j in range(kh)], axis=-1)
    p = jnp.concatenate([p[:, j : j + st * (t - 1) + 1 : st] for j in range(kt)], axis=-1)
    return lax.optimization_barrier(p)  # else each product would gather them for itself
