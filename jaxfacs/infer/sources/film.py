"""Frames of a film file with the container's own times, past damage where there is some."""

import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.infer.sources import limits
from jaxfacs.infer.sources.choice import Glimpse

FILMS = frozenset(
    (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts",
     ".webm", ".wmv")
)  # fmt: skip

# OpenCV says "no frame" once for each packet that its decoder refuses, and at the end for ever;
# only trying tells them apart. At the end a try takes 15 µs.
_TRIES = 600
_QUEUED = 64  # frames at most between a packet and its picture: threads, and reordering
# Headers often count a few frames more than decode (edit lists, trailing B-frames).
_SLACK = 0.05
_USUAL_RATE = 65.0  # above it, or with no number of frames, a header's rate is checked
_RATE_FRAMES = 16
_HOLE = 3  # nominal frame lengths without a frame, in a film that had one at each before

_environment = threading.Lock()


@dataclass
class Header:
    """What a film's header says; `total` is None where it says nothing that can be true."""

    fps: float
    total: int | None
    width: int
    height: int


@dataclass
class Progress:
    """How far a film was read: seconds on its own clock, and whether that was all of it."""

    reached: float | None = None
    offset: float = 0.0  # of the first frame in the container, which durations may count from


def header(path: Path) -> Header:
    """Opens a film and decodes its first frame.

    Raises:
      UserError: it cannot be opened, holds no frame that decodes, or its frames are too large.
    """
    _refuse_other_files(path)
    film = open_film(path)
    try:
        return header_of(film, path)
    finally:
        film.release()


def header_of(film: cv2.VideoCapture, name: Path | str, *, measure: bool = True) -> Header:
    """What an opened film says, with its first frames decoded; raises as `header` does.

    `measure`: where the header's rate cannot be believed, take it from the first frames' times.
    """
    width, height = film.get(cv2.CAP_PROP_FRAME_WIDTH), film.get(cv2.CAP_PROP_FRAME_HEIGHT)
    limits.refuse_large(name, width, height)
    times = [film.get(cv2.CAP_PROP_POS_MSEC) / 1000 for _ in _grabbed(film, 1)]
    if not times or not film.retrieve()[0]:
        raise no_film(name)
    count, fps = film.get(cv2.CAP_PROP_FRAME_COUNT), film.get(cv2.CAP_PROP_FPS)
    total = int(count) if 0 < count < 1e9 else None
    if measure and (total is None or not 0 < fps <= _USUAL_RATE):
        more = _grabbed(film, _RATE_FRAMES - 1)
        times += [film.get(cv2.CAP_PROP_POS_MSEC) / 1000 for _ in more]
        fps = _measured_rate(times) or fps
    fps = fps if 0 < fps < limits.MAX_RATE else 25.0
    return Header(fps, total, int(width), int(height))


def open_film(address: Path | str, parameters: Sequence[int] = ()) -> cv2.VideoCapture:
    """OpenCV's FFmpeg reader, silent about what is wrong with the file; UserError if it opens not.

    It turns frames upright by the container's rotation, and skips what an edit list cuts off.
    """
    # FFmpeg and OpenCV print lines of their own about damaged files; ours name file and remedy.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    local = isinstance(address, Path)
    # A file may name other files and addresses (HLS, DASH); reading them is not what was asked for.
    options = "protocol_whitelist;file" if local else "rtsp_transport;tcp"
    with quiet(), _capture_options(options):
        # FFmpeg by name: other back ends would take "%02d" in a name for a row of pictures.
        name = str(address.resolve()) if isinstance(address, Path) else address
        film = cv2.VideoCapture(name, cv2.CAP_FFMPEG, list(parameters))
    if not film.isOpened():
        raise no_film(address)
    return film


def no_film(address: Path | str) -> UserError:
    return UserError(
        f"{address} does not decode as a film or picture (damaged, cut short, without a picture "
        "track, or another kind of file); check that it plays, or convert it: ffmpeg -i IN OUT.mp4"
    )


def glimpses(
    film: cv2.VideoCapture, name: str, about: Header, warnings: list[str], progress: Progress
) -> Iterator[Glimpse]:
    """An opened film's frames in order, numbered from 1, with strictly rising times.

    Times count from the start of the picture track. Where the container has none, or they run
    backwards, the nominal rate goes on. Packets that the decoder refuses are frames that are None,
    at even times between their neighbours. What is wrong is added to `warnings`, in which the film
    is called `name`.
    """
    count, last = 0, -math.inf
    clock, holes, damage = _Clock(about.fps), _Holes(about.fps), _Damage(about.fps)
    nothing = lambda: None  # noqa: E731
    try:
        for refused in _grabbed(film):
            timestamp = film.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if count == 0:
                progress.offset = _offset(film, about.fps)
            timestamp = clock(timestamp)
            lost = damage.lost(refused, timestamp - last) if count else 0
            for k in range(lost):
                count += 1
                between = last + (timestamp - last) * (k + 1) / (lost + 1)
                yield Glimpse(count, between, nothing)
            if lost:
                warnings.append(
                    f"{name}: {lost} frames between {last:.2f} s and {timestamp:.2f} s do not "
                    "decode; their rows have success 0"
                )
            elif holes.at(last, timestamp):
                warnings.append(f"{name}: no frame from {last:.2f} s to {timestamp:.2f} s")
            last, count = timestamp, count + 1
            progress.reached = timestamp
            yield Glimpse(count, timestamp, lambda: _decoded(film))
    finally:
        film.release()
    _tell_what_is_missing(name, about, count, warnings, progress)


