"""Inception V2, which is BN-Inception, in TF-slim's form.

Tables: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
Internal Covariate Shift", ICML 2015, and TF-slim's `inception_v2.py`, whose scopes the parameter
paths are (a convolution's `weights` and `BatchNorm` are `conv/kernel` and `bn` here).

The models that Caffe's users call BN-Inception are other functions, and their weights do not fit:
their first convolution is a plain 7x7 with a BatchNorm, every convolution has a bias, norms scale,
pools round their sizes up, and the last two blocks before the second reduction project 128 pooled
channels, which makes 608.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxfacs.models.backbones.inception_v3 import EPS, ConvNorm, UnscaledBatchNorm
from jaxfacs.models.layers import normal
from jaxfacs.models.layers2d import Conv2d, avg_pool, max_pool
from jaxfacs.models.network import backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card

STEM_CHANNELS, STEM_MULTIPLIER, STEM_SIZE = 64, 8, 7


class Block(NamedTuple):
    """Channels of a block's four branches, each a column of convolutions.

    A reduction has no 1x1 branch and no projection: its other convolutions end in stride 2, and its
    pool is a maximum of stride 2.
    """

    one: int | None
    three: tuple[int, int]  # 1x1, then 3x3
    double: tuple[int, int, int]  # 1x1, then 3x3 twice
    projection: int | None  # 1x1 after a 3x3 pool
    maximum: bool = False  # of that pool; else the average of what lies inside the picture


BLOCKS: dict[str, Block] = {
    "Mixed_3b": Block(64, (64, 64), (64, 96, 96), 32),
    "Mixed_3c": Block(64, (64, 96), (64, 96, 96), 64),
    "Mixed_4a": Block(None, (128, 160), (64, 96, 96), None, maximum=True),
    "Mixed_4b": Block(224, (64, 96), (96, 128, 128), 128),
    "Mixed_4c": Block(192, (96, 128), (96, 128, 128), 128),
    "Mixed_4d": Block(160, (128, 160), (128, 160, 160), 96),
    "Mixed_4e": Block(96, (128, 192), (160, 192, 192), 96),
    "Mixed_5a": Block(None, (128, 192), (192, 256, 256), None, maximum=True),
    "Mixed_5b": Block(352, (192, 320), (160, 224, 224), 128),
    "Mixed_5c": Block(352, (192, 320), (192, 224, 224), 128, maximum=True),
}

_CARD = Card(
    frames=1,
    size=224,
    mean=NORMALISATIONS["unit"][0],
    std=NORMALISATIONS["unit"][1],
    paper="Ioffe and Szegedy, Batch Normalization: Accelerating Deep Network Training by Reducing "
    "Internal Covariate Shift, ICML 2015",
    source="https://github.com/google-research/tf-slim",
    licence="Apache-2.0 (code); weights trained on ImageNet",
)


class Stem(nnx.Module):
    """A 7x7 convolution of stride 2 as 8 depthwise ones a channel and a 1x1; bias and ReLU.

    TF-slim gives this one layer a bias instead of a norm. Nothing lies between the two halves, so
    their product, a dense 7x7 kernel, is what runs: 75,000 multiply-adds more, whatever the batch,
    for a plain convolution instead of a grouped one.
    """

    def __init__(self, *, dtype: Any, rngs: nnx.Rngs):
        i, size, inner = 3, STEM_SIZE, 3 * STEM_MULTIPLIER
        # The product has the variance of He et al. for its fan-out.
        std = (2.0 / (size**2 * STEM_CHANNELS)) ** 0.5
        shape = (size, size, i, STEM_MULTIPLIER)
        self.depthwise_weights = nnx.Param(normal(std)(rngs.params(), shape))
        self.pointwise_weights = nnx.Param(
            normal(STEM_MULTIPLIER**-0.5)(rngs.params(), (1, 1, inner, STEM_CHANNELS))
        )
        self.bias = nnx.Param(jnp.zeros(STEM_CHANNELS, jnp.float32))
        self.dtype = dtype

    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        pointwise = self.pointwise_weights[...].reshape(3, STEM_MULTIPLIER, STEM_CHANNELS)
        kernel = jnp.einsum(
            "hwim,imo->hwio", self.depthwise_weights[...], pointwise, precision="highest"
        )
        y = lax.conv_general_dilated(
            x_NHWC.astype(self.dtype),
            kernel.astype(self.dtype),
            (2, 2),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return jax.nn.relu(y + self.bias[...].astype(self.dtype))


class Mixed(nnx.Module):
    """The branches of a block, their channels put together."""

    def __init__(self, maker: "_Maker", i: int, block: Block):
        self.maximum = block.maximum
        self.stride = 2 if block.one is None else 1
        branches: list[dict[str, nnx.Module]] = []
        if block.one is not None:
            branches.append({"Conv2d_0a_1x1": maker.conv_norm(i, block.one, 1)})
        inner, out = block.three
        last = "Conv2d_1a_3x3" if self.stride == 2 else "Conv2d_0b_3x3"
        branches.append(
            {
                "Conv2d_0a_1x1": maker.conv_norm(i, inner, 1),
                last: maker.conv_norm(inner, out, 3, self.stride),
            }
        )
        first, second, third = block.double
        last = "Conv2d_1a_3x3" if self.stride == 2 else "Conv2d_0c_3x3"
        branches.append(
            {
                "Conv2d_0a_1x1": maker.conv_norm(i, first, 1),
                "Conv2d_0b_3x3": maker.conv_norm(first, second, 3),
                last: maker.conv_norm(second, third, 3, self.stride),
            }
        )
        pooled = i
        if block.projection is not None:
            branches.append({"Conv2d_0b_1x1": maker.conv_norm(i, block.projection, 1)})
            pooled = block.projection
        self.orders = tuple(tuple(branch) for branch in branches)
        for n, branch in enumerate(branches):
            setattr(self, f"Branch_{n}", nnx.Dict(branch))
        self.out_channels = (block.one or 0) + out + third + pooled

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        projects = self.stride == 1  # the last branch then reads the pool
        pooled = (
            max_pool(x, 3, self.stride, "SAME")
            if self.maximum
            else avg_pool(x, 3, 1, "SAME", count_padding=False)
        )
        outs = []
        for n, order in enumerate(self.orders):
            y = pooled if projects and n == len(self.orders) - 1 else x
            branch = getattr(self, f"Branch_{n}")
            for name in order:
                y = branch[name](y, train=train)
            outs.append(y)
        if not projects:
            outs.append(pooled)
        return jnp.concatenate(outs, axis=-1)


class InceptionV2(nnx.Module):
    """Stem and ten blocks; taps `stem` and `Mixed_3b`..`Mixed_5c`."""

    images = True
    channels = 3
    min_size = 32

    def __init__(self, maker: "_Maker"):
        self.Conv2d_1a_7x7 = Stem(dtype=maker.dtype, rngs=maker.rngs)
        self.Conv2d_2b_1x1 = maker.conv_norm(STEM_CHANNELS, 64, 1)
        self.Conv2d_2c_3x3 = maker.conv_norm(64, 192, 3)
        channels = 192
        self.taps = {"stem": channels}
        for name, block in BLOCKS.items():
            mixed = Mixed(maker, channels, block)
            setattr(self, name, mixed)
            channels = self.taps[name] = mixed.out_channels
        self.taps |= {"map": channels, "features": channels}

    def __call__(
        self, x_NHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Maps pictures to the taps; `map` is `Mixed_5c`, `features` its spatial mean."""
        x = max_pool(self.Conv2d_1a_7x7(x_NHWC), 3, 2, "SAME")
        x = self.Conv2d_2c_3x3(self.Conv2d_2b_1x1(x, train=train), train=train)
        x = max_pool(x, 3, 2, "SAME")
        taps = {"stem": x}
        for name in BLOCKS:
            x = taps[name] = getattr(self, name)(x, train=train)
        return {**taps, "map": x, "features": jnp.mean(x, axis=(1, 2), dtype=jnp.float32)}


