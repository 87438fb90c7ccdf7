"""The training step compiled from shapes alone, for devices that need not be here.

Three kinds of devices, written as `parse_devices` takes them:

    ""       those of this process
    8        eight simulated ones: the CPU's compiler, in a process of its own
    h100:64  the GPU's compiler for a described GPU, eight to a node: jaxlib's CUDA plugin must be
             installed (pip install "jax[cuda12]"), a GPU need not be there
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh

from jaxfacs.data import flow
from jaxfacs.data.config import DataConfig
from jaxfacs.errors import UserError
from jaxfacs.train import mesh as meshes
from jaxfacs.train import state as states
from jaxfacs.train.config import Experiment
from jaxfacs.train.state import Plan
from jaxfacs.train.step import jit_train_step

ELSEWHERE = "JAXFACS_COMPILE_FOR"  # set in the process that `elsewhere` starts
GPUS_A_NODE = 8

# What XLA asks of a GPU that is not there. Names: stream_executor's GpuTargetConfigProto; numbers:
# openxla/xla, xla/backends/gpu/target_config/specs, and NVIDIA's H100 whitepaper.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472 registers_per_core_limit: 65536 registers_per_block_limit: 65536
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 device_memory_size: 84929347584
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
runtime_version { major: 12 minor: 9 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
DESCRIBED = {"h100": H100}


@dataclass(frozen=True)
class Devices:
    """How many, and of which kind: "" simulated on the CPU, else a key of `DESCRIBED`."""

    count: int
    kind: str = ""

    def __str__(self) -> str:
        if self.kind:
            return f"{self.count} {self.kind.upper()} that are not here"
        return f"{self.count} simulated CPU devices"


def parse_devices(text: str) -> Devices:
    """Reads "8" or "h100:64"; raises UserError for anything else."""
    kind, _, count = text.rpartition(":")
    if not count.isdigit() or not 1 <= int(count) <= 65536:
        raise UserError(f"'{text}' is no number of devices; give one as in 8 or h100:64")
    if kind and kind not in DESCRIBED:
        raise UserError(f"GPUs of kind '{kind}' are not described; known: {', '.join(DESCRIBED)}")
    if kind and int(count) > GPUS_A_NODE and int(count) % GPUS_A_NODE:
        raise UserError(f"{count} GPUs are no whole nodes of {GPUS_A_NODE}; give a multiple")
    return Devices(int(count), kind)


def elsewhere(arguments: Sequence[str], devices: Devices, *, timeout_s: float | None = None) -> int:
    """Runs the same command in a process that has the devices; returns its exit code.

    A process cannot change how many devices it has once JAX has started.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if devices.kind:
        # There is nothing to try kernels on, and Triton's products of matrices need that.
        flags += " --xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"
    environment = {
        **os.environ,
        ELSEWHERE: f"{devices.kind}:{devices.count}".lstrip(":"),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(1 if devices.kind else devices.count),
        "XLA_FLAGS": flags.strip(),
        # XLA's alarms of slow compilation are no news to who asked for one.
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
    }
    sys.stdout.flush()
    command = [sys.executable, "-m", "jaxfacs", *arguments]
    return subprocess.run(command, env=environment, timeout=timeout_s, check=False).returncode


def is_elsewhere() -> bool:
    """Whether this is the process that `elsewhere` started."""
    return ELSEWHERE in os.environ


def mesh_for(experiment: Experiment, devices: Devices | None) -> Mesh:
    """The mesh of a run on these devices, in the process that has them; None: on all here."""
    if devices is None or not devices.kind:
        return meshes.create(experiment.mesh)
    nodes, each = -(-devices.count // GPUS_A_NODE), min(devices.count, GPUS_A_NODE)
    try:
        described = topologies.get_topology_desc(
            platform="cuda",
            target_config=DESCRIBED[devices.kind],
            topology=f"1x{nodes}x{each}",
        )
    except (NotImplementedError, RuntimeError) as error:
        raise UserError(
            "jaxlib's CUDA plugin is not installed, and only it compiles for GPUs "
            f'({str(error).splitlines()[0]}); pip install "jax[cuda12]", or give a plain number '
            "for simulated CPU devices"
        ) from error
    return meshes.create(experiment.mesh, devices=described.devices)


def abstract_batch(config: DataConfig, *, num_aus: int, mesh: Mesh) -> dict[str, Any]:
    """The forms of what `data.pipeline.train_batches` yields, on the mesh."""
    b, t, size = config.batch_size, config.frames, config.size
    occurrence = jnp.float32 if config.augment.mixup else jnp.int8  # blended labels are shares
    forms = {
        "frames_BTHWC": ((b, t, size, size, 3), jnp.uint8),
        "occurrence_BTA": ((b, t, num_aus), occurrence),
        "intensity_BTA": ((b, t, num_aus), jnp.float32),
        "landmarks_BT682": ((b, t, 68, 2), jnp.float32),
        "visible_BT68": ((b, t, 68), jnp.int8),
        "valence_arousal_BT2": ((b, t, 2), jnp.float32),
        "emotion_B": ((b,), jnp.int32),
        "weight_B": ((b,), jnp.float32),
        "set_B": ((b,), jnp.int32),
        "index_B": ((b,), jnp.int32),  # int64 on the host, which JAX narrows
        "subject_B": ((b,), jnp.int32),
        "start_B": ((b,), jnp.int32),
    }
    if config.flow:
        channels = flow.channels(config.flow)
        forms["flow_BTHWF"] = ((b, t, size, size, channels), jnp.float16)
    sharding = meshes.batch_sharding(mesh)
    return {
        key: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
        for key, (shape, dtype) in forms.items()
    }


def compile_step(
    experiment: Experiment,
    *,
    mesh: Mesh,
    aus: Sequence[str],
    num_emotions: int,
    steps_per_epoch: float = 1000.0,
) -> tuple[Plan, jax.stages.Compiled]:
    """The plan of a run and its compiled training step; nothing is allocated and nothing run.

    What the loss takes from the labels is 1 here: it changes numbers, not the program.
    """
    plan, _ = states.plan(
        experiment,
        mesh=mesh,
        aus=aus,
        num_emotions=num_emotions,
        steps_per_epoch=steps_per_epoch,
    )
    facts: dict[str, Any] = {"label_weight_A": jnp.ones(len(aus))} if aus else {}
    if aus and experiment.loss.cooccurrence_scale:
        facts["correlation_AA"] = jnp.zeros((len(aus), len(aus)))
    batch = abstract_batch(experiment.data, num_aus=len(aus), mesh=mesh)
    step: Any = jit_train_step(plan, experiment, **facts)
    lowered = step.lower(plan.abstract, batch)
    # Simulated devices are never run: what LLVM would still make faster changes no count of ours
    # and takes most of the time.
    options = {"xla_backend_optimization_level": 0} if is_elsewhere() else None
    try:
        return plan, lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        if not is_elsewhere():
            raise
        reason = str(error).splitlines()[0]
        raise UserError(f"the compiler for {os.environ[ELSEWHERE]} cannot: {reason}") from error
