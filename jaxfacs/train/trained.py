"""A trained network as it is read back, to be evaluated, exported or gone on from."""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxfacs.errors import UserError
from jaxfacs.files import place, retrying
from jaxfacs.train import config as configs
from jaxfacs.train.checkpoint import (
    ITEMS,
    Checkpoints,
    DamagedError,
    Manifest,
    Tree,
    folder_of,
    read_manifest,
    refuse_unreadable,
    restore_item,
    steps_in,
    tell_damage,
)
from jaxfacs.train.config import CheckpointConfig, Experiment


@dataclass(frozen=True)
class Trained:
    """A network as it was trained, ready to be evaluated or exported.

    `params` and `stats` are the moving averages where the run keeps them. `thresholds` are those
    that `jaxfacs evaluate` tuned on the validation split for this very step, else None;
    `calibration` are its curves, AU -> knots as in `evaluate.calibration.Curve.to_json`, for the
    AUs that have one, else None: the thresholds are of calibrated probabilities.
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
    calibration: dict[str, Any] | None = None


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
    folder = folder_of(workdir)
    steps = steps_in(folder)
    if not steps:
        raise UserError(f"{workdir} holds no checkpoint; train into it with jaxfacs train")
    if isinstance(step, int) and step not in steps:
        listed = ", ".join(map(str, steps))
        raise UserError(f"{workdir} holds no checkpoint of step {step}; it holds {listed}")
    damaged: dict[int, Exception] = {}
    for candidate in [step] if isinstance(step, int) else _in_order(folder, step):
        try:
            read = functools.partial(restore_network, folder / str(candidate))
            network, manifest = retrying(read, what=f"reading checkpoint {candidate}")
        except Exception as error:
            refuse_unreadable(folder / str(candidate), error)
            damaged[candidate] = error
            continue
        tell_damage(folder, damaged, f"step {candidate} is used")
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
            calibration=read_calibration(workdir, manifest),
        )
    tell_damage(folder, damaged, "none is left")
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
    return place(workdir) / "evaluation" / split / str(manifest["step"]) / "thresholds.json"


def read_thresholds(workdir: str | Path, manifest: Manifest) -> dict[str, float] | None:
    """AU -> probability from which it counts as present, or None if nobody tuned them yet."""
    path = thresholds_path(workdir, manifest)
    return json.loads(path.read_text()) if path.is_file() else None


def calibration_path(workdir: str | Path, manifest: Manifest) -> Path:
    """Where the curves lie that were fitted on the validation split, beside the thresholds."""
    return thresholds_path(workdir, manifest).with_name("calibration.json")


def read_calibration(workdir: str | Path, manifest: Manifest) -> dict[str, Any] | None:
    """AU -> knots of its curve, or None if nobody calibrated or was told not to."""
    path = calibration_path(workdir, manifest)
    return (json.loads(path.read_text())["curves"] if path.is_file() else None) or None


def restore_network(folder: Path) -> tuple[Tree, Manifest]:
    """The network's item of a step's folder on one device, in the form that its manifest tells."""
    manifest = read_manifest(folder)
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
    return restore_item(folder, "network", abstract, manifest), manifest


def _in_order(folder: Path, wish: Literal["best", "latest"] | None) -> Iterator[int]:
    """Steps in the order in which they should be tried."""
    newest = list(reversed(steps_in(folder)))
    ranked: list[tuple[float, int]] = []
    for step in newest:
        try:
            manifest = read_manifest(folder / str(step))
            rule = manifest["experiment"]["checkpoint"]
            value = manifest["metrics"][rule["metric"]]
            ranked.append((value if rule["mode"] == "max" else -value, step))
        except (OSError, ValueError, KeyError, DamagedError):
            continue  # no metric, or damaged: it is named when it is tried
    best = [step for _, step in sorted(ranked, reverse=True)]
    if wish == "latest":
        yield from newest
    elif wish == "best":
        yield from best
    else:
        yield from best + [step for step in newest if step not in best]
