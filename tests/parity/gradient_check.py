"""Gradients of ours under the original's names, for tools/goldens/gradients.py to compare."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np

_PATH = Path(__file__).parents[2] / "tools" / "goldens" / "gradients.py"
_SPEC = importlib.util.spec_from_file_location("golden_gradients", _PATH)
_SCRIPT = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_SCRIPT)

_LEAVES = {"weight": ("kernel", "scale"), "running_mean": ("mean",), "running_var": ("var",)}


def in_torch(tree: dict[str, Any], name: str, shape: tuple[int, ...], rules) -> np.ndarray:
    """The leaf that torch calls `name`, in torch's layout; `rules` turn its names into ours."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    *parents, role = name.split(".")
    for key in parents:
        tree = tree[key]
    (leaf,) = [leaf for leaf in _LEAVES.get(role, (role,)) if leaf in tree]
    value = np.asarray(tree[leaf])
    if leaf == "kernel":
        if value.ndim == len(shape) - 1:  # depthwise: T,H,W,C for C,1,T,H,W
            value = value[..., None, :]
        value = np.moveaxis(value, (-1, -2), (0, 1))
    assert value.shape == shape, name
    return value


def wrong_gradients(file, shapes, gradients, rules, *, limit: float = 1e-3) -> dict[str, float]:
    """Name -> relative difference, of every gradient that differs by more than `limit`."""
    names = file["gradient_names"].tolist()
    ours = {name: in_torch(gradients, name, shapes[name], rules) for name in names}
    found = _SCRIPT.relative_differences(file, ours)
    return {name: value for name, value in found.items() if not value <= limit}