def _grabbed(film: cv2.VideoCapture, most: int | None = None) -> Iterator[int]:
    """Moves to the next frame; yields how often the decoder refused before it was there."""
    refused = 0
    while most != 0 and refused <= _TRIES:
        if film.grab():
            yield refused
            refused, most = 0, None if most is None else most - 1
        else:
            refused += 1


def _decoded(film: cv2.VideoCapture) -> np.ndarray | None:
    readable, frame = film.retrieve()
    if not readable or limits.too_large(*frame.shape[1::-1]):
        return None
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


class _Clock:
    """Makes times rise: where there are none, or they run back, the nominal rate goes on."""

    def __init__(self, fps: float):
        self._length, self._last, self._back = 1 / fps, -math.inf, False

    def __call__(self, seconds: float) -> float:
        if self._last == -math.inf:
            self._last = max(seconds, 0.0) if math.isfinite(seconds) else 0.0
            return self._last
        if self._last < seconds < math.inf:
            self._last, self._back = seconds, False
            return seconds
        # One frame out of order, as damage leaves them, must not push all later ones.
        alone = 0 < seconds < self._last and not self._back
        self._last, self._back = self._last + self._length * (0.5 if alone else 1.0), True
        return self._last


class _Damage:
    """Tells how many frames the decoder refused between two that it gave.

    It refuses a packet some frames before the hole comes out of its queues.
    """

    def __init__(self, fps: float):
        self._fps, self._refused, self._age = fps, 0, 0

    def lost(self, refused: int, seconds: float) -> int:
        self._age = 0 if refused else self._age + 1
        self._refused = self._refused + refused if self._age <= _QUEUED else 0
        room = round(seconds * self._fps) - 1 if seconds < math.inf else 0
        lost = min(self._refused, max(0, room))
        self._refused -= lost
        return lost


class _Holes:
    """Tells where frames are missing from a film of constant rate, as lost packets leave them."""

    def __init__(self, fps: float):
        self._length, self._steady = 1 / fps, 0

    def at(self, before: float, now: float) -> bool:
        gap = now - before
        if 0.5 * self._length < gap < 1.5 * self._length:
            self._steady += 1
            return False
        hole = self._steady >= _RATE_FRAMES and _HOLE * self._length <= gap < math.inf
        self._steady = 0
        return hole


def _offset(film: cv2.VideoCapture, fps: float) -> float:
    """Seconds in the container at which the pictures begin; OpenCV's times leave it out."""
    ticks = film.get(cv2.CAP_PROP_PTS)
    return max(0.0, ticks / fps) if math.isfinite(ticks) and abs(ticks) < 1e9 else 0.0


def _measured_rate(times: Sequence[float]) -> float | None:
    seconds = times[-1] - times[0]
    return (len(times) - 1) / seconds if seconds > 0 else None


def _tell_what_is_missing(
    name: str, about: Header, count: int, warnings: list[str], progress: Progress
) -> None:
    if count == 0:
        raise no_film(name)
    if about.total is None or count >= about.total:
        return
    if _counts_frames(name):
        warnings.append(f"{name}: its header promises {about.total} frames, {count} decode")
    elif ends_early(about, progress, None):
        warnings.append(
            f"{name}: its header promises {about.total / about.fps:.1f} s, it ends after "
            f"{progress.reached or 0:.1f} s"
        )


def _counts_frames(name: str) -> bool:
    """Whether the container's header has a number of frames; OpenCV makes it up for others."""
    return Path(name).suffix.lower() in {".mp4", ".mov", ".m4v", ".3gp", ".avi"}


def ends_early(about: Header, progress: Progress, end: float | None) -> bool:
    """Whether so much of a film is missing, by its times, that its user must hear of it."""
    if about.total is None or progress.reached is None:
        return False
    wanted = min(about.total / about.fps, math.inf if end is None else end)
    # Some containers count a film's length from its own first frame, some from the container's.
    reached = progress.reached + progress.offset + 1 / about.fps
    return reached < (1 - _SLACK) * wanted - 1 / about.fps


def _refuse_other_files(path: Path) -> None:
    """What FFmpeg would answer with a useless message, wait for, or read something else for."""
    try:
        if not path.is_file():
            raise UserError(
                f"{path} is not a regular file; give a film's path, - for a pipe, or a camera"
            )
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); check its permissions"
        ) from error
    if not head:
        raise UserError(f"{path} does not decode as a film or picture: it is empty (0 bytes)")
    if _is_text(head):
        raise UserError(
            f"{path} does not decode as a film or picture: it is a text file (a playlist is not "
            "followed; name the films themselves)"
        )


def _is_text(head: bytes) -> bool:
    """All of it printable; a film has control codes among its first 1024 bytes."""
    if head.startswith(b"YUV4MPEG2"):
        return False
    controls = set(range(0x20)) - set(b"\t\n\r\f\x1b")
    return controls.isdisjoint(head)


@contextmanager
def quiet() -> Iterator[None]:
    logging = cv2.utils.logging
    before = logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging.setLogLevel(before)


@contextmanager
def _capture_options(options: str) -> Iterator[None]:
    """FFmpeg's options for the film that is opened now; a user's own stay."""
    key = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    with _environment:
        own = os.environ.get(key)
        if own is None:
            os.environ[key] = options
        try:
            yield
        finally:
            if own is None:
                del os.environ[key]
