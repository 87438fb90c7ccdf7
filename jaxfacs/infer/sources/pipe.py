"""Frames out of a pipe: concatenated JPEGs, or raw RGB bytes."""

import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.infer.sources import mjpeg, picture
from jaxfacs.infer.sources.choice import Glimpse


def standard_input() -> BinaryIO:
    """A reader of its own: a thread that waits in Python's when the process ends aborts it."""
    return open(sys.stdin.fileno(), "rb", closefd=False)


def glimpses(
    stream: BinaryIO, fps: float, size: tuple[int, int] | None, warn: Callable[[str], None]
) -> Iterator[Glimpse]:
    """Frames at an even rate; of `size` (width, height) where they are raw.

    Raises:
      UserError: it ends without one.
    """
    frames = _raw_frames(stream, size, warn) if size else _jpeg_frames(stream, warn)
    count = 0
    for count, take in enumerate(frames, 1):
        yield Glimpse(count, (count - 1) / fps, take)
    if count == 0:
        raise UserError(
            "the pipe held no frame; send concatenated JPEGs (ffmpeg -f mjpeg -), or raw RGB with "
            "--pipe-size WIDTHxHEIGHT (ffmpeg -f rawvideo -pix_fmt rgb24 -)"
        )


def _raw_frames(
    stream: BinaryIO, size: tuple[int, int], warn: Callable[[str], None]
) -> Iterator[Callable[[], np.ndarray | None]]:
    width, height = size
    while part := stream.read(3 * width * height):
        if len(part) < 3 * width * height:
            warn("the pipe ended inside a frame; that frame is left out")
            return
        yield lambda part=part: np.frombuffer(part, np.uint8).reshape(height, width, 3)


def _jpeg_frames(
    stream: BinaryIO, warn: Callable[[str], None]
) -> Iterator[Callable[[], np.ndarray | None]]:
    def decoded(part: bytes) -> np.ndarray | None:
        frame = picture.decode(part)
        if frame is None:
            warn("a JPEG of the pipe does not decode, or is too large; its row has success 0")
        return frame

    for part in mjpeg.split(stream, on_junk=warn):
        yield lambda part=part: decoded(part)
