"""What one client may ask for, and who has asked for how much."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from jaxfacs.errors import UserError


@dataclass(frozen=True)
class Limits:
    """Bounds of what a client (a token, else an address) may send, and of what is kept."""

    upload_bytes: int = 512 << 20
    """bytes of one film"""
    upload_rate: int = 16 << 10
    """bytes a second that an upload must reach on average after its first ten seconds"""
    upload_stall_s: float = 20.0
    """longest pause within an upload, in seconds"""
    uploads: int = 2
    """uploads of one client at once"""
    film_seconds: float = 900.0
    """length of one film"""
    film_frames: int = 54_000
    """frames of one film"""
    film_pixels: int = 4096 * 2304
    """pixels of one frame of a film"""
    jobs: int = 3
    """films of one client that wait or are read"""
    all_jobs: int = 32
    """films of all clients that wait or are read"""
    job_minutes: float = 120.0
    """longest time in which one film is read"""
    result_bytes: int = 32 << 20
    """bytes of one film's results, packed"""
    all_results: int = 32
    """results that are kept; the oldest goes first"""
    result_minutes: float = 30.0
    """how long results are kept"""
    sessions: int = 4
    """live sessions of one client"""
    all_sessions: int = 32
    """live sessions of all clients"""
    session_s: float = 3600.0
    """longest live session"""
    idle_s: float = 60.0
    """longest time in which a live client sends nothing"""
    frames_per_second: float = 60.0
    """live frames of one client, all its sessions together"""
    window: int = 4
    """live frames of one session that wait; beyond it the oldest is dropped"""
    frame_bytes: int = 4 << 20
    """bytes of one live frame"""
    frame_pixels: int = 1920 * 1080
    """pixels of one live frame"""
    frames_per_message: int = 16
    """live frames in one message"""
    connections: int = 256
    """open connections"""
    header_s: float = 10.0
    """longest time in which the head of a request must arrive"""
    unread_s: float = 20.0
    """longest time in which a client takes nothing of what it is sent"""

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < 1e15:
                raise UserError(f"the limit {field.name} is {value}; give a number above 0")

    @property
    def message_bytes(self) -> int:
        """Longest websocket message: a few large frames, or many small ones."""
        return 4 * self.frame_bytes


class TooMany(Exception):
    """A client has as much of something as it may have at once; the text says of what."""


class Shares:
    """How much of each thing every client has at this moment. For one thread (the event loop)."""

    def __init__(self):
        self._held: Counter[tuple[str, str]] = Counter()

    def held(self, what: str, client: str | None = None) -> int:
        if client is not None:
            return self._held[what, client]
        return sum(n for (thing, _), n in self._held.items() if thing == what)

    def take(self, what: str, client: str, *, most: int, most_of_all: int | None = None) -> None:
        """Raises TooMany where the client, or all of them, have the most they may."""
        if self._held[what, client] >= most:
            raise TooMany(f"{most} {what} at once is the most for one client; wait for one to end")
        if most_of_all is not None and self.held(what) >= most_of_all:
            raise TooMany(f"the server has all the {what} that it can take; try again later")
        self._held[what, client] += 1

    def give_back(self, what: str, client: str) -> None:
        self._held[what, client] -= 1
        if self._held[what, client] <= 0:
            del self._held[what, client]

    @contextmanager
    def holding(
        self, what: str, client: str, *, most: int, most_of_all: int | None = None
    ) -> Iterator[None]:
        self.take(what, client, most=most, most_of_all=most_of_all)
        try:
            yield
        finally:
            self.give_back(what, client)


class Rate:
    """A bucket that fills at `per_second` and holds one second's worth."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic):
        self._per_second, self._clock = per_second, clock
        self._full = max(1.0, per_second)
        self._left, self._at = self._full, clock()

    def take(self) -> bool:
        """Whether one more may pass now."""
        now = self._clock()
        self._left = min(self._full, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    @property
    def full(self) -> bool:
        """Whether nothing was taken lately, so that it can be forgotten."""
        return self._left + (self._clock() - self._at) * self._per_second >= self._full


class Rates:
    """One bucket for each client that was there lately."""

    def __init__(self, per_second: float):
        self._per_second = per_second
        self._buckets: dict[str, Rate] = {}

    def take(self, client: str) -> bool:
        if client not in self._buckets:
            if len(self._buckets) > 1000:
                self._buckets = {k: b for k, b in self._buckets.items() if not b.full}
            self._buckets[client] = Rate(self._per_second)
        return self._buckets[client].take()
