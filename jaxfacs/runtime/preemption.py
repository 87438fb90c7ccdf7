"""SIGTERM as a question that the loop asks: should this run save and stop?"""

import signal
import types

import jax
from jax.experimental import multihost_utils

EXIT_CODE = 75  # EX_TEMPFAIL: stopped after saving; the same command goes on


class Preemption:
    """Answers on every process at the same call, so that all stop after the same step.

    One process has its own handler. Several use JAX's coordination service, which catches SIGTERM
    on any of them and agrees on a call number (a Python handler would take the signal from it).
    `requested` must then be called equally often on every process.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._signalled = False
        self._stopped = False
        if jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._handle)

    def requested(self) -> bool:
        """True from the agreed call on."""
        if jax.process_count() == 1:
            return self._signalled
        if not self._stopped:
            self._stopped = multihost_utils.reached_preemption_sync_point(self._calls)
            self._calls += 1
        return self._stopped

    def close(self) -> None:
        """Gives the signals back to Python."""
        if jax.process_count() == 1:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        del frame
        self._signalled = True
        if number == signal.SIGINT:  # a second Ctrl-C means it
            signal.signal(signal.SIGINT, signal.default_int_handler)
