"""Schedules at their corners; which parameters move, decay and are clipped."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxfacs import cli
from jaxfacs.errors import UserError
from jaxfacs.train import optim
from jaxfacs.train.config import OptimConfig

PARAMS = {
    "stem": {
        "conv": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)},
        "bn": {"scale": jnp.ones(2)},
    },
    "head": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
}
ONES = jax.tree.map(jnp.ones_like, PARAMS)
ZEROS = jax.tree.map(jnp.zeros_like, PARAMS)


def step(config: OptimConfig, gradients=ONES, steps: int = 1):
    tx, _ = optim.create(config, PARAMS, steps=100, steps_per_epoch=10)
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(steps):
        updates, state = tx.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (OptimConfig(schedule="constant", learning_rate=0.1), {0: 0.1, 99: 0.1}),
        (OptimConfig(schedule="cosine", learning_rate=0.05), {0: 0.05, 50: 0.025, 100: 0.0}),
        (
            OptimConfig(schedule="cosine", learning_rate=1.0, final_fraction=0.1),
            {50: 0.55, 100: 0.1},
        ),
        (
            OptimConfig(schedule="cosine", learning_rate=1.0, warmup_steps=20),
            {0: 0.0, 10: 0.5, 20: 1.0, 60: 0.5, 100: 0.0},
        ),
        # Bartissol: x 0.94 every two epochs, as a staircase
        (
            OptimConfig(schedule="exponential", learning_rate=0.01),
            {0: 0.01, 19: 0.01, 20: 0.0094, 40: 0.01 * 0.94**2},
        ),
        (
            OptimConfig(
                schedule="step", learning_rate=1.0, decay_factor=0.1, boundaries_epochs=(4, 6)
            ),
            {0: 1.0, 39: 1.0, 40: 0.1, 60: 0.01},
        ),
    ],
)
def test_schedules_pass_through_their_points(config, expected):
    rate = optim.schedule(config, steps=100, steps_per_epoch=10)
    for count, value in expected.items():
        assert float(rate(count)) == pytest.approx(value, rel=1e-5, abs=1e-7), count


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_frozen_parameters_do_not_move_and_have_no_moments(name):
    config = OptimConfig(name=name, frozen=("stem/",), weight_decay=0.1, schedule="constant")
    params = step(config, steps=3)
    for old, new in zip(
        jax.tree.leaves(PARAMS["stem"]), jax.tree.leaves(params["stem"]), strict=True
    ):
        assert (old == new).all()
    assert not (params["head"]["kernel"] == 1).any()
    tx, _ = optim.create(config, PARAMS, steps=10, steps_per_epoch=1)
    sizes = [leaf.shape for leaf in jax.tree.leaves(tx.init(PARAMS))]
    assert (3, 2) not in sizes and (2, 2) in sizes


def test_a_pattern_that_freezes_nothing_is_an_error_that_shows_paths():
    with pytest.raises(UserError, match=r"'stam' matches no parameter.*head/bias"):
        optim.create(OptimConfig(frozen=("stam",)), PARAMS, steps=1, steps_per_epoch=1)


def test_decay_leaves_biases_and_scales_alone():
    config = OptimConfig(name="adamw", weight_decay=0.5, schedule="constant", learning_rate=0.1)
    params = step(config, gradients=ZEROS)
    np.testing.assert_allclose(params["head"]["kernel"], 0.95)
    assert (params["head"]["bias"] == 1).all() and (params["stem"]["bn"]["scale"] == 1).all()


def test_clipping_is_by_the_norm_of_what_is_trained():
    config = OptimConfig(
        name="sgd", momentum=0.0, schedule="constant", learning_rate=1.0, clip_norm=1.0,
        frozen=("stem/",),
    )  # fmt: skip
    params = step(config)
    moved = np.concatenate([(1 - leaf).ravel() for leaf in jax.tree.leaves(params["head"])])
    np.testing.assert_allclose(moved, 1 / np.sqrt(6), rtol=1e-5)


def test_rmsprop_takes_the_rate_inside_the_momentum_as_tensorflow_does():
    config = OptimConfig(name="rmsprop", learning_rate=0.01, schedule="constant", eps=1e-10)
    square, velocity, weight = 0.0, 0.0, 1.0
    for _ in range(3):
        square = 0.9 * square + 0.1
        velocity = 0.9 * velocity + 0.01 / np.sqrt(square + 1e-10)
        weight -= velocity
    np.testing.assert_allclose(step(config, steps=3)["head"]["bias"], weight, rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "twin"),
    [
        (
            OptimConfig(name="lars", learning_rate=0.5, trust=0.01, nesterov=True),
            optax.lars(0.5, 1e-2, trust_coefficient=0.01, nesterov=True),
        ),
        (
            OptimConfig(name="lamb", learning_rate=0.05, eps=1e-6),
            optax.lamb(0.05, weight_decay=1e-2),
        ),
    ],
)
def test_lars_and_lamb_are_optaxs_where_nothing_is_spared(config, twin):
    config = dataclasses.replace(config, schedule="constant", weight_decay=1e-2, no_decay="")
    gradients = jax.tree.map(lambda p: jnp.arange(p.size, dtype=p.dtype).reshape(p.shape), PARAMS)
    params, state = PARAMS, twin.init(PARAMS)
    for _ in range(3):
        updates, state = twin.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    found = step(config, gradients, steps=3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, params)


def test_lars_steps_are_in_proportion_to_the_parameter_and_biases_are_spared():
    """Gradients a thousand times larger move kernels no further, and biases as far as sgd would."""
    config = OptimConfig(
        name="lars", learning_rate=1.0, trust=0.1, momentum=0.0, schedule="constant"
    )
    small, large = step(config), step(config, jax.tree.map(lambda g: 1000 * g, ONES))
    kernels = [params["stem"]["conv"]["kernel"] for params in (small, large)]
    np.testing.assert_allclose(kernels[0], 0.9, rtol=1e-6)
    np.testing.assert_allclose(kernels[0], kernels[1], rtol=1e-6)
    np.testing.assert_allclose(small["head"]["bias"], 0.0, atol=1e-6)
    np.testing.assert_allclose(large["head"]["bias"], -999.0, rtol=1e-6)


@pytest.mark.parametrize(("rule", "rate"), [("none", 0.1), ("linear", 1.6), ("sqrt", 0.4)])
def test_the_learning_rate_grows_with_the_batch_by_its_rule(rule, rate):
    config = OptimConfig(learning_rate=0.1, scaling=rule, base_batch=16 if rule != "none" else 0)
    assert optim.scaled(config, 256).learning_rate == pytest.approx(rate)


@pytest.mark.parametrize("words", [["--optim.scaling", "linear"], ["--optim.base-batch", "16"]])
def test_a_rule_without_its_base_is_refused(config_path, tmp_path, capsys, words):
    arguments = ["train", str(config_path), "--workdir", str(tmp_path / "run"), *words]
    assert cli.main(arguments) == 2
    assert "optim.scaling" in capsys.readouterr().err
