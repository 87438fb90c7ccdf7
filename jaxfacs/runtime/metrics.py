"""Metrics on disk: one JSON object a line, and TensorBoard where tensorboardX is installed."""

import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxfacs.errors import UserError
from jaxfacs.files import one_line, place, remote, replacing, retrying
from jaxfacs.runtime.tensorboard import open_board


class MetricWriter:
    """Appends to WORKDIR/metrics.jsonl; on every process but the first it does nothing.

    A line is {"step": int, "kind": str, ...numbers}; what is not finite is null. A resumed run
    says by `keep` which lines still hold: those of steps that will be done again are dropped, as is
    a line torn by a kill, so that the file reads as if the run had never been stopped.

    Object storage cannot append: there the file is written whole at each `sync` and at the end.

    `boards` are more that the numbers go to, each as `tensorboard.Board` is.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        keep: Callable[[dict[str, Any]], bool],
        active: bool = True,
        boards: Sequence[Any] = (),
    ):
        self._path = place(workdir) / "metrics.jsonl"
        self._active = active
        self._file: Any = None
        self._boards = list(boards)
        self._synced = 0  # bytes that are surely in storage
        self._tail = bytearray()  # the lines after them
        if not active:
            return
        rows = self._kept(keep)
        self._tail.extend(b"".join(map(_line, rows)))
        self._attempt(self._write_whole)
        if not remote(self._path):
            self._synced = len(self._tail)
            self._tail.clear()
        last = max((row["step"] for row in rows), default=0)
        board = open_board(workdir, purge_step=last + 1 if last else None)
        self._boards += [board] if board else []

    def write(self, step: int, kind: str, values: dict[str, float]) -> None:
        """Appends one line, and the same numbers under KIND/NAME to TensorBoard.

        Raises UserError if it cannot be written.
        """
        if not self._active:
            return
        numbers = {k: v if math.isfinite(v) else None for k, v in values.items()}
        line = _line({"step": step, "kind": kind, **numbers})
        self._tail.extend(line)
        if not remote(self._path):
            self._attempt(lambda: self._put(line))
        shown = {f"{kind}/{k}": v for k, v in numbers.items() if v is not None}
        for board in self._boards:
            board.add(step, shown)

    def sync(self) -> None:
        """Returns when all lines are in storage, as they must be before a checkpoint is."""
        if not self._active:
            return
        if remote(self._path):
            self._attempt(self._write_whole)
        else:
            self._attempt(lambda: self._put(b"", sync=True))
            self._synced += len(self._tail)
            self._tail.clear()
        for board in self._boards:
            board.sync()

    def close(self) -> None:
        if self._active and remote(self._path):
            self._attempt(self._write_whole)
        if self._file is not None:
            self._file.close()
        for board in self._boards:
            board.close()

    def _put(self, line: bytes, *, sync: bool = False) -> None:
        """Appends; after a failure the file is opened anew and all that is not safe written again.

        (What a failed fsync leaves in the page cache may never reach the disk.)
        """
        try:
            if self._file is None:
                self._file = self._path.open("r+b", buffering=0)
                self._file.seek(self._synced)
                self._file.truncate()
                line = bytes(self._tail)
            while line:
                line = line[self._file.write(line) :]
            if sync:
                os.fsync(self._file.fileno())
        except OSError:
            file, self._file = self._file, None
            if file is not None:
                file.close()
            raise

    def _write_whole(self) -> None:
        with replacing(self._path) as temporary:
            temporary.write_bytes(self._tail)

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            retrying(action, what=f"writing {self._path.name}")
        except Exception as error:
            raise UserError(
                f"cannot write {self._path}: {one_line(error)}; make room, then the same command "
                "goes on"
            ) from error

    def _kept(self, keep: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        data = retrying(self._path.read_bytes, what=f"reading {self._path.name}")
        rows = []
        for line in data.decode(errors="replace").splitlines():
            try:
                row = json.loads(line)
                if keep(row):
                    rows.append(row)
            except (ValueError, KeyError, TypeError):
                continue  # torn, or not ours
        return rows


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def read(path: str | Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, all or those of one kind."""
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if kind in (None, row["kind"])]
