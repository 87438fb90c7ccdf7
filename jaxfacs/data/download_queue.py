"""Jobs for many hosts, given out so that no host is pressed."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass
class _Host:
    """Jobs that wait for one host: (not before, number, job)."""

    waiting: list = field(default_factory=list)
    active: int = 0
    free_at: float = 0.0  # the next request may start then
    turn: float | None = None  # its entry among the turns; others of it are stale


class PoliteQueue(Generic[Job]):
    """Gives out jobs to threads, at most so many at once and so many a second for each host.

    Jobs of one host come in the order in which they were added, except those that were to wait.
    """

    def __init__(self, *, per_host: int, rate: float, clock: Callable[[], float] = time.monotonic):
        self._per_host, self._interval_s, self._clock = per_host, 1.0 / rate, clock
        self._hosts: dict[str, _Host] = {}
        self._turns: list[tuple[float, int, str]] = []
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False

    def add(self, host: str, job: Job, *, wait_s: float = 0.0) -> None:
        with self._changed:
            state = self._hosts.setdefault(host, _Host())
            not_before = self._clock() + wait_s if wait_s else 0.0
            heapq.heappush(state.waiting, (not_before, next(self._number), job))
            self._plan(host, state)

    def take(self) -> tuple[str, Job] | None:
        """Waits for a job whose host is free; None once the queue was stopped."""
        with self._changed:
            while not self._stopped:
                wait_s = self._until_next()
                if wait_s is not None and wait_s <= 0:
                    given = self._give()
                    self._changed.notify()  # somebody else must watch for the next turn
                    return given
                self._changed.wait(wait_s)
            return None

    def done(self, host: str, *, pause_s: float = 0.0, asked: bool = True) -> None:
        """Ends what `take` gave.

        Args:
          pause_s: the host wants to be left alone so long.
          asked: false where no request was sent after all, so that the next need not wait.
        """
        with self._changed:
            state = self._hosts[host]
            state.active -= 1
            if not asked:
                state.free_at = min(state.free_at, self._clock())
            if pause_s:
                state.free_at = max(state.free_at, self._clock() + pause_s)
            if not state.active and not state.waiting and state.free_at <= self._clock():
                del self._hosts[host]
            else:
                self._plan(host, state)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _until_next(self) -> float | None:
        """Seconds until the first turn; None: nothing waits for a host with room."""
        while self._turns:
            at, _, host = self._turns[0]
            state = self._hosts.get(host)
            if state is not None and state.turn == at:
                return at - self._clock()
            heapq.heappop(self._turns)
        return None

    def _give(self) -> tuple[str, Job]:
        _, _, host = heapq.heappop(self._turns)
        state = self._hosts[host]
        job = heapq.heappop(state.waiting)[2]
        state.active, state.turn = state.active + 1, None
        state.free_at = max(state.free_at, self._clock()) + self._interval_s
        self._plan(host, state)
        return host, job

    def _plan(self, host: str, state: _Host) -> None:
        at = None
        if state.waiting and state.active < self._per_host:
            at = max(state.free_at, state.waiting[0][0])
        if at != state.turn:
            state.turn = at
            if at is not None:
                heapq.heappush(self._turns, (at, next(self._number), host))
                self._changed.notify()
