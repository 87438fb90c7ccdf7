"""Checkpoints: written by Orbax, kept by policy, and trusted only when their digests agree.

Orbax writes a step under a temporary name and renames it when whole, so a killed process leaves
nothing that looks complete. It restores a flipped bit without a word, though, so every array's
sha256 lies in the manifest beside it and is checked on the way back; a damaged step is named, set
aside, and the one before it is used.

    WORKDIR/checkpoints/STEP/network    params, stats, ema
    WORKDIR/checkpoints/STEP/training   step, counters, optimiser state
    WORKDIR/checkpoints/STEP/manifest   config, AU list, data digest, metrics, digests of arrays
    WORKDIR/damaged/STEP-N              steps that could not be read, for whoever wants to look
"""

import contextlib
import errno
import functools
import hashlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from jaxfacs import __version__
from jaxfacs.errors import UserError
from jaxfacs.files import error_number, one_line, place, remote, retrying, transient
from jaxfacs.runtime.lost import end_all, is_loss
from jaxfacs.train import config as configs
from jaxfacs.train import spikes
from jaxfacs.train.config import CheckpointConfig, Experiment
from jaxfacs.train.meter import tell
from jaxfacs.train.paths import paths

Tree = dict[str, Any]
Manifest = dict[str, Any]
Answer = TypeVar("Answer")

COMMITTED = "commit_success.txt"  # Orbax's name
ATTEMPTS = 6  # of a save or a read that fails in a way that may pass
ITEMS = {
    "network": ("params", "stats", "ema"),
    "training": ("step", "skipped", "skipped_in_row", "opt_state", "spikes"),
}


class NonFiniteStateError(Exception):
    """The state holds a NaN or an infinity; it is never saved."""


class CannotSaveError(UserError):
    """A checkpoint could not be written; those on disk are whole."""


class DamagedError(Exception):
    """A checkpoint is not what was written."""


