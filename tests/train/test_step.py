"""The pure step: accumulation, skipping, freezing, averages, labels of clips, determinism."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfacs.data.config import DataConfig
from jaxfacs.errors import UserError
from jaxfacs.train import mesh as meshes
from jaxfacs.train import state as states
from jaxfacs.train.config import Experiment, LossConfig, ModelConfig, OptimConfig
from jaxfacs.train.labels import labels_for
from jaxfacs.train.step import jit_predict_step, jit_train_step

B, T, SIZE, A = 8, 4, 16, 3
BASE = Experiment(
    data=DataConfig(batch_size=B, frames=T, size=SIZE),
    model=ModelConfig(
        name="tiny",
        module="tiny_model",
        dropout=0.0,
        intensity=True,
        emotion=True,
        options={"norm": False},
    ),
    loss=LossConfig(intensity_scale=0.3, emotion_scale=0.7),
    optim=OptimConfig(name="sgd", learning_rate=0.1, schedule="constant"),
    steps=10,
)


def make_batch(seed: int = 0, rows: int = B) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    occurrence = rng.integers(-1, 2, (rows, T, A)).astype(np.int8)
    return {
        "frames_BTHWC": rng.integers(0, 256, (rows, T, SIZE, SIZE, 3), dtype=np.uint8),
        "occurrence_BTA": occurrence,
        "intensity_BTA": np.where(occurrence < 0, -1, occurrence * 2.5).astype(np.float32),
        "emotion_B": rng.integers(-1, 2, rows).astype(np.int32),
        "weight_B": np.ones(rows, np.float32),
        "set_B": np.zeros(rows, np.int32),
        "index_B": np.arange(rows),
    }


def build(experiment: Experiment):
    plan, init = states.plan(
        experiment,
        mesh=meshes.create(),
        aus=tuple("1 2 4 5 6 7 9 10 11 12".split()[:A]),
        num_emotions=2,
        steps_per_epoch=5,
    )
    weights_A = jnp.asarray([1.0, 2.0, 3.0])
    return plan, init(), jit_train_step(plan, experiment, label_weight_A=weights_A)


def take(experiment: Experiment, steps: int = 1, batch=None):
    _, state, step = build(experiment)
    metrics = {}
    for i in range(steps):
        state, metrics = step(state, batch or make_batch(i))
    return jax.device_get(state), jax.device_get(metrics)


def assert_close(left, right, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), left, right)


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_gradients_are_those_of_the_whole_batch(parts):
    """Labels are unknown here and there, so that micro-batches weigh differently."""
    whole, metrics = take(BASE, steps=2)
    cut, cut_metrics = take(dataclasses.replace(BASE, accumulate=parts), steps=2)
    assert_close(cut["params"], whole["params"], rtol=1e-5, atol=1e-7)
    assert_close(cut_metrics, metrics, rtol=1e-5)


def test_loss_is_each_term_over_its_own_weight():
    _, metrics = take(BASE)
    parts = [metrics[f"loss_{name}"] for name in ("occurrence", "intensity", "emotion")]
    assert metrics["loss"] == pytest.approx(parts[0] + 0.3 * parts[1] + 0.7 * parts[2], rel=1e-6)


def test_padding_changes_nothing():
    padded = make_batch()
    extra = make_batch(9, rows=4)
    extra["weight_B"][:] = 0
    padded = {k: np.concatenate([padded[k], extra[k]]) for k in padded}
    state, metrics = take(BASE, batch=make_batch())
    with_padding, padded_metrics = take(BASE, batch=padded)
    assert_close(with_padding["params"], state["params"], rtol=1e-5, atol=1e-7)
    assert padded_metrics["loss"] == pytest.approx(metrics["loss"], rel=1e-5)


def test_the_same_steps_are_the_same_bits():
    experiment = dataclasses.replace(BASE, model=dataclasses.replace(BASE.model, dropout=0.5))
    first, second = take(experiment, steps=3)[0], take(experiment, steps=3)[0]
    assert jax.tree.all(jax.tree.map(np.array_equal, first, second))


def test_dropout_differs_between_steps_and_is_a_function_of_the_seed():
    model = dataclasses.replace(BASE.model, dropout=0.5)
    still = dataclasses.replace(BASE.optim, learning_rate=1e-12)
    experiment = dataclasses.replace(BASE, model=model, optim=still)
    _, state, step = build(experiment)
    found = []
    for _ in range(2):
        state, metrics = step(state, make_batch())
        found.append(float(metrics["loss"]))
    assert found[0] != found[1]
    other = dataclasses.replace(experiment, seed=1)
    assert take(other, batch=make_batch())[1]["loss"] != pytest.approx(found[0], rel=1e-3)


POISON = dataclasses.replace(
    BASE,
    ema=0.9,
    model=dataclasses.replace(BASE.model, options={"norm": True, "poison": 0.5}),
)


def test_a_step_that_is_not_finite_changes_nothing_but_its_counters():
    _, state, step = build(POISON)
    bright = make_batch()
    bright["frames_BTHWC"][3] = 255
    state, metrics = step(state, make_batch())
    before = jax.device_get(state)
    for bad in (1, 2):
        state, metrics = step(state, bright)
        assert not np.isfinite(metrics["loss"]) and int(metrics["skipped_in_row"]) == bad
    after = jax.device_get(state)
    assert int(after["step"]) == 3 and int(after["skipped"]) == 2
    for key in ("params", "stats", "opt_state", "ema"):
        assert jax.tree.all(jax.tree.map(np.array_equal, before[key], after[key])), key
    state, metrics = step(state, make_batch(1))
    assert int(metrics["skipped_in_row"]) == 0 and int(metrics["skipped"]) == 2
    assert not jax.tree.all(jax.tree.map(np.array_equal, after["params"], state["params"]))


def test_frozen_groups_keep_parameters_and_statistics():
    experiment = dataclasses.replace(
        BASE,
        model=dataclasses.replace(BASE.model, options={"norm": True}),
        optim=dataclasses.replace(BASE.optim, frozen=("^stem", "^norm"), weight_decay=0.1),
    )
    start = jax.device_get(build(experiment)[1])
    state, _ = take(experiment, steps=3)
    for key in ("stem", "norm"):
        same = jax.tree.map(np.array_equal, start["params"][key], state["params"][key])
        assert jax.tree.all(same)
    assert jax.tree.all(jax.tree.map(np.array_equal, start["stats"], state["stats"]))
    assert not np.array_equal(start["params"]["head"]["kernel"], state["params"]["head"]["kernel"])


def test_the_moving_average_follows_its_formula():
    experiment = dataclasses.replace(BASE, ema=0.9)
    _, state, step = build(experiment)
    average = jax.device_get(state["params"])
    for n in range(3):
        state, _ = step(state, make_batch(n))
        decay = min(0.9, (1 + n) / (10 + n))
        average = jax.tree.map(
            lambda e, p, d=decay: d * e + (1 - d) * p, average, jax.device_get(state["params"])
        )
    assert_close(jax.device_get(state["ema"]["params"]), average, rtol=1e-5, atol=1e-7)


def test_one_compilation_serves_all_steps():
    _, state, step = build(BASE)
    for i in range(3):
        state, _ = step(state, make_batch(i))
    assert step._cache_size() == 1


def test_state_is_donated():
    _, state, step = build(BASE)
    step(state, make_batch())
    assert state["params"]["head"]["kernel"].is_deleted()


LABEL_BTA = np.array([[[-1, 0, 0, -1]], [[0, 0, 1, -1]]], np.int8).transpose(0, 2, 1)


@pytest.mark.parametrize(("rule", "expected"), [("centre", [[0], [1]]), ("any", [[-1], [1]])])
def test_labels_of_a_clip(rule, expected):
    """ "any": present if in any frame; absent only if every frame was coded."""
    batch = {"occurrence_BTA": jnp.asarray(LABEL_BTA), "intensity_BTA": jnp.asarray(LABEL_BTA)}
    found = labels_for(LossConfig(clip_label=rule), {"occurrence": jnp.zeros((2, 1))}, batch)
    np.testing.assert_array_equal(found["occurrence"], expected)


def test_answers_of_fewer_frames_take_the_labels_of_their_middles():
    label = jnp.arange(16.0).reshape(1, 16, 1)
    batch = {"occurrence_BTA": label, "intensity_BTA": label}
    found = labels_for(LossConfig(), {"occurrence": jnp.zeros((1, 4, 1))}, batch)
    np.testing.assert_array_equal(found["occurrence"].ravel(), [2, 6, 10, 14])


@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize("occurrence", ["bce", "focal", "weighted_asymmetric", "bp_mll"])
def test_every_loss_falls_on_its_own_batch(occurrence, per_frame):
    experiment = dataclasses.replace(
        BASE,
        model=dataclasses.replace(BASE.model, per_frame=per_frame),
        loss=dataclasses.replace(BASE.loss, occurrence=occurrence, intensity="ccc"),
    )
    _, state, step = build(experiment)
    found = []
    for _ in range(12):
        state, metrics = step(state, make_batch())
        found.append(float(metrics["loss_occurrence"]))
    assert found[-1] < found[0]


def test_predictions_come_as_rows_with_their_labels():
    experiment = dataclasses.replace(BASE, model=dataclasses.replace(BASE.model, per_frame=True))
    plan, state, _ = build(experiment)
    rows = jit_predict_step(plan, experiment)(state["params"], state["stats"], make_batch())
    assert rows["probability"].shape == rows["occurrence"].shape == (B * T, A)
    assert rows["weight"].shape == (B * T,) and rows["predicted_emotion"].shape == (B, 2)
    np.testing.assert_array_equal(rows["occurrence"], make_batch()["occurrence_BTA"].reshape(-1, A))
    np.testing.assert_allclose(rows["predicted_emotion"].sum(-1), 1, rtol=1e-5)


def test_affect_comes_as_rows_that_know_what_is_unknown():
    model = dataclasses.replace(BASE.model, per_frame=True, occurrence=False, valence_arousal=True)
    model = dataclasses.replace(model, intensity=False)
    experiment = dataclasses.replace(BASE, model=model)
    batch = make_batch()
    affect = np.random.default_rng(1).uniform(-1, 1, (B, T, 2)).astype(np.float32)
    affect[0] = np.nan
    batch["valence_arousal_BT2"] = affect
    plan, init = states.plan(
        experiment, mesh=meshes.create(), aus=(), num_emotions=2, steps_per_epoch=5
    )
    state = init()
    rows = jit_predict_step(plan, experiment)(state["params"], state["stats"], batch)
    assert "probability" not in rows and rows["weight"].shape == (B * T,)
    np.testing.assert_array_equal(rows["valence_arousal"], affect.reshape(-1, 2))
    assert rows["predicted_valence_arousal"].shape == (B * T, 2)
    step = jit_train_step(plan, experiment)
    found = []
    for _ in range(12):
        state, metrics = step(state, batch)
        found.append(float(metrics["loss_valence_arousal"]))
    assert np.isfinite(found).all() and found[-1] < found[0]


def test_nothing_to_train_is_refused():
    silent = dataclasses.replace(
        BASE.loss, occurrence_scale=0.0, intensity_scale=0.0, emotion_scale=0.0
    )
    with pytest.raises(UserError, match="nothing is trained: tiny answers emotion, intensity"):
        take(dataclasses.replace(BASE, loss=silent))


def test_bfloat16_computes_near_float32_and_keeps_float32_state():
    exact, exact_metrics = take(BASE)
    state, metrics = take(dataclasses.replace(BASE, dtype="bfloat16"))
    dtypes = {leaf.dtype.name for leaf in jax.tree.leaves((state["params"], state["stats"]))}
    assert dtypes == {"float32"}
    assert metrics["loss"] != exact_metrics["loss"]
    assert metrics["loss"] == pytest.approx(exact_metrics["loss"], rel=2e-2)
    assert_close(state["params"], exact["params"], atol=2e-2)
