"""Xception, in Keras' form: depthwise-separable convolutions with skips around them.

Tables: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017, figure
5, and keras-applications' `xception.py`, whose layer names the parameter paths are. The projections
around blocks, which Keras numbers, are `blockN_shortcut` here.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.models.layers import Activation, BatchNorm
from jaxfacs.models.layers2d import Conv2d, Padding, conv_norm, max_pool
from jaxfacs.models.network import backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card

STEM = (32, 64)  # block1: 3x3 convolutions without padding, the first of stride 2
# Block -> channels of its separable convolutions: the entry, middle and exit flows of figure 5.
BLOCKS: dict[str, tuple[int, ...]] = {
    "block2": (128, 128),
    "block3": (256, 256),
    "block4": (728, 728),
    **{f"block{n}": (728, 728, 728) for n in range(5, 13)},
    "block13": (728, 1024),
    "block14": (1536, 2048),
}
HALVING = ("block2", "block3", "block4", "block13")  # a maximum at the end, a projected skip
PLAIN = ("block14",)  # no skip, and a ReLU at the end instead of the beginning

_CARD = Card(
    frames=1,
    size=299,
    mean=NORMALISATIONS["unit"][0],
    std=NORMALISATIONS["unit"][1],
    paper="Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017",
    source="https://github.com/keras-team/keras-applications",
    licence="MIT (code and weights trained on ImageNet)",
)


class SeparableConv(nnx.Module):
    """A 3x3 depthwise and a 1x1 convolution, with nothing between them."""

    def __init__(self, i: int, o: int, *, dtype: Any, rngs: nnx.Rngs):
        self.depthwise = Conv2d(i, i, 3, depthwise=True, std=1 / 3, dtype=dtype, rngs=rngs)
        self.pointwise = Conv2d(i, o, 1, dtype=dtype, rngs=rngs)


class Xception(nnx.Module):
    """Fourteen blocks; taps `block1`..`block14`."""

    images = True
    channels = 3
    min_size = 71

    def __init__(self, *, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs):
        def norm(channels: int, activation: Activation = "none") -> BatchNorm:
            return BatchNorm(
                channels, activation=activation, eps=1e-3, momentum=0.99, frozen=frozen_bn
            )

        def conv(i: int, o: int, size: int, stride: int, padding: Padding) -> Conv2d:
            return Conv2d(i, o, size, strides=stride, padding=padding, dtype=dtype, rngs=rngs)

        channels = self.channels
        for n, out in enumerate(STEM, start=1):
            setattr(self, f"block1_conv{n}", conv(channels, out, 3, 2 if n == 1 else 1, "VALID"))
            setattr(self, f"block1_conv{n}_bn", norm(out, "relu"))
            channels = out
        self.taps = {"block1": channels}
        for block, outs in BLOCKS.items():
            if block in HALVING:
                setattr(self, f"{block}_shortcut", conv(channels, outs[-1], 1, 2, "SAME"))
                setattr(self, f"{block}_shortcut_bn", norm(outs[-1]))
            for n, out in enumerate(outs, start=1):
                separable = SeparableConv(channels, out, dtype=dtype, rngs=rngs)
                # Keras' ReLU before the next convolution is this norm's.
                activated = n < len(outs) or block in PLAIN
                setattr(self, f"{block}_sepconv{n}", separable)
                setattr(self, f"{block}_sepconv{n}_bn", norm(out, "relu" if activated else "none"))
                channels = out
            self.taps[block] = channels
        self.taps |= {"map": channels, "features": channels}

    def __call__(
        self, x_NHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Maps pictures to the taps; `map` is `block14`, `features` its spatial mean."""
        x, taps = x_NHWC, {}
        for n in range(1, len(STEM) + 1):
            x = self._conv_norm(f"block1_conv{n}", x, train=train)
        taps["block1"] = x
        for block in BLOCKS:
            x = taps[block] = self._block(block, x, train=train)
        return {**taps, "map": x, "features": jnp.mean(x, axis=(1, 2), dtype=jnp.float32)}

    def _block(self, block: str, x: jax.Array, *, train: bool) -> jax.Array:
        y = x if block == "block2" or block in PLAIN else jax.nn.relu(x)
        for n in range(1, len(BLOCKS[block]) + 1):
            name = f"{block}_sepconv{n}"
            separable, norm = getattr(self, name), getattr(self, f"{name}_bn")
            y = conv_norm(separable.pointwise, norm, separable.depthwise(y), train=train)
        if block in PLAIN:
            return y
        if block in HALVING:
            y = max_pool(y, 3, 2, "SAME")
            x = self._conv_norm(f"{block}_shortcut", x, train=train)
        return x + y

    def _conv_norm(self, name: str, x: jax.Array, *, train: bool) -> jax.Array:
        return conv_norm(getattr(self, name), getattr(self, f"{name}_bn"), x, train=train)


@backbone("xception", _CARD)
def xception(*, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs) -> Xception:
    """Makes Xception, 20.8 M parameters without its classifier.

    Args:
      dtype: of the computation; parameters and statistics are float32.
      frozen_bn: BatchNorm keeps to its running statistics in training.
      rngs: of the parameters.
    """
    return Xception(dtype=dtype, frozen_bn=frozen_bn, rngs=rngs)
