"""Where frames come from: films, pictures, folders of pictures, a pipe. Frame by frame.

Every source gives numbered frames with their times, and can say afterwards what was wrong with it.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.infer import mjpeg

PICTURES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
FILMS = frozenset(
    (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts",
     ".webm", ".wmv")
)  # fmt: skip

# Containers' headers often count a few frames more than decode (edit lists, trailing B-frames).
_HEADER_SLACK = 0.05


class Timed(NamedTuple):
    """A frame's number in its film, from 1; its time in seconds; itself, RGB, None: unreadable."""

    number: int
    timestamp: float
    frame_HWC: np.ndarray | None


@dataclass(eq=False)
class Source:
    """One thing to read: its frames become one table.

    Attributes:
      name: for messages and for the names of the results.
      path: what it was read from; None for a pipe.
      still: independent pictures, each with its own faces; not a film.
      fps: nominal frames a second; None for pictures.
      total: frames to expect, if that is known.
      pictures: file names of the frames, for pictures.
      warnings: what went wrong so far, one sentence each.
    """

    name: str
    path: Path | None
    still: bool = False
    fps: float | None = None
    total: int | None = None
    pictures: tuple[Path, ...] = ()
    pipe_size: tuple[int, int] | None = None
    warnings: list[str] = field(default_factory=list)

    def frames(self) -> Iterator[Timed]:
        """Yields the frames in order; a file may be read again, a pipe may not."""
        if self.pictures:
            return _read_pictures(self)
        return _read_pipe(self) if self.path is None else _read_film(self)


def find(
    inputs: Sequence[str],
    *,
    fps: float | None = None,
    pipe_size: tuple[int, int] | None = None,
    on_skip: Callable[[str], None] | None = None,
) -> list[Source]:
    """The sources behind what a user named.

    A film, a picture; a folder: each film in it, and its pictures together, as stills or, where
    `fps` is given, as the frames of one film in the order of their names; "-": a pipe of
    concatenated JPEGs (`ffmpeg -f mjpeg -`) or, where `pipe_size` (width, height) is given, of raw
    RGB bytes (`ffmpeg -f rawvideo -pix_fmt rgb24 -`), 25 frames a second unless `fps` says else.
    A film in a folder that does not decode is told to `on_skip` and left out.

    Raises:
      UserError: nothing there, an empty folder, a file that does not decode.
    """
    if fps is not None and not 0 < fps <= 10_000:
        raise UserError(f"fps is {fps}; give frames a second, above 0")
    sources: list[Source] = []
    for text in inputs:
        path = Path(text)
        if text == "-":
            sources.append(Source("pipe", None, fps=fps or 25.0, pipe_size=pipe_size))
        elif path.is_dir():
            sources += _in_folder(path, fps, on_skip)
        elif not path.exists():
            raise UserError(f"no file or folder {path}; check the path")
        elif path.suffix.lower() in PICTURES:
            _decode_picture(path, must=True)
            sources.append(Source(path.stem, path, still=True, total=1, pictures=(path,)))
        else:
            sources.append(_film(path))
    if sum(s.path is None for s in sources) > 1:
        raise UserError("the pipe (-) is named twice; name it once")
    return sources


def _in_folder(
    folder: Path, fps: float | None, on_skip: Callable[[str], None] | None
) -> list[Source]:
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    pictures = tuple(p for p in files if p.suffix.lower() in PICTURES)
    sources = []
    for path in files:
        if path.suffix.lower() in FILMS:
            try:
                sources.append(_film(path))
            except UserError as error:
                if on_skip is None:
                    raise
                on_skip(f"left out: {error}")
    if pictures:
        name = folder.resolve().name or "pictures"
        sources.append(
            Source(name, folder, still=fps is None, fps=fps, total=len(pictures), pictures=pictures)
        )
    if not sources:
        raise UserError(
            f"folder {folder} holds no film and no picture "
            f"({', '.join(sorted(PICTURES | FILMS))}); name the files themselves"
        )
    return sources


