"""Measures a trained checkpoint on a split, with thresholds tuned on the validation split."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from jaxfacs import progress
from jaxfacs.data.pipeline import evaluation_batches, experiment_aus
from jaxfacs.data.records import open_set
from jaxfacs.errors import UserError
from jaxfacs.evaluate import report, thresholds
from jaxfacs.files import replacing
from jaxfacs.train import checkpoint, evaluation
from jaxfacs.train import mesh as meshes
from jaxfacs.train import state as states
from jaxfacs.train.checkpoint import Trained
from jaxfacs.train.config import Experiment
from jaxfacs.train.evaluation import Rows
from jaxfacs.train.step import jit_predict_step


def evaluate_run(
    workdir: Path,
    *,
    split: str,
    step: int | Literal["best", "latest"] | None = None,
    source: str = "",
) -> tuple[Path, str]:
    """Writes the report of a checkpoint on `split`; returns its folder and a line about it."""
    trained = checkpoint.load_for_inference(workdir, step=step)
    experiment = trained.experiment
    if source and open_set(source).digest == trained.manifest["data"]["digest"]:
        experiment, source = _reading(experiment, source, trained), ""  # the same records, moved
    own = predictions(trained, experiment, experiment.data.validation_split)
    if "probability" not in own:
        raise UserError(
            f"model {experiment.model.name} answers no AU occurrence; nothing to report"
        )
    tuned_A = thresholds.tune(own["occurrence"], own["probability"])
    tuned = {au: float(t) for au, t in zip(trained.aus, tuned_A, strict=True)}
    path = checkpoint.thresholds_path(workdir, trained.manifest)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(tuned, indent=2) + "\n")

    if source:
        experiment = _reading(experiment, source, trained)
    same = split == experiment.data.validation_split and not source
    rows = own if same else predictions(trained, experiment, split)
    folder = Path(workdir) / "evaluation" / split / str(trained.step)
    written = report.write(
        folder,
        aus=trained.aus,
        occurrence_NA=rows["occurrence"],
        probability_NA=rows["probability"],
        thresholds=tuned_A,
        intensity_NA=rows.get("intensity"),
        predicted_intensity_NA=rows.get("predicted_intensity"),
        emotions=trained.emotions if "emotion" in rows else (),
        emotion_N=rows.get("emotion"),
        emotion_probability_NE=rows.get("predicted_emotion"),
        meta={
            "workdir": str(workdir),
            "step": trained.step,
            "split": split,
            "model": experiment.model.name,
            "records": open_set(experiment.data.source).digest,
            "jaxfacs": trained.manifest["jaxfacs"],
        },
    )
    mean = written["mean"]
    line = (
        f"step {trained.step} on {split}: mean AP {mean['average_precision']['value']:.3f} "
        f"(by chance {mean['chance_ap']['value']:.3f}), mean F1 {mean['f1']['value']:.3f}"
    )
    return folder, line


def _reading(experiment: Experiment, source: str, trained: Trained) -> Experiment:
    data = dataclasses.replace(experiment.data, source=source, aus=trained.aus)
    return dataclasses.replace(experiment, data=data)


def predictions(trained: Trained, experiment: Experiment, split: str) -> Rows:
    """What the network says of every clip of a split, over all devices, beside the labels."""
    records = open_set(experiment.data.source)
    records.require_split(split)
    aus = experiment_aus(experiment.data, records)
    if aus != trained.aus:
        raise UserError(
            f"{records.path} gives the AUs {' '.join(aus)}, the network answers "
            f"{' '.join(trained.aus)}; evaluate on records of the same list"
        )
    mesh = meshes.create()
    plan, _ = states.plan(
        experiment,
        mesh=mesh,
        aus=trained.aus,
        num_emotions=len(trained.emotions),
        steps_per_epoch=1.0,
    )
    predict = jit_predict_step(plan, experiment)
    put = jax.tree.map(
        lambda x: jax.device_put(np.asarray(x), meshes.replicated(mesh)),
        {"params": trained.params, "stats": trained.stats},
    )
    batch_size = experiment.evaluation.batch_size or experiment.data.batch_size
    batch_size = -(-batch_size // mesh.devices.size) * mesh.devices.size
    batches = evaluation_batches(experiment.data, split, batch_size=batch_size, records=records)
    label = f"evaluating {split}"
    collected = evaluation.collect(
        predict,
        put["params"],
        put["stats"],
        progress.track(batches, label=label, unit="batch"),
        mesh,
    )
    assert collected is not None  # nothing asks it to stop
    return collected[0]
