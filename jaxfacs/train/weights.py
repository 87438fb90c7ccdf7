"""What the labels of the training split say before any is learned: weights, and pairs of AUs."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxfacs.data.records import Statistics
from jaxfacs.train.config import LossConfig
from jaxfacs.train.paths import map_paths, paths
from jaxfacs.train.state import State

PRIOR = "prior"  # the leaf of `stats` that holds the co-occurrence of labels, where a head has one


def label_weights(config: LossConfig, statistics: Statistics) -> Array | None:
    """Float32 A for the occurrence loss, or None where the config wants none.

    "positive": absent / present. "inverse_rate": N (1 / r_i) / sum of 1 / r_j, with r the rate
    among known labels, so that the weights sum to N (Luo et al., IJCAI 2022, and the lists that
    come with ME-GraphAU's code). Both lie within [1 / max, max]; an AU that is never present or
    never coded has 1.
    """
    if config.label_weights == "none":
        return None
    known = statistics.known_A.astype(np.float64)
    positive = statistics.positive_A.astype(np.float64)
    usable = positive > 0
    safe = np.where(usable, positive, 1.0)
    if config.label_weights == "positive":
        weight = (known - positive) / safe
    else:
        inverse = known / safe
        weight = inverse / (inverse[usable].mean() if usable.any() else 1.0)
    bound = config.max_label_weight
    return jnp.asarray(np.where(usable, np.clip(weight, 1.0 / bound, bound), 1.0), jnp.float32)


def conditional(occurrence_FA: np.ndarray) -> np.ndarray:
    """Float32 A×A: the share of j present among frames where i is present and j was coded.

    The diagonal is 1; 0 where no frame tells.
    """
    together_AA, told_AA, _ = _pairs(occurrence_FA)
    share = together_AA / np.maximum(told_AA, 1.0)
    np.fill_diagonal(share, 1.0)
    return share.astype(np.float32)


def correlation(occurrence_FA: np.ndarray) -> np.ndarray:
    """Float32 A×A: Pearson's phi of every pair of AUs, over frames where both were coded.

    0 where it is not defined: never coded together, or one of them always or never present.
    """
    together_AA, told_AA, known_AA = _pairs(occurrence_FA)
    i, j = told_AA, told_AA.T
    spread = i * (known_AA - i) * j * (known_AA - j)
    phi = (known_AA * together_AA - i * j) / np.sqrt(np.maximum(spread, 1.0))
    return np.where(spread > 0, phi, 0.0).astype(np.float32)


def _pairs(occurrence_FA: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Float64 A×A counts of frames: both present; i present and j coded; both coded."""
    present, known = (occurrence_FA == 1), (occurrence_FA >= 0)
    present, known = present.astype(np.float32), known.astype(np.float32)  # exact up to 2^24
    counts = (present.T @ present, present.T @ known, known.T @ known)
    together, told, coded = (c.astype(np.float64) for c in counts)
    return together, told, coded


def has_prior(state: State) -> bool:
    """Whether a head of the network wants to know how labels occur together."""
    return any(map(_is_prior, paths(state["stats"])))


def fill_prior(state: State, conditional_AA: np.ndarray) -> State:
    """The state with `conditional_AA` in every leaf named `prior`, on the leaf's own devices."""

    def fill(path: str, leaf: Array) -> Array:
        if not _is_prior(path):
            return leaf
        return jax.device_put(conditional_AA.astype(leaf.dtype), leaf.sharding)

    return {**state, **{key: map_paths(fill, state[key]) for key in ("stats", "ema")}}


def _is_prior(path: str) -> bool:
    return path.rsplit("/", 1)[-1] == PRIOR
