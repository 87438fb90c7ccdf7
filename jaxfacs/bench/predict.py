"""`jaxfacs bench predict`: film to AUs, stage by stage."""

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path

import cv2
import jax
import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.faces import detect
from jaxfacs.faces.track import follow
from jaxfacs.infer import compiled, tables
from jaxfacs.infer.predictor import Predictor, load
from jaxfacs.infer.results import FrameResult
from jaxfacs.infer.sources import source
from jaxfacs.infer.views import overlay_file


def main(
    *,
    film: Path | None = None,
    model: Path | None = None,
    detector: str = "haar",
    hop: int | None = None,
    batch: int | None = None,
    frames: int = 120,
    repeats: int = 3,
    long: int = 2000,
) -> None:
    """Measure prediction in frames of the film a second, each stage alone and the whole.

    Medians of interleaved repeats, after one pass that warms everything up. The network runs at
    the batch and hop of `jaxfacs predict`, one face a frame. "whole" is what the command does
    without an overlay: stages overlap in it, since the network runs while the next frames are read.
    Then the network alone by batch size, and memory while the film is read again and again.

    Args:
      film: what is read; without it a face is rendered into 640x360 frames.
      model: a .jaxfacs file; without it a 3D-MobileNetV2 of 16x112x112 with random weights, 17 AUs,
        one answer a frame (random weights cost what trained ones cost).
      detector: haar, or the path of a YuNet .onnx file.
      hop: as in `jaxfacs predict`.
      batch: as in `jaxfacs predict`.
      frames: how many frames of the film are used.
      repeats: how often each stage is measured.
      long: frames over which memory is watched; 0: not at all.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = film or _render(Path(folder) / "film.avi", frames)
        predictor = load(model or _untrained(Path(folder)), detector=detector, batch=batch)
        (opened,) = source.find([str(path)])
        pictures = [f for _, _, f in _first(opened, frames) if f is not None]
        stages = _stages(predictor, opened, pictures, Path(folder), hop=hop)
        _print_stages(predictor, opened, pictures, _medians(stages, repeats))
        _print_batches(predictor, repeats)
        if long:
            _print_memory(predictor, opened, frames=frames, long=long, hop=hop)


def _medians(stages: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds of each stage; the stages take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in stages}
    for repeat in range(repeats + 1):
        for name, run in stages.items():
            start = time.perf_counter()
            run()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured) for name, measured in seconds.items()}


def _print_stages(
    predictor: Predictor, opened: source.Source, pictures: list[np.ndarray], took: dict[str, float]
) -> None:
    height, width = pictures[0].shape[:2]
    spec = predictor.bundle.input
    print(
        f"{len(pictures)} frames of {width}x{height}; clips of "
        f"{spec.frames}x{spec.size}x{spec.size}, batches of {predictor.batch}, "
        f"{len(os.sched_getaffinity(0))} cores"
    )
    print(f"{'':<34}{'frames/s':>10}{'ms/frame':>10}")
    for name, seconds in took.items():
        each = seconds / len(pictures)
        print(f"{name:<34}{1 / each:>10.0f}{1000 * each:>10.2f}")
    rate = opened.fps or 25.0
    print(f"whole: {len(pictures) / took['whole'] / rate:.1f} x real time at {rate:g} frames/s")


def _print_batches(predictor: Predictor, repeats: int) -> None:
    """What a clip costs the network by itself, and in batches up to the predictor's own."""
    spec = predictor.bundle.input
    sizes = [1]
    while sizes[-1] < predictor.batch:
        sizes.append(min(2 * sizes[-1], predictor.batch))
    rng = np.random.default_rng(0)
    shape = (spec.frames, spec.size, spec.size, 3)
    clips = {b: rng.integers(0, 256, (b, *shape), np.uint8) for b in sizes}
    ask = compiled.network(predictor.bundle)

    def answered(b: int) -> Callable[[], object]:
        return lambda: jax.block_until_ready(ask(clips[b]))

    took = _medians({str(b): answered(b) for b in sizes}, 3 * repeats)
    for b in sizes:
        seconds = took[str(b)]
        print(f"network, batch {b:<3} {1000 * seconds:>8.1f} ms, {b / seconds:>8.1f} clips/s")


