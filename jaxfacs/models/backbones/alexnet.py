"""AlexNet, in the form that Caffe published and in torchvision's.

Sources: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", NIPS
2012; Caffe's `models/bvlc_alexnet/deploy.prototxt` (two groups, local response normalisation
before each pooling); Krizhevsky, "One weird trick for parallelizing convolutional neural
networks", 2014, as torchvision's `alexnet.py` has it. Bocklisch et al. 2015 fine-tuned the first,
and trained it on stacks of optical flow (table 1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.heads.linear import dropout
from jaxfacs.models.layers2d import Conv2d, Linear, Padding, adaptive_avg_pool, max_pool
from jaxfacs.models.network import backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card

FC6 = 4096
GRID = 6  # fc6 reads 6 x 6 places
LRN_SIZE, LRN_ALPHA, LRN_BETA, LRN_K = 5, 1e-4, 0.75, 1.0


@dataclass(frozen=True)
class _Conv:
    """A convolution with ReLU, then (if so) normalised and pooled by 3x3 with stride 2."""

    name: str
    channels: int
    size: int
    stride: int = 1
    padding: Padding = "torch"
    groups: int = 1
    pooled: bool = False


@dataclass(frozen=True)
class _Form:
    """One published AlexNet.

    Attributes:
      convs: conv1 to conv5, with the names that the weights have.
      fcs: names of fc6 and fc7.
      dropped: taps on which dropout falls in training.
      lrn: conv1 and conv2 are normalised across channels before they are pooled.
      ceil: pooling windows may stick out of the map at its end, as Caffe's do.
      min_size: the smallest picture that leaves conv5's pooling a whole window.
    """

    convs: tuple[_Conv, ...]
    fcs: tuple[str, str]
    dropped: tuple[str, ...]
    lrn: bool
    ceil: bool
    min_size: int


FORMS: dict[str, _Form] = {
    "caffe": _Form(
        convs=(
            _Conv("conv1", 96, 11, stride=4, padding="VALID", pooled=True),
            _Conv("conv2", 256, 5, groups=2, pooled=True),
            _Conv("conv3", 384, 3),
            _Conv("conv4", 384, 3, groups=2),
            _Conv("conv5", 256, 3, groups=2, pooled=True),
        ),
        fcs=("fc6", "fc7"),
        dropped=("fc6", "fc7"),
        lrn=True,
        ceil=True,
        min_size=55,
    ),
    "torchvision": _Form(
        convs=(
            _Conv("0", 64, 11, stride=4, padding=((2, 2), (2, 2)), pooled=True),
            _Conv("3", 192, 5, pooled=True),
            _Conv("6", 384, 3),
            _Conv("8", 256, 3),
            _Conv("10", 256, 3, pooled=True),
        ),
        fcs=("1", "4"),
        dropped=("map", "fc6"),
        lrn=False,
        ceil=False,
        min_size=63,
    ),
}

_CARD = Card(
    frames=1,
    size=227,
    mean=NORMALISATIONS["caffe"][0],
    std=NORMALISATIONS["caffe"][1],
    paper="Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, "
    "NIPS 2012",
    source="https://github.com/BVLC/caffe/tree/master/models/bvlc_alexnet",
    licence="unrestricted use (Caffe's weights); BSD-3-Clause (torchvision's)",
)


class TowerConv(Conv2d):
    """A convolution in groups, run as one convolution a group.

    With two groups XLA's own takes 3 times as long forward on a CPU, 14 times with gradients.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, *, groups: int, **rest: Any):
        # The kernel of a grouped convolution has the shape of one that reads a single group.
        super().__init__(in_channels // groups, out_channels, size, **rest)
        self.towers = groups

    def _convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        towers = zip(
            jnp.split(x, self.towers, axis=-1),
            jnp.split(kernel, self.towers, axis=-1),
            strict=True,
        )
        convolve: Callable[..., jax.Array] = super()._convolve
        return jnp.concatenate([convolve(*tower) for tower in towers], axis=-1)


class AlexNet(nnx.Module):
    """Five convolutions and two dense layers; taps `conv1`..`conv5`, `map`, `fc6`, `fc7`.

    Convolutions are tapped after ReLU, before normalisation and pooling; dense layers after ReLU
    and dropout.
    """

    images = True

    def __init__(
        self,
        form: _Form,
        *,
        channels: int,
        fc7: int,
        fc_dropout: float,
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        self.form, self.channels, self.min_size = form, channels, form.min_size
        self.fc_dropout = fc_dropout
        self.taps = {f"conv{n}": conv.channels for n, conv in enumerate(form.convs, start=1)}
        self.taps |= {"map": form.convs[-1].channels, "fc6": FC6, "fc7": fc7, "features": fc7}
        features, i = {}, channels
        for conv in form.convs:
            features[conv.name] = TowerConv(
                i,
                conv.channels,
                conv.size,
                groups=conv.groups,
                strides=conv.stride,
                padding=conv.padding,
                bias=True,
                dtype=dtype,
                rngs=rngs,
            )
            i = conv.channels
        self.features = nnx.Dict(features)
        flat = i * GRID * GRID
        # He's scale by fan-in; Caffe's N(0, 0.005) wants pictures in 0..255.
        options = {"dtype": dtype, "rngs": rngs}
        self.classifier = nnx.Dict(
            {
                form.fcs[0]: Linear(flat, FC6, std=(2.0 / flat) ** 0.5, **options),
                form.fcs[1]: Linear(FC6, fc7, std=(2.0 / FC6) ** 0.5, **options),
            }
        )

    def __call__(
        self, x_NHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Maps pictures to the taps; `map` is conv5 after pooling, `features` is `fc7`.

        A map of other than 6x6 places is averaged to 6x6 for fc6, as torchvision does.
        """
        taps, x = {}, x_NHWC
        for n, conv in enumerate(self.form.convs, start=1):
            taps[f"conv{n}"] = x = jax.nn.relu(self.features[conv.name](x))
            if self.form.lrn and n <= 2:
                x = local_response_norm(x)
            if conv.pooled:
                x = max_pool(x, 3, 2, _overhang(x.shape) if self.form.ceil else "VALID")
        taps["map"] = x
        x = self._dropped("map", adaptive_avg_pool(x, GRID), train=train, key=dropout_key)
        x = x.reshape(x.shape[0], -1)
        for tap, name in zip(("fc6", "fc7"), self.form.fcs, strict=True):
            x = jax.nn.relu(self.classifier[name](x))
            taps[tap] = x = self._dropped(tap, x, train=train, key=dropout_key)
        return {**taps, "features": x}

    def _dropped(self, tap: str, x: jax.Array, *, train: bool, key: jax.Array | None) -> jax.Array:
        if tap not in self.form.dropped:
            return x
        if key is not None:
            key = jax.random.fold_in(key, self.form.dropped.index(tap))
        return dropout(x, self.fc_dropout, key=key, train=train)


def local_response_norm(x_NHWC: jax.Array) -> jax.Array:
    """Divides by (1 + 1e-4 / 5 * sum of squares over 5 channels) ** 0.75: Caffe's norm1 and norm2.

    Alpha is divided by the size of the window, as Caffe and torch do and Krizhevsky et al. do not.
    """
    x32 = x_NHWC.astype(jnp.float32)
    side = LRN_SIZE // 2
    squares = jnp.pad(jnp.square(x32), ((0, 0), (0, 0), (0, 0), (side, side)))
    channels = x32.shape[-1]
    # Five shifted slices melt into one loop; a windowed sum over the last axis does not.
    total = sum(squares[..., i : i + channels] for i in range(LRN_SIZE))
    scale = LRN_K + LRN_ALPHA / LRN_SIZE * total
    return (x32 * jnp.power(scale, -LRN_BETA)).astype(x_NHWC.dtype)


def widened(kernel_HWIO: np.ndarray, channels: int) -> np.ndarray:
    """A first layer for `channels` of optical flow, made of one that was trained on RGB.

    The mean over the three colours, repeated (Wang et al., "Temporal Segment Networks", ECCV 2016,
    cross-modality pre-training), times 3 / channels: an input whose channels are all alike then
    gets the answer that a grey picture got.

    Args:
      kernel_HWIO: (kH, kW, 3, O) float32.

    Returns:
      (kH, kW, channels, O) float32.
    """
    colours = kernel_HWIO.shape[2]
    mean = kernel_HWIO.mean(axis=2, keepdims=True) * np.float32(colours / channels)
    return np.repeat(mean, channels, axis=2)


@backbone("alexnet", _CARD)
def alexnet(
    *,
    form: Literal["caffe", "torchvision"] = "caffe",
    channels: int = 3,
    fc7: int = 4096,
    fc_dropout: float = 0.5,
    dtype: Any = jnp.float32,
    frozen_bn: bool = False,
    rngs: nnx.Rngs,
) -> AlexNet:
    """Makes AlexNet.

    Args:
      form: whose weights it takes: "caffe" (96-256-384-384-256 channels in two groups, with local
        response normalisation, 227 px) or "torchvision" (64-192-384-256-256, without, 224 px).
      channels: 3, or two for each frame pair of a flow stack (10 in Bocklisch et al. 2015).
      fc7: width of the last hidden layer; Bocklisch et al. trained a new one of 512.
      fc_dropout: share of the dense layers' inputs that is dropped in training.
      dtype: of the computation; parameters are float32, as is local response normalisation.
      frozen_bn: nothing, for it has no BatchNorm.
      rngs: of the parameters.
    """
    del frozen_bn
    if form not in FORMS:
        raise UserError(f"no form '{form}' of AlexNet; give one of {', '.join(FORMS)}")
    if channels < 1 or fc7 < 1:
        raise UserError(f"channels {channels} and fc7 {fc7} must be 1 or more")
    if not 0.0 <= fc_dropout < 1.0:
        raise UserError(f"fc_dropout {fc_dropout} is not in [0, 1)")
    return AlexNet(
        FORMS[form], channels=channels, fc7=fc7, fc_dropout=fc_dropout, dtype=dtype, rngs=rngs
    )


def _overhang(shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding at the end that lets windows of 3 with stride 2 reach the last row and column."""
    return (0, (shape[1] - 3) % 2), (0, (shape[2] - 3) % 2)
