"""The plain head: a linear layer for each answer."""

import math
from collections.abc import Mapping

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
        dropout: float = 0.2,
        rngs: nnx.Rngs,
    ):
        check_sizes(num_aus, num_emotions, dropout)
        self.dropout = dropout

        def linear(num_outputs: int) -> nnx.Linear:
            return nnx.Linear(
                taps["features"], num_outputs, kernel_init=normal(LINEAR_STD), rngs=rngs
            )

        self.occurrence = linear(num_aus)
        self.intensity = linear(num_aus) if intensity else None
        if self.intensity is not None and self.intensity.bias is not None:
            start = math.log(INTENSITY_START / (MAX_INTENSITY - INTENSITY_START))
            self.intensity.bias[...] = jnp.full(num_aus, start, jnp.float32)
        self.emotion = linear(num_emotions) if num_emotions else None

    def __call__(
        self,
        taps: dict[str, jax.Array],
        *,
        train: bool,
        dropout_key: jax.Array | None,
    ) -> dict[str, jax.Array]:
        """Maps features (B, F) to one row a clip, or (B, T, F) to one a frame; emotion is per clip.

        Answers `occurrence` logits, and where asked for at creation `intensity` in 0..5 and
        `emotion` logits. Computes in float32 whatever the backbone's dtype: the heads cost nothing
        and logits of rare AUs are small differences.
        """
        features = taps["features"].astype(jnp.float32)
        features = dropout(features, self.dropout, key=dropout_key, train=train)
        outputs = {"occurrence": self.occurrence(features)}
        if self.intensity is not None:
            outputs["intensity"] = MAX_INTENSITY * jax.nn.sigmoid(self.intensity(features))
        if self.emotion is not None:
            pooled = features if features.ndim == 2 else features.mean(axis=1)
            outputs["emotion"] = self.emotion(pooled)
        return outputs


def check_sizes(num_aus: int, num_emotions: int, dropout: float) -> None:
    """Raises UserError for what no head can be made with."""
    if not 0.0 <= dropout < 1.0:
        raise UserError(f"dropout {dropout} is not in [0, 1)")
    if num_aus < 1 or num_emotions < 0:
        raise UserError(f"num_aus {num_aus} must be 1 or more, num_emotions {num_emotions} 0")


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
