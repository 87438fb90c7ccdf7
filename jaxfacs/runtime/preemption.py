"""SIGTERM as a question that the loop asks: should this run save and stop?"""

import contextlib
import os
import signal
import socket
import sys
import threading
import types
from collections.abc import Iterator

EXIT_CODE = 75  # EX_TEMPFAIL: stopped, and saved what there was; the same command goes on

_unsaved = threading.Event()  # set: SIGTERM waits for a save


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """SIGTERM ends this process with 75 at once, but for the time between first step and last save.

    Also within a compilation or a start of JAX that takes minutes: Python would answer after it, so
    a thread reads what the C handler writes (`signal.set_wakeup_fd`). In a run of several processes
    it holds until JAX has brought them together; JAX's own handler then takes the signal's place.
    """
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)
    woken = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    handler = signal.signal(signal.SIGTERM, _ignore)

    def listen() -> None:
        while numbers := ear.recv(64):
            if signal.SIGTERM in numbers and not _unsaved.is_set():
                sys.stdout.flush()
                print(
                    "stopped by a signal, nothing unsaved; the same command goes on",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(EXIT_CODE)
        ear.close()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.set_wakeup_fd(woken)
        mouth.close()


class Preemption:
    """Answers on every process at the same call, so that all stop after the same step.

    One process has its own handler. Several use JAX's coordination service, which catches SIGTERM
    on any of them and agrees on a call number (a Python handler would take the signal from it).
    `requested` must then be called equally often on every process.
    """

    def __init__(self) -> None:
        import jax

        self._alone = jax.process_count() == 1
        self._calls = 0
        self._signalled = False
        self._stopped = False
        self._former = {}
        if self._alone:
            numbers = signal.SIGTERM, signal.SIGINT
            self._former = {number: signal.signal(number, self._handle) for number in numbers}

    def requested(self) -> bool:
        """True from the agreed call on."""
        if self._alone:
            return self._signalled
        if not self._stopped:
            from jax.experimental import multihost_utils

            self._stopped = multihost_utils.reached_preemption_sync_point(self._calls)
            self._calls += 1
        return self._stopped

    def hold(self) -> None:
        """From now on there is something to save: a signal waits for that."""
        _unsaved.set()

    def close(self) -> None:
        """All is saved; gives the signals back."""
        _unsaved.clear()
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        del frame
        self._signalled = True
        if number == signal.SIGINT:  # a second Ctrl-C means it
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _ignore(number: int, frame: types.FrameType | None) -> None:
    """Only its place counts: without a handler Python would not write to the wakeup socket."""
    del number, frame
