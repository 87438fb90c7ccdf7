"""The training loop: what happens, in the order in which it happens."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from jaxfacs.runtime import preemption
from jaxfacs.train import mesh as meshes
from jaxfacs.train.checkpoint import NonFiniteStateError
from jaxfacs.train.config import Experiment
from jaxfacs.train.meter import TooManySkippedError, tell
from jaxfacs.train.setup import Run, start
from jaxfacs.train.state import State

FINISHED = 0
GAVE_UP = 3


def run(
    experiment: Experiment,
    folder: Path,
    *,
    accept_changes: bool = False,
    began: float | None = None,
) -> int:
    """Trains until `experiment.steps`, SIGTERM or too many bad steps; returns the exit code.

    The same call on the same folder goes on where the last one stopped, exactly. Codes: 0 finished,
    75 stopped by a signal after saving, 3 gave up on non-finite steps (the checkpoints are good).
    `began` is when this process did, by `time.perf_counter`; None: now.
    """
    this, state, host = start(experiment, folder, accept_changes=accept_changes, began=began)
    code = None
    try:
        code = _loop(this, state, evaluated=host.get("evaluated", 0))
        this.checkpoints.wait()
    except (TooManySkippedError, NonFiniteStateError) as error:
        this.checkpoints.wait()
        print(
            f"gave up: {error}; the last checkpoint in {folder} is good. Lower "
            "--optim.learning-rate, clip with --optim.clip-norm, or look at the data",
            file=sys.stderr,
        )
        code = GAVE_UP
    finally:
        # After an error in one of several the caller tells the others, and this process ends at
        # once: closing would wait for one that may be gone.
        if code is not None or jax.process_count() == 1:
            this.close()
    tell(f"where the time went: {this.clock.summary()}")
    return code


def _loop(this: Run, state: State, *, evaluated: int) -> int:
    """Goes from the state's step to the last one.

    Args:
      evaluated: the last step at which the validation split was measured.
    """
    experiment, clock, mesh = this.experiment, this.clock, this.plan.mesh
    step = saved = int(state["step"])
    unread: tuple[int, dict[str, jax.Array]] | None = None
    compiled = wanted = False

    def save(results: dict[str, float] | None = None) -> None:
        nonlocal unread, saved, wanted
        with clock("step"):
            unread = _read(this, unread)
        with clock("checkpoint"):
            this.lock.check()
            # First the lines, then the checkpoint that makes a resumed run keep them.
            this.writer.sync()
            carried = {"evaluated": evaluated, "window": this.meter.carried()}
            manifest = {**this.manifest, "host": {**carried, "seconds": clock.seconds}}
            this.checkpoints.save(state, manifest, results)
        saved, wanted = step, False
        this.rounds.saved()

    @contextmanager
    def reading() -> Iterator[None]:
        """What a reader raises does not cost the steps since the last checkpoint.

        Only where this process is alone: the others would never come to the save.
        """
        try:
            yield
        except Exception:
            if step > saved and jax.process_count() == 1:
                save()
                this.checkpoints.wait()
                tell(f"reading failed after step {step}, which is saved")
            raise

    while True:
        # Every process asks equally often, and all get yes at the same question.
        stopping = this.signals.requested() and step < experiment.steps
        results = None
        if not stopping and _evaluation_due(experiment, step) and evaluated < step:
            with clock("step"):
                unread = _read(this, unread)
            with reading(), clock("evaluation"):
                results = this.evaluate(state)
            if results is None:
                stopping = True  # measured after the restart; this step's checkpoint has no metric
            else:
                evaluated = step
                this.writer.write(step, "validation", results)
                tell(_evaluation_line(step, results))
                if experiment.checkpoint.metric not in results:
                    measured = ", ".join(sorted(results)[:8])
                    tell(
                        f"no checkpoint is best: checkpoint.metric {experiment.checkpoint.metric} "
                        f"is not measured of this network; measured are {measured}, ..."
                    )

        # A step that was measured is always saved, so that the best one is there to be kept.
        due = wanted or step % experiment.checkpoint.every == 0 or results is not None
        due = due or this.checkpoints.due_again()  # one that failed is made good
        if step > saved and (due or stopping or step == experiment.steps):
            save(results)
        if stopping:
            with clock("checkpoint"):
                this.checkpoints.wait()
            tell(f"stopped by a signal after step {step}, saved; the same command goes on from it")
            return preemption.EXIT_CODE
        if step == experiment.steps:
            if compiled:  # else it was finished before and nothing was done
                this.writer.write(step, "seconds", clock.told())
            return FINISHED

        with reading(), clock("data"):
            batch = meshes.global_batch(next(this.batches), mesh)
        this.meter.fed(batch)
        this.profile.before(step + 1)
        with clock("step" if compiled else "compile"):
            with jax.profiler.StepTraceAnnotation("train", step_num=step + 1):
                state, metrics = this.train_step(state, batch)
            # Read the step before this one: the device is already at work on this one.
            _read(this, unread)
            unread = step + 1, metrics
            heard = this.rounds.after(step + 1)
        step, compiled = step + 1, True
        this.signals.hold()
        if heard:
            wanted = heard.save
            this.meter.heard(heard.slowest)
        this.profile.after(step, metrics)
        this.heartbeat.beat(step)


def _read(this: Run, unread: tuple[int, dict[str, jax.Array]] | None) -> None:
    """Waits for a step's metrics and hands them to the meter; nothing is unread then."""
    if unread is not None:
        step, metrics = unread
        found = jax.device_get(metrics)
        this.meter.add(step, {k: v if v.ndim else float(v) for k, v in found.items()})


def _evaluation_due(experiment: Experiment, step: int) -> bool:
    every = experiment.evaluation.every
    return step == experiment.steps or (every > 0 and step > 0 and step % every == 0)


def _evaluation_line(step: int, results: dict[str, float]) -> str:
    shown = ("mean_average_precision", "mean_f1", "mean_roc_auc", "mean_icc", "emotion_accuracy")
    values = [f"{k.replace('_', ' ')} {results[k]:.3f}" for k in shown if k in results]
    base = results.get("mean_occurrence")
    chance = f" (base rate {base:.3f})" if base is not None else ""
    return f"step {step} validation: {', '.join(values)}{chance}"
