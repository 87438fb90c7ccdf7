"""Spikes: found against the good steps before them, skipped, and counted apart from the others."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_step import BASE, build, make_batch

from jaxfacs.train import spikes

WINDOW = 8
LEAPS = dataclasses.replace(
    BASE,
    ema=0.9,
    model=dataclasses.replace(BASE.model, options={"norm": True, "leap": 0.5, "poison": 1.5}),
    spike_deviations=6.0,
    spike_window=WINDOW,
)


def filled(values) -> dict:
    window = spikes.window(WINDOW)
    for value in values:
        measured = {"loss": jnp.float32(value), "grad_norm": jnp.float32(1 + value)}
        window = spikes.after(window, measured)
    return window


def is_spike(values, loss: float, grad_norm: float = 0.0, deviations: float = 3.0) -> bool:
    measured = {"loss": jnp.float32(loss), "grad_norm": jnp.float32(grad_norm)}
    return bool(spikes.found(filled(values), measured, deviations=deviations))


def test_a_spike_is_beyond_the_deviations_of_the_window_in_loss_or_gradient():
    """Of 1 to 8 the mean is 4.5 and the standard deviation 2.291; gradients are one more."""
    values = range(1, 9)
    limit = np.mean(values) + 3 * np.std(values)
    assert not is_spike(values, limit - 0.01) and is_spike(values, limit + 0.01)
    assert not is_spike(values, 0, 1 + limit - 0.01) and is_spike(values, 0, 1 + limit + 0.01)
    assert not is_spike(values, -100.0, -100.0)


def test_the_window_rolls():
    """The last eight of these are 1 to 8."""
    values = [500, 600, 700, *range(1, 9)]
    limit = np.mean(values[3:]) + 3 * np.std(values[3:])
    assert not is_spike(values, limit - 0.01) and is_spike(values, limit + 0.01)


def test_nothing_is_a_spike_before_a_quarter_of_the_window():
    assert not is_spike([1.0], 1e9) and is_spike([1.0, 2.0], 1e9)


def test_a_spike_changes_nothing_but_counters_and_a_window_without_one_changes_nothing():
    _, state, step = build(LEAPS)
    _, plain, plain_step = build(dataclasses.replace(LEAPS, spike_deviations=0.0))
    assert "spikes" not in plain
    for i in range(4):
        state, metrics = step(state, make_batch(i))
        plain, _ = plain_step(plain, make_batch(i))
        assert int(metrics["skipped"]) == 0
    before = jax.device_get(state)
    for key, value in jax.device_get(plain).items():
        assert jax.tree.all(jax.tree.map(np.array_equal, before[key], value)), key

    loud, bright = make_batch(5), make_batch(6)
    loud["frames_BTHWC"][3] = 200  # 1.1 deviations above the mean: a leap
    bright["frames_BTHWC"][3] = 255  # 2.0: not finite
    for bad, leapt, batch in ((1, 1, loud), (2, 1, bright), (3, 2, loud)):
        state, metrics = step(state, batch)
        assert np.isfinite(metrics["loss"]) == (batch is loud)
        assert int(metrics["skipped_in_row"]) == bad and int(metrics["spikes_in_row"]) == leapt
    after = jax.device_get(state)
    assert int(after["step"]) == 7 and int(after["skipped"]) == 3
    after["spikes"]["in_row"] = before["spikes"]["in_row"]
    for key in ("params", "stats", "opt_state", "ema", "spikes"):
        assert jax.tree.all(jax.tree.map(np.array_equal, before[key], after[key])), key
    state, metrics = step(state, make_batch(7))
    assert int(metrics["spikes_in_row"]) == int(metrics["skipped_in_row"]) == 0
    assert int(state["spikes"]["good"]) == 5


def test_a_restored_state_gets_the_window_of_this_run():
    def form(length):
        place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), spikes.window(length)
        )

    window = filled([1.0, 2.0])
    assert spikes.fitted({"step": 1, "spikes": window}, {}) == {"step": 1}
    assert spikes.fitted({"step": 1}, {}) == {"step": 1}
    kept = spikes.fitted({"step": 1, "spikes": window}, {"spikes": form(WINDOW)})
    assert kept["spikes"] is window
    for state in ({"step": 1}, {"step": 1, "spikes": window}):
        anew = spikes.fitted(state, {"spikes": form(16)})["spikes"]
        assert anew["loss"].shape == (16,) and int(anew["good"]) == 0


@pytest.mark.parametrize(
    ("leapt", "words"),
    [
        (None, "were not finite"),
        (0, "were not finite"),
        (3, "leapt in loss or gradient norm (--spike-deviations)"),
        (2, "were not finite, or leapt in loss or gradient norm (2 of 3)"),
    ],
)
def test_the_kinds_of_skipped_steps_are_told_apart(leapt, words):
    metrics = {"skipped_in_row": 3.0} | ({} if leapt is None else {"spikes_in_row": float(leapt)})
    assert spikes.why(metrics) == words
