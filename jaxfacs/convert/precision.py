"""Weights in fewer bits: how they are kept in a bundle and restored inside its program."""

from collections.abc import Mapping
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

SCALE = ":scale"  # end of the name of what an int8 array is multiplied with
_LARGEST = 127  # −128 is left out, so that the range is symmetric


def stored(weights: Mapping[str, np.ndarray], precision: Precision) -> dict[str, np.ndarray]:
    """The weights as they are kept in a bundle.

    Kernels and matrices alone become smaller. Vectors (biases, norms and their statistics) are a
    hundredth of the bytes and stay float32: rounding them moves whole channels. An int8 array has
    one scale for each output channel, its last axis: the largest magnitude there becomes 127.
    """
    found: dict[str, np.ndarray] = {}
    for name, array in weights.items():
        if precision == "float32" or not _shrinks(name, array):
            found[name] = array
        elif precision == "bfloat16":
            found[name] = array.astype(jnp.bfloat16)
        else:
            found[name], found[name + SCALE] = _quantised(array)
    return found


def restored(weights: Mapping[str, Array]) -> dict[str, Array]:
    """What `stored` gave, inside the program: int8 arrays times their scales, float32."""
    return {
        name: _dequantised(array, weights[name + SCALE]) if name + SCALE in weights else array
        for name, array in weights.items()
        if not name.endswith(SCALE)
    }


def _shrinks(name: str, array: np.ndarray) -> bool:
    return name.startswith("params/") and array.ndim >= 2 and array.dtype == np.float32


def _quantised(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale_C = np.abs(array).max(axis=tuple(range(array.ndim - 1))) / np.float32(_LARGEST)
    scale_C = np.where(scale_C > 0, scale_C, 1).astype(np.float32)
    return np.round(array / scale_C).astype(np.int8), scale_C


def _dequantised(array: Array, scale_C: Array) -> Array:
    return array.astype(jnp.float32) * scale_C.reshape((1,) * (array.ndim - 1) + scale_C.shape)
