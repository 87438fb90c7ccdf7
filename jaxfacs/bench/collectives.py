"""`jaxfacs bench collectives`: what a compiled training step sends between devices."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxfacs.bench.hlo import Collective, collectives
from jaxfacs.errors import UserError

MEGABYTE = 1e6
EMOTIONS = 8  # classes of a config that learns emotions; its records are not read
SLACK = 0.02  # of the parameters' bytes: losses, weights and counts are reduced as well


@dataclass(frozen=True)
class Traffic:
    """The collectives of one step beside the parameters that it moves.

    Attributes:
      found: all of them.
      gradient_bytes: of the parameters that have a gradient, float32.
      statistics_bytes: of BatchNorm's running statistics; how many layers have them.
      accumulate: micro-batches of a step.
      split: whether a rule splits parameters, so that gathering them is meant.
    """

    found: tuple[Collective, ...]
    gradient_bytes: int
    statistics_bytes: int
    layers: int
    accumulate: int
    split: bool

    @property
    def once(self) -> int:
        """Bytes reduced once a step, four for each number whatever it is sent as."""
        return sum(_wide(each) for each in self.found if _reduces(each) and each.times == 1)

    @property
    def repeated(self) -> int:
        """The same of what is reduced in loops, in one turn of each."""
        return sum(_wide(each) for each in self.found if _reduces(each) and each.times > 1)

    @property
    def total(self) -> int:
        """Bytes of every collective of one step."""
        return sum(each.bytes * each.times for each in self.found)

    @property
    def operations(self) -> int:
        """How many collectives run in one step, one after another at worst."""
        return sum(each.times for each in self.found)

    def complaints(self) -> list[str]:
        """What is not as data parallel training should be; [] if all is."""
        lines = []
        moved = sum(each.bytes * each.times for each in self.found if not _reduces(each))
        if moved and not self.split:
            kinds = ", ".join(sorted({each.kind for each in self.found if not _reduces(each)}))
            lines.append(f"{_size(moved)} are moved without being reduced ({kinds})")
        if not self.split:
            least = (1 - SLACK) * self.gradient_bytes
            if self.accumulate > 1 and self.once < least:
                lines.append(
                    f"gradients are reduced in every micro-batch: {_size(self.repeated)} in each "
                    f"of {self.accumulate}, {_size(self.once)} once"
                )
            elif self.once + self.repeated < least:
                lines.append(
                    f"only {_size(self.once + self.repeated)} are reduced, less than the "
                    f"gradients' {_size(self.gradient_bytes)}: devices would drift apart"
                )
            elif self.once > (2 + SLACK) * self.gradient_bytes + 4 * self.statistics_bytes:
                lines.append("gradients are reduced more than once a step")
        narrow = sum(
            count * each.times
            for each in self.found
            if _reduces(each)
            for kind, count in each.arrays
            if kind in ("bf16", "f16")
        )
        if narrow:
            lines.append(f"{narrow} numbers are added up in 16 bits")
        if not all(each.known for each in self.found):
            lines.append("a loop of unknown length holds some; they are counted as if it ran once")
        return lines


def main(
    what: str = "mobilenet3d_v2",
    *,
    devices: str = "8",
    batch: int = 0,
    clip: str = "",
    accumulate: int = 0,
    dtype: str = "",
    statistics: str = "",
    smoke: bool = False,
    hlo: Path | None = None,
) -> int:
    """Compiles a training step for DEVICES and counts what they send each other.

    Nothing is run and no records are read: AUs and emotions of a config that takes them from its
    records are BP4D's twelve and eight classes. Returns 1 if gradients are not reduced exactly once
    a step, if anything is gathered, or if sums are in less than float32.

    Args:
      what: a config (CONFIG.py[:KEY=VALUE,...]) or a network (NAME[:KEY=VALUE,...]).
      devices: how many: 8, simulated on this CPU with its compiler; or h100:8, with the GPU's
        compiler, for GPUs that need not be here (jaxlib's CUDA plugin must be installed).
      batch: global; 0: as the config says, or two clips a device.
      clip: frames and size, as 16x112x112; "": as the config or the network's card says.
      accumulate: micro-batches a step; 0: as the config says.
      dtype: float32 or bfloat16; "": as the config says.
      statistics: of BatchNorm: global, device or synchronised; "": as the config says.
      smoke: the config's shrunk form.
      hlo: a file into which the compiled program is written.
    """
    from jaxfacs.train.compiled import elsewhere, is_elsewhere, parse_devices

    asked = parse_devices(devices)
    if not is_elsewhere():
        # Nothing of this process is inherited but its arguments.
        given = {
            "what": what, "devices": devices, "batch": batch, "clip": clip,
            "accumulate": accumulate, "dtype": dtype, "statistics": statistics, "hlo": hlo,
        }  # fmt: skip
        words = [f"--{k}={v}" for k, v in given.items() if v not in ("", 0, None)]
        return elsewhere(["bench", "collectives", *words, *(["--smoke"] * smoke)], asked)
    experiment = changed(
        experiment_of(what, smoke=smoke),
        devices=asked.count,
        batch=batch,
        clip=clip,
        accumulate=accumulate,
        dtype=dtype,
        statistics=statistics,
    )
    traffic, text = measure(experiment, devices)
    if hlo is not None:
        hlo.write_text(text)
    data = experiment.data
    print(
        f"{what}: {data.batch_size} clips of {data.frames}x{data.size}x{data.size} over {asked}, "
        f"{experiment.accumulate} micro-batch{'es' * (experiment.accumulate > 1)} a step, "
        f"{experiment.dtype}; compiled, not run"
    )
    for line in table(traffic):
        print(line)
    complaints = traffic.complaints()
    for line in complaints:
        print(f"not as it should be: {line}")
    if not complaints:
        gathered = "what rules split is gathered" if traffic.split else "nothing is gathered"
        print(f"as it should be: gradients are reduced once a step, in float32; {gathered}")
    sys.stdout.flush()
    return 1 if complaints else 0


def experiment_of(what: str, *, smoke: bool = False):
    """The experiment of a config file, or one around a network; UserError if it is neither."""
    from jaxfacs import models
    from jaxfacs.data.config import DataConfig
    from jaxfacs.train import config as configs
    from jaxfacs.train.named_options import split

    name = split(what)[0] if not Path(what).is_file() else what
    if name.endswith(".py"):
        return configs.load(what, smoke=smoke)
    if name not in models.names():
        known = ", ".join(models.names())
        raise UserError(f"'{what}' is neither a config file nor a network; networks: {known}")
    card = models.card(name)
    return configs.Experiment(
        data=DataConfig(frames=card.frames, size=card.size, batch_size=1),
        model=configs.ModelConfig(name=name, options=split(what)[1]),
    )


def changed(
    experiment,
    *,
    devices: int,
    batch: int,
    clip: str,
    accumulate: int,
    dtype: str,
    statistics: str,
):
    """The experiment with what the command line says instead; a batch that divides."""
    from jaxfacs.bench.timing import parse_clip

    for name, value, known in (
        ("statistics", statistics, ("", "global", "device", "synchronised")),
        ("dtype", dtype, ("", "float32", "bfloat16")),
    ):
        if value not in known:
            raise UserError(f"--{name} {value} is none of {', '.join(known[1:])}")
    if min(batch, accumulate) < 0:
        raise UserError("--batch and --accumulate are counts; give 0 or more")
    accumulate = accumulate or experiment.accumulate
    each = devices * accumulate
    # A count is about the program, not the batch: a config's is rounded up to one that divides.
    rounded = -(-max(experiment.data.batch_size, 2 * each) // each) * each
    data = replace(experiment.data, batch_size=batch or rounded)
    if clip:
        frames, height, width = parse_clip(clip)
        if height != width:
            raise UserError(f"clip {clip} is not square")
        data = replace(data, frames=frames, size=height)
    mesh = replace(experiment.mesh, statistics=statistics or experiment.mesh.statistics)
    return replace(
        experiment,
        data=data,
        mesh=mesh,
        accumulate=accumulate,
        dtype=dtype or experiment.dtype,
        evaluation=replace(experiment.evaluation, batch_size=0),
    )


def measure(experiment, devices: str) -> tuple[Traffic, str]:
    """The traffic of one step and the program's text, in a process that has the devices."""
    import jax

    from jaxfacs.facs import DATASET_AUS, parse_label
    from jaxfacs.train import mesh as meshes
    from jaxfacs.train.compiled import compile_step, mesh_for, parse_devices

    mesh = mesh_for(experiment, parse_devices(devices))
    meshes.check_batch(experiment, mesh)
    labels = experiment.data.aus or DATASET_AUS["bp4d"]
    aus = tuple(parse_label(label) for label in labels) if experiment.model.occurrence else ()
    plan, compiled = compile_step(
        experiment, mesh=mesh, aus=aus, num_emotions=EMOTIONS if experiment.model.emotion else 0
    )
    leaves = jax.tree.leaves
    pairs = zip(leaves(plan.abstract["params"]), leaves(plan.frozen_params), strict=True)
    text = compiled.as_text() or ""
    traffic = Traffic(
        found=tuple(collectives(text)),
        gradient_bytes=sum(4 * leaf.size for leaf, frozen in pairs if not frozen),
        statistics_bytes=sum(4 * leaf.size for leaf in leaves(plan.abstract["stats"])),
        layers=len(leaves(plan.abstract["stats"])) // 2,
        accumulate=experiment.accumulate,
        split=bool(experiment.mesh.fsdp),
    )
    return traffic, text


def table(traffic: Traffic) -> Sequence[str]:
    """Rows of kind, element type, operations, runs and bytes a step; and what they stand beside."""
    rows: dict[tuple[str, str, int], Counter] = {}
    for each in traffic.found:
        kinds = "+".join(sorted({kind for kind, _ in each.arrays}))
        row = rows.setdefault((each.kind, kinds, each.times), Counter())
        row["operations"] += 1
        row["bytes"] += each.bytes
    lines = [f"{'':<20}{'of':<8}{'operations':>11}{'times a step':>14}{'MB a step':>12}"]
    for (kind, kinds, times), row in sorted(rows.items()):
        moved = row["bytes"] * times / MEGABYTE
        lines.append(f"{kind:<20}{kinds:<8}{row['operations']:>11}{times:>14}{moved:>12.3f}")
    share = traffic.total / max(traffic.gradient_bytes, 1)
    lines += [
        f"together {traffic.operations} operations and {traffic.total / MEGABYTE:.3f} MB a step, "
        f"{share:.2f} times the gradients",
        f"gradients {traffic.gradient_bytes / MEGABYTE:.3f} MB; statistics of {traffic.layers} "
        f"normalised layers {traffic.statistics_bytes / MEGABYTE:.3f} MB",
    ]
    return lines


def _reduces(each: Collective) -> bool:
    return each.kind in ("all-reduce", "reduce-scatter")


def _wide(each: Collective) -> int:
    return 4 * sum(count for _, count in each.arrays)


def _size(count: int) -> str:
    return f"{count / MEGABYTE:.3f} MB"
