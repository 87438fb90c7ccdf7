"""3D MobileNets, V1 and V2: depthwise-separable convolutions over clips.

Tables: Koepueklue et al., "Resource Efficient 3D Convolutional Neural Networks", ICCVW 2019, and
the authors' repository okankop/Efficient-3DCNNs. Parameter paths are the names of those weights:
`features.3.conv.0.weight` there is `features/3/conv/0/kernel` here.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.layers import Activation, BatchNorm, Conv3d, Stride, conv_norm
from jaxfacs.models.network import backbone
from jaxfacs.models.registry import Card

# expansion t, channels, repeats n, stride (T, H, W) of the first: Efficient-3DCNNs, mobilenetv2.
V2_STAGES: tuple[tuple[int, int, int, Stride], ...] = (
    (1, 16, 1, (1, 1, 1)),
    (6, 24, 2, (2, 2, 2)),
    (6, 32, 3, (2, 2, 2)),
    (6, 64, 4, (2, 2, 2)),
    (6, 96, 3, (1, 1, 1)),
    (6, 160, 3, (2, 2, 2)),
    (6, 320, 1, (1, 1, 1)),
)
# channels, repeats n, stride (T, H, W) of the first: Efficient-3DCNNs, mobilenet.
V1_STAGES: tuple[tuple[int, int, Stride], ...] = (
    (64, 1, (2, 2, 2)),
    (128, 2, (2, 2, 2)),
    (256, 2, (2, 2, 2)),
    (512, 6, (2, 2, 2)),
    (1024, 2, (1, 1, 1)),
)
STEM_CHANNELS = 32
STEM_STRIDES: Stride = (1, 2, 2)
V2_LAST_CHANNELS = 1280

_CARD = Card(
    frames=16,
    size=112,
    # The authors feed 0..255 less the ActivityNet mean, divided by nothing.
    mean=(114.77, 107.74, 99.48),
    std=(1.0, 1.0, 1.0),
    paper="Koepueklue et al., Resource Efficient 3D Convolutional Neural Networks, ICCVW 2019",
    source="https://github.com/okankop/Efficient-3DCNNs",
    licence="MIT (code); weights trained on Kinetics-600",
)


class Sequence(nnx.Module):
    """Convolutions, each with its norm, at torch's indices; those of activations stay empty."""

    def __init__(self, layers: dict[str, nnx.Module]):
        self.order = tuple(layers)
        for index, layer in layers.items():
            setattr(self, index, layer)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        layers = [getattr(self, index) for index in self.order]
        for conv, norm in zip(layers[0::2], layers[1::2], strict=True):
            x = conv_norm(conv, norm, x, train=train)
        return x


class InvertedResidual(nnx.Module):
    """Expand 1x1x1, depthwise 3x3x3, project 1x1x1; added to its input where shapes allow."""

    def __init__(self, layers: dict[str, nnx.Module], *, skip: bool):
        self.conv = Sequence(layers)
        self.skip = skip

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = self.conv(x, train=train)
        return x + y if self.skip else y


