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


# The operations whose statistics can be shared, on four devices and on one that has all rows.
SYNCHRONISED = """
import json
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import PartitionSpec as P
from jaxfacs import ops
from jaxfacs.train import mesh as meshes

mesh = meshes.create()
rng = np.random.default_rng(0)
forms = (8, 2, 3, 3, 4), (4, 12), (12,), (12,), (8, 2, 3, 3, 12)
x, w, scale, bias, pull = (rng.standard_normal(form, np.float32) for form in forms)
x += 3.0

def plain(x, w, scale, bias):
    return ops.batch_norm_train(jnp.tensordot(x, w, 1), scale, bias, "relu6")

def fused(x, w, scale, bias):
    return ops.pointwise_norm(x, w, scale, bias, "relu6")

def gradients(function, axes):
    def run(x, w, scale, bias, pull):
        with ops.shared_batch(axes):
            (y, mean, var), back = jax.vjp(function, x, w, scale, bias)
            dx, *rest = back((pull, jnp.zeros_like(mean), jnp.zeros_like(var)))
        return (y, dx), (mean, var), jax.lax.psum(rest, axes) if axes else rest
    return run

def apart(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)

for function in (plain, fused):
    rows = P("data")
    shared = jax.shard_map(
        gradients(function, ("data",)), mesh=mesh, in_specs=(rows, P(), P(), P(), rows),
        out_specs=((rows, rows), P(), P()), check_vma=False)
    own = jax.shard_map(
        lambda *given: gradients(function, ())(*given)[0], mesh=mesh,
        in_specs=(rows, P(), P(), P(), rows), out_specs=rows, check_vma=False)
    whole = jax.device_get(jax.jit(gradients(function, ()))(x, w, scale, bias, pull))
    found = jax.device_get(jax.jit(shared)(x, w, scale, bias, pull))
    alone = jax.device_get(jax.jit(own)(x, w, scale, bias, pull))
    print(json.dumps([apart(found, whole), apart(alone, whole[0])]))
"""


def ran(script: str) -> list:
    finished = subprocess.run(
        [sys.executable, "-c", script],
        env=tiny.environment(4),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return [json.loads(line) for line in finished.stdout.splitlines()]


def test_synchronised_statistics_and_gradients_are_those_of_the_whole_batch():
    for synchronised, alone in ran(SYNCHRONISED):
        assert synchronised < 1e-5 < 0.1 < alone


def test_each_device_by_itself_is_as_one_device_with_as_many_micro_batches():
    (found,) = ran(SCRIPT)
    assert found["params"] < 1e-6 and found["loss"] < 1e-6
    assert found["moved"] > 1e-4  # statistics of the whole batch are others
    assert found["nodes"] < 1e-6 and found["nodes_stats"] < 1e-6
    # The mean of the devices' means is the batch's; the mean of their variances is no larger.
    assert found["mean"] < 1e-6 and found["var"] > -1e-6
