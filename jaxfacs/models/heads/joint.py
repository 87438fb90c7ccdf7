"""Occurrence and intensity from one number, so that they cannot contradict each other."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfacs.models.heads.linear import MAX_INTENSITY, affect, check_sizes, dropout, linear
from jaxfacs.models.heads.ordinal import require_intensity

LEVEL = 1.0  # FACS letter A, trace: the intensity from which an AU is present
STEEPNESS_START = 0.4  # logits of the AU's own rates: p = 0.95 is then about C


class JointHead(nnx.Module):
    """One number z an AU, from which both answers follow.

        p = sigmoid(z)
        intensity = 2 LEVEL sigmoid(b z)                            where p < 0.5, below LEVEL
                    LEVEL + (5 - LEVEL) (1 - exp(-a z))             where p >= 0.5, from LEVEL on

    with two rates a, b > 0 of each AU, learned. Both answers rise with z, and the intensity is at
    least LEVEL exactly where p is at least 0.5. A threshold other than 0.5, tuned afterwards,
    breaks that; `infer.answer` then mends it.
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
        require_intensity("joint", num_aus=num_aus, intensity=intensity)
        self.dropout = dropout
        features = taps["features"]
        self.occurrence = linear(features, num_aus, rngs=rngs)
        start = np.full((2, num_aus), np.log(np.expm1([[STEEPNESS_START], [1.0]])), np.float32)
        self.rates = nnx.Param(jnp.asarray(start))
        self.emotion = linear(features, num_emotions, rngs=rngs)
        self.valence_arousal = linear(features, 2 if valence_arousal else 0, rngs=rngs)

    def __call__(
        self, taps: dict[str, jax.Array], *, train: bool, dropout_key: jax.Array | None
    ) -> dict[str, jax.Array]:
        """As `LinearHead`: features (B, F) or (B, T, F) to the answers asked for."""
        features = taps["features"].astype(jnp.float32)
        features = dropout(features, self.dropout, key=dropout_key, train=train)
        outputs = {}
        if self.occurrence is not None:
            z = self.occurrence(features)
            above, below = jax.nn.softplus(self.rates[...])
            outputs = {"occurrence": z, "intensity": intensity_of(z, above=above, below=below)}
        return outputs | affect(self, features)


def intensity_of(z: jax.Array, *, above: jax.Array, below: jax.Array) -> jax.Array:
    """The intensity in [0, 5] of occurrence logits z, as `JointHead` says; rates are positive."""
    present = jax.nn.sigmoid(z) >= 0.5  # not z >= 0: near 0 a sigmoid rounds, and p is what is seen
    risen = LEVEL + (MAX_INTENSITY - LEVEL) * -jnp.expm1(-above * jnp.maximum(z, 0.0))
    under = 2.0 * LEVEL * jax.nn.sigmoid(below * jnp.minimum(z, 0.0))
    # Just below 0 the product rounds up to LEVEL itself.
    return jnp.where(present, risen, jnp.minimum(under, np.nextafter(np.float32(LEVEL), 0)))
