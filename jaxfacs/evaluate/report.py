"""The report of one evaluation: report.json for programs, report.md and pictures for people.

The table is that of Tlili 2019, fig. 6.20 (AP, accuracy, occurrence per AU), with recall,
precision, F1 and AUC, and with what a random order would score as AP beside the AP.
"""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.errors import UserError
from jaxfacs.evaluate.calibration import Reliability
from jaxfacs.evaluate.page import CALIBRATION_COLUMNS, markdown
from jaxfacs.evaluate.sums import Confusion, Counts, Examples, Moments, Scores
from jaxfacs.evaluate.thresholds import DEFAULT
from jaxfacs.facs import ACTION_UNITS, split_label
from jaxfacs.files import replacing

FORMAT = 1  # of report.json; rises when a key changes its meaning

CALIBRATION_KEYS = tuple(k for k in CALIBRATION_COLUMNS if k.endswith(("before", "after")))
MEAN_KEYS = (
    *("average_precision", "chance_ap", "roc_auc", "accuracy", "recall", "precision"),
    *("f1", "f1_at_half"),
)
INTENSITY_KEYS = ("icc", "mae", "mse", "rmse", "pcc", "ccc")
AFFECT = ("valence", "arousal")  # the columns of affect, everywhere
AFFECT_KEYS = ("ccc", "pcc", "rmse", "mse", "mae")


