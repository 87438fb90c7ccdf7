"""`jaxfacs bench flow`: optical flow on the device against OpenCV's, on rendered faces."""

import itertools
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from jaxfacs.bench.timing import core_count, interleaved, machine
from jaxfacs.errors import UserError
from jaxfacs.ops.memory import keep_freed_memory

# cv2's usual settings, and how its arguments are ordered.
SETTINGS: dict[str, Any] = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.1,
}


def main(
    *,
    sizes: tuple[int, ...] = (112, 224),
    frames: int = 11,
    clips: int = 4,
    rounds: int = 10,
) -> None:
    """Times ops.farneback_clip against cv2.calcOpticalFlowFarneback, and compares their flows.

    Prints, for each size, flows a second of ours, of cv2 on one thread, and of cv2 with one clip a
    thread on every core; processor milliseconds a flow, which say more on a busy machine; and the
    median and 99th percentile of the distance between the flows, in pixels. Ours runs on JAX's
    default device, cv2 on the processor.

    Args:
      sizes: sides of the frames, pixels.
      frames: of a clip.
      clips: how many at a time.
      rounds: how often each is timed; medians are printed.
    """
    if frames < 2 or min(clips, rounds, *sizes) < 1 or min(sizes) < 32:
        raise UserError("bench flow needs 2 frames, 1 clip, 1 round and 32 px or more")
    keep_freed_memory()
    import cv2
    import jax

    from jaxfacs import ops

    cv2.setNumThreads(1)  # one clip a thread uses the cores better than threads within a frame
    print(f"dense flow of {clips} clips of {frames} frames; {SETTINGS}")
    print(machine("jax", "jaxlib", "opencv-python-headless"), "·", jax.devices()[0].device_kind)
    print(f"{'side':>5} {'':>14} {'flows/s':>9} {'CPU ms':>8}")
    for size in sizes:
        grey = _grey(clips, frames, size)
        ours = jax.jit(lambda g: ops.farneback_clip(g, **SETTINGS)).lower(grey).compile()
        with ThreadPoolExecutor(core_count()) as pool:
            functions: dict[str, Callable[[], object]] = {
                "jaxfacs": lambda ours=ours, grey=grey: jax.block_until_ready(ours(grey)),
                "cv2": lambda grey=grey: list(map(_opencv, grey)),
                f"cv2, {core_count()} threads": lambda grey=grey: list(pool.map(_opencv, grey)),
            }
            seconds = interleaved(functions, rounds=rounds)
            busy = {name: _processor_seconds(function) for name, function in functions.items()}
        flows = clips * (frames - 1)
        for name, values in seconds.items():
            rate = flows / statistics.median(values)
            print(f"{size:>5} {name:>14} {rate:>9.0f} {1e3 * busy[name] / flows:>8.2f}", flush=True)
        distance = np.linalg.norm(
            np.asarray(ours(grey)) - [_opencv(clip) for clip in grey], axis=-1
        )
        median, high = np.percentile(distance, (50, 99))
        print(f"{size:>5} apart by {median:.1e} px (median), {high:.1e} px (99th percentile)")


def _grey(clips: int, frames: int, size: int) -> np.ndarray:
    """Rendered faces as (N, T, H, W) uint8 grey levels."""
    import cv2

    from jaxfacs.synthface.clip import clip

    made = [clip(seed, frames=frames, size=size).frames_THWC for seed in range(clips)]
    return np.array([[cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames] for frames in made])


def _opencv(grey_THW: np.ndarray) -> np.ndarray:
    import cv2

    flow: Any = cv2.calcOpticalFlowFarneback  # its type does not know that None makes a new array
    pairs = itertools.pairwise(grey_THW)
    return np.array([flow(a, b, None, *SETTINGS.values(), 0) for a, b in pairs])


def _processor_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start
