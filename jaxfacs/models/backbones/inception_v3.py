"""Inception V3, in torchvision's form and Keras'.

Tables: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016;
torchvision's `inception.py` and keras-applications' `inception_v3.py`. Parameter paths are
torchvision's names; Keras creates the same layers in the same order. The auxiliary classifier is
left out.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.layers import BatchNorm
from jaxfacs.models.layers2d import Conv2d, Padding, Pair, avg_pool, conv_norm, max_pool
from jaxfacs.models.network import backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card

Form = Literal["torchvision", "keras"]

EPS = 1e-3  # of every BatchNorm, in all forms


@dataclass(frozen=True)
class Conv:
    """A convolution with its norm and ReLU: name, output channels, kernel and stride.

    A stride of 2 has no padding; a stride of 1 keeps the size.
    """

    name: str
    channels: int
    size: int | Pair = 1
    stride: int = 1


class Pool(Enum):
    """3x3: an average that keeps the size, or a maximum of stride 2 without padding."""

    AVERAGE = 1
    MAXIMUM = 2


# A branch: steps one after the other; those of a tuple run side by side.
Branch = tuple[Conv | Pool | tuple[Conv, ...], ...]

STEM: tuple[Conv, ...] = (
    Conv("Conv2d_1a_3x3", 32, 3, 2),
    Conv("Conv2d_2a_3x3", 32, 3),
    Conv("Conv2d_2b_3x3", 64, 3),
    Conv("Conv2d_3b_1x1", 80),
    Conv("Conv2d_4a_3x3", 192, 3),
)
UNPADDED = ("Conv2d_2a_3x3", "Conv2d_4a_3x3")  # of the stem, though their stride is 1
POOLED = ("Conv2d_2b_3x3", "Conv2d_4a_3x3")  # those with a 3x3 maximum of stride 2 after them


def _a(pool: int) -> tuple[Branch, ...]:
    """Figure 5 of the paper."""
    return (
        (Conv("branch1x1", 64),),
        (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, 5)),
        (
            Conv("branch3x3dbl_1", 64),
            Conv("branch3x3dbl_2", 96, 3),
            Conv("branch3x3dbl_3", 96, 3),
        ),
        (Pool.AVERAGE, Conv("branch_pool", pool)),
    )


def _b() -> tuple[Branch, ...]:
    """The first reduction: figure 10."""
    return (
        (Conv("branch3x3", 384, 3, 2),),
        (
            Conv("branch3x3dbl_1", 64),
            Conv("branch3x3dbl_2", 96, 3),
            Conv("branch3x3dbl_3", 96, 3, 2),
        ),
        (Pool.MAXIMUM,),
    )


def _c(inner: int) -> tuple[Branch, ...]:
    """7x7 as 1x7 and 7x1: figure 6."""
    return (
        (Conv("branch1x1", 192),),
        (
            Conv("branch7x7_1", inner),
            Conv("branch7x7_2", inner, (1, 7)),
            Conv("branch7x7_3", 192, (7, 1)),
        ),
        (
            Conv("branch7x7dbl_1", inner),
            Conv("branch7x7dbl_2", inner, (7, 1)),
            Conv("branch7x7dbl_3", inner, (1, 7)),
            Conv("branch7x7dbl_4", inner, (7, 1)),
            Conv("branch7x7dbl_5", 192, (1, 7)),
        ),
        (Pool.AVERAGE, Conv("branch_pool", 192)),
    )


def _d() -> tuple[Branch, ...]:
    """The second reduction."""
    return (
        (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, 3, 2)),
        (
            Conv("branch7x7x3_1", 192),
            Conv("branch7x7x3_2", 192, (1, 7)),
            Conv("branch7x7x3_3", 192, (7, 1)),
            Conv("branch7x7x3_4", 192, 3, 2),
        ),
        (Pool.MAXIMUM,),
    )


def _e() -> tuple[Branch, ...]:
    """The widened last blocks: figure 7."""
    return (
        (Conv("branch1x1", 320),),
        (
            Conv("branch3x3_1", 384),
            (Conv("branch3x3_2a", 384, (1, 3)), Conv("branch3x3_2b", 384, (3, 1))),
        ),
        (
            Conv("branch3x3dbl_1", 448),
            Conv("branch3x3dbl_2", 384, 3),
            (Conv("branch3x3dbl_3a", 384, (1, 3)), Conv("branch3x3dbl_3b", 384, (3, 1))),
        ),
        (Pool.AVERAGE, Conv("branch_pool", 192)),
    )


BLOCKS: dict[str, tuple[Branch, ...]] = {
    "Mixed_5b": _a(32),
    "Mixed_5c": _a(64),
    "Mixed_5d": _a(64),
    "Mixed_6a": _b(),
    "Mixed_6b": _c(128),
    "Mixed_6c": _c(160),
    "Mixed_6d": _c(160),
    "Mixed_6e": _c(192),
    "Mixed_7a": _d(),
    "Mixed_7b": _e(),
    "Mixed_7c": _e(),
}

_CARD = Card(
    frames=1,
    size=299,
    # What its weights were trained with, before and after they were brought to PyTorch.
    mean=NORMALISATIONS["unit"][0],
    std=NORMALISATIONS["unit"][1],
    paper="Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016",
    source="https://github.com/pytorch/vision",
    licence="BSD-3-Clause (code); weights trained on ImageNet",
)


class UnscaledBatchNorm(BatchNorm):
    """A BatchNorm that shifts and does not scale: Keras' and TF-slim's Inceptions have it."""

    def __init__(self, channels: int, *, momentum: float, eps: float, frozen: bool):
        zeros = np.zeros(channels, np.float32)
        self.bias = nnx.Param(jnp.asarray(zeros))
        self.mean = nnx.BatchStat(jnp.asarray(zeros))
        self.var = nnx.BatchStat(jnp.asarray(zeros + 1.0))
        self.activation = "relu"
        self.momentum, self.eps, self.frozen = momentum, eps, frozen

    @property
    def scale(self) -> Any:  # type: ignore[bad-override]
        return jnp.ones_like(self.bias[...])


class ConvNorm(nnx.Module):
    """A convolution without bias, its norm and ReLU."""

    def __init__(self, conv: Conv2d, bn: BatchNorm):
        self.conv, self.bn = conv, bn

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return conv_norm(self.conv, self.bn, x, train=train)


class Mixed(nnx.Module):
    """Branches side by side, their channels put together."""

    def __init__(self, maker: "_Maker", i: int, branches: tuple[Branch, ...]):
        self.branches, self.count_padding = branches, maker.form == "torchvision"
        self.out_channels = 0
        for branch in branches:
            self.out_channels += self._make(maker, i, branch)

    def _make(self, maker: "_Maker", channels: int, branch: Branch) -> int:
        """Makes a branch's convolutions; returns its channels."""
        for step in branch:
            if isinstance(step, Pool):
                continue
            together = (step,) if isinstance(step, Conv) else step
            for conv in together:
                setattr(self, conv.name, maker.conv_norm(channels, conv))
            channels = sum(conv.channels for conv in together)
        return channels

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return jnp.concatenate([self._run(x, b, train=train) for b in self.branches], axis=-1)

    def _run(self, x: jax.Array, branch: Branch, *, train: bool) -> jax.Array:
        for step in branch:
            if step is Pool.MAXIMUM:
                x = max_pool(x, 3, 2)
            elif step is Pool.AVERAGE:
                x = avg_pool(x, 3, 1, ((1, 1), (1, 1)), count_padding=self.count_padding)
            elif isinstance(step, Conv):
                x = getattr(self, step.name)(x, train=train)
            else:
                sides = [getattr(self, conv.name)(x, train=train) for conv in step]
                x = jnp.concatenate(sides, axis=-1)
        return x


