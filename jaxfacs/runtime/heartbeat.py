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

HANG_EXIT_CODE = 4
FILE_INTERVAL_S = 1.0  # often enough for a probe, seldom enough for a network file system


class Heartbeat:
    """Writes WORKDIR/heartbeat/process-I.json and, after `limit_s` of silence, ends the process.

    A collective whose peer is lost can wait for ever, without an exception and deaf to signals.
    The watchdog then prints the stacks of all threads and exits with code 4, so that whatever
    started the run can start it again. It is armed by the first `beat`: compilation may take long.
    """

    def __init__(self, workdir: Path, *, process: int, limit_s: float):
        self._path = Path(workdir) / "heartbeat" / f"process-{process}.json"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._limit_s = limit_s
        self._last: float | None = None
        self._written = 0.0
        self._closed = threading.Event()
        self.last_step = self._read()  # that a former process of this run wrote; 0: none did
        if limit_s > 0:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def beat(self, step: int) -> None:
        """Says that `step` is done."""
        self.alive()
        now = time.monotonic()
        if now - self._written < FILE_INTERVAL_S:
            return
        self._written = now
        text = json.dumps(
            {"step": step, "time": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
        )
        temporary = self._path.with_suffix(".tmp")
        with contextlib.suppress(OSError):  # a full disk must not end a run before it can save
            temporary.write_text(text)
            temporary.replace(self._path)

    def alive(self) -> None:
        """Keeps the watchdog quiet during what is no step, such as an evaluation."""
        self._last = time.monotonic()

    def close(self) -> None:
        self._closed.set()

    def _read(self) -> int:
        try:
            return int(json.loads(self._path.read_text())["step"])
        except (OSError, ValueError, KeyError):
            return 0

    def _watch(self) -> None:
        while not self._closed.wait(min(self._limit_s / 4, 10.0)):
            if self._last is not None and time.monotonic() - self._last > self._limit_s:
                print(
                    f"no step finished for {self._limit_s:.0f} s; stacks of all threads follow, "
                    f"then exit code {HANG_EXIT_CODE}",
                    file=sys.stderr,
                    flush=True,
                )
                faulthandler.dump_traceback(all_threads=True)
                os._exit(HANG_EXIT_CODE)
