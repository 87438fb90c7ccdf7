"""Norms of gradients and updates by part of the network: which one grows, stands still, explodes.

A group is a part of the parameters' paths: of the blocks of a network down to the third level the
finest division that has at most MOST parts. What is frozen is in none.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxfacs.train.paths import paths

MOST = 24  # each is two numbers in every line of the metrics
DEEPEST = 3  # backbone/layer1/0; below it are the layers of one block


def of(params: Any, frozen: Any) -> dict[str, str]:
    """Path of each parameter that is trained -> its group, as "backbone/layer1"."""
    trained = [path for path, kept in paths(frozen).items() if not kept]
    assert paths(params).keys() == paths(frozen).keys()
    for depth in range(DEEPEST, 0, -1):
        found = {path: "/".join(path.split("/")[:-1][:depth]) or path for path in trained}
        if len(set(found.values())) <= MOST:
            return found
    return dict.fromkeys(trained, "all")


def numbers(group: dict[str, str], *, grads: Any, updates: Any, params: Any) -> dict[str, Array]:
    """`grad_norm/GROUP`, and `update_ratio/GROUP`: norm of the update over that of the weights.

    Gradients are those before clipping, weights (`params`) those after the step. The ratio is 0
    where all weights are 0. Each is a sum over a device's own numbers and one scalar between
    devices, however parameters are split. Squares of gradients and updates are summed anyway, so
    all this costs one pass over the weights.
    """
    gradient, update, weight = (_norms(group, tree) for tree in (grads, updates, params))
    ratios = {
        f"update_ratio/{name}": jnp.where(norm > 0, update[name] / jnp.maximum(norm, 1e-30), 0.0)
        for name, norm in weight.items()
    }
    return {f"grad_norm/{name}": norm for name, norm in gradient.items()} | ratios


def _norms(group: dict[str, str], tree: Any) -> dict[str, Array]:
    squares: dict[str, Array] = {}
    for path, leaf in paths(tree).items():
        if path in group:
            name = group[path]
            squares[name] = squares.get(name, jnp.zeros(())) + jnp.sum(jnp.square(leaf))
    return {name: jnp.sqrt(total) for name, total in squares.items()}
