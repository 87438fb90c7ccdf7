"""What a step tells of its parts: norms by group and counts by AU, right and without a price."""

import dataclasses
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from test_step import BASE, B, T, build, make_batch

from jaxfacs.data.config import DataConfig
from jaxfacs.train import groups, terms
from jaxfacs.train.config import LossConfig
from jaxfacs.train.step import jit_predict_step

COUNTS = ("true_positive_A", "false_positive_A", "false_negative_A", "known_A")
FRAMES = dataclasses.replace(
    BASE,
    data=DataConfig(batch_size=B, frames=T, size=16),
    model=dataclasses.replace(BASE.model, per_frame=True),
    accumulate=2,
)


def tree(*paths: str) -> dict:
    found: dict = {}
    for path in paths:
        *parents, leaf = path.split("/")
        node = found
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = jnp.zeros(2)
    return found


def of(params: dict, *frozen: str) -> dict[str, str]:
    kept = jax.tree.map(lambda _: False, params)
    for name in frozen:
        kept[name] = jax.tree.map(lambda _: True, kept[name])
    return groups.of(params, kept)


def test_groups_are_the_finest_division_that_is_not_too_fine():
    few = tree("backbone/layer1/0/conv/kernel", "backbone/layer1/1/conv/kernel", "head/out/bias")
    assert set(of(few).values()) == {"backbone/layer1/0", "backbone/layer1/1", "head/out"}
    many = tree(*(f"backbone/layer{i % 2}/{i}/kernel" for i in range(groups.MOST + 1)), "scale")
    assert set(of(many).values()) == {"backbone/layer0", "backbone/layer1", "scale"}
    wide = tree(*(f"layer{i}/kernel" for i in range(groups.MOST + 1)))
    assert set(of(wide).values()) == {"all"}


def test_what_is_frozen_is_in_no_group():
    params = tree("backbone/conv/kernel", "head/out/kernel", "head/out/bias")
    assert of(params, "backbone") == {"head/out/kernel": "head/out", "head/out/bias": "head/out"}


def test_numbers_of_a_step_and_no_bit_of_the_state_for_them(monkeypatch):
    """Against NumPy, in two micro-batches, with frames that nobody coded and clips of no weight."""
    batch = make_batch()
    batch["weight_B"][[1, 6]] = 0.0, 0.5
    batch["weight_B"][2] = 0.0
    plan, state, take = build(FRAMES)
    rows = jax.device_get(jit_predict_step(plan, FRAMES)(state["params"], state["stats"], batch))
    before = jax.device_get(state)
    after, metrics = jax.device_get(take(state, batch))

    said, present = rows["probability"] >= 0.5, rows["occurrence"] == 1
    known = (rows["occurrence"] >= 0) & (rows["weight"] > 0)[:, None]
    for name, cases in zip(
        COUNTS, (present & said, ~present & said, present & ~said, known), strict=True
    ):
        np.testing.assert_array_equal(metrics[name], (cases & known).sum(0), err_msg=name)
        assert metrics[name].dtype == np.float32 and metrics[name].any()

    names = [name.removeprefix("grad_norm/") for name in metrics if name.startswith("grad_norm/")]
    assert names == ["emotion", "head", "intensity", "stem"]
    squares = sum(metrics[f"grad_norm/{name}"] ** 2 for name in names)
    np.testing.assert_allclose(squares, metrics["grad_norm"] ** 2, rtol=1e-5)
    for name in names:
        old, new = (np.concatenate([x.ravel() for x in jax.tree.leaves(s["params"][name])])
                    for s in (before, after))  # fmt: skip
        ratio = np.linalg.norm(new - old) / np.linalg.norm(new)
        np.testing.assert_allclose(metrics[f"update_ratio/{name}"], ratio, rtol=1e-4)
        # SGD at 0.1: the update is a tenth of the gradient.
        norm = 10 * np.linalg.norm(new - old)
        np.testing.assert_allclose(metrics[f"grad_norm/{name}"], norm, rtol=1e-4)

    monkeypatch.setattr(terms, "counts", lambda *_: {})
    monkeypatch.setattr(groups, "numbers", lambda *_, **__: {})
    _, state, take = build(FRAMES)
    without, fewer = jax.device_get(take(state, batch))
    assert fewer.keys() == {k for k in metrics if "/" not in k and k not in COUNTS}
    assert jax.tree.all(jax.tree.map(np.array_equal, after, without))


def test_a_network_without_occurrence_has_no_counts_and_blends_count_from_a_half():
    batch = {k: jnp.asarray(v) for k, v in make_batch().items()}
    assert terms.counts(LossConfig(), {"intensity": jnp.zeros((B, 3))}, batch) == {}
    shares = jnp.asarray([[0.49, 0.5, -1.0]])[:, None]
    found = terms.counts(
        LossConfig(),
        {"probability": jnp.asarray([[0.5, 0.5, 0.5]])},
        {"occurrence_BTA": shares, "weight_B": jnp.ones(1)},
    )
    assert [found[name].tolist() for name in COUNTS] == [
        [0, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0],
    ]  # fmt: skip


# The numbers of one step on four devices in every way to spread it, and on one.
SCRIPT = """
import json
from dataclasses import replace
import jax
from jaxfacs.train import mesh as meshes, state as states
from jaxfacs.train.config import MeshConfig
from jaxfacs.train.step import jit_train_step
from test_groups import FRAMES
from test_step import make_batch

def numbers(mesh, devices, accumulate):
    experiment = replace(FRAMES, mesh=mesh, accumulate=accumulate)
    plan, init = states.plan(
        experiment, mesh=meshes.create(mesh, devices=jax.devices()[:devices]),
        aus=("1", "2", "4"), num_emotions=2, steps_per_epoch=5)
    batch = meshes.global_batch(make_batch(), plan.mesh)
    _, metrics = jit_train_step(plan, experiment)(init(), batch)
    print(json.dumps({k: v.tolist() for k, v in jax.device_get(metrics).items()}))

numbers(MeshConfig(), 1, 1)
numbers(MeshConfig(), 4, 1)
numbers(MeshConfig(), 4, 2)
numbers(MeshConfig(fsdp=(("stem/kernel", (None, "data")),)), 4, 1)
numbers(MeshConfig(statistics="device"), 4, 2)
numbers(MeshConfig(statistics="synchronised", nodes=2), 4, 1)
"""


@pytest.mark.long
@pytest.mark.multi_device
def test_numbers_are_the_same_however_a_step_is_spread():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=tiny.environment(4), capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    alone, *others = (json.loads(line) for line in run.stdout.splitlines())
    assert len(others) == 5 and alone.keys() >= {*COUNTS, "grad_norm/stem", "update_ratio/head"}
    for other in others:
        assert other.keys() == alone.keys()
        for name, value in alone.items():
            tolerance = 0 if name in COUNTS else 1e-5
            np.testing.assert_allclose(other[name], value, rtol=tolerance, err_msg=name)
