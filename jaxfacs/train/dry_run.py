"""`jaxfacs train --dry-run`: what a run would be, from its compiled step; nothing is run."""

import math
import time
from collections.abc import Iterator
from typing import Any

import jax

from jaxfacs.data.mixture import open_data
from jaxfacs.train import flops, optim, setup, stored_flow
from jaxfacs.train import mesh as meshes
from jaxfacs.train.compiled import Devices, compile_step, mesh_for
from jaxfacs.train.config import Experiment
from jaxfacs.train.labels import network_aus
from jaxfacs.train.paths import paths
from jaxfacs.train.state import Plan


def dry_run(experiment: Experiment, devices: Devices | None = None) -> Iterator[str]:
    """Yields the lines about a run on these devices; None: on those here.

    Checks what `setup.start` checks, in its words, opens the records and compiles the training
    step, but writes nothing. Raises UserError where the run would.
    """
    mesh = mesh_for(experiment, devices)
    experiment = meshes.sized(experiment, mesh)
    data = experiment.data
    records = open_data(data)
    for split in (data.train_split, data.validation_split):
        records.require_split(split)
    records.refuse_overlap(records.seen())
    for member in records.members(data.train_split):
        setup.check_centre(experiment, member.records)
    setup.check_emotions(experiment, records)
    meshes.check_batch(experiment, mesh)
    stored_flow.check(experiment)
    aus = network_aus(experiment, records)
    clips = records.clips(data.train_split)
    yield from _where(experiment, mesh, devices)
    yield from _how_long(experiment, clips)

    began = time.perf_counter()
    plan, compiled = compile_step(
        experiment,
        mesh=mesh,
        aus=aus,
        num_emotions=len(records.emotions),
        steps_per_epoch=clips / data.batch_size,
    )
    seconds = time.perf_counter() - began
    yield ""
    yield from parameter_table(plan)
    yield ""
    yield from memory_table(compiled, devices)
    yield ""
    yield from _work(compiled, plan, experiment)
    yield f"compiled in {seconds:.0f} s; nothing was run and nothing written"


def _where(experiment: Experiment, mesh: Any, devices: Devices | None) -> Iterator[str]:
    data, count = experiment.data, mesh.devices.size
    first = mesh.devices.flat[0]
    here = f"{count} × {first.device_kind} ({first.platform}), {jax.process_count()} process(es)"
    yield f"devices    {devices or here}"
    yield "mesh       " + ", ".join(f"{name} {size}" for name, size in mesh.shape.items())
    each = data.batch_size // count
    micro = each // experiment.accumulate
    parts = f", as {experiment.accumulate} micro-batches of {micro}" * (experiment.accumulate > 1)
    yield (
        f"batch      {data.batch_size} clips of {data.frames}×{data.size}×{data.size}, {each} a "
        f"device{parts}; BatchNorm's statistics: {experiment.mesh.statistics}"
    )


def _how_long(experiment: Experiment, clips: int) -> Iterator[str]:
    """Steps, epochs and images, and the rate that the batch gives."""
    data, steps = experiment.data, experiment.steps
    epoch = clips / data.batch_size
    drawn = steps * data.batch_size
    yield (
        f"length     {clips} training clips, {epoch:.1f} steps an epoch; {steps} steps are "
        f"{steps / epoch:.1f} epochs, {drawn} clips, {drawn * data.frames} images"
    )
    given, peak = experiment.optim, optim.scaled(experiment.optim, data.batch_size).learning_rate
    rule = f" ({given.scaling} from {given.learning_rate:g} at batch {given.base_batch})"
    yield (
        f"optimiser  {given.name}, learning rate {peak:g}{rule * (given.scaling != 'none')}, "
        f"{given.schedule} after {given.warmup_steps} steps of warm-up"
    )


def parameter_table(plan: Plan) -> Iterator[str]:
    """A line for each top module: parameters, their bytes, bytes on each device, how split."""
    rows: dict[str, list[Any]] = {}
    frozen = paths(plan.frozen_params)
    for path, leaf in paths(plan.abstract["params"]).items():
        row = rows.setdefault(path.split("/")[0], [0, 0, 0, set(), 0])
        held = math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        row[0] += leaf.size
        row[1] += leaf.size * leaf.dtype.itemsize
        row[2] += held
        row[3].add(_split(leaf.sharding.spec))
        row[4] += leaf.size * bool(frozen[path])
    yield f"{'parameters':<22}{'count':>13}{'bytes':>11}{'a device':>11}  split"
    total = [0, 0, 0]
    for name, (count, size, held, splits, kept) in rows.items():
        total = [total[0] + count, total[1] + size, total[2] + held]
        note = ", ".join(sorted(splits)) + (f"; {kept} frozen" if kept else "")
        yield f"{name:<22}{count:>13}{_bytes(size):>11}{_bytes(held):>11}  {note}"
    yield f"{'all':<22}{total[0]:>13}{_bytes(total[1]):>11}{_bytes(total[2]):>11}"


def memory_table(compiled: Any, devices: Devices | None = None) -> Iterator[str]:
    """The compiler's report of one step's memory, of each device."""
    found = compiled.memory_analysis()
    if found is None:
        yield "memory     this backend's compiler does not report it"
        return
    arguments, outputs = found.argument_size_in_bytes, found.output_size_in_bytes
    reused, temporary = found.alias_size_in_bytes, found.temp_size_in_bytes
    yield "memory of a device"
    for name, size in (
        ("arguments", arguments),
        ("outputs", outputs),
        ("of them in place", -reused),
        ("temporaries", temporary),
        ("peak at most", arguments + outputs - reused + temporary),
    ):
        yield f"{name:<22}{_bytes(size):>13}"
    if devices is not None and not devices.kind:
        yield "(of the CPU's compiler: a GPU's keeps other temporaries; h100:N asks it)"


def _work(compiled: Any, plan: Plan, experiment: Experiment) -> Iterator[str]:
    devices, clips = plan.mesh.devices.size, experiment.data.batch_size
    model = flops.formula(plan, experiment)
    yield (
        f"model      {model.forward / 1e9:.4g} GFLOP a clip forward, {model.training / 1e9:.4g} in "
        "training (convolutions and products alone)"
    )
    clip = flops.compiled(compiled, experiment, devices=devices)
    if clip is None:
        yield "work       this backend's compiler does not count operations"
        return
    note = f"; the loop's body × {experiment.accumulate}" * (experiment.accumulate > 1)
    each = clip * clips / devices
    yield (
        f"work       {each / 1e9:.2f} GFLOP a device and step, {clip * clips / 1e9:.2f} in all, "
        f"{clip / 1e9:.4g} a clip (the compiler's count{note}): {clip / model.training:.2f} times "
        "the model's"
    )


def _split(spec: Any) -> str:
    named = [axis for axis in spec if axis is not None]
    return f"over {', '.join(map(str, named))}" if named else "replicated"


def _bytes(size: float) -> str:
    """With a unit of three or fewer digits before the point."""
    for unit in ("B", "kB", "MB"):
        if abs(size) < 1000:
            return f"{size:.4g} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
