"""Scalars for Weights & Biases (extra `wandb`), as an addition that a run never depends on.

One run there is one work directory here: its id is kept in WORKDIR/wandb.json, so that a resumed
run goes on in the same curves. "step" is a number of ours: that of wandb may only rise, while a
run that was killed does its last steps again, and writes the same numbers over them.
"""

import importlib.util
import json
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxfacs.errors import UserError
from jaxfacs.files import one_line, place, remote, replacing

INIT_TIMEOUT_S = 60
FINISH_TIMEOUT_S = 30  # a run that was told to stop has not much longer


def check(project: str) -> None:
    """Raises UserError if a project is given and wandb is not installed."""
    if project and importlib.util.find_spec("wandb") is None:
        raise UserError(
            f"wandb is '{project}' but Weights & Biases is not installed; "
            "pip install 'jaxfacs[wandb]', or give --wandb ''"
        )


def boards(workdir: str | Path, *, project: str, config: dict[str, Any]) -> "list[WandbBoard]":
    """A board for the project; none without one."""
    return [WandbBoard(workdir, project=project, config=config)] if project else []


class WandbBoard:
    """Writes numbers to a project; says so once and stops if that fails.

    Args:
      config: what wandb shows as the run's config.

    WANDB_MODE=offline writes to WORKDIR/wandb alone (`wandb sync` sends it later).
    """

    def __init__(self, workdir: str | Path, *, project: str, config: dict[str, Any]):
        self._run: Any = None
        self._attempt(lambda: self._start(workdir, project, config))

    def add(self, step: int, scalars: dict[str, float]) -> None:
        if self._run is not None:
            self._attempt(lambda: self._run.log({"step": step, **scalars}))

    def sync(self) -> None:
        """What wandb has not sent yet, it sends by itself."""

    def close(self) -> None:
        if self._run is not None:
            self._attempt(self._run.finish)
            self._run = None

    def _start(self, workdir: str | Path, project: str, config: dict[str, Any]) -> None:
        import wandb

        self._run = wandb.init(
            project=project,
            id=_run_id(workdir, project),
            resume="allow",
            name=place(workdir).name,
            config=config,
            dir=tempfile.mkdtemp() if remote(workdir) else str(workdir),
            settings=wandb.Settings(
                silent=True,
                console="off",  # what the run says is in its own log
                login_timeout=INIT_TIMEOUT_S,  # of asking at a terminal for a key
                init_timeout=INIT_TIMEOUT_S,
                finish_timeout=FINISH_TIMEOUT_S,
            ),
        )
        self._run.define_metric("*", step_metric="step")
        if not self._run.offline:
            print(f"Weights & Biases: {self._run.url}", file=sys.stderr, flush=True)

    def _attempt(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:
            self._run = None
            print(
                f"nothing more is written to Weights & Biases: {one_line(error)}",
                file=sys.stderr,
                flush=True,
            )


def _run_id(workdir: str | Path, project: str) -> str:
    """The id of this work directory's run in a project, made the first time."""
    path = place(workdir) / "wandb.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if project not in known:
        known[project] = uuid.uuid4().hex[:12]
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(known) + "\n")
    return known[project]
