"""The program by which a bundle is adapted without labels: a network's statistics of given clips.

In training, a batch normalisation normalises by its batch and moves its running statistics towards
it, by a share that is the layer's own. What the batch had is found from two such moves, one that
starts at 0 and one at 1, whatever the share: so no layer needs to know of this.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxfacs.convert import precision as precisions
from jaxfacs.convert.export import flat_arrays, nested
from jaxfacs.convert.precision import Precision

_STILL = 1e-4  # a layer that moves less than this does not move: its norm is frozen


def statistics_of(trained: Any, precision: Precision) -> Callable[..., dict[str, jax.Array]] | None:
    """(stored weights, uint8 clips) -> the statistics of these clips, by the weights' names.

    Dropout is left out. Layers whose norm is frozen answer what they have. None for a network
    without statistics.

    Args:
      trained: a `train.trained.Trained`.
      precision: of the stored weights; the computation is as in inference.
    """
    if not jax.tree.leaves(trained.stats):
        return None
    from jaxfacs import models
    from jaxfacs.convert.command import network_form

    experiment = trained.experiment
    config = experiment.model
    if "dropout" in models.options(config.name):
        config = dataclasses.replace(config, dropout=0.0)
    calm = dataclasses.replace(experiment, model=config)
    trained = dataclasses.replace(trained, experiment=calm)
    scaling = models.normalisation(config.normalisation, model=config.name)
    dtype = "bfloat16" if precision == "bfloat16" else "float32"

    def statistics(weights: dict[str, jax.Array], frames_BTHWC: jax.Array) -> dict[str, jax.Array]:
        # Here, so that a network which cannot be trained costs its bundle this program alone.
        graphdef = network_form(trained, dtype=dtype)
        tree = nested(precisions.restored(weights))
        mean_3, std_3 = (jnp.asarray(v) for v in scaling)
        x_BTHWC = (frames_BTHWC.astype(jnp.float32) - mean_3) / std_3

        def moved_from(start: float) -> Any:
            stats = jax.tree.map(lambda s: jnp.full_like(s, start), tree["stats"])
            # The forward pass is the same in both moves, and XLA computes it once.
            return models.apply(
                graphdef,
                tree["params"],
                stats,
                x_BTHWC,
                train=True,
                dropout_key=jax.random.key(0),
            )[1]

        found = jax.tree.map(_of_batch, moved_from(0.0), moved_from(1.0), tree["stats"])
        return flat_arrays(stats=found)

    return statistics


def _of_batch(from_0: jax.Array, from_1: jax.Array, kept: jax.Array) -> jax.Array:
    """The batch's statistic m of moves from 0 and 1: k·0 + (1 − k)·m and k·1 + (1 − k)·m."""
    # The share k is the same for all channels, and exact where the statistic is small.
    share = (from_1 - from_0).ravel()[jnp.argmin(jnp.abs(from_0.ravel()))]
    moves = share < 1 - _STILL
    return jnp.where(moves, from_0 / jnp.where(moves, 1 - share, 1.0), kept)
