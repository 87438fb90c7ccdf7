"""Where the time of a run went, and whether it is time for something."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


def _nothing(phase: str) -> None:
    del phase


class Clock:
    """Seconds per phase, summed over all processes that carried the run on so far.

    Phases follow each other, none is inside another.

    The phases are "start" (imports, finding the other processes, opening records, making the first
    state), "restore", "compile" (the first step of a process), "data" (waiting for a batch),
    "step", "evaluation", "checkpoint", "lost" (an estimate: steps that a killed process had done
    after its last checkpoint) and "other" (what the loop itself does between them). Together they
    are the time that the processes of the run lived, one after the other; time in which none ran is
    not in them.

    Args:
      seconds: those of the processes before this one.
      on_phase: told the name of every phase as it begins.
      born: when this process began, by the clock `now`; None: now.
      now: seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        seconds: Mapping[str, float] | None = None,
        *,
        on_phase: Callable[[str], None] = _nothing,
        born: float | None = None,
        now: Callable[[], float] = time.perf_counter,
    ):
        self._before = dict(seconds or {})
        self._here: dict[str, float] = {}
        self._open: tuple[str, float] | None = None  # the phase that is going on, and since when
        self._on_phase, self._now = on_phase, now
        self._born = now() if born is None else born

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        self._on_phase(phase)
        self._open = phase, self._now()
        try:
            yield
        finally:
            self._here, self._open = self._measured(), None

    def add(self, phase: str, seconds: float) -> None:
        """Counts seconds of this process."""
        self._here = _sum(self._here, {phase: seconds})

    def carry(self, seconds: Mapping[str, float]) -> None:
        """Counts seconds of the processes before this one."""
        self._before = _sum(self._before, seconds)

    def unmeasured(self) -> float:
        """Seconds of this process that belong to no phase yet."""
        return max(self._now() - self._born - sum(self._measured().values()), 0.0)

    @property
    def seconds(self) -> dict[str, float]:
        """Phase -> seconds, those of the one that is going on too; their sum is the time lived."""
        return _sum(_sum(self._before, self._measured()), {"other": self.unmeasured()})

    def _measured(self) -> dict[str, float]:
        """Of this process."""
        if self._open is None:
            return self._here
        phase, since = self._open
        return _sum(self._here, {phase: self._now() - since})

    def told(self) -> dict[str, float]:
        """PHASE_s -> seconds, and `goodput`, of one moment.

        Goodput is the share of the time lived that went into steps which count: steps done in vain,
        after the last checkpoint of a killed process, are in "lost" alone.
        """
        seconds = self.seconds
        goodput = seconds.get("step", 0.0) / (sum(seconds.values()) or 1.0)
        return {**{f"{phase}_s": s for phase, s in seconds.items()}, "goodput": goodput}

    def summary(self) -> str:
        """One line, largest first."""
        seconds = self.seconds
        total = sum(seconds.values()) or 1.0
        rows = sorted(seconds.items(), key=lambda row: -row[1])
        return ", ".join(f"{phase} {s:.1f} s ({s / total:.0%})" for phase, s in rows)


def _sum(left: Mapping[str, float], right: Mapping[str, float]) -> dict[str, float]:
    return {**left, **{phase: left.get(phase, 0.0) + s for phase, s in right.items()}}


class Interval:
    """Whether `seconds` have passed since this was made or last restarted; 0: they never have."""

    def __init__(self, seconds: float, *, now: Callable[[], float] = time.monotonic):
        self._seconds, self._now = seconds, now
        self.restart()

    def restart(self) -> None:
        self._since = self._now()

    def passed(self) -> bool:
        return self._seconds > 0 and self._now() - self._since >= self._seconds
