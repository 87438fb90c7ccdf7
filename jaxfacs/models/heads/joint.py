"""Occurrence and intensity from one number, so that they cannot contradict each other."""

from collections.abc import Mapping, Sequence

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

    Where `aus` name both sides of a label beside it ("12", "L12", "R12"), only the sides have a
    number of their own, and the label's is the higher of the two: no face then has an AU that
    neither of its sides has.
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
        landmarks: bool = False,
        confidence: bool = False,
        aus: Sequence[str] = (),
        dropout: float = 0.2,
        rngs: nnx.Rngs,
    ):
        check_sizes(num_aus, num_emotions, dropout, valence_arousal=valence_arousal)
        require_intensity("joint", num_aus=num_aus, intensity=intensity)
        self.dropout = dropout
        features = taps["features"]
        own, self.from_own = _numbers(aus or [str(i) for i in range(num_aus)])
        self.occurrence = linear(features, own, rngs=rngs)
        start = np.full((2, num_aus), np.log(np.expm1([[STEEPNESS_START], [1.0]])), np.float32)
        self.rates = nnx.Param(jnp.asarray(start))
        self.emotion = linear(features, num_emotions, rngs=rngs)
        self.valence_arousal = linear(features, 2 if valence_arousal else 0, rngs=rngs)
        self.landmarks = linear(features, 68 * 2 if landmarks else 0, rngs=rngs)
        self.confidence = linear(features, 1 if confidence else 0, rngs=rngs)

    def __call__(
        self, taps: dict[str, jax.Array], *, train: bool, dropout_key: jax.Array | None
    ) -> dict[str, jax.Array]:
        """As `LinearHead`: features (B, F) or (B, T, F) to the answers asked for.

        Further `landmarks` (..., 68, 2), from -1 to 1 over the picture's sides, and `confidence`
        (..., 1), the logit of how far the other answers will turn out right.
        """
        features = taps["features"].astype(jnp.float32)
        features = dropout(features, self.dropout, key=dropout_key, train=train)
        outputs = {}
        if self.occurrence is not None:
            own = self.occurrence(features)
            z = jnp.maximum(own[..., self.from_own[0]], own[..., self.from_own[1]])
            above, below = jax.nn.softplus(self.rates[...])
            outputs = {"occurrence": z, "intensity": intensity_of(z, above=above, below=below)}
        if self.landmarks is not None:
            flat = self.landmarks(features)
            outputs["landmarks"] = flat.reshape(*flat.shape[:-1], 68, 2)
        if self.confidence is not None:
            outputs["confidence"] = self.confidence(features)
        return outputs | affect(self, features)


def _numbers(aus: Sequence[str]) -> tuple[int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """How many numbers these labels have of their own, and the one or two of each label."""
    sided = {au for au in aus if "L" + au in aus and "R" + au in aus}
    own = {au: i for i, au in enumerate(au for au in aus if au not in sided)}
    left = tuple(own["L" + au] if au in sided else own[au] for au in aus)
    right = tuple(own["R" + au] if au in sided else own[au] for au in aus)
    return len(own), (left, right)


def intensity_of(z: jax.Array, *, above: jax.Array, below: jax.Array) -> jax.Array:
    """The intensity in [0, 5] of occurrence logits z, as `JointHead` says; rates are positive."""
    present = jax.nn.sigmoid(z) >= 0.5  # not z >= 0: near 0 a sigmoid rounds, and p is what is seen
    risen = LEVEL + (MAX_INTENSITY - LEVEL) * -jnp.expm1(-above * jnp.maximum(z, 0.0))
    under = 2.0 * LEVEL * jax.nn.sigmoid(below * jnp.minimum(z, 0.0))
    # Just below 0 the product rounds up to LEVEL itself.
    return jnp.where(present, risen, jnp.minimum(under, np.nextafter(np.float32(LEVEL), 0)))
