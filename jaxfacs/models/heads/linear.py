"""The plain head, a linear layer for each answer, and what all generic heads share."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.layers import normal

MAX_INTENSITY = 5.0  # FACS letter E

LINEAR_STD = 0.01  # as MobileNetV2 starts its classifier
INTENSITY_START = 0.3  # most AUs are absent from most frames: 2.5 would be unlearned first


class LinearHead(nnx.Module):
    """One linear layer an answer, on the pooled features."""

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
        self.occurrence = linear(features, num_aus, rngs=rngs)
        self.intensity = linear(features, num_aus if intensity else 0, rngs=rngs)
        if self.intensity is not None and self.intensity.bias is not None:
            self.intensity.bias[...] = jnp.full(num_aus, intensity_start(), jnp.float32)
        self.emotion = linear(features, num_emotions, rngs=rngs)
        self.valence_arousal = linear(features, 2 if valence_arousal else 0, rngs=rngs)

    def __call__(
        self,
        taps: dict[str, jax.Array],
        *,
        train: bool,
        dropout_key: jax.Array | None,
    ) -> dict[str, jax.Array]:
        """Maps features (B, F) to one row a clip, or (B, T, F) to one a frame; emotion is per clip.

        Answers what was asked for at creation: `occurrence` logits, `intensity` in 0..5, `emotion`
        logits, `valence_arousal` in [-1, 1]. Computes in float32 whatever the backbone's dtype: the
        heads cost nothing and logits of rare AUs are small differences.
        """
        features = taps["features"].astype(jnp.float32)
        features = dropout(features, self.dropout, key=dropout_key, train=train)
        outputs = {}
        if self.occurrence is not None:
            outputs["occurrence"] = self.occurrence(features)
        if self.intensity is not None:
            outputs["intensity"] = MAX_INTENSITY * jax.nn.sigmoid(self.intensity(features))
        return outputs | affect(self, features)


def linear(inputs: int, outputs: int, *, rngs: nnx.Rngs) -> nnx.Linear | None:
    """The last layer of an answer, or None where nothing is to be answered."""
    if not outputs:
        return None
    return nnx.Linear(inputs, outputs, kernel_init=normal(LINEAR_STD), rngs=rngs)


def affect(head: Any, features: jax.Array) -> dict[str, jax.Array]:
    """What the layers `emotion` and `valence_arousal` of a head answer, of those that it has.

    Args:
      features: (B, F), or (B, T, F), whose mean over T the emotion of a clip is read from.
    """
    outputs = {}
    if head.emotion is not None:
        outputs["emotion"] = head.emotion(features if features.ndim == 2 else features.mean(axis=1))
    if head.valence_arousal is not None:
        outputs["valence_arousal"] = jnp.tanh(head.valence_arousal(features))
    return outputs


def intensity_start() -> float:
    """The logit of INTENSITY_START on the scale 0..5."""
    return math.log(INTENSITY_START / (MAX_INTENSITY - INTENSITY_START))


def check_sizes(
    num_aus: int, num_emotions: int, dropout: float, *, valence_arousal: bool = False
) -> None:
    """Raises UserError for what no head can be made with."""
    if not 0.0 <= dropout < 1.0:
        raise UserError(f"dropout {dropout} is not in [0, 1)")
    if num_aus < 0 or num_emotions < 0:
        raise UserError(f"num_aus {num_aus} and num_emotions {num_emotions} must be 0 or more")
    if not (num_aus or num_emotions or valence_arousal):
        raise UserError(
            "the network is asked for nothing: no AU, no emotion, no affect; give records with AU "
            "labels, or --model.emotion or --model.valence-arousal"
        )


def dropout(x: jax.Array, rate: float, *, key: jax.Array | None, train: bool) -> jax.Array:
    """Zeroes a share `rate` of `x` in training and scales the rest up; needs a key for that."""
    if not train or rate == 0.0:
        return x
    if key is None:
        raise ValueError(
            "training with dropout needs dropout_key; pass one or create with dropout=0"
        )
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / (1.0 - rate), 0.0)
