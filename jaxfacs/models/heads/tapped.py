"""A head without parameters, for systems that go on from what a backbone sees."""

import jax
from flax import nnx


class Tapped(nnx.Module):
    """Answers the taps that it reads."""

    def __init__(self, *reads: str):
        self.reads = reads

    def __call__(
        self, taps: dict[str, jax.Array], *, train: bool, dropout_key: jax.Array | None
    ) -> dict[str, jax.Array]:
        del train, dropout_key
        return taps
