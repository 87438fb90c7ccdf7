"""What a label of each AU counts for, from how often it occurs in the training split."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfacs.data.records import Statistics
from jaxfacs.train.config import LossConfig


def label_weights(config: LossConfig, statistics: Statistics) -> Array | None:
    """Float32 A for the occurrence loss, or None where the config wants none.

    "positive": absent / present, within [1 / max, max]; an AU never present or never coded has 1.
    "inverse_rate": inverse rate over its mean, so that the weights sum to A (ME-GraphAU §1.7),
    within the same bounds before that division.
    """
    if config.label_weights == "none":
        return None
    known = statistics.known_A.astype(np.float64)
    positive = statistics.positive_A.astype(np.float64)
    usable = positive > 0
    safe = np.where(usable, positive, 1.0)
    bound = config.max_label_weight
    if config.label_weights == "positive":
        ratio = np.where(usable, (known - positive) / safe, 1.0)
        return jnp.asarray(np.clip(ratio, 1.0 / bound, bound), jnp.float32)
    inverse = np.clip(np.where(usable, known / safe, 1.0), 1.0 / bound, bound)
    return jnp.asarray(inverse / inverse.mean(), jnp.float32)
