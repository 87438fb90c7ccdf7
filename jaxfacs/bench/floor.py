"""The least a compiled program could take here: its work over what this machine can do."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

PRODUCT = 2048  # of square matrices: 17 GFLOP, in the caches long enough to measure arithmetic
COPY_FLOATS = 64 << 20  # 256 MB: beyond every cache


@dataclass(frozen=True)
class Peaks:
    """What this machine does at its best: float32 operations and bytes moved, a second."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Work:
    """What the compiler counts in one run of a program.

    Attributes:
      flops: multiplications and additions. The body of a loop is counted once.
      bytes: that its fused operations read and write. What stays in a cache between two of them is
        counted too, so a small program can beat the floor that follows from it.
    """

    flops: float
    bytes: float

    def floor_s(self, peaks: Peaks) -> float:
        """Seconds that arithmetic or memory asks for, whichever asks for more."""
        return max(self.flops / peaks.flops, self.bytes / peaks.bytes)


def work_of(compiled: Any) -> Work:
    """The work of a `jax.stages.Compiled`; NaN where its backend does not count."""
    cost = compiled.cost_analysis() or {}
    return Work(cost.get("flops", math.nan), cost.get("bytes accessed", math.nan))


def measure_peaks(rounds: int = 7) -> Peaks:
    """Measures a large matrix product, and a large array rewritten in place.

    The best of some rounds each: a floor is what the machine can do when nothing disturbs it.
    """
    square = jnp.ones((PRODUCT, PRODUCT), jnp.float32)
    product = jax.jit(jnp.matmul).lower(square, square).compile()
    seconds = _best(lambda: jax.block_until_ready(product(square, square)), rounds)
    flops = 2.0 * PRODUCT**3 / seconds

    array = jnp.ones(COPY_FLOATS, jnp.float32)
    size = array.nbytes
    rewrite = jax.jit(lambda x: x + 1.0, donate_argnums=0).lower(array).compile()

    def once():
        nonlocal array
        array = jax.block_until_ready(rewrite(array))

    return Peaks(flops, 2.0 * size / _best(once, rounds))


def _best(function: Callable[[], object], rounds: int) -> float:
    best = math.inf
    for _ in range(rounds + 1):  # the first call warms up
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best
