"""A network of two layers, registered as a user's own would be."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.models.network import backbone
from jaxfacs.models.registry import Card, register

CARD = Card(frames=4, size=16, mean=(127.5,) * 3, std=(64.0,) * 3, paper="", source="", licence="")


class Tiny(nnx.Module):
    def __init__(
        self,
        *,
        num_aus,
        num_emotions,
        intensity,
        per_frame,
        width,
        dropout,
        dtype,
        norm,
        poison,
        rngs,
        valence_arousal=False,
        leap=0.0,
    ):
        hidden = int(16 * width)
        self.stem = nnx.Linear(3 * 16, hidden, dtype=dtype, rngs=rngs)
        self.norm = nnx.BatchNorm(hidden, momentum=0.9, dtype=dtype, rngs=rngs) if norm else None
        self.head = nnx.Linear(hidden, num_aus, rngs=rngs) if num_aus else None
        self.intensity = nnx.Linear(hidden, num_aus, rngs=rngs) if intensity else None
        self.emotion = nnx.Linear(hidden, num_emotions, rngs=rngs) if num_emotions else None
        self.affect = nnx.Linear(hidden, 2, rngs=rngs) if valence_arousal else None
        self.per_frame, self.dropout, self.poison, self.leap = per_frame, dropout, poison, leap

    def __call__(self, x, *, train, dropout_key=None):
        b, t, h, w, c = x.shape
        pooled = x.reshape(b, t, 4, h // 4, 4, w // 4, c).mean((3, 5)).reshape(b, t, -1)
        y = self.stem(pooled)
        if self.norm is not None:
            y = self.norm(y, use_running_average=not train)
        y = jax.nn.relu(y)
        if train and self.dropout:
            keep = jax.random.bernoulli(dropout_key, 1 - self.dropout, y.shape)
            y = jnp.where(keep, y / (1 - self.dropout), 0)
        if not self.per_frame:
            y = y.mean(1)
        if self.poison:  # a batch with so bright a clip cannot be learned from
            y = jnp.where(x.mean((1, 2, 3, 4)).max() > self.poison, jnp.nan, y)
        if self.leap:  # or is answered so loudly that its loss leaps
            y = jnp.where(x.mean((1, 2, 3, 4)).max() > self.leap, 100 * y, y)
        outputs = {} if self.head is None else {"occurrence": self.head(y)}
        if self.affect is not None:
            outputs["valence_arousal"] = jnp.tanh(self.affect(y))
        if self.intensity is not None:
            outputs["intensity"] = 5 * jax.nn.sigmoid(self.intensity(y))
        if self.emotion is not None:
            outputs["emotion"] = self.emotion(y if y.ndim == 2 else y.mean(1))
        return outputs


@register("tiny", CARD)
def tiny(
    *,
    rngs,
    num_aus,
    num_emotions=0,
    intensity=False,
    valence_arousal=False,
    per_frame=False,
    width=1.0,
    dropout=0.0,
    dtype=jnp.float32,
    norm=True,
    poison=0.0,
    leap=0.0,
):
    return Tiny(
        num_aus=num_aus,
        num_emotions=num_emotions,
        intensity=intensity,
        valence_arousal=valence_arousal,
        per_frame=per_frame,
        width=width,
        dropout=dropout,
        dtype=dtype,
        norm=norm,
        poison=poison,
        leap=leap,
        rngs=rngs,
    )


class TinyBody(nnx.Module):
    """A backbone of one layer, for any head."""

    images = True
    channels, min_size = 3, 4
    taps: ClassVar = {"map": 8, "features": 8}

    def __init__(self, *, dtype, frozen_bn, rngs):
        del dtype, frozen_bn
        self.stem = nnx.Linear(3, 8, rngs=rngs)

    def __call__(self, x_NHWC, *, train, dropout_key):
        n, h, w, c = x_NHWC.shape
        map_NHWC = jax.nn.relu(self.stem(x_NHWC.reshape(n, 4, h // 4, 4, w // 4, c).mean((2, 4))))
        return {"map": map_NHWC, "features": map_NHWC.mean((1, 2))}


@backbone("tiny_graph", CARD)
def tiny_graph(*, dtype, frozen_bn, rngs):
    return TinyBody(dtype=dtype, frozen_bn=frozen_bn, rngs=rngs)
