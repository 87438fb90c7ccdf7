"""A small residual network for face crops of about 112 pixels, made for processors.

Our own: plain 3x3 convolutions of many channels on small maps, because those are what XLA computes
best without an accelerator (docs/performance.md): the first one reads blocks of 4x4 pixels as 48
channels, as a usual stem of 5x5x3 on the pixels took as long as all that follows. And a description
of the face that keeps its places: a face crop shows the same part of the face at about the same
place, so that the usual mean over the picture throws away what AUs are about, which part moved.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.layers import BatchNorm
from jaxfacs.models.layers2d import Conv2d, conv_norm
from jaxfacs.models.network import backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card

BLOCK = 4  # side in pixels of what the stem reads as one place
CHANNELS = (40, 64, 128, 192)
BLOCKS = (1, 2, 2, 2)
PLACED = 48  # channels of which every place is kept
FEATURES = 256
FACE_SIZE = 112

_CARD = Card(
    frames=1,
    size=FACE_SIZE,
    mean=NORMALISATIONS["unit"][0],
    std=NORMALISATIONS["unit"][1],
    paper="none: jaxfacs' own",
    source="jaxfacs",
    licence="Apache-2.0",
)


class Residual(nnx.Module):
    """Two 3x3 convolutions beside their input, or beside a projection of it."""

    def __init__(self, i: int, o: int, stride: int, *, frozen_bn: bool, dtype: Any, rngs: nnx.Rngs):
        made = {"dtype": dtype, "rngs": rngs}
        self.conv1 = Conv2d(i, o, 3, strides=stride, **made)
        self.bn1 = BatchNorm(o, activation="relu", frozen=frozen_bn)
        self.conv2 = Conv2d(o, o, 3, **made)
        self.bn2 = BatchNorm(o, frozen=frozen_bn)
        self.stride = stride
        self.project = Conv2d(i, o, 1, **made) if (i, stride) != (o, 1) else None

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = conv_norm(self.conv1, self.bn1, x, train=train)
        y = conv_norm(self.conv2, self.bn2, y, train=train)
        if self.project is not None:
            x = self.project(x[:, :: self.stride, :: self.stride])
        return jax.nn.relu(x + y)


class FaceResNet(nnx.Module):
    """Stem and four stages; taps `layer1`..`layer4` at strides 4, 8, 16 and 32, and `map`.

    `features` are read from the means of `layer4` and from all places of a few channels of
    `layer3`, which is why the side of the pictures is fixed.
    """

    images = True
    channels = 3
    min_size = 32

    def __init__(
        self,
        *,
        width: float,
        size: int,
        standardise: bool,
        frozen_bn: bool,
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        made = {"dtype": dtype, "rngs": rngs}
        channels = [max(8, round(c * width / 8) * 8) for c in CHANNELS]
        self.size, self.standardise = size, standardise
        i = channels[0]
        self.conv1 = Conv2d(3 * BLOCK**2, i, 3, **made)
        self.bn1 = BatchNorm(i, activation="relu", frozen=frozen_bn)
        self.taps = {}
        for stage, (o, blocks) in enumerate(zip(channels, BLOCKS, strict=True), start=1):
            layers = {}
            for n in range(blocks):
                stride = 2 if n == 0 and stage > 1 else 1
                layers[str(n)] = Residual(i, o, stride, frozen_bn=frozen_bn, **made)
                i = o
            setattr(self, f"layer{stage}", nnx.Dict(layers))
            self.taps[f"layer{stage}"] = o
        self.placed = Conv2d(channels[2], PLACED, 1, **made)
        self.placed_bn = BatchNorm(PLACED, activation="relu", frozen=frozen_bn)
        places = (-(-size // BLOCK // 4)) ** 2
        self.join = Conv2d(places * PLACED + i, FEATURES, 1, **made)
        self.join_bn = BatchNorm(FEATURES, activation="relu", frozen=frozen_bn)
        self.taps |= {"map": i, "features": FEATURES}

    def __call__(
        self, x_NHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Maps pictures (N, size, size, 3) to the taps."""
        if x_NHWC.shape[1:3] != (self.size, self.size):
            raise UserError(
                f"this network reads pictures of {self.size} pixels, not {x_NHWC.shape[1:3]}; give "
                f"--data.size {self.size}, or --model.options.size with the side wanted"
            )
        x = standardised(x_NHWC) if self.standardise else x_NHWC
        x = conv_norm(self.conv1, self.bn1, blocks_of_pixels(x), train=train)
        taps = {}
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            blocks = getattr(self, stage)
            for n in range(len(blocks)):
                x = blocks[str(n)](x, train=train)
            taps[stage] = x
        placed = conv_norm(self.placed, self.placed_bn, taps["layer3"], train=train)
        mean = jnp.mean(x, axis=(1, 2), dtype=jnp.float32).astype(placed.dtype)
        both = jnp.concatenate([placed.reshape(placed.shape[0], -1), mean], axis=1)
        joined = conv_norm(self.join, self.join_bn, both[:, None, None], train=train)
        return {**taps, "map": x, "features": joined[:, 0, 0]}


def blocks_of_pixels(x_NHWC: jax.Array) -> jax.Array:
    """(N, H, W, C) -> (N, H / BLOCK, W / BLOCK, BLOCK * BLOCK * C): the pixels of each block."""
    n, h, w, c = x_NHWC.shape
    x = x_NHWC.reshape(n, h // BLOCK, BLOCK, w // BLOCK, BLOCK, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // BLOCK, w // BLOCK, BLOCK * BLOCK * c)


def standardised(x_NHWC: jax.Array) -> jax.Array:
    """Each picture less its mean, by its standard deviation: exposure and contrast go away.

    The least deviation, a fiftieth of full scale, keeps an empty picture from becoming noise.
    """
    x = x_NHWC.astype(jnp.float32)
    mean = x.mean((1, 2, 3), keepdims=True)
    variance = jnp.square(x - mean).mean((1, 2, 3), keepdims=True)
    return ((x - mean) * jax.lax.rsqrt(variance + 4e-4)).astype(x_NHWC.dtype)


@backbone("face_resnet", _CARD)
def face_resnet(
    *,
    width: float = 1.0,
    size: int = FACE_SIZE,
    standardise: bool = True,
    dtype: Any,
    frozen_bn: bool,
    rngs: nnx.Rngs,
) -> FaceResNet:
    """Makes the small network for face crops: 2.9 M parameters at width 1 and 112 pixels.

    Args:
      width: multiplier of the channel counts.
      size: side of the pictures it reads.
      standardise: takes the mean and the contrast of each picture away first.
    """
    if not 0.1 <= width <= 8 or size < FaceResNet.min_size or size % BLOCK:
        raise UserError(
            f"width {width} and size {size} of face_resnet: give a width of 0.1 to 8, and as many "
            f"pixels as are a multiple of {BLOCK} and {FaceResNet.min_size} or more"
        )
    return FaceResNet(
        width=width, size=size, standardise=standardise, dtype=dtype, frozen_bn=frozen_bn, rngs=rngs
    )
