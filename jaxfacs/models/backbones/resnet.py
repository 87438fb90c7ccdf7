"""ResNet-18, 50 and 101, in torchvision's form (v1.5) and Keras' (v1).

Tables: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; torchvision's
`resnet.py` and keras-applications' `resnet_common.py`. Parameter paths are torchvision's names;
Keras' layers have the same places.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.models.layers import Activation, BatchNorm
from jaxfacs.models.layers2d import Conv2d, conv_norm, max_pool
from jaxfacs.models.network import backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card

Form = Literal["torchvision", "keras"]

# name -> blocks in each of the four stages, and whether they are bottlenecks: table 1.
DEPTHS: dict[str, tuple[tuple[int, ...], bool]] = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
}
EXPANSION = 4  # of a bottleneck's last convolution

_CARD = Card(
    frames=1,
    size=224,
    mean=NORMALISATIONS["imagenet"][0],
    std=NORMALISATIONS["imagenet"][1],
    paper="He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
    source="https://github.com/pytorch/vision",
    licence="BSD-3-Clause (code); weights trained on ImageNet",
)


class Block(nnx.Module):
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1, added to the input or to a projection of it.

    torchvision strides in the 3x3 (v1.5), Keras in the first 1x1 (v1).
    """

    def __init__(self, maker: "_Maker", i: int, width: int, stride: int, *, bottleneck: bool):
        out = width * EXPANSION if bottleneck else width
        if bottleneck:
            first = stride if maker.form == "keras" else 1
            self.conv1 = maker.conv(i, width, 1, first)
            self.conv2 = maker.conv(width, width, 3, stride // first)
            self.conv3 = maker.conv(width, out, 1)
            self.bn3 = maker.norm(out)
        else:
            self.conv1 = maker.conv(i, width, 3, stride)
            self.conv2 = maker.conv(width, out, 3)
        self.bn1 = maker.norm(width, "relu")
        self.bn2 = maker.norm(width if bottleneck else out, "relu" if bottleneck else "none")
        projected = stride != 1 or i != out
        self.downsample = (
            nnx.Dict({"0": maker.conv(i, out, 1, stride), "1": maker.norm(out)})
            if projected
            else None
        )
        self.bottleneck = bottleneck

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = conv_norm(self.conv1, self.bn1, x, train=train)
        y = conv_norm(self.conv2, self.bn2, y, train=train)
        if self.bottleneck:
            y = conv_norm(self.conv3, self.bn3, y, train=train)
        if self.downsample is not None:
            x = conv_norm(self.downsample["0"], self.downsample["1"], x, train=train)
        return jax.nn.relu(x + y)


class ResNet(nnx.Module):
    """Stem and four stages, each halving the map; taps `stem`, `layer1`..`layer4`."""

    images = True
    channels = 3
    min_size = 32

    def __init__(self, maker: "_Maker", depths: tuple[int, ...], *, bottleneck: bool):
        self.conv1 = maker.conv(3, 64, 7, 2)
        self.bn1 = maker.norm(64, "relu")
        self.taps = {"stem": 64}
        channels = 64
        for stage, depth in enumerate(depths, start=1):
            width = 64 * 2 ** (stage - 1)
            blocks = {}
            for n in range(depth):
                stride = 2 if n == 0 and stage > 1 else 1
                blocks[str(n)] = Block(maker, channels, width, stride, bottleneck=bottleneck)
                channels = width * EXPANSION if bottleneck else width
            setattr(self, f"layer{stage}", nnx.Dict(blocks))
            self.taps[f"layer{stage}"] = channels
        self.taps |= {"map": channels, "features": channels}

    def __call__(
        self, x_NHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Maps pictures to the taps; `map` is `layer4`, `features` its spatial mean."""
        x = conv_norm(self.conv1, self.bn1, x_NHWC, train=train)
        x = max_pool(x, 3, 2, ((1, 1), (1, 1)))
        taps = {"stem": x}
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            blocks = getattr(self, stage)
            for n in range(len(blocks)):
                x = blocks[str(n)](x, train=train)
            taps[stage] = x
        return {**taps, "map": x, "features": jnp.mean(x, axis=(1, 2), dtype=jnp.float32)}


class _Maker:
    """Makes layers of one network: what all of them share is said once."""

    def __init__(self, *, form: Form, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs):
        self.form, self.dtype, self.frozen_bn, self.rngs = form, dtype, frozen_bn, rngs

    def conv(self, i: int, o: int, size: int, stride: int = 1) -> Conv2d:
        bias = self.form == "keras"
        return Conv2d(i, o, size, strides=stride, bias=bias, dtype=self.dtype, rngs=self.rngs)

    def norm(self, channels: int, activation: Activation = "none") -> BatchNorm:
        eps = 1.001e-5 if self.form == "keras" else 1e-5
        momentum = 0.99 if self.form == "keras" else 0.9
        return BatchNorm(
            channels, activation=activation, eps=eps, momentum=momentum, frozen=self.frozen_bn
        )


def _resnet(name: str, **options: Any) -> ResNet:
    depths, bottleneck = DEPTHS[name]
    return ResNet(_Maker(**options), depths, bottleneck=bottleneck)


@backbone("resnet18", _CARD)
def resnet18(*, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs) -> ResNet:
    """Makes ResNet-18 in torchvision's form."""
    return _resnet("resnet18", form="torchvision", dtype=dtype, frozen_bn=frozen_bn, rngs=rngs)


@backbone("resnet50", _CARD)
def resnet50(*, form: Form = "torchvision", dtype: Any, frozen_bn: bool, rngs: nnx.Rngs) -> ResNet:
    """Makes ResNet-50; `form` is "torchvision" (v1.5) or "keras" (v1), which differ in numbers."""
    return _resnet("resnet50", form=form, dtype=dtype, frozen_bn=frozen_bn, rngs=rngs)


@backbone("resnet101", _CARD)
def resnet101(*, form: Form = "torchvision", dtype: Any, frozen_bn: bool, rngs: nnx.Rngs) -> ResNet:
    """Makes ResNet-101; `form` as in `resnet50`."""
    return _resnet("resnet101", form=form, dtype=dtype, frozen_bn=frozen_bn, rngs=rngs)
