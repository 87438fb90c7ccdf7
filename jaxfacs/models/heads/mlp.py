"""A small network of its own for each AU."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.models.heads.each import Each, EachAnswers
from jaxfacs.models.heads.linear import affect, check_sizes, dropout, linear

HIDDEN = 64  # units of each AU's network


class MlpHead(nnx.Module):
    """One hidden layer for each AU on the pooled features; AUs share nothing after the backbone."""

    reads = ("features",)

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
        self.dropout = dropout
        features = taps["features"]
        self.hidden = Each(num_aus, features, HIDDEN, rngs=rngs) if num_aus else None
        self.answers = (
            EachAnswers(num_aus, HIDDEN, intensity=intensity, rngs=rngs) if num_aus else None
        )
        self.emotion = linear(features, num_emotions, rngs=rngs)
        self.valence_arousal = linear(features, 2 if valence_arousal else 0, rngs=rngs)

    def __call__(
        self, taps: dict[str, jax.Array], *, train: bool, dropout_key: jax.Array | None
    ) -> dict[str, jax.Array]:
        """As `LinearHead`: features (B, F) or (B, T, F) to the answers asked for."""
        features = taps["features"].astype(jnp.float32)
        features = dropout(features, self.dropout, key=dropout_key, train=train)
        outputs = {}
        if self.hidden is not None and self.answers is not None:
            outputs = self.answers(jax.nn.relu(self.hidden.of_shared(features)))
        return outputs | affect(self, features)
