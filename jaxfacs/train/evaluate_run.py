"""Measures a trained checkpoint on a split, with thresholds tuned on the validation split."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from jaxfacs import progress
from jaxfacs.data.config import Part
from jaxfacs.data.mixture import Mixture, open_data
from jaxfacs.data.people import refuse_seen
from jaxfacs.data.pipeline import evaluation_batches
from jaxfacs.errors import UserError
from jaxfacs.evaluate import report, thresholds
from jaxfacs.files import filling, place, replacing
from jaxfacs.train import evaluation
from jaxfacs.train import mesh as meshes
from jaxfacs.train import state as states
from jaxfacs.train.config import Experiment, MeshConfig
from jaxfacs.train.evaluation import Rows
from jaxfacs.train.labels import network_aus
from jaxfacs.train.step import jit_predict_step
from jaxfacs.train.trained import Trained, load_for_inference, thresholds_path


def evaluate_run(
    workdir: Path,
    *,
    split: str,
    step: int | Literal["best", "latest"] | None = None,
    sources: Sequence[str] = (),
    allow_overlap: bool = False,
) -> tuple[Path, str]:
    """Writes the report of a checkpoint on `split`; returns its folder and a line about it."""
    trained = load_for_inference(workdir, step=step)
    experiment = trained.experiment
    converted = "converted" in trained.manifest  # they have no records of their own
    if converted and not sources:
        raise UserError(f"{workdir} holds converted weights; give --source RECORDS to measure on")
    target = reading(trained, sources) if sources else experiment
    if converted or (sources and _is_own(trained, open_data(target.data))):
        experiment = target  # the same records, moved
    if not allow_overlap:
        refuse_known(trained, target, split)
    tuning = experiment.data.validation_split
    same, elsewhere = split == tuning and target is experiment, target is not experiment
    splits = (tuning,) if same or elsewhere else (tuning, split)
    own, *others = predictions(trained, experiment, *splits)
    tuned_A = _tuned(workdir, trained, own) if trained.aus else None

    experiment = target
    (rows,) = (own,) if same else others or predictions(trained, experiment, split)
    tuned_on = f"tuned for F1 on {tuning}"
    if same:
        tuned_on += ", the split reported here: the F1 is too high for other data"
    records = open_data(experiment.data)
    folder = place(workdir) / "evaluation" / split / str(trained.step)
    with filling(folder) as here:
        written = report.write(
            here,
            aus=trained.aus,
            occurrence_NA=rows.get("occurrence"),
            probability_NA=rows.get("probability"),
            thresholds=tuned_A,
            tuned_on=tuned_on if trained.aus else "",
            intensity_NA=rows.get("intensity"),
            predicted_intensity_NA=rows.get("predicted_intensity"),
            emotions=trained.emotions if "emotion" in rows else (),
            emotion_N=rows.get("emotion"),
            emotion_probability_NE=rows.get("predicted_emotion"),
            valence_arousal_N2=rows.get("valence_arousal"),
            predicted_valence_arousal_N2=rows.get("predicted_valence_arousal"),
            sets=records.names,
            set_N=rows.get("set"),
            emotion_set_N=rows.get("emotion_set"),
            meta={
                "workdir": str(workdir),
                "step": trained.step,
                "split": split,
                "model": experiment.model.name,
                "records": records.digest,
                "jaxfacs": trained.manifest["jaxfacs"],
                **({"thresholds": tuned_on} if trained.aus else {}),
            },
        )
    line = f"step {trained.step} on {split}: {', '.join(_summary(written))}"
    for name, of_set in written.get("sets", {}).items():
        line += f"\n  {name}: {', '.join(_summary(of_set)) or 'nothing that the network answers'}"
    return folder, line


def reading(trained: Trained, sources: Sequence[str]) -> Experiment:
    """The experiment of a network with other records, or with its own, which lie elsewhere now."""
    data = replace(trained.experiment.data, aus=trained.aus)
    if len(sources) == len(data.parts):
        pairs = zip(data.mixture, sources, strict=False)
        parts = tuple(replace(part, source=source) for part, source in pairs)
        moved = replace(data, source="" if parts else sources[0], mixture=parts)
        if _is_own(trained, open_data(moved)):
            return replace(trained.experiment, data=moved)
    one = len(sources) == 1
    parts = () if one else tuple(Part(source) for source in sources)
    other = replace(data, source=sources[0] if one else "", mixture=parts)
    return replace(trained.experiment, data=other)


def refuse_known(trained: Trained, experiment: Experiment, split: str) -> None:
    """Raises UserError if the split shows people whom the network learned from.

    Not of the training split of its own records: whoever asks for that one knows what it is. Of
    networks that were converted, or trained before checkpoints told of it, nothing is known.
    """
    records = open_data(experiment.data)
    if _is_own(trained, records) and (
        experiment.data.allow_overlap or split == experiment.data.train_split
    ):
        return
    seen = trained.manifest["data"].get("seen", {})
    held_out = [(member.records, member.split) for member in records.members(split)]
    refuse_seen(seen, held_out, remedy="give --allow-overlap")


def _is_own(trained: Trained, records: Mixture) -> bool:
    return records.digest == trained.manifest["data"]["digest"]


def _tuned(workdir: Path, trained: Trained, own: Rows) -> np.ndarray:
    """Thresholds tuned on the validation split, float32 A; kept beside its report for export."""
    tuned_A = thresholds.tune(own["occurrence"], own["probability"])
    tuned = {au: float(t) for au, t in zip(trained.aus, tuned_A, strict=True)}
    path = thresholds_path(workdir, trained.manifest)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(tuned, indent=2) + "\n")
    return tuned_A


def _summary(written: dict[str, Any]) -> Iterator[str]:
    """The numbers of a report that one looks at first."""

    def number(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.3f}"

    if "mean" in written:
        mean = {key: number(entry["value"]) for key, entry in written["mean"].items()}
        yield f"mean AP {mean['average_precision']} (by chance {mean['chance_ap']})"
        yield f"mean F1 {mean['f1']}"
    if "affect" in written:
        for row in written["affect"]["per_dimension"]:
            yield f"{row['dimension']} CCC {number(row['ccc'])}"
    if "emotion" in written and "mean" not in written:
        emotion = written["emotion"]
        yield f"emotion accuracy {number(emotion['accuracy'])}"
        yield f"always the most frequent {number(emotion['chance_accuracy'])}"


def predictions(trained: Trained, experiment: Experiment, *splits: str) -> list[Rows]:
    """What the network says of every clip of each split, over all devices, beside the labels.

    It is compiled once for all of them.
    """
    records = open_data(experiment.data, emotions=trained.emotions)
    for split in splits:
        records.require_split(split)
    aus = network_aus(experiment, records)
    if aus != trained.aus:
        raise UserError(
            f"{records.path} gives the AUs {' '.join(aus)}, the network answers "
            f"{' '.join(trained.aus)}; evaluate on records of the same list"
        )
    mesh = meshes.create()
    plan, _ = states.plan(
        replace(experiment, mesh=MeshConfig()),  # the run's devices are not these
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
    found = []
    for split in splits:
        batches = evaluation_batches(experiment.data, split, batch_size=batch_size, records=records)
        collected = evaluation.collect(
            predict,
            put["params"],
            put["stats"],
            progress.track(batches, label=f"evaluating {split}", unit="batch"),
            mesh,
        )
        assert collected is not None  # nothing asks it to stop
        found.append(collected[0])
    return found
