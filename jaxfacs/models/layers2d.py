"""The layers of image networks, channels last, in the forms that published weights need."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from jaxfacs import ops
from jaxfacs.models.layers import normal

Pair = tuple[int, int]
# "torch": k//2 on each side, as torch's stride-2 convolutions are padded; "SAME" is TensorFlow's,
# which pads (0, 1) on even sizes; "VALID" none; or ((top, bottom), (left, right)).
Padding = Literal["torch", "SAME", "VALID"] | tuple[Pair, Pair]


def pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


class Conv2d(nnx.Module):
    """A convolution over (N, H, W, C).

    Kernels: dense (kH, kW, Cin / groups, Cout), depthwise (kH, kW, C). Parameters are float32; the
    computation runs in `dtype`. Starts at N(0, std), by default sqrt(2 / fan out) (He et al. 2015).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int | Pair,
        *,
        strides: int | Pair = 1,
        padding: Padding = "torch",
        groups: int = 1,
        depthwise: bool = False,
        bias: bool = False,
        std: float | None = None,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{in_channels} and {out_channels} channels in {groups} groups")
        if depthwise and in_channels != out_channels:
            raise ValueError(f"depthwise from {in_channels} to {out_channels} channels")
        size, strides = pair(size), pair(strides)
        fan_out = size[0] * size[1] * out_channels
        channels = (out_channels,) if depthwise else (in_channels // groups, out_channels)
        std = math.sqrt(2.0 / fan_out) if std is None else std
        self.kernel = nnx.Param(normal(std)(rngs.params(), (*size, *channels)))
        self.bias = nnx.Param(jnp.zeros(out_channels, jnp.float32)) if bias else None
        self.strides, self.groups, self.dtype = strides, groups, dtype
        self.padding: Any = padding

    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        y = self._convolve(x_NHWC.astype(self.dtype), self.kernel[...].astype(self.dtype))
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)

    def _convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        kh, kw = kernel.shape[:2]
        unpadded = self.padding == "VALID" or (kh, kw) == (1, 1)
        symmetric = self.padding == "torch" or (self.padding == "SAME" and self.strides == (1, 1))
        if kernel.ndim == 3 and symmetric and kh % 2 and kw % 2:
            # XLA's grouped convolution is tens of times slower on a CPU: docs/performance.md.
            return ops.depthwise_conv3d(x[:, None], kernel[None], (1, *self.strides))[:, 0]
        if (kh, kw) == (1, 1) and self.strides == (1, 1) and self.groups == 1 and unpadded:
            return ops.pointwise_conv3d(x, kernel[0, 0])
        groups = self.groups
        if kernel.ndim == 3:
            kernel, groups = kernel[:, :, None], kernel.shape[-1]
        padding = self.padding
        if padding == "torch":
            padding = ((kh // 2, kh // 2), (kw // 2, kw // 2))
        return lax.conv_general_dilated(
            x,
            kernel,
            self.strides,
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )


class Linear(nnx.Module):
    """y = x kernel + bias over the last axis; kernel (in, out) starts at N(0, std)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        std: float | None = None,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        std = math.sqrt(2.0 / out_features) if std is None else std
        self.kernel = nnx.Param(normal(std)(rngs.params(), (in_features, out_features)))
        self.bias = nnx.Param(jnp.zeros(out_features, jnp.float32)) if bias else None
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        x, kernel = x.astype(self.dtype), self.kernel[...].astype(self.dtype)
        # As rows: autodiff's products of arrays with more axes cost XLA transposed copies, twice
        # the time of a Swin's step. Of a few rows the plain product is the faster one.
        y = x @ kernel if x.ndim <= 2 else ops.pointwise_conv3d(x, kernel)
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)


class LayerNorm(nnx.Module):
    """LayerNorm over the last axis, in float32 (torch's eps 1e-5)."""

    def __init__(self, channels: int, *, eps: float = 1e-5):
        self.scale = nnx.Param(jnp.asarray(np.ones(channels, np.float32)))
        self.bias = nnx.Param(jnp.asarray(np.zeros(channels, np.float32)))
        self.eps = eps

    def __call__(self, x: jax.Array) -> jax.Array:
        x32 = x.astype(jnp.float32)
        mean = x32.mean(-1, keepdims=True)
        var = jnp.square(x32 - mean).mean(-1, keepdims=True)
        y = (x32 - mean) * lax.rsqrt(var + self.eps) * self.scale[...] + self.bias[...]
        return y.astype(x.dtype)


def max_pool(
    x_NHWC: jax.Array, size: int | Pair, strides: int | Pair, padding: Any = "VALID"
) -> jax.Array:
    """The largest of each window; padding as ((top, bottom), (left, right)), "SAME" or "VALID"."""
    window, step = (1, *pair(size), 1), (1, *pair(strides), 1)
    low = -jnp.inf if jnp.issubdtype(x_NHWC.dtype, jnp.floating) else 0
    return lax.reduce_window(x_NHWC, low, lax.max, window, step, _window_padding(padding))


def avg_pool(
    x_NHWC: jax.Array,
    size: int | Pair,
    strides: int | Pair,
    padding: Any = "VALID",
    *,
    count_padding: bool = True,
) -> jax.Array:
    """The mean of each window.

    `count_padding`: torch's default divides by the window; TensorFlow by what lies inside.
    """
    size = pair(size)
    window, step, edges = (1, *size, 1), (1, *pair(strides), 1), _window_padding(padding)
    total = lax.reduce_window(x_NHWC, 0.0, lax.add, window, step, edges)
    if count_padding:
        return total / (size[0] * size[1])
    inside = jnp.ones((1, *x_NHWC.shape[1:3], 1), x_NHWC.dtype)
    return total / lax.reduce_window(inside, 0.0, lax.add, window, step, edges)


def adaptive_avg_pool(x_NHWC: jax.Array, size: int | Pair) -> jax.Array:
    """torch's AdaptiveAvgPool2d: any (H, W) to `size`; bin i is [floor(iH/n), ceil((i+1)H/n))."""
    for axis, n in zip((1, 2), pair(size), strict=True):
        length = x_NHWC.shape[axis]
        if length == n:
            continue
        i = np.arange(n)
        starts, ends = i * length // n, -(-(i + 1) * length // n)
        places = np.arange(length)
        inside = (places >= starts[:, None]) & (places < ends[:, None])
        weights = jnp.asarray(inside / inside.sum(1, keepdims=True), x_NHWC.dtype)
        x_NHWC = jnp.moveaxis(jnp.tensordot(x_NHWC, weights, ((axis,), (1,))), -1, axis)
    return x_NHWC


def conv_norm(conv: Any, norm: Any, x_NHWC: jax.Array, *, train: bool) -> jax.Array:
    """A `Conv2d`, its `BatchNorm` and activation; in one operation where that is cheaper."""
    if not train or norm.frozen or conv.kernel.ndim == 3 or conv.bias is not None:
        return norm(conv(x_NHWC), train=train)
    kh, kw, i, o = conv.kernel.shape
    # The covariance of i inputs costs N·i² and saves passes over N·o outputs.
    if (kh, kw, *conv.strides, conv.groups) == (1, 1, 1, 1, 1) and o >= 2 * i:
        y, mean, var = ops.pointwise_norm(
            x_NHWC.astype(conv.dtype),
            conv.kernel[...][0, 0].astype(conv.dtype),
            norm.scale[...],
            norm.bias[...],
            norm.activation,
            norm.eps,
        )
        norm.update(mean, var)
        return y
    return norm(conv(x_NHWC), train=train)


def _window_padding(padding: Any) -> Any:
    if padding in ("SAME", "VALID"):
        return padding
    return ((0, 0), *padding, (0, 0))