def write(
    folder: str | os.PathLike[str],
    *,
    aus: Sequence[str] = (),
    occurrence_NA: ArrayLike | None = None,
    probability_NA: ArrayLike | None = None,
    thresholds: ArrayLike | None = None,
    tuned_on: str = "",
    reliability: Reliability | None = None,
    weight_N: ArrayLike | None = None,
    intensity_NA: ArrayLike | None = None,
    predicted_intensity_NA: ArrayLike | None = None,
    emotions: Sequence[str] = (),
    emotion_N: ArrayLike | None = None,
    emotion_probability_NE: ArrayLike | None = None,
    valence_arousal_N2: ArrayLike | None = None,
    predicted_valence_arousal_N2: ArrayLike | None = None,
    sets: Sequence[str] = (),
    set_N: ArrayLike | None = None,
    emotion_set_N: ArrayLike | None = None,
    meta: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measures predictions and writes report.json, report.md and PNGs; returns the JSON's content.

    Each file appears whole or not at all, report.json last: where it lies, the report is complete.

    Args:
      folder: made if missing; files of an earlier report in it are replaced.
      aus: A labels; empty for a network of emotions or affect alone.
      occurrence_NA: −1 unknown, 0, 1. probability_NA: 0-1. Both where there are AUs.
      thresholds: one per AU or one for all (`thresholds.tune`); None: 0.5.
      tuned_on: on which data they were tuned, in words; a reader must know if it is this.
      reliability: of the AUs' probabilities, before and after they were calibrated.
      weight_N: 0 marks padded rows, which are left out.
      intensity_NA, predicted_intensity_NA: 0-5, labels −1 where unknown; both or neither.
      emotions, emotion_N, emotion_probability_NE: names, index or −1, distribution; all or none.
      valence_arousal_N2, predicted_valence_arousal_N2: in [−1, 1], labels NaN where unknown; both
        or neither.
      sets: names of the record sets that the rows are of. Of several there is "sets" in the report:
        the same numbers for each, of the AUs that it codes.
      set_N, emotion_set_N: place in `sets` of each row, and of each row of emotions.
      meta: where the numbers come from (step, split, data digest, config); JSON values.

    Raises:
      UserError: if the folder cannot be written.
      ValueError: if shapes do not fit each other.
    """
    arrays = {
        "occurrence_NA": occurrence_NA,
        "probability_NA": probability_NA,
        "weight_N": weight_N,
        "intensity_NA": intensity_NA,
        "predicted_intensity_NA": predicted_intensity_NA,
        "emotion_N": emotion_N,
        "emotion_probability_NE": emotion_probability_NE,
        "valence_arousal_N2": valence_arousal_N2,
        "predicted_valence_arousal_N2": predicted_valence_arousal_N2,
    }
    given = {key: np.asarray(array) for key, array in arrays.items() if array is not None}
    if aus and not given.keys() >= {"occurrence_NA", "probability_NA"}:
        raise ValueError(f"{len(aus)} AUs without labels or predictions")
    threshold_A = np.broadcast_to(
        np.asarray(DEFAULT if thresholds is None else thresholds, np.float32), (len(aus),)
    )
    said, pictures = _measured(tuple(aus), threshold_A, tuple(emotions), given)
    report: dict[str, Any] = {"format": FORMAT, "meta": dict(meta or {}), **said}
    if aus:
        report["thresholds"] = tuned_on or "0.5, not tuned"
    if reliability is not None:
        from jaxfacs.evaluate import plots

        report["calibration"] = _calibration(aus, reliability)
        pictures["reliability.png"] = lambda path: plots.reliability(
            path, aus=aus, reliability=reliability
        )
    if len(sets) > 1:
        report["sets"] = {}
        for place, name in enumerate(sets):
            own = _of_set(given, place, set_N=set_N, emotion_set_N=emotion_set_N)
            coded = _coded(own, len(aus))
            columns = {k: v[:, coded] if k.endswith("_NA") else v for k, v in own.items()}
            labels = tuple(np.array(aus)[coded].tolist())
            report["sets"][name] = _measured(labels, threshold_A[coded], tuple(emotions), columns)[
                0
            ]
    report = without_nan(report)
    _write_all(Path(folder), report, pictures)
    return report


def _measured(
    aus: tuple[str, ...],
    threshold_A: np.ndarray,
    emotions: tuple[str, ...],
    arrays: Mapping[str, np.ndarray],
) -> tuple[dict[str, Any], dict[str, Callable[[Path], None]]]:
    """What the report says of these rows, and the pictures of it."""
    from jaxfacs.evaluate import plots  # with matplotlib, which a training run never needs

    said: dict[str, Any] = {}
    pictures: dict[str, Callable[[Path], None]] = {}
    weight_N = arrays.get("weight_N")
    if aus:
        said, pictures = _occurrence(
            aus, arrays["occurrence_NA"], arrays["probability_NA"], threshold_A, weight_N
        )
    if aus and {"intensity_NA", "predicted_intensity_NA"} <= arrays.keys():
        moments = Moments.of(
            arrays["intensity_NA"], arrays["predicted_intensity_NA"], weight_N=weight_N
        )
        rows = _intensity_rows(aus, moments)
        said["intensity"] = {"per_au": rows, "mean": _means(rows, INTENSITY_KEYS)}
    if {"emotion_N", "emotion_probability_NE"} <= arrays.keys():
        called_N = np.argmax(arrays["emotion_probability_NE"], axis=1)
        table = Confusion.of(arrays["emotion_N"], called_N, len(emotions), weight_N=weight_N)
        said["emotion"] = _emotion_rows(emotions, table)
        pictures["emotion_confusion.png"] = lambda path: plots.emotion_confusion(
            path, emotions=emotions, count_EE=table.count_EE
        )
    if {"valence_arousal_N2", "predicted_valence_arousal_N2"} <= arrays.keys():
        moments = Moments.of_signed(
            arrays["valence_arousal_N2"], arrays["predicted_valence_arousal_N2"], weight_N=weight_N
        )
        said["affect"] = _affect_rows(moments)
    return said, pictures


EMOTION_ROWS = ("emotion_N", "emotion_probability_NE")  # one a clip, where others are one a frame


def _of_set(
    arrays: Mapping[str, np.ndarray],
    place: int,
    *,
    set_N: ArrayLike | None,
    emotion_set_N: ArrayLike | None,
) -> dict[str, np.ndarray]:
    """The rows of one set; nothing of what it has no label of at all."""
    own = {
        key: array[np.asarray(emotion_set_N if key in EMOTION_ROWS else set_N) == place]
        for key, array in arrays.items()
    }
    for label, known in (
        ("emotion_N", lambda label: label >= 0),
        ("valence_arousal_N2", lambda label: ~np.isnan(label)),
    ):
        if label in own and not known(own[label]).any():
            del own[label]
    return own


def _coded(arrays: Mapping[str, np.ndarray], num_aus: int) -> np.ndarray:
    """bool A: AUs of which any row has a label."""
    coded = np.zeros(num_aus, bool)
    for label in ("occurrence_NA", "intensity_NA"):
        if num_aus and label in arrays:
            coded |= (arrays[label] >= 0).any(axis=0)
    return coded


def _occurrence(
    aus: Sequence[str],
    occurrence_NA: ArrayLike,
    probability_NA: ArrayLike,
    threshold_A: np.ndarray,
    weight_N: ArrayLike | None,
) -> tuple[dict[str, Any], dict[str, Callable[[Path], None]]]:
    """What the report says of occurrence, and the pictures of it."""
    from jaxfacs.evaluate import plots

    truth_NA, probability_NA = np.asarray(occurrence_NA), np.asarray(probability_NA)
    if truth_NA.ndim != 2 or truth_NA.shape[1] != len(aus):
        raise ValueError(f"labels of shape {truth_NA.shape} for {len(aus)} AUs")
    scores = Scores.of(truth_NA, probability_NA, weight_N=weight_N)
    counts = Counts.of(truth_NA, probability_NA, threshold=threshold_A, weight_N=weight_N)
    at_half = Counts.of(truth_NA, probability_NA, threshold=DEFAULT, weight_N=weight_N)
    examples = Examples.of(truth_NA, probability_NA, threshold=threshold_A, weight_N=weight_N)
    rows = _rows(aus, scores, counts, at_half, threshold_A)
    said = {
        "examples": int(examples.n),
        "per_au": rows,
        "mean": _means(rows, MEAN_KEYS),
        "partial_accuracy": examples.partial_accuracy(),
        "hamming_score": examples.hamming_score(),
    }
    return said, {
        "pr_curves.png": lambda path: plots.pr_curves(path, aus=aus, rankings=scores.rankings),
        "confusion.png": lambda path: plots.confusion_sheet(path, aus=aus, counts=counts),
    }


def _calibration(aus: Sequence[str], reliability: Reliability) -> dict[str, Any]:
    columns = {"method": np.array(reliability.methods), **reliability.columns}
    rows = _by_au(aus, columns)
    mean = _means(rows, CALIBRATION_KEYS)
    return {"measured": reliability.measured, "per_au": rows, "mean": mean}


def without_nan(value: Any) -> Any:
    """The same JSON value with NaN and infinities as None and numpy numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [without_nan(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _rows(aus, scores: Scores, counts: Counts, at_half: Counts, threshold_A) -> list[dict]:
    columns = {
        "average_precision": scores.average_precision(),
        "chance_ap": counts.occurrence(),
        "roc_auc": scores.roc_auc(),
        "accuracy": counts.accuracy(),
        "recall": counts.recall(),
        "precision": counts.precision(),
        "f1": counts.f1(),
        "f1_at_half": at_half.f1(),
        "threshold": threshold_A,
        "occurrence": counts.occurrence(),
        "known": counts.known_A,
        "true_positives": counts.tp_A,
        "false_positives": counts.fp_A,
        "false_negatives": counts.fn_A,
        "true_negatives": counts.tn_A,
    }
    return _by_au(aus, columns)


def _intensity_rows(aus: Sequence[str], moments: Moments) -> list[dict]:
    columns = {key: getattr(moments, key)() for key in INTENSITY_KEYS}
    return _by_au(aus, columns | {"known": moments.n_A.astype(int)})


def _affect_rows(moments: Moments) -> dict[str, Any]:
    columns = {key: getattr(moments, key)() for key in AFFECT_KEYS}
    columns["known"] = moments.n_A.astype(int)
    rows = [
        {"dimension": name, **{key: column[v] for key, column in columns.items()}}
        for v, name in enumerate(AFFECT)
    ]
    return {"per_dimension": rows, "mean": _means(rows, AFFECT_KEYS)}


def _by_au(aus: Sequence[str], columns: Mapping[str, np.ndarray]) -> list[dict]:
    return [
        {"au": au, "name": _name(au), **{key: column[a] for key, column in columns.items()}}
        for a, au in enumerate(aus)
    ]


def _name(au: str) -> str:
    side, number = split_label(au)
    unit = ACTION_UNITS.get(number)  # EmotioNet has columns that FACS does not know
    name = unit.name if unit else "(no FACS code)"
    return name + {"": "", "L": ", left", "R": ", right"}[side]


def _means(rows: list[dict], keys: Sequence[str]) -> dict[str, dict[str, float]]:
    """Mean over the AUs where a measure is defined, and over how many that is."""
    means = {}
    for key in keys:
        # An AU that never occurs has a chance AP of 0, which no AP stands against.
        scored = [r for r in rows if key != "chance_ap" or not np.isnan(r["average_precision"])]
        values = [r[key] for r in scored if not np.isnan(r[key])]
        means[key] = {"value": float(np.mean(values)) if values else math.nan, "aus": len(values)}
    return means


def _emotion_rows(emotions: Sequence[str], table: Confusion) -> dict[str, Any]:
    columns = {"recall": table.recall(), "precision": table.precision(), "f1": table.f1()}
    known = table.count_EE.sum(axis=1)
    return {
        "accuracy": table.accuracy(),
        "chance_accuracy": float(known.max() / known.sum()) if known.sum() else math.nan,
        "mean_recall": _mean(columns["recall"]),
        "mean_f1": _mean(columns["f1"]),
        "per_emotion": [
            {"emotion": name, "known": known[e], **{k: column[e] for k, column in columns.items()}}
            for e, name in enumerate(emotions)
        ],
        "confusion": table.count_EE,  # rows labelled, columns predicted
    }


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan


def _write_all(
    folder: Path, report: dict[str, Any], pictures: Mapping[str, Callable[[Path], None]]
) -> None:
    text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    page = markdown(report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("report.json", "reliability.png"):  # of an earlier report
            (folder / name).unlink(missing_ok=True)
        for name, draw in pictures.items():
            _replace(folder / name, draw)
        _replace(folder / "report.md", lambda path: _write_text(path, page))
        _replace(folder / "report.json", lambda path: _write_text(path, text))
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot write the report to {folder}: {reason}; choose another folder"
        ) from error


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _replace(path: Path, write_to: Callable[[Path], None]) -> None:
    with replacing(path) as temporary:
        write_to(temporary)