class InceptionV3(nnx.Module):
    """Stem and eleven blocks; taps `stem` and `Mixed_5b`..`Mixed_7c`."""

    images = True
    channels = 3
    min_size = 75

    def __init__(self, maker: "_Maker"):
        channels = 3
        for conv in STEM:
            padding = "VALID" if conv.name in UNPADDED else None
            setattr(self, conv.name, maker.conv_norm(channels, conv, padding))
            channels = conv.channels
        self.taps = {"stem": channels}
        for name, branches in BLOCKS.items():
            block = Mixed(maker, channels, branches)
            setattr(self, name, block)
            channels = self.taps[name] = block.out_channels
        self.taps |= {"map": channels, "features": channels}

    def __call__(
        self, x_NHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Maps pictures to the taps; `map` is `Mixed_7c`, `features` its spatial mean."""
        x, taps = x_NHWC, {}
        for conv in STEM:
            x = getattr(self, conv.name)(x, train=train)
            if conv.name in POOLED:
                x = max_pool(x, 3, 2)
        taps["stem"] = x
        for name in BLOCKS:
            x = taps[name] = getattr(self, name)(x, train=train)
        return {**taps, "map": x, "features": jnp.mean(x, axis=(1, 2), dtype=jnp.float32)}


class _Maker:
    """Makes layers of one network: what all of them share is said once."""

    def __init__(self, *, form: Form, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs):
        self.form, self.dtype, self.frozen_bn, self.rngs = form, dtype, frozen_bn, rngs

    def conv_norm(self, i: int, conv: Conv, padding: Padding | None = None) -> ConvNorm:
        padding = padding or ("torch" if conv.stride == 1 else "VALID")
        layer = Conv2d(
            i,
            conv.channels,
            conv.size,
            strides=conv.stride,
            padding=padding,
            dtype=self.dtype,
            rngs=self.rngs,
        )
        return ConvNorm(layer, self.norm(conv.channels))

    def norm(self, channels: int) -> BatchNorm:
        if self.form == "keras":
            return UnscaledBatchNorm(channels, momentum=0.99, eps=EPS, frozen=self.frozen_bn)
        return BatchNorm(channels, activation="relu", eps=EPS, frozen=self.frozen_bn)


@backbone("inception_v3", _CARD)
def inception_v3(
    *, form: Form = "torchvision", dtype: Any, frozen_bn: bool, rngs: nnx.Rngs
) -> InceptionV3:
    """Makes Inception V3, 21.8 M parameters without its classifier.

    Args:
      form: "torchvision" or "keras". Keras' average pools leave the padding out of the mean, its
        norms do not scale and have momentum 0.99. Both forms' weights want x / 127.5 - 1.
      dtype: of the computation; parameters and statistics are float32.
      frozen_bn: BatchNorm keeps to its running statistics in training.
      rngs: of the parameters.
    """
    if form not in get_args(Form):
        raise UserError(f"inception_v3 has no form '{form}'; give {' or '.join(get_args(Form))}")
    return InceptionV3(_Maker(form=form, dtype=dtype, frozen_bn=frozen_bn, rngs=rngs))
