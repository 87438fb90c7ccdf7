"""Starts this process's share of a run: alone, one of N on this machine, or one of a job's."""

import os
from dataclasses import dataclass, replace

import jax

from jaxfacs.errors import UserError
from jaxfacs.runtime import lost, rendezvous

COORDINATOR = "JAXFACS_COORDINATOR"  # host:port of process 0
COUNT = "JAXFACS_PROCESS_COUNT"
INDEX = "JAXFACS_PROCESS_INDEX"
START = "JAXFACS_START_TIMEOUT_S"  # that the processes wait for each other
HEARTBEAT = "JAXFACS_HEARTBEAT_TIMEOUT_S"  # after which a silent process counts as lost
AUTO = "JAXFACS_DISTRIBUTED"  # "auto": let JAX find the cluster (MPI, Kubernetes, TPU pods)


@dataclass(frozen=True)
class Place:
    """Which of a run's processes this is. `devices`: of this machine's, by number; None: all."""

    address: str
    count: int
    index: int
    devices: list[int] | None = None


def initialize() -> None:
    """Joins the other processes of this run, if there are any.

    In this order: JAXFACS_COORDINATOR with _PROCESS_COUNT and _PROCESS_INDEX (launch/local.sh sets
    them); a SLURM step of several tasks; JAXFACS_DISTRIBUTED=auto. Otherwise this process is alone
    and no port is opened. Must be called before anything asks JAX for devices.

    Raises UserError on every process if one does not come, or their settings contradict.
    """
    place = _place()
    if place is None:
        return
    start_s, heartbeat_s = _number(START, 300), _number(HEARTBEAT, 100)
    host, _ = rendezvous.split(place.address)
    if place.count > 1:
        rendezvous.meet(place.address, place.count, place.index, timeout_s=start_s)
        lost.abort_means_lost()
    jax.distributed.initialize(
        place.address,
        place.count,
        place.index,
        place.devices,
        # A run on one machine must not open its coordinator to the network.
        coordinator_bind_address=place.address if rendezvous.is_loopback(host) else None,
        cluster_detection_method="deactivate",
        initialization_timeout=start_s,
        heartbeat_timeout_seconds=heartbeat_s,
    )
    if place.count > 1:
        lost.watch()


def _place() -> Place | None:
    """None where this process is alone."""
    address = os.environ.get(COORDINATOR)
    if address:
        count, index = _number(COUNT), _number(INDEX)
        if not 0 <= index < count:
            raise UserError(f"{INDEX} is {index} with {COUNT} {count}; count processes from 0")
        rendezvous.split(address)
        return Place(address, count, index) if count > 1 else None
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return replace(_found_by_jax("slurm"), devices=_slurm_devices())
    if os.environ.get(AUTO) == "auto":
        return _found_by_jax(None)
    return None


def _found_by_jax(cluster: str | None) -> Place:
    """What JAX's own detection finds; of a cluster by its name there, or of any."""
    from jax._src import clusters  # `jax.distributed.initialize` keeps it to itself

    address, count, index, devices = clusters.ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, cluster, _number(START, 300)
    )
    if address is None or count is None or index is None:
        raise UserError(f"JAX finds no cluster here; set {COORDINATOR}, {COUNT} and {INDEX}")
    return Place(address, count, index, None if devices is None else list(devices))


def _slurm_devices() -> list[int] | None:
    """The GPUs of this task: an equal share of those that it sees and the others see as well.

    JAX would take the one of the task's rank on the node, so that with one task a node all GPUs but
    the first stand still. JAX_LOCAL_DEVICE_IDS, which JAX reads, overrides.
    """
    if "JAX_LOCAL_DEVICE_IDS" in os.environ:
        return None
    on_node = int(os.environ.get("SLURM_GPUS_ON_NODE", "0"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = on_node if visible is None else len(visible.split(",")) if visible else 0
    tasks, rank = _slurm_tasks(), int(os.environ["SLURM_LOCALID"])
    # Fewer than the node's: SLURM has bound this task to its own (--gpus-per-task, --gpu-bind).
    if tasks == 1 or seen < max(on_node, tasks):
        return None
    if seen % tasks:
        raise UserError(f"{seen} GPUs of a node do not divide over {tasks} tasks; ask for others")
    share = seen // tasks
    return list(range(rank * share, (rank + 1) * share))


def _slurm_tasks() -> int:
    """The tasks of this step on this node: SLURM_STEP_TASKS_PER_NODE is like "4(x2),1"."""
    counts: list[int] = []
    for part in os.environ["SLURM_STEP_TASKS_PER_NODE"].split(","):
        tasks, _, times = part.removesuffix(")").partition("(x")
        counts += [int(tasks)] * int(times or 1)
    return counts[int(os.environ["SLURM_NODEID"])]


def _number(variable: str, default: int | None = None) -> int:
    text = os.environ.get(variable, "")
    if default is not None and variable not in os.environ:
        return default
    if not text.isdigit():
        raise UserError(f"{variable} is '{text}'; give a number")
    return int(text)
