"""A profiler trace of a few steps."""

from pathlib import Path
from typing import Any

import jax


class ProfileWindow:
    """Traces from before step `first` to the end of step `last`; (0, 0) never.

    The trace lies in WORKDIR/profile, of several processes in a folder of each: the profiler names
    its files by the host alone. A run that is resumed inside the window traces the rest of it.
    """

    def __init__(self, workdir: Path, window: tuple[int, int]):
        folder = Path(workdir) / "profile"
        several = jax.process_count() > 1
        self._folder = folder / f"process-{jax.process_index()}" if several else folder
        self._first, self._last = window
        self._running = False

    def before(self, step: int) -> None:
        if not self._running and 0 < self._first <= step <= self._last:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int, found: Any) -> None:
        """`found`: arrays of the step, which the devices may still be at work on."""
        if self._running and step >= self._last:
            jax.block_until_ready(found)
            self.close()

    def close(self) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
