"""The few layers 3D networks are made of, on the fast operations of `jaxfacs.ops`."""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from jaxfacs import ops

Stride = tuple[int, int, int]
Activation = Literal["none", "relu", "relu6"]


def normal(std: float) -> Callable[..., jax.Array]:
    """Returns an initialiser (key, shape) -> N(0, std) float32, drawn by numpy from the key.

    The same values everywhere, also in a trace. jax.random would compile a program for each of the
    network's fifty shapes: 12 s of processor time for 3D-MobileNetV2.
    """

    def initialise(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32, **_: Any):
        def draw(data):
            generator = np.random.Generator(np.random.Philox(np.asarray(data).tolist()))
            return (std * generator.standard_normal(shape, np.float32)).astype(dtype)

        data = jax.random.key_data(key)
        if isinstance(data, Tracer):
            return jax.pure_callback(draw, jax.ShapeDtypeStruct(shape, dtype), data)
        return jnp.asarray(draw(data))

    return initialise


class Conv3d(nnx.Module):
    """A convolution without bias over (B, T, H, W, C), padded k//2 on each side.

    Kinds, by kernel: pointwise (1, 1, 1, Cin, Cout), dense (kT, kH, kW, Cin, Cout), depthwise
    (kT, kH, kW, C). Parameters are float32; the computation runs in `dtype`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        size: int,
        strides: Stride = (1, 1, 1),
        depthwise: bool = False,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if depthwise and in_channels != out_channels:
            raise ValueError(f"depthwise from {in_channels} to {out_channels} channels")
        channels = (out_channels,) if depthwise else (in_channels, out_channels)
        # N(0, sqrt(2 / fan out)) with fan out not divided by groups: models.md 3.1.
        std = math.sqrt(2.0 / (size**3 * out_channels))
        shape = (size, size, size, *channels)
        self.kernel = nnx.Param(normal(std)(rngs.params(), shape))
        self.strides = strides
        self.dtype = dtype

    def __call__(self, x_BTHWC: jax.Array) -> jax.Array:
        x_BTHWC = x_BTHWC.astype(self.dtype)
        kernel = self.kernel[...].astype(self.dtype)
        if kernel.ndim == 4:
            return ops.depthwise_conv3d(x_BTHWC, kernel, self.strides)
        if kernel.shape[:3] == (1, 1, 1) and self.strides == (1, 1, 1):
            return ops.pointwise_conv3d(x_BTHWC, kernel[0, 0, 0])
        return ops.conv3d(x_BTHWC, kernel, self.strides)


class BatchNorm(nnx.Module):
    """BatchNorm over all axes but the last, with the activation that follows it.

    torch's eps 1e-5 and momentum 0.1 (0.9 in Flax's words). The running variance is the biased one,
    as in Flax; torch keeps the unbiased one, which differs by N/(N-1) while training goes on.
    Statistics are float32, and global where the batch is sharded. `frozen` keeps to the running
    statistics in training as well, as fine-tuning from few pictures wants it.
    """

    def __init__(
        self,
        channels: int,
        *,
        activation: Activation = "none",
        momentum: float = 0.9,
        eps: float = 1e-5,
        frozen: bool = False,
    ):
        zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        self.scale = nnx.Param(jnp.asarray(ones))
        self.bias = nnx.Param(jnp.asarray(zeros))
        self.mean = nnx.BatchStat(jnp.asarray(zeros))
        self.var = nnx.BatchStat(jnp.asarray(ones))
        self.activation: Activation = activation
        self.momentum = momentum
        self.eps = eps
        self.frozen = frozen

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if not train or self.frozen:
            return ops.batch_norm_inference(
                x,
                self.scale[...],
                self.bias[...],
                self.mean[...],
                self.var[...],
                self.activation,
                self.eps,
            )
        y, mean, var = ops.batch_norm_train(
            x, self.scale[...], self.bias[...], self.activation, self.eps
        )
        self.update(mean, var)
        return y

    def update(self, mean: jax.Array, var: jax.Array) -> None:
        """Moves the running statistics towards those of a batch."""
        self.mean[...] = self.momentum * self.mean[...] + (1.0 - self.momentum) * mean
        self.var[...] = self.momentum * self.var[...] + (1.0 - self.momentum) * var


def conv_norm(conv: Conv3d, norm: BatchNorm, x_BTHWC: jax.Array, *, train: bool) -> jax.Array:
    """Runs a convolution, its norm and its activation; in one operation where that is cheaper."""
    kernel = conv.kernel[...]
    pointwise = kernel.ndim == 5 and kernel.shape[:3] == (1, 1, 1) and conv.strides == (1, 1, 1)
    # The covariance of I inputs costs N·I² and saves passes over N·O outputs.
    if train and not norm.frozen and pointwise and kernel.shape[4] >= 2 * kernel.shape[3]:
        y, mean, var = ops.pointwise_norm(
            x_BTHWC.astype(conv.dtype),
            kernel[0, 0, 0].astype(conv.dtype),
            norm.scale[...],
            norm.bias[...],
            norm.activation,
            norm.eps,
        )
        norm.update(mean, var)
        return y
    return norm(conv(x_BTHWC), train=train)
