"""Which device holds what: one `data` axis over all devices of all processes.

The batch is split over it; parameters are replicated unless a rule splits them (FSDP). BatchNorm
is then global by construction, because under jit a mean is a mean over the whole batch.

With `mesh.nodes` the axis is two, `node` and `device`, and the batch is split over both. The
reductions stay as they are (NCCL finds the nodes by itself); what it is good for is a rule that
splits parameters over the devices of a node alone, so that gathering them stays on its fast links.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxfacs.errors import UserError
from jaxfacs.train.config import Experiment, MeshConfig
from jaxfacs.train.paths import map_paths

AXIS = "data"
TWO_LEVELS = ("node", "device")


def create(config: MeshConfig | None = None, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh over every device of every process, or over `devices`.

    Raises UserError if they do not divide into the nodes that the config asks for.
    """
    devices = jax.devices() if devices is None else list(devices)
    nodes = config.nodes if config else 0
    if nodes and len(devices) % nodes:
        raise UserError(
            f"mesh.nodes {nodes} does not divide {len(devices)} devices; give --mesh.nodes 0 for "
            "one level, or as many nodes as there are"
        )
    shape, names = (
        ((nodes, len(devices) // nodes), TWO_LEVELS) if nodes else ((len(devices),), (AXIS,))
    )
    # Auto: jax.make_mesh defaults to Explicit, under which dropout on a sharded batch fails.
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names), devices=devices)


def sized(experiment: Experiment, mesh: Mesh) -> Experiment:
    """The experiment with its global batch, where `mesh.batch_per_device` gives each device's."""
    each = experiment.mesh.batch_per_device
    if not each:
        return experiment
    data = dataclasses.replace(experiment.data, batch_size=each * mesh.devices.size)
    return dataclasses.replace(experiment, data=data)


def check_batch(experiment: Experiment, mesh: Mesh) -> None:
    """Raises UserError unless every (micro-)batch divides over the devices, naming both numbers."""
    devices, k = mesh.devices.size, experiment.accumulate
    rows = [("data.batch-size", experiment.data.batch_size, k)]
    if experiment.evaluation.batch_size:
        rows.append(("evaluation.batch-size", experiment.evaluation.batch_size, 1))
    for name, batch, parts in rows:
        if batch % (devices * parts):
            micro = f" in {parts} micro-batches" if parts > 1 else ""
            near = max(round(batch / (devices * parts)), 1) * devices * parts
            raise UserError(
                f"{name} {batch}{micro} does not divide over {devices} devices; "
                f"give --{name} {near}"
            )


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def state_shardings(config: MeshConfig, mesh: Mesh, abstract_state: Any) -> Any:
    """A sharding for every leaf: that of the first rule whose pattern its path matches.

    Moments and averages have their parameter's path inside their own, so one rule covers all.
    Raises UserError where a rule matches nothing, names no axis of the mesh, or does not divide.
    """
    used: set[str] = set()

    def sharding(path: str, leaf: Any) -> NamedSharding:
        for pattern, spec in config.fsdp:
            if re.search(pattern, path) and leaf.ndim:
                used.add(pattern)
                _check_spec(path, leaf.shape, pattern, spec, mesh)
                return NamedSharding(mesh, PartitionSpec(*spec))
        return replicated(mesh)

    shardings = map_paths(sharding, abstract_state)
    for pattern, _ in config.fsdp:
        if pattern not in used:
            raise UserError(f"mesh.fsdp rule '{pattern}' matches no parameter; correct or drop it")
    return shardings


def global_batch(local: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """The batch on the mesh, out of the rows that this process read."""
    sharding = batch_sharding(mesh)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in local.items()}


def _check_spec(
    path: str, shape: tuple[int, ...], pattern: str, spec: tuple[str | None, ...], mesh: Mesh
) -> None:
    if len(spec) > len(shape):
        raise UserError(
            f"mesh.fsdp rule '{pattern}' has {len(spec)} axes but {path} has {len(shape)}; "
            "give one entry per axis"
        )
    for axis, name in enumerate(spec):
        if name is None:
            continue
        if name not in mesh.shape:
            there = " and ".join(f"'{axis}'" for axis in mesh.axis_names)
            raise UserError(f"mesh.fsdp rule '{pattern}' names axis '{name}'; there is {there}")
        if shape[axis] % mesh.shape[name]:
            raise UserError(
                f"{path} has {shape[axis]} entries on axis {axis}, which do not divide over "
                f"{mesh.shape[name]} devices; split another axis in mesh.fsdp rule '{pattern}'"
            )