class Checkpoints:
    """The checkpoints of one run: saves in the background, restores what is whole."""

    def __init__(self, workdir: Path, config: CheckpointConfig):
        self.folder = folder_of(workdir)
        self._config = config
        self._manager: ocp.CheckpointManager | None = None
        self._write: Callable[[], None] | None = None  # the last save, while it may yet fail
        self._failures = 0  # saves in the background that failed one after another
        self._again_at = 0.0  # by the monotonic clock

    def steps(self) -> list[int]:
        """The steps on disk, whole or damaged, oldest first."""
        return steps_in(self.folder)

    def restore(self, abstract_state: Tree) -> tuple[Tree, Manifest] | None:
        """The newest whole state on the shardings of `abstract_state`, or None if there is none.

        Steps that cannot be trusted are named on stderr and moved to WORKDIR/damaged. Raises
        UserError if every step is damaged, or if a checkpoint is of another network.
        """
        damaged: dict[int, Exception] = {}
        found: tuple[Tree, Manifest] | None = None
        for step in reversed(steps_in(self.folder)):
            read = functools.partial(self._read, step, None if found else abstract_state)
            try:
                candidate = _together(read, what=f"reading checkpoint {step}")
            except Exception as error:  # Orbax raises bare Exception, ValueError, JSON errors ...
                lost = isinstance(error, jax.errors.JaxRuntimeError) and jax.process_count() > 1
                if lost or isinstance(error, UserError):
                    raise
                refuse_unreadable(self.folder / str(step), error)
                damaged[step] = error
            else:
                found = found or candidate
        used = f"step {found[1]['step']} is used" if found else "none is left"
        tell_damage(self.folder, damaged, used)
        if damaged and found is None:
            raise UserError(
                f"every checkpoint in {self.folder} is damaged; restore one from a backup, or "
                "start again with another --workdir"
            )
        self._set_aside(damaged)
        return found

    def _read(self, step: int, abstract_state: Tree | None) -> tuple[Tree, Manifest] | None:
        """A step's state and manifest; without a form to read it into only its manifest is read."""
        folder = self.folder / str(step)
        manifest = read_manifest(folder)
        if abstract_state is None:
            return None
        there = _with_its_window(abstract_state, manifest)
        _check_same_arrays(folder, manifest, there)
        state: Tree = {}
        for item in ITEMS:
            state |= restore_item(folder, item, _part(there, item), manifest)
        return spikes.fitted(state, abstract_state), manifest

    def save(self, state: Tree, manifest: Manifest, metrics: dict[str, float] | None) -> None:
        """Starts to write `state`; returns once the arrays may be donated again.

        Raises NonFiniteStateError, with nothing written, if an array is not finite, and UserError
        if this save or an earlier one in the background could not be written.
        """
        step = int(state["step"])
        metrics = {k: v for k, v in (metrics or {}).items() if math.isfinite(v)}
        arrays = {
            item: {path: _describe(path, leaf) for path, leaf in paths(_part(state, item)).items()}
            for item in ITEMS
        }
        manifest = _sealed({**manifest, "step": step, "metrics": metrics, "arrays": arrays})
        # A NaN would rank as best: a metric that is not finite is not given at all.
        ranked = {k: v for k, v in metrics.items() if k == self._config.metric} or None
        items = ocp.args.Composite(
            manifest=ocp.args.JsonSave(manifest),
            **{item: ocp.args.StandardSave(_part(state, item)) for item in ITEMS},
        )

        def write() -> None:
            if self._manager is None:
                self._manager = self._open()
            if step in self.steps():
                return  # only what comes after its writing failed
            if any(leaf.is_deleted() for leaf in jax.tree.leaves(state)):
                raise RuntimeError("it failed in the background, and training went on")
            self._manager.save(step, args=items, metrics=ranked, force=True)

        with self._telling_failure():
            self._settle()
            self._write = write
            self._tried(write, what=f"saving step {step}")

    def due_again(self) -> bool:
        """Whether a save in the background failed and should be made good by another at once.

        Costs next to nothing and is asked after every step. Raises UserError for a failure that
        will not pass. Of several processes none gets this far: see `_Manager`.
        """
        if jax.process_count() > 1:
            return False
        if self._manager is not None and not self._manager.is_saving_in_progress():
            with self._telling_failure():
                self._settle()
        return self._failures > 0 and time.monotonic() >= self._again_at

    def wait(self) -> None:
        """Returns when everything saved is on disk; raises UserError if it could not be.

        A last save that failed in a way that may pass is done again, if no step followed it.
        """

        def finish() -> None:
            if self._manager is None and self._write is not None:
                self._write()
            self._finish()

        with self._telling_failure():
            self._tried(finish, what="saving the last step")

    def close(self) -> None:
        manager, self._manager = self._manager, None
        if manager is not None:
            with contextlib.suppress(Exception):  # `wait` is what tells of a failed save
                manager.close()

    def _finish(self) -> None:
        """Waits for the save in the background; raises what it met."""
        if self._manager is not None:
            self._manager.wait_until_finished()
            self._write, self._failures = None, 0

    def _tried(self, action: Callable[[], None], *, what: str) -> None:
        """`files.retrying` with a fresh manager each time, in a process that is alone."""
        if jax.process_count() > 1:
            return action()

        def attempt() -> None:
            try:
                action()
            except Exception as error:
                if transient(error):
                    self.close()
                raise

        retrying(attempt, what=what, attempts=ATTEMPTS)

    def _settle(self) -> None:
        """Waits likewise, but what may pass is told and left to the next save."""
        try:
            self._finish()
        except Exception as error:
            several = jax.process_count() > 1
            if several or not transient(error) or self._failures == ATTEMPTS:
                raise
            self._failures += 1
            self._again_at = time.monotonic() + 0.5 * 2**self._failures
            self.close()  # Orbax is to begin anew, from what is on disk
            tell(f"a checkpoint was not written ({one_line(error)}); the next save makes it good")

    @contextlib.contextmanager
    def _telling_failure(self) -> Iterator[None]:
        try:
            yield
        except jax.errors.JaxRuntimeError:
            raise  # a device or another process, not storage
        except Exception as error:
            if jax.process_count() > 1 and transient(error):
                raise  # no fault of the command: code 1, with which launchers start all again
            raise self._cannot_save(error) from error

    def _cannot_save(self, error: Exception) -> CannotSaveError:
        whole = self.steps()
        resume = f"resumes from step {whole[-1]}" if whole else "starts anew"
        return CannotSaveError(
            f"a checkpoint could not be written to {self.folder}: {one_line(error)}; make "
            f"room or mend access there, then the same command {resume}"
        )

    def _end_all(self, error: Exception) -> None:
        """Ends a run of several processes whose save failed here, in the background."""
        if not is_loss(error):
            end_all(1 if transient(error) else 2, f"jaxfacs train: {self._cannot_save(error)}")

    def _open(self) -> ocp.CheckpointManager:
        name, sign = self._config.metric, self._config.mode
        keep: list[Any] = [checkpoint_managers.LatestN(self._config.latest)]
        if self._config.best:
            keep.append(
                checkpoint_managers.BestN(
                    get_metric_fn=lambda metrics: metrics[name],
                    n=self._config.best,
                    reverse=sign == "min",
                    keep_checkpoints_without_metrics=False,
                )
            )
        return _Manager(
            self.folder,
            failed=self._end_all,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(keep),
                best_fn=lambda metrics: metrics[name],
                best_mode=sign,
                cleanup_tmp_directories=True,
                create=True,
            ),
        )

    def _set_aside(self, damaged: dict[int, Exception]) -> None:
        if jax.process_index() == 0:
            aside = self.folder.parent / "damaged"
            for step in damaged:
                aside.mkdir(exist_ok=True)
                if remote(aside):  # where a folder is there once there is a file in it
                    (aside / "README").write_text("checkpoints that could not be read\n")
                taken = sum(1 for p in aside.iterdir() if p.name.startswith(f"{step}-"))
                (self.folder / str(step)).rename(aside / f"{step}-{taken}")
        if damaged and jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints set aside")


