"""Leaves of a tree by their path, written "block1/conv/kernel": what patterns match against."""

from collections.abc import Callable
from typing import Any

import jax


def paths(tree: Any) -> dict[str, Any]:
    """Path -> leaf, in the tree's own order."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(path): leaf for path, leaf in leaves}


def map_paths(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """`function(path, leaf)` over the leaves, in the tree's form."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: function(_name(path), leaf), tree)


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
