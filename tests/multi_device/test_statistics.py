"""Statistics of each device, and a mesh of two levels: held to one device's micro-batches."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

import tiny

pytestmark = pytest.mark.multi_device

# One device with four micro-batches normalises rows j, j + 4, ... together; so do four devices that
# have these rows each. The same gradients must come out, and the statistics are four moves of a
# tenth from 0 or 1 in the one case, one move by the mean in the other.
SCRIPT = """
import json
from dataclasses import replace
import jax, numpy as np
from jaxfacs.train import mesh as meshes, state as states
from jaxfacs.train.config import MeshConfig
from jaxfacs.train.step import jit_train_step
from test_step import BASE, make_batch

rows = make_batch(rows=16)
placed = {key: value.reshape(4, 4, *value.shape[1:]).swapaxes(0, 1).reshape(value.shape)
          for key, value in rows.items()}
norm = replace(BASE, data=replace(BASE.data, batch_size=16),
               model=replace(BASE.model, options={"norm": True}))

first = []

def step(experiment, batch, devices):
    mesh = meshes.create(experiment.mesh, devices=jax.devices()[:devices])
    plan, init = states.plan(experiment, mesh=mesh, aus=("1", "2", "4"), num_emotions=2,
                             steps_per_epoch=5)
    first.append(first[0] if first else jax.device_get(init()))  # compiled once
    state = jax.device_put(first[0], plan.shardings)
    state, metrics = jit_train_step(plan, experiment)(state, meshes.global_batch(batch, mesh))
    return jax.device_get((state["params"], state["stats"], metrics))

def apart(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)

def on(**options):
    return replace(norm, mesh=MeshConfig(**options))

micro = step(replace(norm, accumulate=4), rows, 1)
device = step(on(statistics="device"), placed, 4)
whole = step(norm, placed, 1)
nodes = step(on(nodes=2), placed, 4)
print(json.dumps({
    "params": apart(micro[0], device[0]),
    "loss": apart(micro[2]["loss"], device[2]["loss"]),
    "moved": apart(whole[0], device[0]),
    "nodes": apart(whole[0], nodes[0]),
    "nodes_stats": apart(whole[1], nodes[1]),
    "mean": apart(whole[1]["norm"]["mean"], device[1]["norm"]["mean"]),
    "var": float(np.min(whole[1]["norm"]["var"] - device[1]["norm"]["var"])),
}))
"""


def test_each_device_by_itself_is_as_one_device_with_as_many_micro_batches():
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=tiny.environment(4),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    assert found["params"] < 1e-6 and found["loss"] < 1e-6
    assert found["moved"] > 1e-4  # statistics of the whole batch are others
    assert found["nodes"] < 1e-6 and found["nodes_stats"] < 1e-6
    # The mean of the devices' means is the batch's; the mean of their variances is no larger.
    assert found["mean"] < 1e-6 and found["var"] > -1e-6
