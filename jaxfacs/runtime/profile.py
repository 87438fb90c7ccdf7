"""A profiler trace of a few steps."""

from pathlib import Path

import jax


class ProfileWindow:
    """Traces from before step `first` to after step `last` into WORKDIR/profile; (0, 0) never."""

    def __init__(self, workdir: Path, window: tuple[int, int]):
        self._folder = Path(workdir) / "profile"
        self._first, self._last = window
        self._running = False

    def before(self, step: int) -> None:
        if self._first and step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int) -> None:
        if self._running and step >= self._last:
            self.close()

    def close(self) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
