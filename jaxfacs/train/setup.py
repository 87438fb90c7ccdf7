"""Builds the parts of a run, in the order in which they depend on each other."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfacs.data.mixture import Mixture, open_data
from jaxfacs.data.people import joined
from jaxfacs.data.pipeline import evaluation_batches, train_batches
from jaxfacs.data.records import RecordSet
from jaxfacs.errors import UserError
from jaxfacs.runtime import wandb_board
from jaxfacs.runtime.clock import Clock, Interval
from jaxfacs.runtime.exchange import Exchange, Rounds
from jaxfacs.runtime.heartbeat import Heartbeat
from jaxfacs.runtime.lock import Lock
from jaxfacs.runtime.metrics import MetricWriter
from jaxfacs.runtime.preemption import Preemption
from jaxfacs.runtime.profile import ProfileWindow
from jaxfacs.runtime.together import on_first
from jaxfacs.train import evaluation, flops, stored_flow, transfer, workdir
from jaxfacs.train import mesh as meshes
from jaxfacs.train import state as states
from jaxfacs.train.checkpoint import Checkpoints, Manifest, new_manifest
from jaxfacs.train.config import Experiment
from jaxfacs.train.labels import network_aus
from jaxfacs.train.meter import Meter, tell
from jaxfacs.train.state import Plan, State
from jaxfacs.train.step import jit_predict_step, jit_train_step
from jaxfacs.train.weights import conditional, correlation, fill_prior, has_prior, label_weights


@dataclass(frozen=True)
class Run:
    """The parts of a run; only what the loop itself changes is not in here."""

    experiment: Experiment
    aus: tuple[str, ...]
    sets: tuple[str, ...]
    manifest: Manifest
    plan: Plan
    train_step: Callable[..., tuple[State, dict[str, jax.Array]]]
    predict_step: Callable[..., dict[str, jax.Array]]
    batches: Iterator[dict[str, np.ndarray]]
    validation: Callable[[], Iterator[dict[str, np.ndarray]]]
    lock: Lock
    checkpoints: Checkpoints
    clock: Clock
    meter: Meter
    writer: MetricWriter
    heartbeat: Heartbeat
    profile: ProfileWindow
    rounds: Rounds
    signals: Preemption

    def evaluate(self, state: State) -> dict[str, float] | None:
        """Measures the validation split; None if the run is to stop instead."""

        def stop() -> bool:
            self.heartbeat.alive()
            return self.signals.requested()

        weights = state["ema"] or state
        collected = evaluation.collect(
            self.predict_step,
            weights["params"],
            weights["stats"],
            self.validation(),
            self.plan.mesh,
            stop=stop,
        )
        if collected is None:
            return None
        return evaluation.measure(collected[0], self.aus, collected[1], sets=self.sets)

    def close(self) -> None:
        """Ends threads and gives files and signals back."""
        self.profile.close()
        self.heartbeat.close()
        self.writer.close()
        self.checkpoints.close()
        self.lock.close()
        self.signals.close()


def start(
    experiment: Experiment, folder: Path, *, accept_changes: bool, began: float | None = None
) -> tuple[Run, State, dict[str, Any]]:
    """Everything ready for the first step: the run, its state, and what the host carried over.

    `began` is when this process did, by `time.perf_counter`; None: now.
    """
    with ExitStack() as held:  # given back if the run is refused
        ready = _start(experiment, folder, accept_changes, began, held)
        held.pop_all()
    return ready


def _start(
    experiment: Experiment,
    folder: Path,
    accept_changes: bool,
    began: float | None,
    held: ExitStack,
) -> tuple[Run, State, dict[str, Any]]:
    heartbeat = Heartbeat(folder, process=jax.process_index(), limit_s=experiment.watchdog_s)
    held.callback(heartbeat.close)
    clock = Clock(on_phase=heartbeat.phase, born=began)
    mesh = meshes.create(experiment.mesh)
    experiment = meshes.sized(experiment, mesh)
    config = experiment.data
    processes: dict[str, int] = {
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
    }
    wandb_board.check(experiment.wandb)
    records = open_data(config)
    for split in (config.train_split, config.validation_split):
        records.require_split(split)
    records.refuse_overlap(records.seen())
    for member in records.members(config.train_split):
        check_centre(experiment, member.records)
    check_emotions(experiment, records)
    meshes.check_batch(experiment, mesh)
    aus = network_aus(experiment, records)
    plan, init = states.plan(
        experiment,
        mesh=mesh,
        aus=aus,
        num_emotions=len(records.emotions),
        steps_per_epoch=records.clips(config.train_split) / config.batch_size,
    )
    stored_flow.check(experiment)
    facts = _label_facts(experiment, records, aus)

    lock = Lock(folder)
    held.callback(lock.close)
    on_first(lock.take)

    # Where the first state comes from: this run's newest whole checkpoint, else another's network
    # (read before the folder is claimed, so that a rule can be mended), else from scratch.
    checkpoints = Checkpoints(folder, experiment.checkpoint)
    loaded = None
    if experiment.init.source and not checkpoints.steps():
        loaded = transfer.load(experiment, plan, aus=aus, emotions=records.emotions)
        records.refuse_overlap(loaded.seen)
    manifest = new_manifest(experiment, aus=aus, emotions=records.emotions, data=records.manifest())
    on_first(lambda: workdir.compare(folder, manifest, accept_changes=accept_changes))
    with clock("restore"):
        restored = checkpoints.restore(plan.abstract)
    on_first(lambda: workdir.claim(folder, manifest))
    state, host = (restored[0], restored[1]["host"]) if restored else (init(), {})
    step = int(state["step"])
    if not restored and has_prior(state):
        labels_FA = records.occurrence(config.train_split, aus=aus)
        state = fill_prior(state, conditional(labels_FA))
    if loaded is not None:
        tell(loaded.table)
        state = transfer.start(state, plan, loaded)
    origin = loaded.origin if loaded else restored[1].get("started_from") if restored else None
    manifest |= {"started_from": origin} if origin else {}
    before = loaded.seen if loaded else restored[1]["data"].get("seen", {}) if restored else {}
    manifest["data"]["seen"] = joined(manifest["data"]["seen"], before)
    for line in records.lines():
        tell(line)
    if records.crops_differ:
        tell(
            "the sets' faces were cut out in different ways; an exported network cuts them as in "
            "the one that is drawn most"
        )

    seconds = host.get("seconds", {})
    lost = max(heartbeat.last_step - step, 0)
    clock.carry(seconds)
    if lost:
        clock.carry({"lost": lost * seconds.get("step", 0.0) / max(step, 1)})
    if step:
        again = f"; about {lost} steps after it are done again" if lost else ""
        tell(f"resumed from the checkpoint of step {step}{again}")
    first = jax.process_index() == 0
    writer = MetricWriter(
        folder,
        # An evaluation that was cut short is done again; its step's own lines stay.
        keep=lambda row: (
            row["step"] <= (host.get("evaluated", 0) if row["kind"] == "validation" else step)
        ),
        active=first,
        boards=wandb_board.boards(
            folder, project=experiment.wandb if first else "", config=manifest["experiment"]
        ),
    )
    meter = Meter(
        writer,
        clock,
        experiment=experiment,
        aus=aus,
        devices=mesh.devices.size,
        flops=_flops(plan, experiment),
        carried=host.get("window"),
    )
    run = Run(
        experiment=experiment,
        aus=aus,
        sets=records.names,
        manifest=manifest,
        plan=plan,
        train_step=jit_train_step(plan, experiment, **facts),
        predict_step=jit_predict_step(plan, experiment, **facts),
        batches=train_batches(config, start_step=step, records=records, **processes),
        validation=lambda: evaluation_batches(
            config,
            config.validation_split,
            batch_size=experiment.evaluation.batch_size,
            records=records,
            **processes,
        ),
        lock=lock,
        checkpoints=checkpoints,
        clock=clock,
        meter=meter,
        writer=writer,
        heartbeat=heartbeat,
        profile=ProfileWindow(folder, experiment.profile),
        rounds=Rounds(
            Exchange(mesh),
            clock,
            every=experiment.log_every,
            save=Interval(60 * experiment.checkpoint.every_minutes),
        ),
        signals=Preemption(),
    )
    clock.add("start", clock.unmeasured())
    return run, state, host


def check_centre(experiment: Experiment, records: RecordSet) -> None:
    """Refuses clips whose centre, the only labelled frame that counts, is always padding."""
    config = experiment.data
    centre = (config.frames // 2) * config.stride
    per_clip = not experiment.model.per_frame and experiment.loss.clip_label == "centre"
    if per_clip and centre >= records.frames:
        raise UserError(
            f"clips of {config.frames} frames, stride {config.stride}, take the label of frame "
            f"{centre}; the longest record of {records.path} has {records.frames} frames; lower "
            "--data.frames"
        )


def check_emotions(experiment: Experiment, records: Mixture) -> None:
    """Refuses to learn emotions from records that name none."""
    if experiment.model.emotion and not records.emotions:
        raise UserError(
            f"{records.path} names no emotions; give records that do, or --model.emotion False"
        )


def _flops(plan: Plan, experiment: Experiment) -> tuple[float, float] | None:
    """Operations of training on a clip, and those of a device in a second; None: not known."""
    kind = plan.mesh.devices.flat[0].device_kind
    peak = experiment.peak_tflops * 1e12 or flops.peak(kind, experiment.dtype)
    return (flops.formula(plan, experiment).training, peak) if peak else None


def _label_facts(
    experiment: Experiment, records: Mixture, aus: tuple[str, ...]
) -> dict[str, jax.Array | None]:
    """What the loss takes from the training labels as a whole; see `terms.Facts`."""
    split = experiment.data.train_split
    if not aus:
        return {}
    facts = {"label_weight_A": label_weights(experiment.loss, records.statistics(split, aus=aus))}
    if experiment.loss.cooccurrence_scale:
        facts["correlation_AA"] = jnp.asarray(correlation(records.occurrence(split, aus=aus)))
    return facts
