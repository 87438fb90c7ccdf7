"""Networks as pure functions of plain dicts, which is what a jitted training step wants.

Modules are written in Flax NNX; outside `models` there are only nested dicts of arrays with string
keys, whose paths are the torch names of the original weights (`features/3/conv/0/kernel`).
"""

from typing import Any

import jax
from flax import nnx

Tree = dict[str, Any]


def split(module: nnx.Module) -> tuple[nnx.GraphDef, Tree, Tree]:
    """Returns (graphdef, params, stats): the static shape of the network and its two dicts.

    `params` is what an optimiser changes (float32), `stats` what BatchNorm keeps (float32).
    Raises ValueError if the module holds any other state, as a network with its own RNG would.
    """
    graphdef, params, stats, rest = nnx.split(module, nnx.Param, nnx.BatchStat, ...)
    if rest:
        raise ValueError(f"state that is neither Param nor BatchStat: {nnx.to_pure_dict(rest)}")
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def apply(
    graphdef: nnx.GraphDef,
    params: Tree,
    stats: Tree,
    x_BTHWC: jax.Array,
    *,
    train: bool,
    dropout_key: jax.Array | None = None,
) -> tuple[dict[str, jax.Array], Tree]:
    """Runs the network; returns its outputs and the statistics after it.

    Pure: nothing passed in is changed, so it may be traced, differentiated and donated to.

    Args:
      graphdef, params, stats: as `split` gave them, or the dicts a later step made.
      x_BTHWC: float32, normalised with the mean and std of the card or the experiment.
      train: batch statistics and dropout if true, running statistics if false.
      dropout_key: needed in training by a network with dropout; fold it from (seed, step).
    """
    # copy=True: the merged module owns its variables, so updating BatchStat is legal in a trace.
    module: Any = nnx.merge(graphdef, params, stats, copy=True)
    outputs = module(x_BTHWC, train=train, dropout_key=dropout_key)
    _, _, new_stats = nnx.split(module, nnx.Param, nnx.BatchStat)
    return outputs, nnx.to_pure_dict(new_stats)
