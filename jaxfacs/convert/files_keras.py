"""Keras weights: the HDF5 layout of Keras 1 and 2, and the `.weights.h5` of Keras 3.

Names come out as "LAYER/ROLE", as in "block1_conv1/kernel", whichever version wrote them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.convert.files import MAX_BYTES, FileError, Tensors

# Keras 1's suffixes. Its `running_std` held a variance.
OLD_ROLES = {
    "W": "kernel",
    "b": "bias",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
}
ROLES = (
    "depthwise_kernel",
    "pointwise_kernel",
    "kernel",
    "bias",
    "gamma",
    "beta",
    "moving_mean",
    "moving_variance",
)


def read(path: Path) -> Tensors:
    """ "layer/role" -> array."""
    try:
        import h5py
    except ImportError:
        raise FileError("reading it needs h5py: pip install 'jaxfacs[convert]'") from None
    with h5py.File(path, "r") as file:
        root: Any = file.get("model_weights", file)
        if "layer_names" in root.attrs:
            return _legacy(root, h5py)
        if "layers" in root:
            return _version_3(root["layers"], h5py)
    raise FileError(
        "it is an HDF5 file without Keras weights (no layer_names, no layers); save them with "
        "model.save_weights"
    )


def _legacy(root: Any, h5py: Any) -> Tensors:
    tensors: Tensors = {}
    for layer in map(_text, root.attrs["layer_names"]):
        group = _group(root, layer, h5py)
        for weight in map(_text, group.attrs.get("weight_names", ())):
            name = f"{layer}/{_role(layer, weight)}"
            if name in tensors:
                raise FileError(f"{name} occurs twice; is it a model within a model?")
            tensors[name] = _dataset(group, weight, h5py, held=tensors)
    return tensors


def _role(layer: str, weight: str) -> str:
    """ "conv1/kernel:0" -> "kernel", and "conv1_W:0" of Keras 1 as well."""
    last = weight.rpartition("/")[2].partition(":")[0]
    if last in ROLES:
        return last
    last = last.removeprefix(f"{layer}_")
    return OLD_ROLES.get(last, last)


def _version_3(layers: Any, h5py: Any) -> Tensors:
    """Keras 3 numbers a layer's variables; their shapes tell what they are."""
    tensors: Tensors = {}
    for key in layers:
        group = _group(layers, key, h5py)
        if "vars" not in group:
            raise FileError(f"layer {key} is a model within a model; save the inner one's weights")
        variables = _group(group, "vars", h5py)
        layer = _text(variables.attrs.get("name", key))
        arrays = [_dataset(variables, str(i), h5py, held=tensors) for i in range(len(variables))]
        for role, array in zip(_roles([a.ndim for a in arrays]), arrays, strict=True):
            tensors[f"{layer}/{role}"] = array
    return tensors


def _roles(dims: list[int]) -> tuple[str, ...]:
    norms = {3: ("beta",), 4: ("gamma", "beta")}
    if dims and set(dims) == {1} and len(dims) in norms:
        return (*norms[len(dims)], "moving_mean", "moving_variance")
    if dims[:2] == [4, 4]:
        return ("depthwise_kernel", "pointwise_kernel", "bias")[: len(dims)]
    return tuple(("kernel", "bias")[i] if i < 2 else str(i) for i in range(len(dims)))


def _group(parent: Any, name: str, h5py: Any) -> Any:
    return _local(parent, name, h5py, h5py.Group)


def _dataset(parent: Any, name: str, h5py: Any, *, held: Tensors) -> np.ndarray:
    data = _local(parent, name, h5py, h5py.Dataset)
    total = data.nbytes + sum(array.nbytes for array in held.values())
    if total > MAX_BYTES or data.is_virtual or data.external:
        raise FileError(f"{data.name} is not a plain array of the file, or it is too large")
    return data[()]


def _local(parent: Any, name: str, h5py: Any, kind: type) -> Any:
    """What lies under `name`, never in another file, to which HDF5 can link."""
    for part in filter(None, name.split("/")):
        if not isinstance(parent, h5py.Group) or part not in parent:
            raise FileError(f"{name} is announced but not there; it is damaged")
        if isinstance(parent.get(part, getlink=True), h5py.ExternalLink):
            raise FileError(f"{name} points into another file, which is not followed")
        parent = parent[part]
    if not isinstance(parent, kind):
        raise FileError(f"{name} is not what Keras writes there; it is damaged")
    return parent


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
