"""VGG16, for pictures in general and for faces.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR
2015, table 1, column D; Parkhi et al., "Deep Face Recognition", BMVC 2015, table 3, for the same
network with faces. Caffe, Keras, torchvision and VGG-Face agree on the graph; parameter paths are
torchvision's names.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.heads.linear import dropout
from jaxfacs.models.layers2d import Conv2d, Linear, adaptive_avg_pool, max_pool
from jaxfacs.models.network import backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card

Top = Literal["fc", "pool", "flatten"]
TOPS: tuple[Top, ...] = ("fc", "pool", "flatten")

# (channels, convolutions) of each block; every block ends in a 2x2 pooling.
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
FC = 4096
GRID = 7  # fc6 reads 7 x 7 places
STRIDE = 32

_CARD = Card(
    frames=1,
    size=224,
    mean=NORMALISATIONS["imagenet"][0],
    std=NORMALISATIONS["imagenet"][1],
    paper="Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image "
    "Recognition, ICLR 2015",
    source="https://github.com/pytorch/vision",
    licence="BSD-3-Clause (code); CC BY 4.0 (the authors' weights)",
)
_FACE_CARD = Card(
    frames=1,
    size=224,
    mean=NORMALISATIONS["vgg_face"][0],
    std=NORMALISATIONS["vgg_face"][1],
    paper="Parkhi et al., Deep Face Recognition, BMVC 2015",
    source="https://www.robots.ox.ac.uk/~vgg/software/vgg_face/",
    licence="as the authors' page states (weights)",
)


class VGG16(nnx.Module):
    """Thirteen convolutions, then `top`; taps `conv1_2`..`conv5_3`, and with fc `fc6` and `fc7`.

    Convolutions are tapped after ReLU, dense layers after ReLU and dropout.
    """

    images = True
    channels = 3
    min_size = STRIDE

    def __init__(self, *, top: Top, size: int, fc_dropout: float, dtype: Any, rngs: nnx.Rngs):
        self.top, self.size, self.fc_dropout = top, size, fc_dropout
        self.taps: dict[str, int] = {}
        features, i, index = {}, 3, 0
        for block, (channels, repeats) in enumerate(BLOCKS, start=1):
            for _ in range(repeats):
                features[str(index)] = Conv2d(i, channels, 3, bias=True, dtype=dtype, rngs=rngs)
                i, index = channels, index + 2  # torchvision counts the ReLU
            index += 1  # and the pooling
            self.taps[f"conv{block}_{repeats}"] = channels
        self.features = nnx.Dict(features)
        places = (size // STRIDE) ** 2 if top == "flatten" else 1
        self.taps |= {"map": i, "features": i * places}
        flat = i * GRID * GRID
        options = {"dtype": dtype, "rngs": rngs}
        self.classifier = (
            nnx.Dict(
                {
                    "0": Linear(flat, FC, std=(2.0 / flat) ** 0.5, **options),
                    "3": Linear(FC, FC, std=(2.0 / FC) ** 0.5, **options),
                }
            )
            if top == "fc"
            else None
        )
        if top == "fc":
            self.taps |= {"fc6": FC, "fc7": FC, "features": FC}

    def __call__(
        self, x_NHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Maps pictures to the taps; `map` is pool5, `features` what `top` says."""
        if self.top == "flatten" and x_NHWC.shape[1:3] != (self.size, self.size):
            height, width = x_NHWC.shape[1:3]
            raise UserError(
                f"frames of {height} x {width}, but VGG16 was made with top=flatten for size "
                f"{self.size}; give frames of that size, or top=pool"
            )
        taps, x, index = {}, x_NHWC, 0
        for block, (_, repeats) in enumerate(BLOCKS, start=1):
            for _ in range(repeats):
                x = jax.nn.relu(self.features[str(index)](x))
                index += 2
            taps[f"conv{block}_{repeats}"] = x
            x = max_pool(x, 2, 2)
            index += 1
        taps["map"] = x
        if self.top == "pool":
            taps["features"] = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        elif self.top == "flatten":
            taps["features"] = x.reshape(x.shape[0], -1)
        if self.classifier is None:
            return taps
        x = adaptive_avg_pool(x, GRID).reshape(x.shape[0], -1)
        for n, (tap, name) in enumerate((("fc6", "0"), ("fc7", "3"))):
            key = None if dropout_key is None else jax.random.fold_in(dropout_key, n)
            x = jax.nn.relu(self.classifier[name](x))
            taps[tap] = x = dropout(x, self.fc_dropout, key=key, train=train)
        return {**taps, "features": x}


@backbone("vgg16", _CARD)
def vgg16(
    *,
    top: Top = "fc",
    size: int = 0,
    fc_dropout: float = 0.5,
    dtype: Any = jnp.float32,
    frozen_bn: bool = False,
    rngs: nnx.Rngs,
) -> VGG16:
    """Makes VGG16.

    Args:
      top: what `features` are: "fc" fc7 after ReLU, over a map that is averaged to 7x7 places if
        it has others, as torchvision does; "pool" the map's spatial mean (512); "flatten" the
        whole map in the order (H, W, C), which needs `size`.
      size: height and width of the pictures, for "flatten" alone: 64 gives 2 * 2 * 512 features.
      fc_dropout: share of fc6 and of fc7 that is dropped in training.
      dtype: of the computation; parameters are float32.
      frozen_bn: nothing, for it has no BatchNorm.
      rngs: of the parameters.
    """
    del frozen_bn
    if top not in TOPS:
        raise UserError(f"no top '{top}' of VGG16; give one of {', '.join(TOPS)}")
    if top == "flatten" and size < STRIDE:
        raise UserError(f"top=flatten needs the pictures' size, {STRIDE} or more, not {size}")
    if not 0.0 <= fc_dropout < 1.0:
        raise UserError(f"fc_dropout {fc_dropout} is not in [0, 1)")
    return VGG16(top=top, size=size, fc_dropout=fc_dropout, dtype=dtype, rngs=rngs)


@backbone("vgg_face", _FACE_CARD)
def vgg_face(
    *,
    top: Top = "fc",
    size: int = 0,
    fc_dropout: float = 0.5,
    dtype: Any = jnp.float32,
    frozen_bn: bool = False,
    rngs: nnx.Rngs,
) -> VGG16:
    """Makes VGG16 for the weights of VGG-Face (2622 people); options as in `vgg16`."""
    options = {"top": top, "size": size, "fc_dropout": fc_dropout, "rngs": rngs}
    return vgg16(dtype=dtype, frozen_bn=frozen_bn, **options)
