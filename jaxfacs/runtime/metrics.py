"""Metrics on disk: one JSON object a line, and TensorBoard where tensorboardX is installed."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxfacs.errors import UserError
from jaxfacs.runtime.tensorboard import Board, open_board


class MetricWriter:
    """Appends to WORKDIR/metrics.jsonl; on every process but the first it does nothing.

    A line is {"step": int, "kind": str, ...numbers}; what is not finite is null. A resumed run
    says by `keep` which lines still hold: those of steps that will be done again are dropped, as is
    a line torn by a kill, so that the file reads as if the run had never been stopped.
    """

    def __init__(
        self, workdir: Path, *, keep: Callable[[dict[str, Any]], bool], active: bool = True
    ):
        self._path = Path(workdir) / "metrics.jsonl"
        self._file: Any = None
        self._board: Board | None = None
        if not active:
            return
        kept = self._rewrite(keep)
        self._file = self._path.open("a", encoding="utf-8")
        last = max((row["step"] for row in kept), default=0)
        self._board = open_board(workdir, purge_step=last + 1 if last else None)

    def write(self, step: int, kind: str, values: dict[str, float]) -> None:
        """Appends one line, and the same numbers under KIND/NAME to TensorBoard."""
        if self._file is None:
            return
        numbers = {k: v if math.isfinite(v) else None for k, v in values.items()}
        try:
            self._file.write(json.dumps({"step": step, "kind": kind, **numbers}) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._cannot_write(error) from error
        if self._board is not None:
            shown = {f"{kind}/{k}": v for k, v in numbers.items() if v is not None}
            self._board.add(step, shown)

    def sync(self) -> None:
        """Returns when all lines are on the disk, as they must be before a checkpoint is."""
        if self._file is not None:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise self._cannot_write(error) from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()

    def _cannot_write(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write {self._path}: {error.strerror}; make room, then the same command goes on"
        )

    def _rewrite(self, keep: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        kept = []
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
                if keep(row):
                    kept.append(row)
            except (ValueError, KeyError, TypeError):
                continue  # torn, or not ours
        temporary = self._path.with_suffix(".tmp")
        lines = "".join(json.dumps(row) + "\n" for row in kept)
        temporary.write_text(lines, encoding="utf-8")
        temporary.replace(self._path)
        return kept


def read(path: str | Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, all or those of one kind."""
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if kind in (None, row["kind"])]