class MobileNet3D(nnx.Module):
    """A column of blocks over clips."""

    images = False
    channels = 3
    min_size = 16

    def __init__(self, features: list[nnx.Module], channels: int):
        self.features = nnx.Dict({str(i): block for i, block in enumerate(features)})
        self.taps = {"map": channels, "features": channels}

    def __call__(
        self, x_BTHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Maps normalised clips to `map` (B, T', h, w, C) and its spatial mean `features`.

        Any T, H and W will do; the published weights saw 16 x 112 x 112.
        """
        x = x_BTHWC
        for i in range(len(self.features)):
            x = self.features[str(i)](x, train=train)
        return {"map": x, "features": jnp.mean(x, axis=(2, 3), dtype=jnp.float32)}


@backbone("mobilenet3d_v2", _CARD)
def mobilenet3d_v2(
    *,
    width: float = 1.0,
    per_frame: bool = False,
    dtype: Any = jnp.float32,
    frozen_bn: bool = False,
    rngs: nnx.Rngs,
) -> MobileNet3D:
    """Makes 3D-MobileNetV2.

    Args:
      width: multiplies channels, rounded down (no rounding to multiples of 8, as in the paper).
      per_frame: keeps one output a frame: temporal strides become 1. Weights of the per-clip net
        still load, but its blocks then see a denser sampling of time than they were trained on.
      dtype: of the computation ("bfloat16" or a JAX type); parameters and statistics are float32.
      frozen_bn: BatchNorm keeps to its running statistics in training.
      rngs: of the parameters.
    """
    make = _Maker(dtype=dtype, frozen_bn=frozen_bn, rngs=rngs)
    channels = int(STEM_CHANNELS * width)
    blocks: list[nnx.Module] = [make.stem(channels, "relu6")]
    for t, stage_channels, repeats, first in V2_STAGES:
        for n in range(repeats):
            strides = _temporal(first if n == 0 else (1, 1, 1), per_frame)
            out_channels = int(stage_channels * width)
            blocks.append(make.inverted_residual(channels, out_channels, t, strides))
            channels = out_channels
    last = int(V2_LAST_CHANNELS * width) if width > 1.0 else V2_LAST_CHANNELS
    blocks.append(Sequence({"0": make.conv(channels, last), "1": make.norm(last, "relu6")}))
    return MobileNet3D(blocks, last)


@backbone("mobilenet3d_v1", _CARD)
def mobilenet3d_v1(
    *,
    width: float = 1.0,
    per_frame: bool = False,
    dtype: Any = jnp.float32,
    frozen_bn: bool = False,
    rngs: nnx.Rngs,
) -> MobileNet3D:
    """Makes 3D-MobileNetV1 (ReLU, no residuals); options as in `mobilenet3d_v2`."""
    make = _Maker(dtype=dtype, frozen_bn=frozen_bn, rngs=rngs)
    channels = int(STEM_CHANNELS * width)
    blocks: list[nnx.Module] = [make.stem(channels, "relu")]
    for stage_channels, repeats, first in V1_STAGES:
        for n in range(repeats):
            strides = _temporal(first if n == 0 else (1, 1, 1), per_frame)
            out_channels = int(stage_channels * width)
            blocks.append(make.separable(channels, out_channels, strides))
            channels = out_channels
    return MobileNet3D(blocks, channels)


class _Maker:
    """Makes blocks of one network: what all of them share is said once."""

    def __init__(self, *, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs):
        self.dtype = dtype
        self.frozen_bn = frozen_bn
        self.rngs = rngs

    def norm(self, channels: int, activation: Activation = "none") -> BatchNorm:
        return BatchNorm(channels, activation=activation, frozen=self.frozen_bn)

    def conv(self, in_channels: int, out_channels: int, **options: Any) -> Conv3d:
        if min(in_channels, out_channels) < 1:
            raise UserError("the width leaves a layer without channels; choose a larger one")
        options = {"size": 1, **options}
        return Conv3d(in_channels, out_channels, dtype=self.dtype, rngs=self.rngs, **options)

    def stem(self, channels: int, activation: Activation) -> Sequence:
        conv = self.conv(3, channels, size=3, strides=STEM_STRIDES)
        return Sequence({"0": conv, "1": self.norm(channels, activation)})

    def inverted_residual(
        self, in_channels: int, out_channels: int, expansion: int, strides: Stride
    ) -> InvertedResidual:
        hidden = in_channels * expansion
        layers: list[nnx.Module | None] = []
        if expansion != 1:
            layers += [
                self.conv(in_channels, hidden),
                self.norm(hidden, "relu6"),
                None,
            ]
        layers += [
            self.conv(hidden, hidden, size=3, strides=strides, depthwise=True),
            self.norm(hidden, "relu6"),
            None,
            self.conv(hidden, out_channels),
            self.norm(out_channels),
        ]
        return InvertedResidual(
            {str(i): layer for i, layer in enumerate(layers) if layer is not None},
            skip=strides == (1, 1, 1) and in_channels == out_channels,
        )

    def separable(self, in_channels: int, out_channels: int, strides: Stride) -> Sequence:
        depthwise = self.conv(in_channels, in_channels, size=3, strides=strides, depthwise=True)
        return Sequence(
            {
                "conv1": depthwise,
                "bn1": self.norm(in_channels, "relu"),
                "conv2": self.conv(in_channels, out_channels),
                "bn2": self.norm(out_channels, "relu"),
            }
        )


def _temporal(strides: Stride, per_frame: bool) -> Stride:
    return (1, *strides[1:]) if per_frame else strides
