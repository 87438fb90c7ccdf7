"""MobileNetV2 for pictures, in torchvision's form.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2;
torchvision's `mobilenetv2.py`, whose names the parameter paths are.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.layers import Activation, BatchNorm
from jaxfacs.models.layers2d import Conv2d, conv_norm
from jaxfacs.models.network import backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card

# expansion t, channels c, repeats n, stride s of the first: table 2.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM, LAST = 32, 1280
DIVISOR = 8

_CARD = Card(
    frames=1,
    size=224,
    mean=NORMALISATIONS["imagenet"][0],
    std=NORMALISATIONS["imagenet"][1],
    paper="Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018",
    source="https://github.com/pytorch/vision",
    licence="BSD-3-Clause (code); weights trained on ImageNet",
)


class InvertedResidual(nnx.Module):
    """Expand 1x1, depthwise 3x3, project 1x1; added to its input where shapes allow."""

    def __init__(self, maker: "_Maker", i: int, o: int, stride: int, expansion: int):
        hidden = i * expansion
        steps: list[Any] = []
        if expansion != 1:
            steps.append(maker.step(i, hidden, 1))
        steps.append(maker.step(hidden, hidden, 3, stride, depthwise=True))
        self.steps = n = len(steps)
        layers: dict[str, Any] = {str(k): step for k, step in enumerate(steps)}
        # torchvision puts the projection beside the steps before it, not in a step of its own.
        projection = maker.step(hidden, o, 1, activation="none")
        layers |= {str(n): projection["0"], str(n + 1): projection["1"]}
        self.conv = nnx.Dict(layers)
        self.skip = stride == 1 and i == o

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        layers: Any = self.conv
        y = x
        for k in range(self.steps):
            y = conv_norm(layers[str(k)]["0"], layers[str(k)]["1"], y, train=train)
        y = conv_norm(layers[str(self.steps)], layers[str(self.steps + 1)], y, train=train)
        return x + y if self.skip else y


class MobileNetV2(nnx.Module):
    """Stem, seventeen blocks and a last 1x1; taps `features0`..`features18`, as torchvision counts.

    Their strides are 2 to `features1`, 4 to 3, 8 to 6, 16 to 13, 32 to 18.
    """

    images = True
    channels = 3
    min_size = 32

    def __init__(self, maker: "_Maker", width_mult: float):
        i = divisible(STEM * width_mult)
        features: list[Any] = [maker.step(3, i, 3, 2)]
        channels = [i]
        for expansion, stage, repeats, first in STAGES:
            o = divisible(stage * width_mult)
            for n in range(repeats):
                stride = first if n == 0 else 1
                features.append(InvertedResidual(maker, i, o, stride, expansion))
                channels.append(o)
                i = o
        last = divisible(LAST * max(1.0, width_mult))
        features.append(maker.step(i, last, 1))
        channels.append(last)
        self.features = nnx.Dict({str(n): layer for n, layer in enumerate(features)})
        self.taps = {f"features{n}": c for n, c in enumerate(channels)}
        self.taps |= {"map": last, "features": last}

    def __call__(
        self, x_NHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Maps pictures to the taps; `map` is `features18`, `features` its spatial mean."""
        taps, x, last = {}, x_NHWC, len(self.features) - 1
        for n in range(last + 1):
            layer = self.features[str(n)]
            if n in (0, last):
                x = conv_norm(layer["0"], layer["1"], x, train=train)
            else:
                x = layer(x, train=train)
            taps[f"features{n}"] = x
        return {**taps, "map": x, "features": jnp.mean(x, axis=(1, 2), dtype=jnp.float32)}


class _Maker:
    """Makes layers of one network: what all of them share is said once."""

    def __init__(self, *, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs):
        self.dtype, self.frozen_bn, self.rngs = dtype, frozen_bn, rngs

    def step(
        self,
        i: int,
        o: int,
        size: int,
        stride: int = 1,
        *,
        depthwise: bool = False,
        activation: Activation = "relu6",
    ) -> nnx.Dict:
        """A convolution and its norm."""
        conv = Conv2d(
            i, o, size, strides=stride, depthwise=depthwise, dtype=self.dtype, rngs=self.rngs
        )
        norm = BatchNorm(o, activation=activation, frozen=self.frozen_bn)
        return nnx.Dict({"0": conv, "1": norm})


def divisible(channels: float) -> int:
    """The multiple of 8 nearest to `channels` (8 at least) that does not lose over a tenth."""
    near = max(DIVISOR, int(channels + DIVISOR / 2) // DIVISOR * DIVISOR)
    return near if near >= 0.9 * channels else near + DIVISOR


@backbone("mobilenet_v2", _CARD)
def mobilenet_v2(
    *,
    width_mult: float = 1.0,
    dtype: Any = jnp.float32,
    frozen_bn: bool = False,
    rngs: nnx.Rngs,
) -> MobileNetV2:
    """Makes MobileNetV2.

    Args:
      width_mult: multiplies the channels, rounded to multiples of 8; the last 1x1 has 1280 or more.
      dtype: of the computation; parameters and statistics are float32.
      frozen_bn: BatchNorm keeps to its running statistics in training.
      rngs: of the parameters.
    """
    if width_mult <= 0.0:
        raise UserError(f"width_mult {width_mult} must be above 0; 1.0 is the paper's")
    return MobileNetV2(_Maker(dtype=dtype, frozen_bn=frozen_bn, rngs=rngs), width_mult)
