"""A profiler trace of a few steps."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax

from jaxfacs.files import filling, place


class ProfileWindow:
    """Traces from before step `first` to the end of step `last`; (0, 0) never.

    The trace lies in WORKDIR/profile, of several processes in a folder of each: the profiler names
    its files by the host alone. A run that is resumed inside the window traces the rest of it.
    """

    def __init__(self, workdir: str | Path, window: tuple[int, int]):
        folder = place(workdir) / "profile"
        several = jax.process_count() > 1
        self._folder = folder / f"process-{jax.process_index()}" if several else folder
        self._first, self._last = window
        self._running: ExitStack | None = None

    def before(self, step: int) -> None:
        if self._running is None and 0 < self._first <= step <= self._last:
            with ExitStack() as trace:
                here = trace.enter_context(filling(self._folder))
                jax.profiler.start_trace(str(here))
                trace.callback(jax.profiler.stop_trace)
                self._running = trace.pop_all()

    def after(self, step: int, found: Any) -> None:
        """`found`: arrays of the step, which the devices may still be at work on."""
        if self._running and step >= self._last:
            jax.block_until_ready(found)
            self.close()

    def close(self) -> None:
        if self._running:
            trace, self._running = self._running, None
            trace.close()
