"""The few layers 3D networks are made of, on the fast operations of `jaxfacs.ops`."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs import ops

Stride = tuple[int, int, int]
Activation = Literal["none", "relu", "relu6"]


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
        self.kernel = nnx.Param(std * jax.random.normal(rngs.params(), shape, jnp.float32))
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
    Statistics are float32, and global where the batch is sharded.
    """

    def __init__(
        self,
        channels: int,
        *,
        activation: Activation = "none",
        momentum: float = 0.9,
        eps: float = 1e-5,
    ):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.var = nnx.BatchStat(jnp.ones(channels))
        self.activation: Activation = activation
        self.momentum = momentum
        self.eps = eps

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        scale, bias = self.scale[...], self.bias[...]
        if not train:
            return ops.batch_norm_inference(
                x, scale, bias, self.mean[...], self.var[...], self.activation, self.eps
            )
        y, mean, var = ops.batch_norm_train(x, scale, bias, self.activation, self.eps)
        keep = self.momentum
        self.mean[...] = keep * self.mean[...] + (1.0 - keep) * mean
        self.var[...] = keep * self.var[...] + (1.0 - keep) * var
        return y
