"""Frames of cameras and network streams, with the times at which they came.

A thread takes the frames as they come, so that a slow network delays no frame's time: it keeps
the newest few, and what had to be left out is counted.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import cv2
import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.infer.sources import film as films
from jaxfacs.infer.sources import limits
from jaxfacs.infer.sources.choice import Glimpse

SCHEMES = frozenset(("http", "https", "rtmp", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"))
_QUEUE = 8  # frames that wait to be looked at; 50 MB of 1920×1080


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that is used."""

    def read(self) -> tuple[bool, np.ndarray]: ...
    def get(self, prop: int, /) -> float: ...
    def release(self) -> None: ...


@dataclass(frozen=True)
class Patience:
    """How long what is live is waited for.

    Attributes:
      opening, reading: seconds for a connection, and for the next frame.
      tries: of opening it again before it is given up; a minute of frames gives one back.
      pause: seconds before the first try; twice as many before each next one.
    """

    opening: float = 5.0
    reading: float = 10.0
    tries: int = 5
    pause: float = 0.5


def is_address(text: str) -> bool:
    return "://" in text and text.split("://")[0].lower() in SCHEMES


def without_password(address: str) -> str:
    """An address for messages and files."""
    parts = urlsplit(address)
    if "@" not in parts.netloc:
        return address
    return parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]).geturl()


def open_address(address: str, patience: Patience) -> cv2.VideoCapture:
    """Raises UserError where nobody answers in time, or what comes is no film."""
    parameters = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(1000 * patience.opening)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(1000 * patience.reading)),
    ]
    try:
        stream = films.open_film(address, parameters)
    except UserError as error:
        raise UserError(
            f"{without_password(address)} gives no film within {patience.opening:g} s; check the "
            "address, the network and that the sender runs"
        ) from error
    return _checked(stream, without_password(address))


def open_camera(index: int) -> cv2.VideoCapture:
    """Raises UserError where there is no such camera."""
    with films.quiet():
        backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        camera = cv2.VideoCapture(index, backend)
    if not camera.isOpened():
        raise UserError(
            f"camera {index} cannot be opened; check that it is plugged in, that no other program "
            "uses it and that you may read it (on Linux: ls -l /dev/video*)"
        )
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return _checked(camera, f"camera {index}")


def _checked(capture: cv2.VideoCapture, name: str) -> cv2.VideoCapture:
    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    try:
        limits.refuse_large(name, width, height)
    except UserError:
        capture.release()
        raise
    return capture


def rate(capture: Capture) -> float:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0 < fps <= 240 else 30.0


def glimpses(
    open_capture: Callable[[], Capture],
    name: str,
    warn: Callable[[str], None],
    patience: Patience = Patience(),
) -> Iterator[Glimpse]:
    """Frames as they come; times are seconds since the first one, by this machine's clock.

    Where it stops giving frames, this is told to `warn` and it is opened again, a bounded number
    of times; then the frames end. Numbers count the frames that came, also those left out because
    nobody took them in time.

    Raises:
      UserError: it cannot be opened, or never gives a frame.
    """
    reader = _Reader(open_capture, name, warn, patience)
    reader.start()
    try:
        while (came := reader.next()) is not None:
            number, timestamp, frame = came
            yield Glimpse(number, timestamp, lambda frame=frame: _rgb(frame))
    finally:
        reader.stop()
        if reader.left_out:
            warn(f"{name}: {reader.left_out} frames came faster than they were read; left out")


def _rgb(frame: np.ndarray) -> np.ndarray | None:
    if limits.too_large(*frame.shape[1::-1]):
        return None
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


class _Reader(threading.Thread):
    """Takes frames and keeps the newest `_QUEUE`."""

    def __init__(self, open_capture, name: str, warn, patience: Patience):
        super().__init__(daemon=True)
        self._open, self._label, self._warn, self._patience = open_capture, name, warn, patience
        self._frames: deque[tuple[int, float, np.ndarray]] = deque()
        self._news = threading.Condition()
        self._stopped = threading.Event()
        self._ended = False
        self._error: Exception | None = None
        self._count, self._began, self._last = 0, 0.0, 0.0
        self.left_out = 0

    def next(self) -> tuple[int, float, np.ndarray] | None:
        """The next frame; None at the end."""
        patience = self._patience
        # All that the thread may wait for by its own rules, and then it hangs in the driver.
        pauses = patience.pause * 2**patience.tries
        longest = (patience.opening + patience.reading) * (patience.tries + 2) + pauses
        with self._news:
            if not self._news.wait_for(lambda: self._frames or self._ended, timeout=longest):
                self._warn(f"{self._label} hangs; it is given up after {longest:.0f} s")
                return None
            if self._frames:
                return self._frames.popleft()
        if self._error is not None:
            raise self._error
        return None

    def stop(self) -> None:
        self._stopped.set()
        self.join(timeout=1.0)

    def run(self) -> None:
        try:
            self._read_on()
        except Exception as error:
            self._error = error
        with self._news:
            self._ended = True
            self._news.notify()

    def _read_on(self) -> None:
        capture, left, good = self._open(), self._patience.tries, 0.0
        while not self._stopped.is_set():
            readable, frame = capture.read()
            if readable:
                self._add(frame)
                good = good or self._last
                if self._last - good > 60:
                    left, good = min(left + 1, self._patience.tries), self._last
                continue
            capture.release()
            again, left = self._again(left)
            if again is None:
                break
            capture, good = again, 0.0
        else:
            capture.release()
        if self._count == 0 and not self._stopped.is_set():
            raise UserError(f"{self._label} opens but gives no frame; check that the sender runs")

    def _again(self, left: int) -> tuple[Capture | None, int]:
        """Opens it again after it fell silent."""
        where = f"after {self._last - self._began:.1f} s (frame {self._count})"
        pause, tries = self._patience.pause, left
        while left > 0 and not self._stopped.wait(pause):
            left, pause = left - 1, 2 * pause
            try:
                capture = self._open()
            except UserError:
                continue
            self._warn(f"{self._label} gave no more frames {where}; it was opened again")
            return capture, left
        if not self._stopped.is_set():
            self._warn(
                f"{self._label} gave no more frames {where}, and not when it was opened {tries} "
                "times again; what came before is kept"
            )
        return None, left

    def _add(self, frame: np.ndarray) -> None:
        self._last = time.monotonic()
        with self._news:
            if self._count == 0:
                self._began = self._last
            self._count += 1
            self._frames.append((self._count, self._last - self._began, frame))
            if len(self._frames) > _QUEUE:
                self._frames.popleft()
                self.left_out += 1
            self._news.notify()
