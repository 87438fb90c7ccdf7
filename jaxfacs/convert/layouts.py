"""How each framework lays its tensors out and names their roles, and what both are here."""

from collections.abc import Callable
from typing import Literal

import numpy as np

Layout = Literal["torch", "keras"]

# Role of a tensor, the last part of its name -> the leaf it may be here, best first.
LEAVES: dict[Layout, dict[str, tuple[str, ...]]] = {
    "torch": {
        "weight": ("kernel", "scale"),
        "running_mean": ("mean",),
        "running_var": ("var",),
    },
    "keras": {
        "gamma": ("scale",),
        "beta": ("bias",),
        "moving_mean": ("mean",),
        "moving_variance": ("var",),
        "depthwise_kernel": ("kernel",),
        "pointwise_kernel": ("kernel",),
        "weights": ("kernel",),  # TensorFlow's slim
        "biases": ("bias",),
    },
}


def kernel(value: np.ndarray, layout: Layout, shape: tuple[int, ...]) -> np.ndarray:
    """A kernel of another framework as ours, towards the `shape` that the network expects.

    torch: O,I,H,W -> H,W,I,O and O,I,T,H,W -> T,H,W,I,O and O,I -> I,O; Keras' are ours already,
    but for depthwise H,W,C,1. Depthwise kernels lose their axis of length 1; a convolution over a
    whole map becomes the linear layer that it is, and O,I*H*W of Lua Torch the convolution that it
    is. The shape may still differ: that is for the caller to see.
    """
    if layout == "torch" and value.ndim == 2 and len(shape) == 4 and value.size == np.prod(shape):
        value = value.reshape(shape[3], shape[2], *shape[:2])
    value = _FROM[layout](value)
    if value.ndim == len(shape) + 1:
        axis = -2 if layout == "torch" else -1  # H,W,1,C of torch and H,W,C,1 of Keras
        return np.squeeze(value, axis) if value.shape[axis] == 1 else value
    if len(shape) == 2 and value.ndim > 2:
        return value.reshape(-1, value.shape[-1])
    if len(shape) > 2 and value.ndim == 2 and set(shape[:-2]) == {1}:
        return value.reshape((1,) * (len(shape) - 2) + value.shape)
    return value


def after_flatten(kernel_IO: np.ndarray, shape_CHW: tuple[int, int, int]) -> np.ndarray:
    """A linear layer that read a flattened C,H,W map as one that reads a flattened H,W,C."""
    outputs = kernel_IO.shape[-1]
    return kernel_IO.reshape(*shape_CHW, outputs).transpose(1, 2, 0, 3).reshape(-1, outputs)


def _from_torch(value: np.ndarray) -> np.ndarray:
    spatial = range(2, value.ndim)
    return value.transpose(*spatial, 1, 0) if value.ndim >= 2 else value


_FROM: dict[Layout, Callable[[np.ndarray], np.ndarray]] = {
    "torch": _from_torch,
    "keras": lambda value: value,
}
