"""Scalars for TensorBoard, through tensorboardX's event files but none of its threads.

Its SummaryWriter writes in a thread and at exit, where a full disk ends in tracebacks that nobody
can catch; here every number is written at once, and a failure only ends the writing of them.
"""

import os
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from jaxfacs.files import one_line, place, remote, retrying


class Board:
    """Writes an event file into a folder; says so once and stops if that fails.

    Args:
      purge_step: TensorBoard hides what an earlier file in the folder says of this step and later.
    """

    def __init__(self, folder: Path, *, purge_step: int | None):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2, summary_pb2

        events: Any = event_pb2  # generated: a type checker sees nothing in it
        summaries: Any = summary_pb2
        self._event, self._summary = events.Event, summaries.Summary
        # Object storage cannot append: the file is made here and put there whole at each `sync`.
        self._folder = place(folder)
        self._here = Path(tempfile.mkdtemp()) if remote(folder) else self._folder
        # The pid: two starts within one second would share a file name.
        self._file: Any = EventsWriter(str(self._here / "events"), f".{os.getpid()}")
        if purge_step is not None:
            start = events.SessionLog(status=events.SessionLog.START)
            self._write(self._event(step=purge_step, session_log=start))

    def add(self, step: int, scalars: dict[str, float]) -> None:
        values = [
            self._summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()
        ]
        self._write(self._event(step=step, summary=self._summary(value=values)))

    def sync(self) -> None:
        """Puts what was written so far into object storage; elsewhere it is there already."""
        if self._file is not None and remote(self._folder):
            for path in self._here.iterdir():
                data, there = path.read_bytes(), self._folder / path.name
                self._attempt(partial(retrying, partial(there.write_bytes, data), what=path.name))

    def close(self) -> None:
        if self._file is not None:
            self.sync()
            self._attempt(self._file.close)
            self._file = None
        if remote(self._folder):
            shutil.rmtree(self._here, ignore_errors=True)

    def _write(self, event: Any) -> None:
        if self._file is not None:
            event.wall_time = time.time()
            self._attempt(lambda: (self._file.write_event(event), self._file.flush()))

    def _attempt(self, action: Any) -> None:
        try:
            action()
        except Exception as error:  # of a disk, or of any of the libraries of object storage
            print(f"TensorBoard events are no longer written: {one_line(error)}", file=sys.stderr)
            self._file = None


def open_board(folder: Path, *, purge_step: int | None) -> Board | None:
    """A board, or None where tensorboardX (extra `tensorboard`) is not installed."""
    try:
        return Board(folder, purge_step=purge_step)
    except ImportError:
        return None