class _Maker:
    """Makes layers of one network: what all of them share is said once."""

    def __init__(self, *, momentum: float, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs):
        self.dtype, self.momentum, self.frozen_bn, self.rngs = dtype, momentum, frozen_bn, rngs

    def conv_norm(self, i: int, o: int, size: int, stride: int = 1) -> ConvNorm:
        conv = Conv2d(i, o, size, strides=stride, padding="SAME", dtype=self.dtype, rngs=self.rngs)
        norm = UnscaledBatchNorm(o, momentum=self.momentum, eps=EPS, frozen=self.frozen_bn)
        return ConvNorm(conv, norm)


@backbone("inception_v2", _CARD)
def inception_v2(
    *, momentum: float = 0.9997, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs
) -> InceptionV2:
    """Makes Inception V2, 10.2 M parameters without its classifier.

    Args:
      momentum: of the running statistics. TF-slim's is for weights that are there, or for hundreds
        of thousands of steps; from random weights and fewer steps give 0.99.
      dtype: of the computation; parameters and statistics are float32.
      frozen_bn: BatchNorm keeps to its running statistics in training.
      rngs: of the parameters.
    """
    make = _Maker(momentum=momentum, dtype=dtype, frozen_bn=frozen_bn, rngs=rngs)
    return InceptionV2(make)
