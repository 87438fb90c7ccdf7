"""Which frames of a film are taken: a part of it, each k-th, or those nearest a slower clock."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxfacs.errors import UserError

_TOLERANCE = 1e-4  # seconds; containers round their times to a tick of up to 1 ms


class Timed(NamedTuple):
    """A frame's number in its film, from 1; its time in seconds; itself, RGB, None: unreadable."""

    number: int
    timestamp: float
    frame_HWC: np.ndarray | None


class Glimpse(NamedTuple):
    """A frame that was reached; `take` decodes it, and only until the next one is asked for."""

    number: int
    timestamp: float
    take: Callable[[], np.ndarray | None]


@dataclass(frozen=True)
class Choice:
    """What to take of a film.

    Attributes:
      every: each `every`-th frame, from the first one on.
      rate: frames a second: of each 1/rate of a second the frame nearest to it. No frame is taken
        twice or made up, so slower films stay as they are. None: all.
      start, end: seconds; frames from start on, and before end.
    """

    every: int = 1
    rate: float | None = None
    start: float | None = None
    end: float | None = None

    def __post_init__(self):
        if self.every < 1:
            raise UserError(f"every is {self.every}; give 1 or more")
        if self.every > 1 and self.rate is not None:
            raise UserError("a film is read at a rate (fps) or by each k-th frame; give one")
        start = self.start or 0.0
        if start < 0:
            raise UserError(f"start is {start:g} s; give 0 or more")
        if self.end is not None and self.end <= start:
            raise UserError(
                f"nothing lies from {start:g} s to {self.end:g} s; end comes after start"
            )

    def slowed(self, fps: float) -> float:
        """Frames a second that are left of `fps`."""
        return fps / self.every if self.rate is None else min(fps, self.rate)

    def expected(self, total: int | None, fps: float) -> int | None:
        """Frames that are left of `total`."""
        if total is None:
            return None
        low = min((self.start or 0.0) * fps, total)
        high = min(total if self.end is None else self.end * fps, total)
        part = (high - low) / self.every if self.rate is None else (high - low)
        return math.ceil(round(part * (self.slowed(fps) / fps if self.rate else 1), 3))

    def __call__(self, film: Iterable[Glimpse], first: int = 0) -> Iterator[Timed]:
        """The frames that are taken, without the first `first` of them, which are not decoded."""
        part = self._part(film)
        return self._nearest(part, first) if self.rate else self._each(part, first)

    def _part(self, film: Iterable[Glimpse]) -> Iterator[Glimpse]:
        for glimpse in film:
            if self.end is not None and glimpse.timestamp >= self.end - _TOLERANCE:
                return
            if glimpse.timestamp >= (self.start or 0.0) - _TOLERANCE:
                yield glimpse

    def _each(self, film: Iterable[Glimpse], first: int) -> Iterator[Timed]:
        due, count = 0, 0
        for glimpse in film:
            if glimpse.number < due:
                continue
            due = glimpse.number + self.every
            count += 1
            if count > first:
                yield Timed(glimpse.number, glimpse.timestamp, glimpse.take())

    def _nearest(self, film: Iterable[Glimpse], first: int) -> Iterator[Timed]:
        """A frame is nearest to all times between the middles of it and its neighbours.

        Whether one of the clock's ticks lies there is known when the next frame is, so a frame is
        decoded before it is known to be taken.
        """
        assert self.rate is not None
        held: Timed | None = None
        low, count, gap = 0, 0, 1 / self.rate
        for glimpse in film:
            if held is None:
                low = self._ticks(glimpse.timestamp - 0.5 / self.rate)
            else:
                gap = glimpse.timestamp - held.timestamp
                high = self._ticks(held.timestamp + gap / 2)
                if high > low:
                    count += 1
                    if count > first:
                        yield held
                low = high
            frame = glimpse.take() if count >= first else None
            held = Timed(glimpse.number, glimpse.timestamp, frame)
        if held is not None and count >= first:
            after = min(gap, 1 / self.rate) / 2
            if self._ticks(held.timestamp + after) > low:
                yield held

    def _ticks(self, seconds: float) -> int:
        assert self.rate is not None
        return math.floor(seconds * self.rate + 1e-6)


def seconds(text: str | float | None) -> float | None:
    """A time: seconds ("90", 90.5), or "1:30", "1:02:03.5".

    Raises:
      UserError: it is none.
    """
    if text is None:
        return None
    parts = str(text).split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    whole = all(value.is_integer() for value in values[:-1])
    small = all(value < 60 for value in values[1:])
    if not 1 <= len(values) <= 3 or not whole or not small or not all(0 <= v < 1e9 for v in values):
        raise UserError(f"'{text}' is no time; give seconds (90.5) or hours:minutes:seconds")
    return sum(value * 60**power for power, value in enumerate(reversed(values)))
