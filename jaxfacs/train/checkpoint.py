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
import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from jaxfacs import __version__
from jaxfacs.errors import UserError
from jaxfacs.train import config as configs
from jaxfacs.train.config import CheckpointConfig, Experiment
from jaxfacs.train.paths import paths

Tree = dict[str, Any]
Manifest = dict[str, Any]

ITEMS = {
    "network": ("params", "stats", "ema"),
    "training": ("step", "skipped", "skipped_in_row", "opt_state"),
}


class NonFiniteStateError(Exception):
    """The state holds a NaN or an infinity; it is never saved."""


class CannotSaveError(UserError):
    """A checkpoint could not be written; those on disk are whole."""


class _DamagedError(Exception):
    """A checkpoint is not what was written."""


@dataclass(frozen=True)
class Trained:
    """A network as it was trained, ready to be evaluated or exported.

    `params` and `stats` are the moving averages where the run keeps them. `thresholds` are those
    that `jaxfacs evaluate` tuned on the validation split for this very step, else None.
    """

    experiment: Experiment
    aus: tuple[str, ...]
    emotions: tuple[str, ...]
    params: Tree
    stats: Tree
    step: int
    metrics: dict[str, float]
    thresholds: dict[str, float] | None
    manifest: Manifest


class Checkpoints:
    """The checkpoints of one run: saves in the background, restores what is whole."""

    def __init__(self, workdir: Path, config: CheckpointConfig):
        self.folder = (Path(workdir) / "checkpoints").absolute()
        self._config = config
        self._manager: ocp.CheckpointManager | None = None

    def steps(self) -> list[int]:
        """The steps on disk, whole or damaged, oldest first."""
        return _steps(self.folder)

    def restore(self, abstract_state: Tree) -> tuple[Tree, Manifest] | None:
        """The newest whole state on the shardings of `abstract_state`, or None if there is none.

        Steps that cannot be trusted are named on stderr and moved to WORKDIR/damaged. Raises
        UserError if every step is damaged, or if a checkpoint is of another network.
        """
        damaged: dict[int, Exception] = {}
        found: tuple[Tree, Manifest] | None = None
        for step in reversed(_steps(self.folder)):
            folder = self.folder / str(step)
            failure: Exception | None = None
            candidate: tuple[Tree, Manifest] | None = None
            try:
                manifest = read_manifest(folder)
                if found is None:
                    _check_same_arrays(folder, manifest, abstract_state)
                    state: Tree = {}
                    for item in ITEMS:
                        state |= _restore_item(folder, item, _part(abstract_state, item), manifest)
                    candidate = state, manifest
            except UserError:
                raise
            except Exception as error:  # Orbax raises bare Exception, ValueError, JSON errors ...
                failure = error
            if not _everywhere(failure is None):
                damaged[step] = failure or _DamagedError("another process could not read it")
            elif found is None:
                found = candidate
        used = f"step {found[1]['step']} is used" if found else "none is left"
        _tell_damage(self.folder, damaged, used)
        if damaged and found is None:
            raise UserError(
                f"every checkpoint in {self.folder} is damaged; restore one from a backup, or "
                "start again with another --workdir"
            )
        self._set_aside(damaged)
        return found

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
        ranked = {k: v for k, v in metrics.items() if k == self._config.metric}
        self._report_failure(
            lambda manager: manager.save(
                step,
                args=ocp.args.Composite(
                    manifest=ocp.args.JsonSave(manifest),
                    **{item: ocp.args.StandardSave(_part(state, item)) for item in ITEMS},
                ),
                # A NaN would rank as best: a metric that is not finite is not given at all.
                metrics=ranked or None,
                force=True,
            )
        )

    def wait(self) -> None:
        """Returns when everything saved is on disk; raises UserError if it could not be."""
        if self._manager is not None:
            self._report_failure(lambda manager: manager.wait_until_finished())

    def close(self) -> None:
        if self._manager is not None:
            manager, self._manager = self._manager, None
            with contextlib.suppress(Exception):  # `wait` is what tells of a failed save
                manager.close()

    def _report_failure(self, action: Callable[[ocp.CheckpointManager], Any]) -> None:
        try:
            if self._manager is None:
                self._manager = self._open()
            self._manager.check_for_errors()
            action(self._manager)
        except Exception as error:
            whole = _steps(self.folder)
            resume = f"resumes from step {whole[-1]}" if whole else "starts anew"
            raise CannotSaveError(
                f"a checkpoint could not be written to {self.folder}: {_one_line(error)}; make "
                f"room or mend access there, then the same command {resume}"
            ) from error

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
        return ocp.CheckpointManager(
            self.folder,
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
                taken = sum(1 for p in aside.iterdir() if p.name.startswith(f"{step}-"))
                (self.folder / str(step)).rename(aside / f"{step}-{taken}")
        if damaged and jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints set aside")


def load_for_inference(
    workdir: str | Path,
    *,
    step: int | Literal["best", "latest"] | None = None,
    classes: bool = False,
) -> Trained:
    """Reads a trained network out of a work directory, on this process's first device.

    Args:
      workdir: where `jaxfacs train` or `jaxfacs convert` wrote.
      step: a step; "best" by the validation metric; "latest"; None: the best if any was
        evaluated, else the latest.
      classes: whether converted weights that answer other things than AUs will do.

    Raises UserError, naming what there is, if that checkpoint is missing or damaged. With "best",
    "latest" and None a damaged step is named on stderr and the next one is used.
    """
    folder = (Path(workdir) / "checkpoints").absolute()
    steps = _steps(folder)
    if not steps:
        raise UserError(f"{workdir} holds no checkpoint; train into it with jaxfacs train")
    if isinstance(step, int) and step not in steps:
        listed = ", ".join(map(str, steps))
        raise UserError(f"{workdir} holds no checkpoint of step {step}; it holds {listed}")
    damaged: dict[int, Exception] = {}
    for candidate in [step] if isinstance(step, int) else _in_order(folder, step):
        try:
            manifest = read_manifest(folder / str(candidate))
            network = _restore_network(folder / str(candidate), manifest)
        except Exception as error:
            damaged[candidate] = error
            continue
        _tell_damage(folder, damaged, f"step {candidate} is used")
        if (holds := manifest.get("converted", {}).get("classes")) and not classes:
            raise UserError(
                f"{workdir} holds {holds}, not AUs; start a network of AUs from it with "
                f"jaxfacs train CONFIG --init-from {workdir}"
            )
        weights = network["ema"] or network
        return Trained(
            experiment=configs.from_json(manifest["experiment"]),
            aus=tuple(manifest["aus"]),
            emotions=tuple(manifest["emotions"]),
            params=weights["params"],
            stats=weights["stats"],
            step=candidate,
            metrics=manifest["metrics"],
            thresholds=read_thresholds(workdir, manifest),
            manifest=manifest,
        )
    _tell_damage(folder, damaged, "none is left")
    tried = ", ".join(map(str, damaged)) or "none with a metric"
    raise UserError(f"no checkpoint of {workdir} can be used (tried: {tried}); give another --step")


def save_first(workdir: Path, manifest: Manifest, *, params: Tree, stats: Tree) -> None:
    """Writes a network that came from elsewhere as the checkpoint of step 0, without optimiser.

    Raises NonFiniteStateError, with nothing written, if an array is not finite.
    """
    zero = jnp.zeros((), jnp.int32)
    counters = {"step": zero, "skipped": zero, "skipped_in_row": zero}
    checkpoints = Checkpoints(workdir, CheckpointConfig())
    try:
        checkpoints.save(
            {**counters, "params": params, "stats": stats, "opt_state": {}, "ema": {}},
            manifest,
            None,
        )
        checkpoints.wait()
    finally:
        checkpoints.close()


def thresholds_path(workdir: str | Path, manifest: Manifest) -> Path:
    """Where the thresholds lie that were tuned on the validation split for a checkpoint."""
    split = manifest["experiment"]["data"]["validation_split"]
    return Path(workdir) / "evaluation" / split / str(manifest["step"]) / "thresholds.json"


def read_thresholds(workdir: str | Path, manifest: Manifest) -> dict[str, float] | None:
    """AU -> probability from which it counts as present, or None if nobody tuned them yet."""
    path = thresholds_path(workdir, manifest)
    return json.loads(path.read_text()) if path.is_file() else None


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
    """The manifest of a step's folder, checked against its own digest."""
    manifest = json.loads((folder / "manifest" / "metadata").read_text())
    ranked = folder / "metrics" / "metrics"
    if ranked.exists():  # Orbax reads it, for every step, whenever it opens the folder
        json.loads(ranked.read_text())
    if manifest != _sealed({k: v for k, v in manifest.items() if k != "sha256"}):
        raise _DamagedError("the manifest differs from its digest")
    return manifest


def _sealed(manifest: Manifest) -> Manifest:
    """A copy with its own digest: Orbax writes it later, when the loop's clock has gone on."""
    text = json.dumps(manifest, sort_keys=True)
    return {**json.loads(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _restore_item(folder: Path, item: str, abstract: Tree, manifest: Manifest) -> Tree:
    """One item on the shardings of `abstract`, every array compared with its digest."""
    with ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.restore(folder / item, abstract)
    for path, leaf in paths(tree).items():
        if _describe(path, leaf) != manifest["arrays"][item][path]:
            raise _DamagedError(f"{path} differs from its digest")
    return tree


def _restore_network(folder: Path, manifest: Manifest) -> Tree:
    """The network's item on one device; its form is read off the manifest."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    abstract: Tree = {key: {} for key in ITEMS["network"]}
    for path, array in manifest["arrays"]["network"].items():
        *parents, name = path.split("/")
        node = abstract
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = jax.ShapeDtypeStruct(
            tuple(array["shape"]), jnp.dtype(array["dtype"]), sharding=sharding
        )
    return _restore_item(folder, "network", abstract, manifest)


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


def _everywhere(ok: bool) -> bool:
    """True if it is so on every process: all must go on from the same step."""
    if jax.process_count() == 1:
        return ok
    return bool(np.all(multihost_utils.process_allgather(np.asarray(ok))))


def _part(state: Tree, item: str) -> Tree:
    return {key: state[key] for key in ITEMS[item]}


def _steps(folder: Path) -> list[int]:
    """The steps that were committed, oldest first; temporary folders have other names."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.is_dir() and p.name.isdigit())


def _in_order(folder: Path, wish: Literal["best", "latest"] | None) -> Iterator[int]:
    """Steps in the order in which they should be tried."""
    newest = list(reversed(_steps(folder)))
    ranked: list[tuple[float, int]] = []
    for step in newest:
        try:
            manifest = read_manifest(folder / str(step))
            rule = manifest["experiment"]["checkpoint"]
            value = manifest["metrics"][rule["metric"]]
            ranked.append((value if rule["mode"] == "max" else -value, step))
        except (OSError, ValueError, KeyError, _DamagedError):
            continue  # no metric, or damaged: it is named when it is tried
    best = [step for _, step in sorted(ranked, reverse=True)]
    if wish == "latest":
        yield from newest
    elif wish == "best":
        yield from best
    else:
        yield from best + [step for step in newest if step not in best]


def _tell_damage(folder: Path, damaged: dict[int, Exception], instead: str) -> None:
    for step, error in damaged.items():
        if jax.process_index() == 0:
            print(
                f"checkpoint {folder / str(step)} is damaged ({_one_line(error)}); {instead}",
                file=sys.stderr,
                flush=True,
            )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"
