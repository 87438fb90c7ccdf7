"""`jaxfacs bench input`: does the input pipeline keep up?"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from jaxfacs.data import flow, records
from jaxfacs.data.config import NO_AUGMENT, DataConfig, FlowComponents
from jaxfacs.data.parallel import cores
from jaxfacs.data.pipeline import train_batches
from jaxfacs.data.records import RecordSet

PLAIN = "plain decode, one thread"


@dataclass(frozen=True)
class Kind:
    """What is read: frames of a clip, side in pixels, clips of a batch, components of flow."""

    frames: int
    size: int
    batch_size: int
    flow: FlowComponents = ""


KINDS = {
    "stills": Kind(1, 224, 64),  # what networks of pictures take
    "clips": Kind(16, 112, 16),
    "flow": Kind(11, 112, 16, "y"),  # the two-stream network's window, ten channels a frame
}


def main(
    *,
    kind: Literal["stills", "clips", "flow", "all"] = "clips",
    source: Path | None = None,
    clips: int = 64,
    frames: int = 0,
    size: int = 0,
    batch_size: int = 0,
    threads: tuple[int, ...] = (1, 2, 4),
    workers: tuple[int, ...] = (),
    repeats: int = 5,
    seconds: float = 1.5,
) -> None:
    """Measure the input pipeline in frames and bytes a second, without a model.

    Each row is the median of interleaved repeats, beside a plain loop in one thread that reads the
    same records and decodes their pictures, and does nothing else. Bytes are those of the frames
    and the flow that a batch holds, which is what goes to the device. Frames per second of
    processor time tell the cost where other programs are running too; those of worker processes are
    not seen.

    Args:
      kind: stills of 224 pixels, clips of 16 frames of 112, clips of 11 frames of 112 with stored
        flow, or one after the other.
      source: record folder; without it a set of noisy pictures is made for the purpose.
      clips: clips of the set that is made; stills are as many times 4.
      frames: frames of a clip; 0: the kind's, as with the next two.
      size: side of the frames in pixels.
      batch_size: clips of a batch.
      threads: numbers of decoding threads to try.
      workers: numbers of worker processes to try, each with one thread.
      repeats: how often each is measured.
      seconds: for how long each time.
    """
    for name, usual in KINDS.items():
        if kind not in (name, "all"):
            continue
        asked = Kind(
            frames or usual.frames, size or usual.size, batch_size or usual.batch_size, usual.flow
        )
        with tempfile.TemporaryDirectory() as folder:
            number = clips * (4 if asked.frames == 1 else 1)
            path = source or _make_set(Path(folder) / "set", asked, clips=number)
            runs = _runs(path, asked, threads=threads, workers=workers)
            rates: dict[str, list[tuple[float, float]]] = {run: [] for run in runs}
            for _ in range(repeats):
                for run, draw in runs.items():
                    rates[run].append(_rate(draw, seconds))
        _print(name, asked, rates)


def _runs(
    path: Path, kind: Kind, *, threads: tuple[int, ...], workers: tuple[int, ...]
) -> dict[str, Callable[[], int]]:
    config = DataConfig(
        source=str(path),
        frames=kind.frames,
        size=kind.size,
        batch_size=kind.batch_size,
        flow=kind.flow,
        threads=1,
    )
    plain = replace(config, augment=NO_AUGMENT)
    runs: dict[str, Callable[[], int]] = {PLAIN: _plain(records.open_set(path), kind)}
    for n in threads:
        runs[f"pipeline, {n} thread(s), no augmentation"] = _batches(replace(plain, threads=n))
        runs[f"pipeline, {n} thread(s), augmented"] = _batches(replace(config, threads=n))
    for n in workers:
        runs[f"pipeline, {n} worker(s), augmented"] = _batches(replace(config, workers=n))
    return runs


def _print(name: str, kind: Kind, rates: dict[str, list[tuple[float, float]]]) -> None:
    channels = flow.channels(kind.flow) if kind.flow else 0
    frame_bytes = kind.size**2 * (3 + channels * np.dtype(np.float16).itemsize)
    base = float(np.median([wall for wall, _ in rates[PLAIN]]))
    with_flow = f" with {channels} channels of flow each" if channels else ""
    print(
        f"{name}: {kind.frames}×{kind.size}×{kind.size}{with_flow}, "
        f"batches of {kind.batch_size}, {cores()} cores"
    )
    print(f"{'':<42}{'frames/s':>10}{'MB/s':>8}{'ratio':>8}{'frames/CPU s':>14}")
    for run, measured in rates.items():
        wall, cpu = np.median(measured, axis=0)
        print(
            f"{run:<42}{wall:>10.0f}{wall * frame_bytes / 1e6:>8.0f}{wall / base:>8.2f}"
            f"{'-' if 'worker' in run else f'{cpu:.0f}':>14}"
        )


def _rate(draw: Callable[[], int], seconds: float) -> tuple[float, float]:
    """Frames for each second of the clock and of the processor; `draw` says how many it gave."""
    draw()  # what was decoded ahead while others were measured does not count
    start, cpu = time.perf_counter(), time.process_time()
    done = 0
    while (elapsed := time.perf_counter() - start) < seconds:
        done += draw()
    return done / elapsed, done / max(time.process_time() - cpu, 1e-9)


def _plain(opened: RecordSet, kind: Kind) -> Callable[[], int]:
    source = opened.source("train")
    number = 0

    def draw() -> int:
        nonlocal number
        clip = opened.clip_of(source[number % len(source)])
        number += 1
        for jpeg in clip.frames[: kind.frames]:
            cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
        if kind.flow and clip.flow is not None:
            for png in clip.flow[: kind.frames - 1 + flow.AROUND]:
                cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
        return len(clip.frames[: kind.frames])

    return draw


def _batches(config: DataConfig) -> Callable[[], int]:
    stream = None

    def draw() -> int:
        nonlocal stream
        if stream is None:
            stream = train_batches(config)
        batch, time_ = next(stream)["frames_BTHWC"].shape[:2]
        return batch * time_

    return draw


def _make_set(path: Path, kind: Kind, *, clips: int) -> Path:
    """Smooth pictures that drift, with noise: their files are about as large as those of faces."""
    rng = np.random.default_rng(0)
    side = 2 * kind.size
    made = []
    for i in range(clips):
        coarse = rng.integers(0, 256, (16, 16, 3), np.uint8)
        smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        step = rng.uniform(-2, 2, 2)
        frames = np.empty((kind.frames, kind.size, kind.size, 3), np.uint8)
        for t, frame in enumerate(frames):
            low = kind.size / 2 + t * step
            matrix = np.array([[1, 0, low[0]], [0, 1, low[1]]])
            seen = cv2.warpAffine(
                smooth,
                matrix,
                (kind.size, kind.size),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT,
            )
            frame[:] = np.clip(seen + rng.normal(0, 4, seen.shape), 0, 255)
        fields: dict[str, Any] = {}
        if kind.flow:
            packed = list(flow.fields(frames))
            pngs, scale_F = flow.of_clip(packed, 0, kind.frames, size=kind.size)
            fields = {"flow": pngs, "flow_scale_F": scale_F}
        made.append(
            records.clip_from_arrays(
                frames,
                clip_id=str(i),
                subject=str(i),
                occurrence_TA=rng.integers(0, 2, (kind.frames, 12)).astype(np.int8),
                **fields,
            )
        )
    aus = ("1", "2", "4", "6", "7", "10", "12", "14", "15", "17", "23", "24")
    return records.write_set(path, {"train": made}, aus=aus, flow=bool(kind.flow))
