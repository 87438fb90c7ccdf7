"""Layers that every AU has of its own, run side by side."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfacs.models.heads.linear import LINEAR_STD, MAX_INTENSITY, intensity_start
from jaxfacs.models.layers import normal


class Each(nnx.Module):
    """A linear layers side by side, one an AU, in one matrix product.

    Kernel (A, F, O) starts at N(0, std), by default sqrt(2 / O) as He et al. 2015 by fan out.
    """

    def __init__(
        self, num_aus: int, inputs: int, outputs: int, *, std: float | None = None, rngs: nnx.Rngs
    ):
        std = math.sqrt(2.0 / outputs) if std is None else std
        self.kernel = nnx.Param(normal(std)(rngs.params(), (num_aus, inputs, outputs)))
        self.bias = nnx.Param(jnp.asarray(np.zeros((num_aus, outputs), np.float32)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps each AU's own features (..., A, F) to (..., A, O)."""
        return jnp.einsum("...af,afo->...ao", x, self.kernel[...]) + self.bias[...]

    def of_shared(self, x: jax.Array) -> jax.Array:
        """Maps the same features (..., F) for every AU to (..., A, O)."""
        return jnp.einsum("...f,afo->...ao", x, self.kernel[...]) + self.bias[...]


class EachAnswers(nnx.Module):
    """Occurrence, and intensity where asked for, from features that each AU has of its own."""

    def __init__(self, num_aus: int, inputs: int, *, intensity: bool, rngs: nnx.Rngs):
        self.occurrence = Each(num_aus, inputs, 1, std=LINEAR_STD, rngs=rngs)
        self.intensity = Each(num_aus, inputs, 1, std=LINEAR_STD, rngs=rngs) if intensity else None
        if self.intensity is not None:
            self.intensity.bias[...] = jnp.full((num_aus, 1), intensity_start(), jnp.float32)

    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """Maps (..., A, F) to `occurrence` logits and `intensity` in 0..5, (..., A)."""
        outputs = {"occurrence": self.occurrence(x)[..., 0]}
        if self.intensity is not None:
            logits = self.intensity(x)[..., 0]
            outputs["intensity"] = MAX_INTENSITY * jax.nn.sigmoid(logits)
        return outputs
