"""Every AU looks at its own place: attention over the last feature map, one query an AU."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfacs.models.heads.each import Each, EachAnswers
from jaxfacs.models.heads.linear import affect, check_sizes, dropout, linear
from jaxfacs.models.layers import normal
from jaxfacs.models.layers2d import LayerNorm, Linear

LOOKS = 4  # attention heads of each AU: it may look at both brows, or at a fold and its surround
WIDTH = 32  # channels of one look
HIDDEN = 64  # of each AU's own layer on what it saw
OCTAVES = 3  # sine and cosine of 1, 2 and 4 half waves across the map, both ways


class AttentionHead(nnx.Module):
    """Attention pooling of the map by AU, aware of what is seen and of where.

    Average pooling gives the corner of a mouth the weight of one place in 49, or of one in four
    where faces are small; here an AU learns where it shows. A key is made of the features of a
    place and of its position (sines and cosines of coordinates in [-1, 1], so that a map of any
    size has one); the query of an AU is a parameter, with `LOOKS` attention heads of its own. What
    it sees goes through a hidden layer of its own. Emotion and affect have one query more.
    """

    reads = ("map",)

    def __init__(
        self,
        taps: Mapping[str, int],
        *,
        num_aus: int,
        num_emotions: int = 0,
        intensity: bool = False,
        valence_arousal: bool = False,
        dropout: float = 0.2,
        rngs: nnx.Rngs,
    ):
        check_sizes(num_aus, num_emotions, dropout, valence_arousal=valence_arousal)
        self.dropout, self.num_aus = dropout, num_aus
        channels, seen = taps["map"], LOOKS * WIDTH
        queries = num_aus + (1 if num_emotions or valence_arousal else 0)

        def xavier(i: int, o: int, *, bias: bool = True) -> Linear:
            return Linear(i, o, bias=bias, std=math.sqrt(2.0 / (i + o)), rngs=rngs)

        self.norm = LayerNorm(channels)
        self.key = xavier(channels, seen, bias=False)
        self.place = xavier(4 * OCTAVES, seen, bias=False)
        self.value = xavier(channels, seen)
        std = math.sqrt(2.0 / (WIDTH + 1))
        self.query = nnx.Param(normal(std)(rngs.params(), (queries, LOOKS, WIDTH)))
        self.hidden = Each(num_aus, seen, HIDDEN, rngs=rngs) if num_aus else None
        self.answers = (
            EachAnswers(num_aus, HIDDEN, intensity=intensity, rngs=rngs) if num_aus else None
        )
        self.emotion = linear(seen, num_emotions, rngs=rngs)
        self.valence_arousal = linear(seen, 2 if valence_arousal else 0, rngs=rngs)

    def __call__(
        self, taps: dict[str, jax.Array], *, train: bool, dropout_key: jax.Array | None
    ) -> dict[str, jax.Array]:
        """Maps (B, h, w, C) to one row a clip, or (B, T, h, w, C) to one a frame; emotion per clip.

        Answers what was asked for at creation, as `LinearHead`.
        """
        seen = self.look(taps["map"])[1]
        seen = dropout(seen, self.dropout, key=dropout_key, train=train)
        outputs = {}
        if self.hidden is not None and self.answers is not None:
            hidden = jax.nn.relu(self.hidden(seen[..., : self.num_aus, :]))
            outputs = self.answers(hidden)
        return outputs | affect(self, seen[..., -1, :])

    def look(self, map: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Where each query looks, (..., Q, LOOKS, h, w) summing to 1, and what it sees there."""
        *leading, height, width, channels = map.shape
        x = self.norm(map.astype(jnp.float32).reshape(*leading, height * width, channels))
        where = self.place(jnp.asarray(positions(height, width)))
        split = (LOOKS, WIDTH)
        key = (self.key(x) + where).reshape(*leading, height * width, *split)
        value = self.value(x).reshape(*leading, height * width, *split)
        scores = jnp.einsum("qlc,...plc->...qlp", self.query[...], key)
        weight = jax.nn.softmax(scores / math.sqrt(WIDTH), axis=-1)
        seen = jnp.einsum("...qlp,...plc->...qlc", weight, value)
        return (
            weight.reshape(*weight.shape[:-1], height, width),
            seen.reshape(*seen.shape[:-2], LOOKS * WIDTH),
        )


def positions(height: int, width: int) -> np.ndarray:
    """Float32 (height * width, 4 * OCTAVES): sines and cosines of each place's y and x."""
    y, x = ((np.arange(n) + 0.5) / n * 2.0 - 1.0 for n in (height, width))
    grid_P2 = np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
    angle = grid_P2[:, :, None] * (0.5 * np.pi * 2.0 ** np.arange(OCTAVES))
    waves = np.stack([np.sin(angle), np.cos(angle)], -1)
    return waves.reshape(len(grid_P2), -1).astype(np.float32)
