"""Signs of life: a file that a probe or a person can read, and a watchdog inside the process."""

import contextlib
import faulthandler
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

from jaxfacs.files import place, remote, replacing

HANG_EXIT_CODE = 4
FILE_INTERVAL_S = 1.0  # often enough for a probe, seldom enough for a network file system
REMOTE_INTERVAL_S = 10.0  # and for an object store, which bills each write
SLOW_S = 3600.0  # the least that the phases are given that may take long and beat only once

# What hangs, by the phase that does not end.
_HANGS = {
    "start": "the run did not get ready",
    "restore": "the checkpoint was not read",
    "compile": "the first step was not compiled",
    "data": "waiting for a batch",
    "evaluation": "no batch of the evaluation was measured",
    "checkpoint": "the save did not end",
}
_SLOW = ("start", "restore", "compile")


class Heartbeat:
    """Writes WORKDIR/heartbeat/process-I.json and, after `limit_s` of silence, ends the process.

    A collective whose peer is lost can wait for ever, without an exception and deaf to signals; so
    can a reader whose storage is gone. The watchdog then says what it was that did not end, prints
    the stacks of all threads and exits with code 4, so that whatever started the run can start it
    again. Getting ready, restoring and compiling have four times `limit_s`, at least an hour. Time
    in which the whole process was stopped does not count.

    The file is written by a thread, whole or not at all, and only if there was a sign of life since
    the last time. What hinders that never ends a run.
    """

    def __init__(self, workdir: str | Path, *, process: int, limit_s: float):
        self._path = place(workdir) / "heartbeat" / f"process-{process}.json"
        self._limit_s = limit_s
        self._step, self._phase, self._signs = 0, "start", 0
        self._closed = threading.Event()
        self.last_step = self._read()  # that a former process of this run wrote; 0: none did
        interval_s = REMOTE_INTERVAL_S if remote(workdir) else FILE_INTERVAL_S
        self._writer = threading.Thread(
            target=self._write_often, args=(interval_s,), name="heartbeat", daemon=True
        )
        self._writer.start()
        if limit_s > 0:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def beat(self, step: int) -> None:
        """Says that `step` is done."""
        self._step, self._phase = step, "step"
        self.alive()

    def phase(self, name: str) -> None:
        """Says that a phase begins: one of `clock.Clock`'s."""
        self._phase = name
        self.alive()

    def alive(self) -> None:
        """Says that what is no step, such as an evaluation, gets on."""
        self._signs += 1

    def close(self) -> None:
        """Ends the watch; the last sign of life is on disk then, if the disk answers."""
        self._closed.set()
        self._writer.join(2.0)

    def _read(self) -> int:
        try:
            return int(json.loads(self._path.read_text())["step"])
        except Exception:  # none yet, torn, or an object store that raises what it likes
            return 0

    def _write_often(self, interval_s: float) -> None:
        written = 0
        over = False
        while not over:
            over = self._closed.wait(interval_s)
            if self._signs == written:
                continue
            written = self._signs
            told = {
                "step": self._step or self.last_step,
                "phase": self._phase,
                "signs": written,
                "time": time.time(),  # for people: nothing compares it
                "host": socket.gethostname(),
                "pid": os.getpid(),
            }
            with contextlib.suppress(Exception):  # as above; and a run must get to its save
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(self._path) as temporary:
                    temporary.write_text(json.dumps(told) + "\n")

    def _watch(self) -> None:
        interval_s = min(self._limit_s / 4, 10.0)
        seen, silent_s, last = self._signs, 0.0, time.monotonic()
        while not self._closed.wait(interval_s):
            now = time.monotonic()
            # More than an interval: this thread was stopped too, and the others with it.
            silent_s, last = silent_s + min(now - last, 2 * interval_s), now
            if seen != self._signs:
                seen, silent_s = self._signs, 0.0
            phase = self._phase
            limit_s = max(4 * self._limit_s, SLOW_S) if phase in _SLOW else self._limit_s
            if silent_s > limit_s:
                after = f" after step {self._step}" if self._step else ""
                print(
                    f"{_HANGS.get(phase, 'no step finished')} for {silent_s:.0f} s{after}; stacks "
                    f"of all threads follow, then exit code {HANG_EXIT_CODE}",
                    file=sys.stderr,
                    flush=True,
                )
                faulthandler.dump_traceback(all_threads=True)
                os._exit(HANG_EXIT_CODE)
