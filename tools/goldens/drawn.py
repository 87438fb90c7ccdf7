"""Weights and inputs drawn from their names, so that golden files need not hold them.

Both the scripts here, which run the original code, and tests/parity, which run ours, draw from
this file. Nothing in it is random: the same name and shape give the same numbers.
"""

import zlib

import numpy as np


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor `name` of an original state dict, float32, in the original's layout.

    Scales keep activations near 1 through any depth: fan-in for kernels, variances in 0.5..2.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    values = rng.standard_normal(shape, np.float32)
    if name.endswith(("running_var", "moving_variance")):
        return 0.5 + np.abs(values)
    if name.endswith(("running_mean", "moving_mean", "bias", "beta")):
        return 0.1 * values
    if len(shape) <= 1:  # scales of norms
        return 1.0 + 0.1 * values
    fan_in = int(np.prod(shape[1:]))
    return values * np.float32(np.sqrt(2.0 / fan_in))


def draw_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A whole state dict; buffers that hold no weights (counters, index tables) must not be in."""
    return {name: draw(name, tuple(shape)) for name, shape in shapes.items()}


def draw_input(shape: tuple[int, ...], *, seed: int = 7) -> np.ndarray:
    """A normalised input of N(0, 1), float32, channels last."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def pack_shapes(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Names and shapes as two arrays that an .npz can hold without pickle."""
    return {
        "state_names": np.array(list(shapes)),
        "state_shapes": np.array([" ".join(map(str, s)) for s in shapes.values()]),
    }


def unpack_shapes(golden) -> dict[str, tuple[int, ...]]:
    """The inverse of `pack_shapes` over an opened .npz."""
    rows = zip(golden["state_names"].tolist(), golden["state_shapes"].tolist(), strict=True)
    return {name: tuple(map(int, text.split())) for name, text in rows}
