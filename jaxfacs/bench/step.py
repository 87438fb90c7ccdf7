"""`jaxfacs bench step`: one training step against PyTorch, on the same cores in the same run."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

from jaxfacs.bench.timing import core_count, interleaved, machine, parse_clip, ratio
from jaxfacs.errors import UserError
from jaxfacs.files import replacing
from jaxfacs.ops.memory import keep_freed_memory
from jaxfacs.train.named_options import split

# One network of each family: the rows of `--all`.
FAMILIES = (
    "mobilenet3d_v1",
    "mobilenet3d_v2",
    "mobilenet_v2",
    "resnet18",
    "resnet50",
    "alexnet",
    "vgg16",
    "inception_v2",
    "inception_v3",
    "xception",
    "swin_t",
    "me_graphau:stage=1",
    "me_graphau:stage=2",
    "open_graphau:stage=2",
    "scc",
    "two_stream",
    "one_vs_all:backbone=resnet18",
)


def main(
    *,
    model: str = "mobilenet3d_v2",
    clip: str = "",
    batch: int = 2,
    num_aus: int = 12,
    rounds: int = 15,
    dtype: str = "float32",
    torch: bool = True,
    all: bool = False,
    save: Path | None = None,
) -> None:
    """Times a whole training step: forward, backward, Adam. Ours and PyTorch's, interleaved.

    PyTorch runs in its memory layouts, with oneDNN, and on clips without it too; its Adam is the
    fused one. Each round times all once; printed are the medians, and the median over rounds of the
    ratio to PyTorch's fastest. Beside them stands the floor: what the compiler counts of
    multiply-adds and bytes, over the best that this machine does in a large matrix product and in
    rewriting a large array. Memory is kept between steps for all (see docs/performance.md).

    Args:
      model: a registered network, with options of its own as in me_graphau:stage=1.
      clip: frames, height and width of the input; by default what the network's card says.
      batch: clips in a step.
      num_aus: answers, for networks whose list of AUs is not their own.
      rounds: how often each is timed (a round takes some seconds on two cores).
      dtype: float32 or bfloat16, ours (PyTorch stays in float32).
      torch: compares with PyTorch if it is installed; otherwise times ours alone.
      all: one network of each family, each in a process of its own; prints a Markdown table.
      save: also writes what was measured to this JSON file.
    """
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"dtype '{dtype}' is neither float32 nor bfloat16")
    if batch < 1 or rounds < 1 or num_aus < 1:
        raise UserError("--batch, --rounds and --num-aus must be at least 1")
    if clip:
        parse_clip(clip)
    if all:
        shared = ["--batch", batch, "--num-aus", num_aus, "--rounds", rounds, "--dtype", dtype]
        shared += ["--clip", clip] if clip else []
        shared += [] if torch else ["--no-torch"]
        table(FAMILIES, [str(word) for word in shared])
        return
    kept = keep_freed_memory()  # before JAX or PyTorch starts a thread
    found = measure(
        model, clip=clip, batch=batch, num_aus=num_aus, rounds=rounds, dtype=dtype, torch=torch
    )
    print(f"{model}, {batch} x {found['clip']}: forward + backward + Adam")
    print(f"{machine('jax', 'jaxlib', 'flax', 'torch')} · memory kept between steps: {kept}")
    for name, value in found["ms"].items():
        print(f"  {name:<34} {value:9.1f} ms (median of {rounds})")
    print(
        f"  floor: {found['gflop']:.1f} GFLOP and {found['gbyte']:.2f} GB, at "
        f"{found['peak_gflop_s']:.0f} GFLOP/s and {found['peak_gbyte_s']:.0f} GB/s no less than "
        f"{found['floor_ms']:.1f} ms; ours does {found['gflop_s']:.0f} GFLOP/s"
    )
    if found["best"]:
        print(f"{found['ours']} is {found['times']:.2f} times as fast as {found['best']}")
    if save:
        with replacing(save) as temporary:
            temporary.write_text(json.dumps(found, indent=2) + "\n")


def measure(
    model: str, *, clip: str, batch: int, num_aus: int, rounds: int, dtype: str, torch: bool
) -> dict[str, Any]:
    """Times one network; returns what `main` prints, in a form that JSON takes."""
    from jaxfacs.bench import floor
    from jaxfacs.bench.jax_step import input_shape, jax_step

    shape = input_shape(model, clip, batch)
    ours = f"jaxfacs {dtype}"
    run, work = jax_step(model, shape, dtype=dtype, num_aus=num_aus)
    steps = {ours: run}
    if torch and util.find_spec("torch"):
        steps |= torch_steps(model, shape, num_aus=num_aus)
    seconds = interleaved(steps, rounds=rounds)
    peaks = floor.measure_peaks()
    median = {name: statistics.median(values) for name, values in seconds.items()}
    best = min(median.keys() - {ours}, key=lambda name: median[name], default="")
    return {
        "model": model,
        "clip": "x".join(map(str, shape[1:4])),
        "batch": batch,
        "ours": ours,
        "ms": {name: value * 1e3 for name, value in median.items()},
        "best": best,
        "times": ratio(seconds[best], seconds[ours]) if best else None,
        "gflop": work.flops / 1e9,
        "gbyte": work.bytes / 1e9,
        "peak_gflop_s": peaks.flops / 1e9,
        "peak_gbyte_s": peaks.bytes / 1e9,
        "floor_ms": work.floor_s(peaks) * 1e3,
        "gflop_s": work.flops / median[ours] / 1e9,
    }


def torch_steps(
    model: str, shape: tuple[int, ...], *, num_aus: int
) -> dict[str, Callable[[], object]]:
    """Returns PyTorch's step in each memory layout, with oneDNN and, on clips, without."""
    import torch

    from jaxfacs.bench.torch_loss import loss, targets
    from jaxfacs.bench.torch_twin import twin

    torch.set_num_threads(core_count())
    name, options = split(model)
    images = shape[1] == 1

    def make(memory_format: Any, onednn: bool) -> Callable[[], object]:
        torch.manual_seed(0)
        network: Any = twin(name, num_aus=num_aus, **options)
        if network is None:
            raise UserError(f"{model} has no PyTorch twin here; add --no-torch to time it alone")
        network = network.to(memory_format=memory_format)
        batch, frames, height, width, channels = shape
        size = (height, width) if images else (frames, height, width)
        x = torch.randn(batch, channels, *size).to(memory_format=memory_format)
        with torch.no_grad():
            wanted = targets(network(x))
        optimiser = torch.optim.Adam(network.parameters(), 1e-3, fused=True)

        def run():
            torch.backends.mkldnn.enabled = onednn  # type: ignore[assignment]
            optimiser.zero_grad()
            loss(network(x), wanted).backward()
            optimiser.step()

        return run

    last = "channels_last" if images else "channels_last_3d"
    layouts = {"contiguous": torch.contiguous_format, last: getattr(torch, last)}
    # Without oneDNN only where it could win, on 3D convolutions: each variant keeps its own weights
    # and moments, 2.2 GB for VGG16.
    return {
        f"PyTorch {layout}{', oneDNN' if onednn else ''}": make(memory_format, onednn)
        for layout, memory_format in layouts.items()
        for onednn in ((True,) if images else (True, False))
    }


