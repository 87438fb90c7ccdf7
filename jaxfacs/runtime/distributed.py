"""Starts this process's share of a run: alone, one of N on this machine, or one of a job's."""

import os

import jax

from jaxfacs.errors import UserError

COORDINATOR = "JAXFACS_COORDINATOR"  # host:port of process 0
COUNT = "JAXFACS_PROCESS_COUNT"
INDEX = "JAXFACS_PROCESS_INDEX"
HEARTBEAT = "JAXFACS_HEARTBEAT_TIMEOUT_S"  # after which a silent process counts as lost
AUTO = "JAXFACS_DISTRIBUTED"  # "auto": let JAX find the cluster (MPI, Kubernetes, TPU pods)


def initialize() -> None:
    """Joins the other processes of this run, if there are any.

    In this order: JAXFACS_COORDINATOR with _PROCESS_COUNT and _PROCESS_INDEX (launch/local.sh sets
    them); a SLURM step of several tasks; JAXFACS_DISTRIBUTED=auto. Otherwise this process is alone
    and no port is opened. Must be called before anything asks JAX for devices.
    """
    timeout_s = _number(HEARTBEAT) if HEARTBEAT in os.environ else 100
    address = os.environ.get(COORDINATOR)
    if address:
        count, index = _number(COUNT), _number(INDEX)
        if not 0 <= index < count:
            raise UserError(f"{INDEX} is {index} with {COUNT} {count}; count processes from 0")
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise UserError(f"{COORDINATOR} is '{address}'; give host:port")
        if count > 1:
            jax.distributed.initialize(
                address,
                count,
                index,
                # A run on one machine must not open its coordinator to the network.
                coordinator_bind_address=address if _loopback(host) else None,
                cluster_detection_method="deactivate",
                heartbeat_timeout_seconds=timeout_s,
            )
    elif int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1 or os.environ.get(AUTO) == "auto":
        jax.distributed.initialize(heartbeat_timeout_seconds=timeout_s)


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1", "[::1]") or host.startswith("127.")


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    if not text.isdigit():
        raise UserError(f"{variable} is '{text}'; give a number")
    return int(text)
