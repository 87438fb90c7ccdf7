"""`jaxfacs bench render`: what a rendered face costs, and which part of it."""

import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jaxfacs.bench.timing import machine
from jaxfacs.data import writer
from jaxfacs.data.builders import synthface as builder
from jaxfacs.data.delivery import Recording
from jaxfacs.errors import UserError
from jaxfacs.faces.steps import FaceSteps
from jaxfacs.synthface import clip, dress, heads, motion, raster, render, scene
from jaxfacs.synthface.variation import Variation

# Stage -> the functions whose time it is, less what they spend in those of other stages.
STAGES: dict[str, tuple[tuple[Any, str], ...]] = {
    "person": ((clip, "_person"),),
    "motion": ((motion, "sample_motion"),),
    "shapes": ((heads, "deform_clip"),),
    "scene": ((scene, "sample_scene"), (render, "prepare")),
    "triangles": ((raster, "rasterize"),),
    "pixels": ((render, "draw"),),
    "camera": ((scene, "photograph"),),
    "labels": ((clip, "_labels"),),
}
REST = "record"  # the crop, its JPEG, and the rest
ABSORBS = "person"  # what it calls of other stages is its own


def main(
    *,
    head: Path | None = None,
    sizes: tuple[int, ...] = (64, 112, 192),
    stills: int = 16,
    per_person: int = 8,
    frames: int = 16,
    rounds: int = 3,
) -> None:
    """Measure rendering, records included, in frames a second of one core.

    Each row builds records as `jaxfacs data build synthface --detector none` does: stills, so many
    of one person, and clips; processor time, the best of interleaved rounds, so that what else the
    machine does counts little. The stages' shares are of all the time. The floor is what no way of
    drawing with these tools can leave out: to bring the columns of the three corners to every
    sample of the picture, and the JPEG.

    Args:
      head: folder of the ICT Face Model Light, measured beside the built-in head.
      sizes: sides of the crops in pixels.
      stills: pictures of a row.
      per_person: of them of one person.
      frames: of a clip.
      rounds: how often each is measured.
    """
    if min(stills, per_person, frames, rounds, *sizes) < 1:
        raise UserError("--stills, --per-person, --frames, --rounds and --sizes must be above 0")
    rows = {
        (name, size, kind): _row(path, size, kind, stills, per_person, frames)
        for name, path in _heads(head).items()
        for size in sizes
        for kind in ("stills", "clips")
    }
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        taken: dict[tuple[str, int, str], list[Taken]] = {key: [] for key in rows}
        for number in range(rounds + 1):  # the first loads the heads
            for key, row in rows.items():
                measured = row(number)
                if number:
                    taken[key].append(measured)
    finally:
        cv2.setNumThreads(threads)
    print(f"one core · {machine('numpy', 'opencv-python-headless')}")
    shares = "".join(f"{name:>10}" for name in (*STAGES, REST))
    print(f"{'head':<9}{'size':>5} {'kind':<7}{'frames/s':>9}{'floor':>8}{'ratio':>7}{shares}")
    for (name, size, kind), several in taken.items():
        best = min(several, key=lambda one: one.seconds / one.frames)
        floor = statistics.median(one.floor for one in several)
        told = "".join(
            f"{100 * best.stages.get(stage, 0) / best.seconds:>9.0f}%" for stage in (*STAGES, REST)
        )
        rate = best.frames / best.seconds
        least = f"{1 / floor:>8.0f}{1 / floor / rate:>7.1f}"
        print(f"{name:<9}{size:>5} {kind:<7}{rate:>9.1f}{least}{told}")


@dataclass
class Taken:
    """Seconds of the processor for so many frames, by stage; floor: the least for one."""

    frames: int
    seconds: float
    stages: dict[str, float] = field(default_factory=dict)
    floor: float = 0.0


def _heads(path: Path | None) -> dict[str, str | None]:
    known: dict[str, str | None] = {"builtin": None}
    return known if path is None else known | {clip.load_head(str(path)).name: str(path)}


def _row(
    head: str | None, size: int, kind: str, stills: int, per_person: int, frames: int
) -> Callable[[int], Taken]:
    """Measures one round: people of their own, so that nobody is known already."""
    job = builder.RenderJob(
        seed=0, fps=25.0, head=head, near_frontal=False, variation=Variation(),
        steps=FaceSteps.boxed("boxes", size=size), jitter=True, quality=92,
    )  # fmt: skip
    each = 1 if kind == "stills" else frames
    people = -(-stills // per_person) if kind == "stills" else 1

    def measure(number: int) -> Taken:
        clip.load_head(head)
        numbers = [range(n * per_person, (n + 1) * per_person) for n in range(people)]
        if kind != "stills":
            numbers = [range(1)]
        taken = Taken(0, 0.0)
        with _watched(taken.stages):
            start = time.process_time()
            for n, own in enumerate(numbers):
                who = number * people + n
                shifted = range(own.start + number * stills, own.stop + number * stills)
                cut = job(Recording("bench", "bench", builder.Sitting(shifted, who, each)))
                taken.frames += sum(len(one.frames) for one in cut.clips)
            taken.seconds = time.process_time() - start
        taken.stages[REST] = taken.seconds - sum(taken.stages.values())
        taken.floor = _floor(size)
        return taken

    return measure


@contextlib.contextmanager
def _watched(stages: dict[str, float]) -> Iterator[None]:
    """Adds up processor time by stage while it is open."""
    open_: list[str] = []
    since = 0.0

    def told(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args, **options):
            nonlocal since
            if open_ and open_[-1] in (ABSORBS, stage):
                return function(*args, **options)
            now = time.process_time()
            if open_:
                stages[open_[-1]] = stages.get(open_[-1], 0.0) + now - since
            open_.append(stage)
            since = now
            try:
                return function(*args, **options)
            finally:
                now = time.process_time()
                stages[stage] = stages.get(stage, 0.0) + now - since
                open_.pop()
                since = now

        return timed

    with contextlib.ExitStack() as undo:
        for stage, functions in STAGES.items():
            for module, name in functions:
                before = getattr(module, name)
                undo.callback(setattr, module, name, before)
                setattr(module, name, told(stage, before))
        yield


def _floor(size: int) -> float:
    """Seconds for one picture; see `main`."""
    side = round(size * builder.CLOSE_RATIO * render.CLOSE_OVERSAMPLE)
    rng = np.random.default_rng(0)
    table = raster.planar(rng.standard_normal((20_000, dress.EDGE), np.float32))
    # Neighbours in the picture are neighbours in the mesh.
    corner = np.linspace(0, len(table) - 1, side * side).astype(np.intp)
    corner_N3 = np.stack([corner] * 3).T
    weight_N3 = raster.planar(np.full((len(corner), 3), 1 / 3, np.float32))
    picture = cv2.resize(rng.integers(0, 256, (16, 16, 3), np.uint8), (size, size))
    best = np.inf
    for _ in range(5):
        start = time.process_time()
        raster.interpolate(table, corner_N3, weight_N3)
        writer.encode_jpeg(picture, quality=92)
        best = min(best, time.process_time() - start)
    return best
