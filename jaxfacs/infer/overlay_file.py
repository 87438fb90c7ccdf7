"""Overlay films and pictures as files."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.infer.files import replacing
from jaxfacs.infer.overlay import draw
from jaxfacs.infer.results import FrameResult
from jaxfacs.infer.source import Source

_CODEC = "mp4v"  # MPEG-4 part 2: what every OpenCV wheel can write


@contextmanager
def writing(
    out: Path, name: str, source: Source, *, aus: tuple[str, ...], emotions: tuple[str, ...]
) -> Iterator[Callable[[FrameResult], None]]:
    """Gives a function that draws the results of `source` one after the other.

    Writes OUT/NAME.overlay.mp4, of a picture OUT/NAME.overlay.jpg, of several pictures the folder
    OUT/NAME.overlay. The source is read a second time, in step with the results: these come some
    frames late, and keeping 1080p frames until then would cost 6 MB each.
    """
    frames = replace(source, warnings=[]).frames()
    last: np.ndarray | None = None

    def drawn(result: FrameResult) -> np.ndarray:
        nonlocal last
        _, _, frame = next(frames, (0, 0.0, None))
        last = frame if frame is not None else last
        if last is None:  # the very first frames are damaged: there is no size to go by
            last = np.zeros((360, 640, 3), np.uint8)
        return draw(last, result, aus=aus, emotions=emotions)

    with ExitStack() as stack:
        if not source.still:
            film = stack.enter_context(_film(out / f"{name}.overlay.mp4", source.fps or 25.0))
            yield lambda result: film(drawn(result))
        elif len(source.pictures) == 1:
            yield lambda result: _write_jpeg(out / f"{name}.overlay.jpg", drawn(result))
        else:
            folder = out / f"{name}.overlay"
            folder.mkdir(exist_ok=True)
            names = [f"{p.name}.jpg" for p in source.pictures]
            yield lambda result: _write_jpeg(folder / names[result.frame - 1], drawn(result))


@contextmanager
def _film(path: Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Gives a function that adds an RGB frame; the first one's size is the film's."""
    writer: cv2.VideoWriter | None = None
    size = (0, 0)

    def add(picture_HWC: np.ndarray) -> None:
        nonlocal writer, size
        if writer is None:
            size = (picture_HWC.shape[1], picture_HWC.shape[0])
            writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*_CODEC), fps, size)
            if not writer.isOpened():
                raise UserError(f"{path} cannot be written; make room or choose another --out")
        if picture_HWC.shape[1::-1] != size:
            picture_HWC = cv2.resize(picture_HWC, size, interpolation=cv2.INTER_AREA)
        writer.write(cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2BGR))

    with replacing(path) as temporary:
        try:
            yield add
        finally:
            if writer is not None:
                writer.release()


def _write_jpeg(path: Path, picture_HWC: np.ndarray) -> None:
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise ValueError(f"cannot encode a picture of shape {picture_HWC.shape}")
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())
