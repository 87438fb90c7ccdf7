"""What the parity tests share: golden arrays, weights drawn by name, and our network with them."""

import importlib.util
from functools import cache
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from jaxfacs import convert, models

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"


@cache
def drawn():
    """tools/goldens/drawn.py, which the scripts that made the golden arrays draw from as well."""
    path = ROOT / "tools" / "goldens" / "drawn.py"
    spec = importlib.util.spec_from_file_location("drawn", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def converted(name: str, shapes: dict[str, tuple[int, ...]], **options) -> nnx.Module:
    """Our network `name` with the original's drawn weights, through `convert.from_torch`."""
    return convert.from_torch(name, drawn().draw_state(shapes), **options)


def run(module: nnx.Module, x_BTHWC: np.ndarray, *, train: bool = False) -> dict[str, np.ndarray]:
    graphdef, params, stats = models.split(module)
    apply = jax.jit(lambda p, s, x: models.apply(graphdef, p, s, x, train=train)[0])
    return {name: np.asarray(value) for name, value in apply(params, stats, x_BTHWC).items()}
