"""`jaxfacs bench input`: does the input pipeline keep up?"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from jaxfacs.data import records
from jaxfacs.data.config import NO_AUGMENT, DataConfig
from jaxfacs.data.parallel import cores
from jaxfacs.data.pipeline import train_batches
from jaxfacs.data.records import RecordSet


def main(
    *,
    source: Path | None = None,
    clips: int = 64,
    frames: int = 16,
    size: int = 112,
    batch_size: int = 16,
    threads: tuple[int, ...] = (1, 2, 4),
    workers: tuple[int, ...] = (),
    repeats: int = 5,
    seconds: float = 1.5,
) -> None:
    """Measure the input pipeline in frames and bytes a second, without a model.

    Each row is the median of interleaved repeats, beside a plain loop in one thread that reads the
    same records and decodes their JPEGs, and does nothing else. Bytes are those of the uint8 frames
    that a batch holds, which is what goes to the device. Frames per second of processor time tell
    the cost where other programs are running too; those of worker processes are not seen.

    Args:
      source: record folder; without it a set of noisy pictures is made for the purpose.
      clips: clips of the set that is made.
      frames: frames of a clip.
      size: side of the frames in pixels.
      batch_size: clips of a batch.
      threads: numbers of decoding threads to try.
      workers: numbers of worker processes to try, each with one thread.
      repeats: how often each is measured.
      seconds: for how long each time.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = source or _make_set(Path(folder) / "set", clips=clips, frames=frames, size=size)
        opened = records.open_set(path)
        config = DataConfig(
            source=str(path), frames=frames, size=size, batch_size=batch_size, threads=1
        )
        plain = replace(config, augment=NO_AUGMENT)
        frame_bytes = size * size * 3
        runs: dict[str, Callable[[], int]] = {"plain decode, one thread": _plain(opened, frames)}
        for n in threads:
            runs[f"pipeline, {n} thread(s), no augmentation"] = _batches(replace(plain, threads=n))
            runs[f"pipeline, {n} thread(s), augmented"] = _batches(replace(config, threads=n))
        for n in workers:
            runs[f"pipeline, {n} worker(s), augmented"] = _batches(replace(config, workers=n))
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(repeats):
            for name, draw in runs.items():
                rates[name].append(_rate(draw, seconds))
    base = float(np.median([wall for wall, _ in rates["plain decode, one thread"]]))
    print(f"{frames}×{size}×{size} clips, batches of {batch_size}, {cores()} cores")
    print(f"{'':<42}{'frames/s':>10}{'MB/s':>8}{'ratio':>8}{'frames/CPU s':>14}")
    for name, measured in rates.items():
        wall, cpu = np.median(measured, axis=0)
        print(
            f"{name:<42}{wall:>10.0f}{wall * frame_bytes / 1e6:>8.0f}{wall / base:>8.2f}"
            f"{'-' if 'worker' in name else f'{cpu:.0f}':>14}"
        )


def _rate(draw: Callable[[], int], seconds: float) -> tuple[float, float]:
    """Frames for each second of the clock and of the processor; `draw` says how many it gave."""
    draw()  # what was decoded ahead while others were measured does not count
    start, cpu = time.perf_counter(), time.process_time()
    done = 0
    while (elapsed := time.perf_counter() - start) < seconds:
        done += draw()
    return done / elapsed, done / max(time.process_time() - cpu, 1e-9)


def _plain(opened: RecordSet, frames: int) -> Callable[[], int]:
    source = opened.source("train")
    number = 0

    def draw() -> int:
        nonlocal number
        clip = opened.clip_of(source[number % len(source)])
        number += 1
        for jpeg in clip.frames[:frames]:
            cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
        return len(clip.frames[:frames])

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


def _make_set(path: Path, *, clips: int, frames: int, size: int) -> Path:
    """Smooth pictures with noise: their JPEGs are about as large as those of faces."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(clips):
        coarse = rng.integers(0, 256, (frames, 8, 8, 3), np.uint8)
        smooth = np.stack(
            [cv2.resize(f, (size, size), interpolation=cv2.INTER_CUBIC) for f in coarse]
        )
        noise = rng.normal(0, 4, smooth.shape)
        made.append(
            records.clip_from_arrays(
                np.clip(smooth + noise, 0, 255).astype(np.uint8),
                clip_id=str(i),
                subject=str(i),
                occurrence_TA=rng.integers(0, 2, (frames, 12)).astype(np.int8),
            )
        )
    aus = ("1", "2", "4", "6", "7", "10", "12", "14", "15", "17", "23", "24")
    return records.write_set(path, {"train": made}, aus=aus)
