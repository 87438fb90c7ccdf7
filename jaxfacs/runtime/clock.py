"""Where the time of a run went."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds per phase, summed over all processes that carried the run on so far.

    The phases "start" (process start to first step, less restore and compile), "restore",
    "compile", "data" (waiting for a batch), "step", "evaluation", "checkpoint" and "lost" (steps
    done again after a kill) make up the wall time but for what the loop itself does.
    """

    def __init__(self, seconds: dict[str, float] | None = None):
        self.seconds = dict(seconds or {})

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(phase, time.perf_counter() - start)

    def add(self, phase: str, seconds: float) -> None:
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def shares(self) -> dict[str, float]:
        """Phase -> share of all that was measured."""
        total = sum(self.seconds.values()) or 1.0
        return {phase: seconds / total for phase, seconds in self.seconds.items()}

    def summary(self) -> str:
        """One line, largest first."""
        rows = sorted(self.seconds.items(), key=lambda row: -row[1])
        return ", ".join(f"{phase} {s:.1f} s ({self.shares()[phase]:.0%})" for phase, s in rows)
