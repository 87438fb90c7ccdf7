"""A network of two layers with the package's BatchNorm, so that devices may share statistics."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.models.layers import BatchNorm
from jaxfacs.models.registry import Card, register

CARD = Card(frames=4, size=16, mean=(127.5,) * 3, std=(64.0,) * 3, paper="", source="", licence="")


class Shapes(nnx.Module):
    def __init__(self, *, num_aus, dropout, dtype, rngs):
        # No bias before a norm: its gradient is rounding alone, of which Adam makes whole steps.
        self.stem = nnx.Linear(3 * 16, 16, use_bias=False, dtype=dtype, rngs=rngs)
        self.norm = BatchNorm(16, activation="relu")
        self.head = nnx.Linear(16, num_aus, rngs=rngs)
        self.dropout = dropout

    def __call__(self, x_BTHWC, *, train, dropout_key=None):
        b, t, h, w, c = x_BTHWC.shape
        x = x_BTHWC.reshape(b, t, 4, h // 4, 4, w // 4, c).mean((3, 5)).reshape(b, t, -1)
        y = self.norm(self.stem(x), train=train)
        if train and self.dropout:
            keep = jax.random.bernoulli(dropout_key, 1 - self.dropout, y.shape)
            y = jnp.where(keep, y / (1 - self.dropout), 0)
        return {"occurrence": self.head(y.mean(1))}


@register("shapes", CARD)
def shapes(*, rngs, num_aus, dropout=0.0, dtype=jnp.float32):
    return Shapes(num_aus=num_aus, dropout=dropout, dtype=dtype, rngs=rngs)
