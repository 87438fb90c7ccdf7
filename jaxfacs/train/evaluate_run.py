"""Measures a trained checkpoint on a split, with thresholds tuned on the validation split."""

import json
from collections.abc import Iterable, Iterator, Sequence
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
from jaxfacs.evaluate import calibration, report, thresholds
from jaxfacs.evaluate.calibration import Curves, Method, Reliability
from jaxfacs.files import filling, place, replacing
from jaxfacs.train import evaluation
from jaxfacs.train import mesh as meshes
from jaxfacs.train import state as states
from jaxfacs.train.config import Experiment, MeshConfig
from jaxfacs.train.evaluation import Rows
from jaxfacs.train.labels import network_aus
from jaxfacs.train.step import jit_predict_step
from jaxfacs.train.trained import (
    Trained,
    calibration_path,
    load_for_inference,
    thresholds_path,
)


def evaluate_run(
    workdir: Path,
    *,
    split: str,
    step: int | Literal["best", "latest"] | None = None,
    sources: Sequence[str] = (),
    allow_overlap: bool = False,
    method: Method = "temperature",
    threshold_for: str = "f1",
) -> tuple[Path, str]:
    """Writes the report of a checkpoint on `split`; returns its folder and a line about it.

    Args:
      workdir, split, step, sources, allow_overlap: see `train.command.evaluate`.
      method: how probabilities are calibrated on the validation split.
      threshold_for: see `thresholds.parse_goal`.
    """
    recall = thresholds.parse_goal(threshold_for)
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

    experiment = target
    (rows,) = (own,) if same else others or predictions(trained, experiment, split)
    aim = "F1" if recall is None else f"a recall of {recall:g}"
    tuned_on = f"tuned for {aim} on {tuning}"
    if same:
        tuned_on += f", the split reported here: the {aim} is too high for other data"
    tuned_A = found = None
    if trained.aus:
        curves = calibration.fit(own["occurrence"], own["probability"], method=method)
        calibrated_NA = calibration.apply(own["probability"], curves)
        tuned_A = thresholds.tune(own["occurrence"], calibrated_NA, recall=recall)
        found = _reliability(rows, curves, method, tuning, same=same)
        _keep(workdir, trained, curves, tuned_A)
        rows = {**rows, "probability": calibration.apply(rows["probability"], curves)}
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
            reliability=found,
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
                **({"calibration": method, "thresholds": tuned_on} if trained.aus else {}),
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


def _reliability(
    rows: Rows, curves: Curves, method: Method, tuning: str, *, same: bool
) -> Reliability | None:
    """How far what is said comes true on a split; None if nothing was calibrated."""
    if all(curve is None for curve in curves):
        return None
    truth_NA, before_NA = rows["occurrence"], rows["probability"]
    if same:
        # On the rows that a curve was fitted on it would look better than it is.
        after_NA = calibration.cross_fitted(truth_NA, before_NA, rows["person"], method=method)
        measured = (
            f"Each half of the people of {tuning} calibrated by curves fitted on the other half; "
            "those that are kept are fitted on all of them"
        )
    else:
        after_NA = calibration.apply(before_NA, curves)
        measured = f"The curves were fitted on {tuning}"
    return calibration.reliability(truth_NA, before_NA, after_NA, curves=curves, measured=measured)


def _keep(workdir: Path, trained: Trained, curves: Curves, tuned_A: np.ndarray) -> None:
    """Writes curves and thresholds beside the validation split's report, for export."""
    path = calibration_path(workdir, trained.manifest)
    of_probability = thresholds_path(workdir, trained.manifest)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Thresholds are of calibrated probabilities: those of other curves must not be left.
    of_probability.unlink(missing_ok=True)
    named = {au: c.to_json() for au, c in zip(trained.aus, curves, strict=True) if c is not None}
    tuned = {au: float(t) for au, t in zip(trained.aus, tuned_A, strict=True)}
    for file, content in ((path, {"curves": named}), (of_probability, tuned)):
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n")


def _summary(written: dict[str, Any]) -> Iterator[str]:
    """The numbers of a report that one looks at first."""

    def number(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.3f}"

    if "mean" in written:
        mean = {key: number(entry["value"]) for key, entry in written["mean"].items()}
        yield f"mean AP {mean['average_precision']} (by chance {mean['chance_ap']})"
        yield f"mean F1 {mean['f1']}"
    if "calibration" in written:
        mean = written["calibration"]["mean"]
        before, after = (number(mean[f"ece_{when}"]["value"]) for when in ("before", "after"))
        yield f"calibration error {before} -> {after}"
    if "affect" in written:
        for row in written["affect"]["per_dimension"]:
            yield f"{row['dimension']} CCC {number(row['ccc'])}"
    if "emotion" in written and "mean" not in written:
        emotion = written["emotion"]
        yield f"emotion accuracy {number(emotion['accuracy'])}"
        yield f"always the most frequent {number(emotion['chance_accuracy'])}"


def predictions(trained: Trained, experiment: Experiment, *splits: str) -> list[Rows]:
    """What the network says of every clip of each split, over all devices, beside the labels.

    `person` says whose row of `probability` it is: a number a person, or a clip where nobody is
    named. It is compiled once for all of them.
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
        people: list[np.ndarray] = []
        collected = evaluation.collect(
            predict,
            put["params"],
            put["stats"],
            _noting(
                progress.track(batches, label=f"evaluating {split}", unit="batch"), people, records
            ),
            mesh,
        )
        assert collected is not None  # nothing asks it to stop
        rows, person_N = collected[0], np.concatenate(people)
        if "weight" in rows:
            rows["person"] = np.repeat(person_N, len(rows["weight"]) // len(person_N))
        found.append(rows)
    return found


def _noting(
    batches: Iterable[dict[str, np.ndarray]], people: list[np.ndarray], records: Mixture
) -> Iterator[dict[str, np.ndarray]]:
    """The same batches; whose clips they show is added to `people`, without padding."""
    named = np.array([name != "" for _, name in records.persons])
    for batch in batches:
        real_B = batch["weight_B"] > 0
        subject_B, index_B = batch["subject_B"][real_B], batch["index_B"][real_B]
        people.append(np.where(named[subject_B], subject_B, len(named) + index_B))
        yield batch