def _print_memory(
    predictor: Predictor, opened: source.Source, *, frames: int, long: int, hop: int | None
) -> None:
    """Resident memory at quarters of a long film: the same frames, again and again."""

    def again() -> Iterator[source.Timed]:
        rate, number = opened.fps or 25.0, 0
        while True:
            for _, _, frame_HWC in _first(opened, frames):
                number += 1
                yield source.Timed(number, number / rate, frame_HWC)

    seen = predictor.results(itertools.islice(again(), long), fps=opened.fps, hop=hop)
    marks = [max(1, long * quarter // 4) for quarter in range(1, 5)]
    used = [
        f"{number}: {_resident_mb():.0f} MB" for number, _ in enumerate(seen, 1) if number in marks
    ]
    print(f"memory after frames {', '.join(used)}")


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _stages(
    predictor: Predictor,
    opened: source.Source,
    pictures: list[np.ndarray],
    folder: Path,
    *,
    hop: int | None,
) -> dict[str, Callable[[], object]]:
    """Name -> what is timed. Each stage reads what the one before it left in memory."""
    count = len(pictures)
    finder = detect.create(predictor.detector_name)
    faces = [shown[0][1] for shown in follow(pictures, finder) if shown]
    if not faces:
        raise UserError(f"{opened.origin}: no face in it to measure with; give another --film")
    faces += [faces[-1]] * (count - len(faces))

    def crops() -> list[np.ndarray]:
        return [
            predictor.crop(picture, face.box_4, face.landmarks_5x2)
            for picture, face in zip(pictures, faces, strict=True)
        ]

    cut = crops()

    def network() -> list[FrameResult]:
        stream = predictor.stream(fps=opened.fps, hop=hop, follow=lambda crop: [(0, faces[0])])
        done = [r for i, crop in enumerate(cut) for r in stream.push(crop, i / 25)]
        return [*done, *stream.finish()]

    results = network()
    labels = {"aus": predictor.aus, "emotions": predictor.emotions}
    affect = {"valence_arousal": predictor.valence_arousal}

    def write() -> None:
        with tables.writing(folder / "bench.csv", **labels, **affect) as add:
            for result in results:
                add(result)

    def overlay() -> None:
        with overlay_file.writing(folder, "bench", opened, **labels) as add:
            for result in results:
                add(result)

    def whole() -> None:
        part = copy(opened)
        part.frames = lambda first=0: _first(opened, count)  # type: ignore[method-assign]
        with tables.writing(folder / "whole.csv", **labels, **affect) as add:
            for result in predictor.read(part, hop=hop):
                add(result)

    return {
        "decode": lambda: sum(1 for _ in _first(opened, count)),
        "find faces in every whole frame": lambda: [finder(p) for p in pictures],
        "find and follow, as predict does": lambda: list(follow(pictures, finder)),
        "align and crop": crops,
        "network and answers": network,
        "write the table": write,
        "decode, draw and encode overlay": overlay,
        "whole": whole,
    }


def _first(opened: source.Source, count: int) -> Iterator[source.Timed]:
    for timed, _ in zip(opened.frames(), range(count), strict=False):
        yield timed


def _render(path: Path, frames: int) -> Path:
    """A rendered face in the middle of a wider frame, 25 frames a second."""
    from jaxfacs.synthface.clip import clip

    print("rendering a face …", flush=True)
    made = clip(0, frames=min(frames, 48), size=320, near_frontal=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (640, 360))
    there_and_back = [*made.frames_THWC, *made.frames_THWC[::-1]]
    for i in range(frames):
        canvas = np.full((360, 640, 3), 110, np.uint8)
        canvas[20:340, 160:480] = there_and_back[i % len(there_and_back)]
        writer.write(cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def _untrained(folder: Path) -> Path:
    """A bundle of the network that most configs train, never trained."""
    from jaxfacs import models
    from jaxfacs.convert.command import export_trained
    from jaxfacs.data.config import DataConfig
    from jaxfacs.facs import DATASET_AUS
    from jaxfacs.train.config import Experiment, ModelConfig
    from jaxfacs.train.state import create_module
    from jaxfacs.train.trained import Trained

    aus = DATASET_AUS["openface"]
    experiment = Experiment(data=DataConfig(), model=ModelConfig(per_frame=True))

    def init():
        return models.split(
            create_module(experiment.model, aus=aus, num_emotions=0, dtype="float32", seed=0)
        )[1:]

    print("exporting a network with random weights …", flush=True)
    params, stats = jax.jit(init)()
    manifest = {"data": {"name": "none", "digest": "", "crop": {}}, "sha256": ""}
    trained = Trained(experiment, aus, (), params, stats, 0, {}, None, manifest)
    return export_trained(trained, folder / "untrained.jaxfacs", emotion_mapper=None)