class _Manager(ocp.CheckpointManager):
    """Orbax's, which tells at once of a save that failed in the background.

    Of several processes the one that fails keeps its error until all others have come to a
    barrier, in which they wait 20 minutes for its part of the save.
    """

    def __init__(self, *given: Any, failed: Callable[[Exception], None], **named: Any):
        self._failed = failed
        super().__init__(*given, **named)

    def _finalize(self, step: int, steps_to_remove: list[int]) -> None:
        if jax.process_count() > 1:  # alone it comes through the barrier by itself
            try:
                self._non_blocking_metadata_store.wait_until_finished()
                self._wait_for_checkpointers()
            except Exception as error:
                self._failed(error)
                raise
        super()._finalize(step, steps_to_remove)


def new_manifest(
    experiment: Experiment, *, aus: tuple[str, ...], emotions: tuple[str, ...], data: dict
) -> Manifest:
    """What is true of every checkpoint of a run; `data` says which records it read."""
    return {
        "format": 1,
        "jaxfacs": __version__,
        "experiment": configs.to_json(experiment),
        "aus": list(aus),
        "emotions": list(emotions),
        "data": data,
    }


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a step's folder, checked against its own digest and the folder's name."""
    manifest = json.loads((folder / "manifest" / "metadata").read_text())
    if manifest != _sealed({k: v for k, v in manifest.items() if k != "sha256"}):
        raise DamagedError("the manifest differs from its digest")
    if manifest["step"] != int(folder.name):
        raise DamagedError(f"the manifest is that of step {manifest['step']}")
    # Orbax reads this file, for every step, whenever it opens the folder.
    file = folder / "metrics" / "metrics"
    ranked = json.loads(file.read_text()) if file.exists() else {}
    metric = manifest["experiment"]["checkpoint"]["metric"]
    if ranked != {k: v for k, v in manifest["metrics"].items() if k == metric}:
        raise DamagedError("its metrics differ from those of the manifest")
    return manifest


def _sealed(manifest: Manifest) -> Manifest:
    """A copy with its own digest: Orbax writes it later, when the loop's clock has gone on."""
    text = json.dumps(manifest, sort_keys=True)
    return {**json.loads(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def restore_item(folder: Path, item: str, abstract: Tree, manifest: Manifest) -> Tree:
    """One item on the shardings of `abstract`, every array compared with its digest."""
    with ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.restore(folder / item, abstract)
    for path, leaf in paths(tree).items():
        if _describe(path, leaf) != manifest["arrays"][item][path]:
            raise DamagedError(f"{path} differs from its digest")
    return tree


def _with_its_window(abstract_state: Tree, manifest: Manifest) -> Tree:
    """The form of the state with the window of spikes that the step has, which may be none."""
    place = abstract_state["step"].sharding
    window = {
        path.removeprefix("spikes/"): jax.ShapeDtypeStruct(
            tuple(array["shape"]), array["dtype"], sharding=place
        )
        for path, array in manifest["arrays"]["training"].items()
        if path.startswith("spikes/")
    }
    rest = {key: form for key, form in abstract_state.items() if key != "spikes"}
    return rest | ({"spikes": window} if window else {})


def _check_same_arrays(folder: Path, manifest: Manifest, abstract_state: Tree) -> None:
    """Raises UserError naming the first array that this run has otherwise."""
    for item in ITEMS:
        here = {p: list(x.shape) for p, x in paths(_part(abstract_state, item)).items()}
        there = {path: array["shape"] for path, array in manifest["arrays"][item].items()}
        for path in sorted(here.keys() | there.keys()):
            if here.get(path) != there.get(path):
                was = manifest["experiment"]["model"]["name"]
                raise UserError(
                    f"checkpoint {folder} is of another network or optimiser (model {was}): it has "
                    f"{path} {there.get(path, 'absent')}, this config {here.get(path, 'absent')}; "
                    "give its own config, or another --workdir"
                )


def _describe(path: str, leaf: jax.Array) -> dict[str, Any]:
    """Shape, type and sha256 of an array, whatever devices it lies on; refuses a NaN."""
    if leaf.is_fully_addressable or leaf.is_fully_replicated:
        value = np.asarray(leaf)
    else:
        value = np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
    if value.dtype.kind not in "iub" and not np.isfinite(value.astype(np.float32)).all():
        raise NonFiniteStateError(f"{path} is not finite")
    return {
        "shape": list(value.shape),
        "dtype": value.dtype.name,
        "sha256": hashlib.sha256(value.tobytes()).hexdigest(),
    }


def _together(action: Callable[[], Answer], *, what: str) -> Answer:
    """`files.retrying` for all processes at once: where one tries again, all do."""
    return retrying(lambda: _agreed(action), what=what, attempts=ATTEMPTS)


def _agreed(action: Callable[[], Answer]) -> Answer:
    """What `action` returns; if it fails on one process it raises on all.

    What may pass raises something `transient` everywhere, what will not pass nowhere does.
    """
    if jax.process_count() == 1:
        return action()
    failure: Exception | None = None
    answer: Any = None
    try:
        answer = action()
    except Exception as error:
        # Of a barrier that waited in vain for a process that could not write; or that process is
        # lost, and what comes next fails as well.
        late = isinstance(error, jax.errors.JaxRuntimeError)
        failure = TimeoutError(one_line(error)) if late else error
    passing = failure is None or transient(failure)
    ok, passing = np.all(
        multihost_utils.process_allgather(np.asarray([failure is None, passing])), axis=0
    )
    if ok:
        return answer
    if failure is None or (transient(failure) and not passing):
        words = "another process could not"
        failure = TimeoutError(words) if passing else DamagedError(words)
    raise failure


def _part(state: Tree, item: str) -> Tree:
    return {key: state[key] for key in ITEMS[item] if key in state}


def folder_of(workdir: str | Path) -> Path:
    """Where the checkpoints of a run lie, as Orbax wants it told."""
    folder = place(workdir) / "checkpoints"
    return folder if remote(folder) else folder.absolute()


def end_past_orbax(code: int) -> None:
    """Ends the process with `code` if threads of a save that failed hold it up; else returns.

    When Orbax cannot make a step's folder, those that would have written into it wait ten minutes
    for it, and the interpreter for them.
    """
    if any(type(t).__module__.startswith("orbax.") for t in threading.enumerate() if not t.daemon):
        if jax.process_count() > 1:
            jax.distributed.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def steps_in(folder: Path) -> list[int]:
    """The steps that were committed, oldest first.

    Until it is, a step's folder has another name, or, in object storage, lacks a certain file.
    """
    if not folder.is_dir():
        return []
    steps = [p for p in folder.iterdir() if p.name.isdigit() and p.is_dir()]
    return sorted(int(p.name) for p in steps if not remote(p) or (p / COMMITTED).exists())


def refuse_unreadable(folder: Path, error: Exception) -> None:
    """Raises UserError if a checkpoint may be whole and only storage does not give it out."""
    if transient(error) or error_number(error) in (errno.EACCES, errno.EPERM):
        raise UserError(
            f"checkpoint {folder} cannot be read ({one_line(error)}); nothing was changed: mend "
            "access to it, then give the same command"
        ) from error


def tell_damage(folder: Path, damaged: dict[int, Exception], instead: str) -> None:
    for step, error in damaged.items():
        if jax.process_index() == 0:
            print(
                f"checkpoint {folder / str(step)} is damaged ({one_line(error)}); {instead}",
                file=sys.stderr,
                flush=True,
            )