def _film(path: Path) -> Source:
    film = _open_film(path)
    readable, _ = film.read()
    count, fps = film.get(cv2.CAP_PROP_FRAME_COUNT), film.get(cv2.CAP_PROP_FPS)
    film.release()
    if not readable:
        raise _no_film(path)
    fps = fps if 0 < fps < 10_000 else 25.0  # no header, or nonsense in it
    return Source(path.stem, path, fps=fps, total=int(count) if 0 < count < 1e9 else None)


def _open_film(path: Path) -> cv2.VideoCapture:
    # FFmpeg and OpenCV print lines of their own about damaged files; ours name file and remedy.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    logging = cv2.utils.logging
    before = logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        # FFmpeg by name: other back ends would take "%02d" in a name for a row of pictures.
        film = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    finally:
        logging.setLogLevel(before)
    if not film.isOpened():
        raise _no_film(path)
    return film


def _no_film(path: Path) -> UserError:
    return UserError(
        f"{path} does not decode as a film or picture (damaged, cut short, or another kind of "
        "file); check that it plays, or convert it: ffmpeg -i IN OUT.mp4"
    )


def _read_film(source: Source) -> Iterator[Timed]:
    assert source.path is not None and source.fps is not None
    film, count, last = _open_film(source.path), 0, -1.0
    try:
        while True:
            readable, frame = film.read()
            if not readable:
                break
            timestamp = film.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if not timestamp > last:  # absent, NaN or running backwards: go on at the nominal rate
                timestamp = last + 1 / source.fps if count else 0.0
            last, count = timestamp, count + 1
            yield Timed(count, timestamp, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    finally:
        film.release()
    if source.total and count < source.total:
        source.warnings.append(
            f"{source.path}: its header promises {source.total} frames, {count} decode"
        )


def ends_early(source: Source, frames: int) -> bool:
    """Whether so much of a film is missing that its user must hear of it."""
    return bool(source.total) and frames < (1 - _HEADER_SLACK) * source.total - 1


def _read_pictures(source: Source) -> Iterator[Timed]:
    for index, path in enumerate(source.pictures):
        frame = _decode_picture(path)
        if frame is None:
            source.warnings.append(f"{path} does not decode; its row has success 0")
        yield Timed(index + 1, index / source.fps if source.fps else 0.0, frame)


def _decode_picture(path: Path, *, must: bool = False) -> np.ndarray | None:
    try:
        raw = np.fromfile(path, np.uint8)
        frame = cv2.imdecode(raw, cv2.IMREAD_COLOR) if raw.size else None
    except (OSError, cv2.error):
        frame = None
    if frame is None:
        if must:
            raise UserError(f"{path} does not decode as a picture; check that it opens elsewhere")
        return None
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _read_pipe(source: Source, stream: BinaryIO | None = None) -> Iterator[Timed]:
    assert source.fps is not None
    stream = stream or sys.stdin.buffer
    frames = _raw_frames(source, stream) if source.pipe_size else _jpeg_frames(source, stream)
    count = 0
    for count, frame in enumerate(frames, 1):
        yield Timed(count, (count - 1) / source.fps, frame)
    if count == 0:
        raise UserError(
            "the pipe held no frame; send concatenated JPEGs (ffmpeg -f mjpeg -), or raw RGB with "
            "--pipe-size WIDTHxHEIGHT (ffmpeg -f rawvideo -pix_fmt rgb24 -)"
        )


def _raw_frames(source: Source, stream: BinaryIO) -> Iterator[np.ndarray]:
    assert source.pipe_size is not None
    width, height = source.pipe_size
    while part := stream.read(3 * width * height):
        if len(part) < 3 * width * height:
            source.warnings.append("the pipe ended inside a frame; that frame is left out")
            return
        yield np.frombuffer(part, np.uint8).reshape(height, width, 3)


def _jpeg_frames(source: Source, stream: BinaryIO) -> Iterator[np.ndarray | None]:
    for part in mjpeg.split(stream, on_junk=source.warnings.append):
        frame = cv2.imdecode(np.frombuffer(part, np.uint8), cv2.IMREAD_COLOR)
        if frame is None:
            source.warnings.append("a JPEG of the pipe does not decode; its row has success 0")
            yield None
        else:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
