"""Steps whose loss or gradient leaps: found against a window of the good steps before, and skipped.

As OLMo-core's SkipStepOptimizer (github.com/allenai/OLMo-core). The window is a part of the state,
`spikes`, in runs that look for them (`spike_deviations` above 0):

    loss, grad_norm  float32 (W,)  of the last W good steps, in a ring
    good             int32         good steps so far
    in_row           int32         how many of `skipped_in_row` were spikes and not non-finite

A level that rises and stays fills `skipped_in_row`, since skipped steps do not move the window.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Window = dict[str, Array]

MEASURED = ("loss", "grad_norm")
SHARE = 4  # a quarter of the window must be there before anything is called a spike


def window(length: int) -> Window:
    """An empty one."""
    zero = jnp.zeros((), jnp.int32)
    return {name: jnp.zeros(length) for name in MEASURED} | {"good": zero, "in_row": zero}


def found(spikes: Window, measured: Window, *, deviations: float) -> Array:
    """Whether a step is a spike: bool ().

    It is if any of `measured` lies more than so many standard deviations above the window's mean,
    once a quarter of the window is there.
    """
    length = spikes[MEASURED[0]].shape[0]
    seen = jnp.minimum(spikes["good"], length)
    there = jnp.arange(length) < seen
    leaps = []
    for name in MEASURED:
        mean = jnp.mean(spikes[name], where=there)
        deviation = jnp.std(spikes[name], where=there)
        leaps.append(measured[name] > mean + deviations * deviation)
    return jnp.stack(leaps).any() & (seen >= max(length // SHARE, 2))


def after(spikes: Window, measured: Window) -> Window:
    """The window after a good step."""
    good = spikes["good"]
    rings = {
        name: spikes[name].at[good % spikes[name].size].set(measured[name]) for name in MEASURED
    }
    return {**rings, "good": good + 1, "in_row": jnp.zeros_like(good)}


def fitted(state: dict[str, Any], abstract: dict[str, Any]) -> dict[str, Any]:
    """A restored state with the window that this run has: its own, an empty one, or none.

    The option may be changed on resuming; a window of another length begins anew.
    """
    rest = {key: value for key, value in state.items() if key != "spikes"}
    wanted, there = abstract.get("spikes"), state.get("spikes")
    if wanted is None:
        return rest
    length = wanted[MEASURED[0]].shape[0]
    if there is not None and there[MEASURED[0]].shape[0] == length:
        return state
    place = {name: form.sharding for name, form in wanted.items()}
    return rest | {"spikes": jax.jit(window, static_argnums=0, out_shardings=place)(length)}


def why(metrics: dict[str, Any]) -> str:
    """What was the matter with the steps that were skipped last, by the metrics of the last one."""
    row, leapt = int(metrics["skipped_in_row"]), int(metrics.get("spikes_in_row", 0))
    if not leapt:
        return "were not finite"
    if leapt == row:
        return "leapt in loss or gradient norm (--spike-deviations)"
    return f"were not finite, or leapt in loss or gradient norm ({leapt} of {row})"
