"""A backbone of a few thousand parameters, for tests of what is built of backbones."""

import jax.numpy as jnp
from flax import nnx

from jaxfacs.models.heads.linear import dropout
from jaxfacs.models.layers import BatchNorm
from jaxfacs.models.layers2d import Conv2d


class Tiny(nnx.Module):
    images = True
    min_size = 8

    def __init__(self, *, channels: int, width: int, rate: float, rngs: nnx.Rngs):
        self.channels, self.rate = channels, rate
        self.taps = {"map": width, "features": width}
        self.conv = Conv2d(channels, width, 3, strides=2, rngs=rngs)
        self.bn = BatchNorm(width, activation="relu")

    def __call__(self, x, *, train, dropout_key=None):
        x = self.bn(self.conv(x), train=train)
        features = jnp.mean(x, axis=(1, 2))
        return {"map": x, "features": dropout(features, self.rate, key=dropout_key, train=train)}


def create_tiny(
    name, *, dtype, rngs, frozen_bn=False, per_frame=False, channels=3, fc7=6, fc_dropout=0.0
):
    """Stands in for `models.create_backbone`."""
    del name, dtype, frozen_bn, per_frame
    return Tiny(channels=channels, width=fc7, rate=fc_dropout, rngs=rngs)
