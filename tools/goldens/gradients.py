"""Gradients small enough for a golden file, and how far ours are from them.

Of each gradient a file holds its norm and its products with eight directions, drawn from the
tensor's name like a weight. The difference of two gradients, multiplied by a direction of N(0, 1)
entries, has the norm of that difference as its standard deviation, so eight products tell the norm
to about a quarter of itself whatever the difference looks like: a wrong layout, a wrong factor, and
rounding alike.
"""

import zlib

import numpy as np

DIRECTIONS = 8
ZERO, ZERO_SCALE = 1e-12, 1e-3


def directions(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """(DIRECTIONS, *shape) of N(0, 1), float32, a function of the name and the shape alone."""
    rng = np.random.default_rng(zlib.crc32(f"gradient of {name}".encode()))
    return rng.standard_normal((DIRECTIONS, *shape), np.float32)


def project(name: str, gradient: np.ndarray) -> np.ndarray:
    """Products (DIRECTIONS,) of a gradient, in the original's layout, with its directions."""
    flat = np.asarray(gradient, np.float64).reshape(-1)
    return directions(name, gradient.shape).reshape(DIRECTIONS, -1).astype(np.float64) @ flat


def pack_gradients(gradients: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names, norms and products of all gradients, as arrays for an .npz."""
    return {
        "gradient_names": np.array(list(gradients)),
        "gradient_norms": np.array([np.linalg.norm(g) for g in gradients.values()]),
        "gradient_products": np.array([project(n, g) for n, g in gradients.items()]),
    }


def relative_differences(golden, gradients: dict[str, np.ndarray]) -> dict[str, float]:
    """Name -> estimate of |ours - golden| / |golden|.

    `gradients` are ours, in the original's names and layout. A golden gradient that is 0 but for
    the rounding of float64 (a bias that a BatchNorm takes away, or one added to all keys of an
    attention) has no relative difference: ours is compared with ZERO_SCALE of all gradients.
    """
    norms = np.asarray(golden["gradient_norms"], np.float64)
    overall = np.linalg.norm(norms)
    scales = np.where(norms > ZERO * overall, norms, ZERO_SCALE * overall)
    names = golden["gradient_names"].tolist()
    rows = zip(names, scales, golden["gradient_products"], strict=True)
    return {
        name: float(np.sqrt(np.mean(np.square(project(name, gradients[name]) - products)))) / scale
        for name, scale, products in rows
    }