def table(models: tuple[str, ...], options: list[str]) -> None:
    """Prints a Markdown table with a row for each network, measured in a process of its own.

    A network that cannot be measured has its reason for a row, and the others go on.
    """
    print(machine("jax", "jaxlib", "flax", "torch", "torchvision"), flush=True)
    print("\n| network | input | jaxfacs ms | PyTorch ms | times as fast | GFLOP | GB ", end="")
    print("| floor ms | times the floor | GFLOP/s |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for n, model in enumerate(models):
            path = Path(folder) / f"{n}.json"
            words = ["bench", "step", "--model", model, *options, "--save", str(path)]
            done = subprocess.run(
                [sys.executable, "-m", "jaxfacs", *words], capture_output=True, text=True
            )
            if path.is_file():
                print(row(json.loads(path.read_text())), flush=True)
            else:
                why = (done.stderr.strip().splitlines() or ["no message"])[-1]
                print(f"| {model} | not measured: {why} | | | | | | | | |", flush=True)


def row(found: dict[str, Any]) -> str:
    """One row of the table out of what `measure` returned."""
    ours = found["ms"][found["ours"]]
    best = f"{found['ms'][found['best']]:.0f}" if found["best"] else "–"
    times = f"{found['times']:.2f}" if found["best"] else "–"
    cells = [
        found["model"],
        f"{found['batch']} × {found['clip'].removeprefix('1x')}",
        f"{ours:.0f}",
        best,
        times,
        f"{found['gflop']:.1f}",
        f"{found['gbyte']:.2f}",
        f"{found['floor_ms']:.1f}",
        f"{ours / found['floor_ms']:.1f}",
        f"{found['gflop_s']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"
