"""ResNet-18, 50 and 101, in the four forms that published weights come in.

Tables: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; torchvision's
`resnet.py`, Keras' `applications/resnet.py`, TF-slim's `resnet_v1.py`, and the encoder of SCC (Fan
et al., AAAI 2020, `lib/basemodel.py` of EvelynFan/FAU). Parameter paths are torchvision's names;
the layers of the other three have the same places.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.layers import Activation, BatchNorm
from jaxfacs.models.layers2d import Conv2d, Padding, conv_norm, max_pool
from jaxfacs.models.network import backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card

Form = Literal["torchvision", "keras", "slim", "scc"]


@dataclass(frozen=True)
class _Form:
    """What differs: the numbers of one form are wrong with the weights of another.

    Attributes:
      strided: the convolution of a bottleneck that strides.
      late: a stage strides in its last block (stages 1 to 3), not in its first (stages 2 to 4).
      bias: convolutions have biases, though BatchNorm follows.
      eps, momentum: of BatchNorm, momentum in Flax's sense.
      pool: padding of the stem's 3x3 max pooling. Convolutions are padded k//2 in all forms.
    """

    strided: Literal["conv1", "conv2"] = "conv2"
    late: bool = False
    bias: bool = False
    eps: float = 1e-5
    momentum: float = 0.9
    pool: Padding = ((1, 1), (1, 1))


FORMS: dict[str, _Form] = {
    "torchvision": _Form(),  # "v1.5"
    "keras": _Form(strided="conv1", bias=True, eps=1.001e-5, momentum=0.99),
    "slim": _Form(late=True, momentum=0.997, pool="SAME"),
    # Made of slim's layers and loaded with slim's weights, but strided as torchvision's.
    "scc": _Form(eps=1e-9, momentum=0.99),
}

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
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1, added to the input or to a projection of it."""

    def __init__(self, maker: "_Maker", i: int, width: int, stride: int, *, bottleneck: bool):
        out = width * EXPANSION if bottleneck else width
        if bottleneck:
            first = stride if maker.form.strided == "conv1" else 1
            self.conv1 = maker.conv(i, width, 1, first)
            self.conv2 = maker.conv(width, width, 3, stride // first)
            self.conv3 = maker.conv(width, out, 1)
            self.bn3 = maker.norm(out)
        else:
            self.conv1 = maker.conv(i, width, 3, stride)
            self.conv2 = maker.conv(width, out, 3)
        self.bn1 = maker.norm(width, "relu")
        self.bn2 = maker.norm(width if bottleneck else out, "relu" if bottleneck else "none")
        projected = i != out or (stride != 1 and not maker.form.late)
        self.downsample = (
            nnx.Dict({"0": maker.conv(i, out, 1, stride), "1": maker.norm(out)})
            if projected
            else None
        )
        self.bottleneck, self.stride = bottleneck, stride

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = conv_norm(self.conv1, self.bn1, x, train=train)
        y = conv_norm(self.conv2, self.bn2, y, train=train)
        if self.bottleneck:
            y = conv_norm(self.conv3, self.bn3, y, train=train)
        if self.downsample is not None:
            x = conv_norm(self.downsample["0"], self.downsample["1"], x, train=train)
        elif self.stride != 1:  # slim's last block of a stage has no projection
            x = x[:, :: self.stride, :: self.stride]
        return jax.nn.relu(x + y)


class ResNet(nnx.Module):
    """Stem and four stages, 1/32 of the picture in all; taps `stem`, `layer1`..`layer4`."""

    images = True
    channels = 3
    min_size = 32

    def __init__(self, maker: "_Maker", depths: tuple[int, ...], *, bottleneck: bool):
        self.conv1 = maker.conv(3, 64, 7, 2)
        self.bn1 = maker.norm(64, "relu")
        self.pool: Any = maker.form.pool
        self.taps = {"stem": 64}
        channels = 64
        for stage, depth in enumerate(depths, start=1):
            width = 64 * 2 ** (stage - 1)
            blocks = {}
            strides = depth * [1]
            if maker.form.late and stage < len(depths):
                strides[-1] = 2
            elif not maker.form.late and stage > 1:
                strides[0] = 2
            for n, stride in enumerate(strides):
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
        x = max_pool(x, 3, 2, self.pool)
        taps = {"stem": x}
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            blocks = getattr(self, stage)
            for n in range(len(blocks)):
                x = blocks[str(n)](x, train=train)
            taps[stage] = x
        return {**taps, "map": x, "features": jnp.mean(x, axis=(1, 2), dtype=jnp.float32)}


class _Maker:
    """Makes layers of one network: what all of them share is said once."""

    def __init__(self, form: str, *, bn_eps: float, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs):
        if form not in FORMS:
            raise UserError(f"no form '{form}' of ResNet; give one of {', '.join(FORMS)}")
        if bn_eps < 0.0:
            raise UserError(f"bn_eps {bn_eps} is negative; give 0 for the form's own")
        self.form, self.dtype, self.frozen_bn, self.rngs = FORMS[form], dtype, frozen_bn, rngs
        self.eps = bn_eps or self.form.eps

    def conv(self, i: int, o: int, size: int, stride: int = 1) -> Conv2d:
        options = {"bias": self.form.bias, "dtype": self.dtype, "rngs": self.rngs}
        return Conv2d(i, o, size, strides=stride, **options)

    def norm(self, channels: int, activation: Activation = "none") -> BatchNorm:
        return BatchNorm(
            channels,
            activation=activation,
            eps=self.eps,
            momentum=self.form.momentum,
            frozen=self.frozen_bn,
        )


def _resnet(name: str, form: str, **options: Any) -> ResNet:
    depths, bottleneck = DEPTHS[name]
    return ResNet(_Maker(form, **options), depths, bottleneck=bottleneck)


@backbone("resnet18", _CARD)
def resnet18(*, bn_eps: float = 0.0, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs) -> ResNet:
    """Makes ResNet-18 in torchvision's form; options as in `resnet50`."""
    options = {"bn_eps": bn_eps, "dtype": dtype, "frozen_bn": frozen_bn, "rngs": rngs}
    return _resnet("resnet18", "torchvision", **options)


@backbone("resnet50", _CARD)
def resnet50(
    *,
    form: Form = "torchvision",
    bn_eps: float = 0.0,
    dtype: Any,
    frozen_bn: bool,
    rngs: nnx.Rngs,
) -> ResNet:
    """Makes ResNet-50.

    Args:
      form: whose weights it takes, "torchvision" (v1.5), "keras" (v1), "slim" (TF-slim's
        resnet_v1) or "scc" (the encoder of SCC heatmap regression).
      bn_eps: of BatchNorm; 0 for the form's own.
      dtype: of the computation; parameters and statistics are float32.
      frozen_bn: BatchNorm keeps to its running statistics in training.
      rngs: of the parameters.
    """
    options = {"bn_eps": bn_eps, "dtype": dtype, "frozen_bn": frozen_bn, "rngs": rngs}
    return _resnet("resnet50", form, **options)


@backbone("resnet101", _CARD)
def resnet101(
    *,
    form: Form = "torchvision",
    bn_eps: float = 0.0,
    dtype: Any,
    frozen_bn: bool,
    rngs: nnx.Rngs,
) -> ResNet:
    """Makes ResNet-101; options as in `resnet50`."""
    options = {"bn_eps": bn_eps, "dtype": dtype, "frozen_bn": frozen_bn, "rngs": rngs}
    return _resnet("resnet101", form, **options)
