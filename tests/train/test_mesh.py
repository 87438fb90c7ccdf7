"""Errors about what does not divide, and rules that place parameters."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from jaxfacs.data.config import DataConfig
from jaxfacs.errors import UserError
from jaxfacs.train import mesh as meshes
from jaxfacs.train.config import EvaluationConfig, Experiment, MeshConfig

EXPERIMENT = Experiment(data=DataConfig(batch_size=12))


def mesh_of(devices: int):
    return SimpleNamespace(devices=np.zeros(devices))


@pytest.mark.parametrize(
    ("experiment", "devices", "words"),
    [
        (EXPERIMENT, 8, r"data.batch-size 12 does not divide over 8 devices.*--data.batch-size 16"),
        (dataclasses.replace(EXPERIMENT, accumulate=2), 4, r"in 2 micro-batches.*batch-size 16"),
        (
            dataclasses.replace(EXPERIMENT, evaluation=EvaluationConfig(batch_size=5)),
            2,
            r"evaluation.batch-size 5 does not divide over 2 devices",
        ),
    ],
)
def test_a_batch_that_does_not_divide_is_named_with_one_that_does(experiment, devices, words):
    with pytest.raises(UserError, match=words):
        meshes.check_batch(experiment, mesh_of(devices))


def test_a_batch_that_divides_passes():
    meshes.check_batch(dataclasses.replace(EXPERIMENT, accumulate=3), mesh_of(4))


STATE = {
    "params": {"fc6": {"kernel": jnp.zeros((6, 8))}, "fc7": {"kernel": jnp.zeros((6, 6))}},
    "step": jnp.zeros(()),
}


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ((("fc8", ("data",)),), r"'fc8' matches no parameter"),
        ((("fc7", (None, "data")),), r"params/fc7/kernel has 6 entries on axis 1.*over 4 devices"),
        ((("fc6", (None, "model")),), r"names axis 'model'; there is 'data'"),
        ((("fc6", (None, None, "data")),), r"has 3 axes but params/fc6/kernel has 2"),
    ],
)
def test_a_rule_that_cannot_be_is_named(rules, words):
    mesh = AbstractMesh((4,), (meshes.AXIS,))
    with pytest.raises(UserError, match=words):
        meshes.state_shardings(MeshConfig(fsdp=rules), mesh, STATE)


def test_the_first_matching_rule_places_a_parameter_and_the_rest_is_replicated():
    rules = (("fc6", (None, "data")), ("fc", ("data",)))
    mesh = AbstractMesh((2,), (meshes.AXIS,))
    found = meshes.state_shardings(MeshConfig(fsdp=rules), mesh, STATE)
    assert found["params"]["fc6"]["kernel"].spec == PartitionSpec(None, "data")
    assert found["params"]["fc7"]["kernel"].spec == PartitionSpec("data")
    assert found["step"].spec == PartitionSpec()


def test_a_rule_may_split_over_the_devices_of_a_node_alone():
    """And the batch is split over both levels."""
    mesh = AbstractMesh((2, 4), meshes.TWO_LEVELS)
    rules = (("fc6", (None, "device")),)
    found = meshes.state_shardings(MeshConfig(fsdp=rules, nodes=2), mesh, STATE)
    assert found["params"]["fc6"]["kernel"].shard_shape((6, 8)) == (6, 2)
    assert meshes.batch_sharding(mesh).shard_shape((16, 3)) == (2, 3)
    with pytest.raises(UserError, match="names axis 'data'; there is 'node' and 'device'"):
        meshes.state_shardings(MeshConfig(fsdp=(("fc6", (None, "data")),)), mesh, STATE)


def test_a_mesh_has_the_levels_that_were_asked_for():
    assert dict(meshes.create().shape) == {"data": jax.device_count()}
    two = meshes.create(MeshConfig(nodes=1))
    assert dict(two.shape) == {"node": 1, "device": jax.device_count()}
    words = rf"mesh.nodes 2 does not divide {jax.device_count()} devices; give --mesh.nodes 0"
    with pytest.raises(UserError, match=words):
        meshes.create(MeshConfig(nodes=2))


def test_a_batch_per_device_decides_the_global_one():
    experiment = dataclasses.replace(EXPERIMENT, mesh=MeshConfig(batch_per_device=3))
    assert meshes.sized(experiment, mesh_of(8)).data.batch_size == 24
    assert meshes.sized(EXPERIMENT, mesh_of(8)) is EXPERIMENT


def test_a_global_batch_has_the_rows_of_the_local_one():
    rows = {"x": np.arange(6).reshape(3, 2)}
    batch = meshes.global_batch(rows, meshes.create())
    assert isinstance(batch["x"], jax.Array)
    np.testing.assert_array_equal(batch["x"], rows["x"])
