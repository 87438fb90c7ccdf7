"""Intensity as ordered thresholds (CORAL)."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.heads.linear import LINEAR_STD, affect, check_sizes, dropout, linear
from jaxfacs.models.layers import normal

LEVELS = 5  # A to E
GAP_START = 1.0  # logits between two thresholds: E then starts 4 logits above A


class OrdinalHead(nnx.Module):
    """One number an AU against five rising thresholds: "at least A", ..., "at least E".

    Cao, Mirjalili & Raschka, "Rank consistent ordinal regression for neural networks with
    application to age estimation", Pattern Recognition Letters 2020: all thresholds of an AU share
    one direction in the features. CORAL's thresholds come out ordered at the minimum of its loss;
    these are ordered by construction (each gap is a softplus), so that P(>= k) never rises with k.
    """

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
        require_intensity("ordinal", num_aus=num_aus, intensity=intensity)
        self.dropout = dropout
        features = taps["features"]
        self.latent = nnx.Param(normal(LINEAR_STD)(rngs.params(), (features, num_aus)))
        self.first = nnx.Param(jnp.asarray(np.zeros(num_aus, np.float32)))
        start = math.log(math.expm1(GAP_START))  # softplus of it is GAP_START
        self.gaps = nnx.Param(jnp.asarray(np.full((num_aus, LEVELS - 1), start, np.float32)))
        self.emotion = linear(features, num_emotions, rngs=rngs)
        self.valence_arousal = linear(features, 2 if valence_arousal else 0, rngs=rngs)

    def __call__(
        self, taps: dict[str, jax.Array], *, train: bool, dropout_key: jax.Array | None
    ) -> dict[str, jax.Array]:
        """Maps features (B, F) or (B, T, F) to the answers asked for.

        Answers `ordinal` (..., A, 5) logits of "intensity >= 1, ..., 5", `intensity` (..., A), the
        expected number of thresholds passed, and `occurrence` (..., A), the first of those logits.
        """
        features = taps["features"].astype(jnp.float32)
        features = dropout(features, self.dropout, key=dropout_key, train=train)
        outputs = {}
        if self.latent.shape[1]:
            logits = (features @ self.latent[...])[..., None] - self.thresholds()
            intensity = jax.nn.sigmoid(logits).sum(-1)
            outputs = {"ordinal": logits, "intensity": intensity, "occurrence": logits[..., 0]}
        return outputs | affect(self, features)

    def thresholds(self) -> jax.Array:
        """(A, 5), rising along each row."""
        steps = jnp.concatenate([self.first[...][:, None], jax.nn.softplus(self.gaps[...])], 1)
        return jnp.cumsum(steps, axis=1)


def require_intensity(head: str, *, num_aus: int, intensity: bool) -> None:
    """Raises UserError where a head that answers AUs by their intensity is not to answer it."""
    if num_aus and not intensity:
        raise UserError(
            f"head {head} learns AUs from their intensities; give --model.intensity True, or take "
            "--model.head linear where the records have none"
        )
