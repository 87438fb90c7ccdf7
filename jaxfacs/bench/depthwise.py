"""`jaxfacs bench depthwise`: the depthwise 3D convolution over the shapes of a network."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib import util
from typing import Any

from jaxfacs.bench.timing import core_count, interleaved, machine, parse_clip
from jaxfacs.errors import UserError
from jaxfacs.ops.memory import keep_freed_memory

Stride = tuple[int, int, int]


def main(
    *,
    clip: str = "16x112x112",
    batch: int = 1,
    rounds: int = 5,
    dtype: str = "float32",
    quick: bool = False,
    torch: bool = True,
) -> None:
    """Times ops.depthwise_conv3d against XLA's grouped convolution and PyTorch's.

    One line for each different depthwise layer of 3D-MobileNetV2: our milliseconds, and how many
    times longer the others take, forward (f) and forward + both gradients (fb). PyTorch is the
    faster of its two memory layouts, with oneDNN. XLA's grouped convolution takes seconds on large
    shapes, so it is timed once after its compilation; ours and PyTorch's are medians of `rounds`.

    Args:
      clip: frames, height and width of the network's input.
      batch: clips.
      rounds: how often ours and PyTorch's are timed.
      dtype: float32 or bfloat16 (bfloat16 for all three).
      quick: only every third layer.
      torch: compares with PyTorch if it is installed.
    """
    frames, height, width = parse_clip(clip)
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"dtype '{dtype}' is neither float32 nor bfloat16")
    if batch < 1 or rounds < 1:
        raise UserError("--batch and --rounds must be at least 1")
    keep_freed_memory()
    with_torch = torch and util.find_spec("torch") is not None
    print(f"depthwise 3x3x3 of 3D-MobileNetV2, {batch} clips of {clip}, {dtype}")
    print(machine("jax", "jaxlib", "torch"))
    print(
        f"{'T x H x W x C':>18} stride | {'ours f':>8} {'fb':>8} ms | XLA f{'':>4} fb{'':>3}",
        end="",
    )
    print("| torch f    fb" if with_torch else "")
    ratios: dict[str, list[float]] = {"XLA f": [], "XLA fb": [], "torch f": [], "torch fb": []}
    for shape, strides in layers(batch, frames, height, width)[:: 3 if quick else 1]:
        ours, others = time_layer(shape, strides, dtype, rounds, with_torch)
        for name, value in others.items():
            ratios[name].append(value)
        size = "x".join(str(n) for n in shape[1:])
        row = f"{size:>18} {'.'.join(map(str, strides))}  | {ours[0]:8.2f} {ours[1]:8.2f}    |"
        row += f" {others['XLA f']:6.1f} {others['XLA fb']:6.1f} "
        if with_torch:
            row += f"| {others['torch f']:7.1f} {others['torch fb']:6.1f}"
        print(row, flush=True)
    means = {n: statistics.geometric_mean(v) for n, v in ratios.items() if v}
    print("geometric means: " + ", ".join(f"{n} {v:.1f}x" for n, v in means.items()))


def layers(batch: int, frames: int, height: int, width: int) -> list[tuple[tuple, Stride]]:
    """Returns (input shape BTHWC, strides) of each different depthwise layer of the network."""
    from jaxfacs.models.backbones.mobilenet3d import STEM_CHANNELS, STEM_STRIDES, V2_STAGES

    size = _strided((frames, height, width), STEM_STRIDES)
    channels, found = STEM_CHANNELS, {}
    for t, out, repeats, first in V2_STAGES:
        for n in range(repeats):
            strides = first if n == 0 else (1, 1, 1)
            found[((batch, *size, channels * t), strides)] = None
            size, channels = _strided(size, strides), out
    return list(found)


def time_layer(
    shape: tuple, strides: Stride, dtype: str, rounds: int, with_torch: bool
) -> tuple[tuple[float, float], dict[str, float]]:
    """Returns our (f, fb) in milliseconds and the others' times as multiples of them."""
    from jaxfacs.ops.depthwise import depthwise_conv3d, plain_depthwise_conv3d

    ours_f, ours_fb = _jax_functions(partial(depthwise_conv3d, strides=strides), shape, dtype)
    functions = {"ours f": ours_f, "ours fb": ours_fb}
    if with_torch:
        functions |= _torch_functions(shape, strides, dtype)
    seconds = interleaved(functions, rounds=rounds)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    xla_f, xla_fb = _jax_functions(partial(plain_depthwise_conv3d, strides=strides), shape, dtype)
    others = {
        "XLA f": _once(xla_f) / median["ours f"],
        "XLA fb": _once(xla_fb) / median["ours fb"],
    }
    for kind in ("f", "fb") if with_torch else ():
        layouts = [v for name, v in median.items() if name.startswith(f"torch {kind} ")]
        others[f"torch {kind}"] = min(layouts) / median[f"ours {kind}"]
    return (median["ours f"] * 1e3, median["ours fb"] * 1e3), others


def _strided(size: tuple[int, ...], strides: Stride) -> tuple[int, ...]:
    return tuple(-(-n // s) for n, s in zip(size, strides, strict=True))


def _once(function: Callable[[], object]) -> float:
    """Times one call after one that warms up, or the first where that took over a second."""
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        function()
        seconds = time.perf_counter() - start
        if seconds > 1.0:
            break
    return seconds


def _jax_functions(conv: Callable, shape: tuple, dtype: str) -> list[Callable[[], object]]:
    """Returns compiled forward, and forward with both gradients, that wait for their results."""
    import jax

    x = jax.random.normal(jax.random.key(0), shape, dtype)
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, shape[-1]), dtype)
    g = jax.random.normal(jax.random.key(2), jax.eval_shape(conv, x, kernel).shape, dtype)

    def both(x, kernel, g):
        y, pull = jax.vjp(conv, x, kernel)
        return y, pull(g)

    def waiting(function: Callable, *arguments: Any) -> Callable[[], object]:
        compiled = jax.jit(function).lower(*arguments).compile()
        return lambda: jax.block_until_ready(compiled(*arguments))

    return [waiting(conv, x, kernel), waiting(both, x, kernel, g)]


def _torch_functions(shape: tuple, strides: Stride, dtype: str) -> dict[str, Callable[[], object]]:
    import torch

    torch.set_num_threads(core_count())
    kind = getattr(torch, dtype)
    batch, *size, channels = shape
    functions: dict[str, Callable[[], object]] = {}
    layouts = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last_3d}
    for name, memory_format in layouts.items():
        x = torch.randn(batch, channels, *size).to(kind).to(memory_format=memory_format)
        weight = torch.randn(channels, 1, 3, 3, 3).to(kind).to(memory_format=memory_format)
        x.requires_grad_()
        weight.requires_grad_()

        def forward(x=x, weight=weight):
            return torch.nn.functional.conv3d(x, weight, None, strides, 1, groups=channels)

        def no_grad(forward=forward):
            with torch.no_grad():
                forward()

        g = torch.randn_like(forward().detach())

        def both(forward=forward, x=x, weight=weight, g=g):
            torch.autograd.grad(forward(), (x, weight), g)

        functions[f"torch f {name}"] = no_grad
        functions[f"torch fb {name}"] = both
    return functions
