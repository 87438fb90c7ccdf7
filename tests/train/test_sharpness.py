"""Sharpness-aware steps, and gradients that frozen parameters do not ask for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxfacs.data.config import DataConfig
from jaxfacs.train import mesh as meshes
from jaxfacs.train import optim
from jaxfacs.train import state as states
from jaxfacs.train.config import Experiment, ModelConfig, OptimConfig
from jaxfacs.train.step import jit_train_step

AUS = ("1", "2", "12")
RATE, RHO = 0.1, 0.5
BASE = Experiment(
    data=DataConfig(batch_size=4, frames=2, size=16),
    model=ModelConfig(name="tiny", module="tiny_model", dropout=0.0, options={"norm": True}),
    optim=OptimConfig(name="sgd", learning_rate=RATE, momentum=0.0, schedule="constant"),
    steps=10,
)


def make_batch() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    occurrence = rng.integers(-1, 2, (4, 2, len(AUS))).astype(np.int8)
    return {
        "frames_BTHWC": rng.integers(0, 256, (4, 2, 16, 16, 3), dtype=np.uint8),
        "occurrence_BTA": occurrence,
        "intensity_BTA": np.where(occurrence < 0, -1, 2.0 * occurrence).astype(np.float32),
        "emotion_B": np.full(4, -1, np.int32),
        "weight_B": np.ones(4, np.float32),
        "index_B": np.arange(4),
    }


def build(**changes):
    experiment = dataclasses.replace(BASE, optim=dataclasses.replace(BASE.optim, **changes))
    plan, init = states.plan(
        experiment, mesh=meshes.create(), aus=AUS, num_emotions=2, steps_per_epoch=5
    )
    return init(), jit_train_step(plan, experiment)


def params_after(params=None, **changes):
    """(parameters at the start, after a step, the state's statistics, metrics)."""
    state, step = build(**changes)
    state = state if params is None else {**state, "params": params}
    before = jax.device_get(state["params"])
    state, metrics = step(state, make_batch())
    return before, jax.device_get(state["params"]), jax.device_get(state["stats"]), metrics


def close(left, right, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), left, right)


def test_uphill_is_by_the_parameters_own_scale():
    params = {"a": jnp.asarray([2.0, -1.0]), "b": jnp.asarray([5.0])}
    grads = {"a": jnp.asarray([1.0, 2.0]), "b": jnp.asarray([0.0])}
    norm = np.sqrt(2.0**2 + 2.0**2)
    moved = optim.uphill(params, grads, rho=0.5)
    np.testing.assert_allclose(moved["a"], [2 + 0.5 * 4 / norm, -1 + 0.5 * 2 / norm], rtol=1e-6)
    assert moved["b"] == 5.0


def test_a_sharpness_aware_step_goes_down_the_gradient_from_uphill():
    before, plain, stats, metrics = params_after()
    gradient = jax.tree.map(lambda p, q: (p - q) / RATE, before, plain)
    uphill = optim.uphill(before, gradient, rho=RHO)
    _, from_uphill, _, _ = params_after(uphill)
    expected = jax.tree.map(lambda p, u, q: p - (u - q), before, uphill, from_uphill)
    _, found, found_stats, found_metrics = params_after(sam_rho=RHO)
    close(found, expected, rtol=1e-4, atol=1e-6)
    largest = max(
        np.abs(f - p).max() for f, p in zip(*map(jax.tree.leaves, (found, plain)), strict=True)
    )
    assert largest > 1e-4  # so the second gradient is another one
    close(found_stats, stats, rtol=1e-6)  # BatchNorm's statistics move once, in the first pass
    assert float(found_metrics["loss"]) == float(metrics["loss"])


def test_frozen_parameters_stay_uphill_and_are_not_in_the_norm():
    state, _ = build()
    first = sorted(state["params"])[0]
    before, after, _, metrics = params_after(frozen=(f"^{first}/",), sam_rho=RHO)
    close(after[first], before[first], rtol=0)
    _, _, _, whole = params_after()
    assert float(metrics["grad_norm"]) < float(whole["grad_norm"])


def test_no_backward_pass_is_compiled_below_the_first_parameter_that_moves():
    params = {"below": jnp.ones((64, 64)), "above": jnp.ones((64, 2))}

    def flops(frozen):
        def gradient(params, x):
            def loss(params):
                held = optim.held(params, frozen)
                return jnp.sum(jnp.tanh(x @ held["below"]) @ held["above"])

            return jax.grad(loss)(params)

        compiled = jax.jit(gradient).lower(params, jnp.ones((8, 64))).compile()
        return compiled.cost_analysis()["flops"]

    product = 2 * 8 * 64 * 64
    assert flops({"below": True, "above": False}) < flops({"below": False, "above": False}) - (
        0.9 * product
    )
