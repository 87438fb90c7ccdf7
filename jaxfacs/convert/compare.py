"""What fewer bits cost: two programs on the same clips, against each other and the labels."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxfacs.data.mixture import open_data
from jaxfacs.data.pipeline import evaluation_batches
from jaxfacs.errors import UserError
from jaxfacs.evaluate import metrics
from jaxfacs.evaluate.calibration import apply
from jaxfacs.infer.answer import answer
from jaxfacs.infer.calibration import curves
from jaxfacs.progress import track
from jaxfacs.train.labels import labels_for

CLIPS = 256  # evenly over the validation split
AT_ONCE = 8
RANDOM = "random clips"
Run = Callable[[np.ndarray], Mapping[str, Any]]
# Clips uint8 BTHWC; which of them count; labels B×A or B×K×A (−1 unknown, 0, 1), None without.
Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def measure(trained: Any, reference: Run, lowered: Run) -> dict[str, Any]:
    """`compare` on the validation clips of a network's records; on random ones if they are gone.

    The answer says which, in `on`.

    Args:
      trained: a `train.trained.Trained`.
      reference, lowered: uint8 clips -> outputs of a bundle; the first is in float32.
    """
    probe = np.zeros((1, *_shape(trained)), np.uint8)
    per_frame = np.ndim(reference(probe)["probability"]) == 3
    told, batches = f"clips of {trained.experiment.data.validation_split}", None
    try:
        records = open_data(trained.experiment.data, emotions=trained.emotions)
        records.require_split(trained.experiment.data.validation_split)
        batches = _validation(trained, records, per_frame=per_frame)
    except (UserError, OSError):
        told, batches = RANDOM, _random(trained)
    thresholds = trained.thresholds or {}
    threshold_A = np.array([thresholds.get(au, 0.5) for au in trained.aus])
    curve_A = curves(trained.aus, trained.calibration or {})

    def presence(probability_NA: np.ndarray) -> np.ndarray:
        return answer(apply(probability_NA, curve_A), threshold_A)[1]

    found = compare(reference, lowered, batches, aus=trained.aus, presence=presence)
    return {"on": told, **found}


def _shape(trained: Any) -> tuple[int, int, int, int]:
    data = trained.experiment.data
    return data.frames, data.size, data.size, 3


def _random(trained: Any) -> Iterator[Batch]:
    """Noise: it says how far two programs are apart, and nothing of how good either is."""
    rng, everything = np.random.default_rng(0), np.ones(AT_ONCE, bool)
    for _ in range(2):
        yield rng.integers(0, 256, (AT_ONCE, *_shape(trained)), np.uint8), everything, None


def _validation(trained: Any, records: Any, *, per_frame: bool) -> Iterator[Batch]:
    experiment = trained.experiment
    config = dataclasses.replace(experiment.data, aus=trained.aus, flow="")
    batches = evaluation_batches(
        config, config.validation_split, batch_size=AT_ONCE, records=records, most=CLIPS
    )
    total = -(-min(CLIPS, records.clips(config.validation_split)) // AT_ONCE)
    for batch in track(batches, label="comparing precisions", total=total, unit="batch"):
        frames, label = batch["frames_BTHWC"], None
        if trained.aus:
            answers = (len(frames), *([frames.shape[1]] * per_frame), len(trained.aus))
            outputs: dict[str, Any] = {"probability": np.empty(answers, np.int8)}
            given: dict[str, Any] = dict(batch)
            label = np.asarray(labels_for(experiment.loss, outputs, given)["occurrence"])
        yield frames, np.asarray(batch["weight_B"]) > 0, label


def compare(
    reference: Run,
    lowered: Run,
    batches: Iterator[Batch],
    *,
    aus: Sequence[str],
    presence: Callable[[np.ndarray], np.ndarray],
) -> dict[str, Any]:
    """How far two programs are apart on the same clips, and how each agrees with the labels.

    Args:
      reference, lowered: uint8 clips -> outputs of a bundle; the first is in float32.
      batches: all of one size.
      aus: labels of the A answers.
      presence: probabilities N×A -> whether each AU counts as present, N×A.

    Returns:
      JSON-able: `clips`, `answers`, `outputs` (name -> largest and mean absolute difference),
      `presences` (how many answers there were) and `flipped` (how many the two call otherwise);
      per AU the same, and average precision and F1 of both where labels are known, in %, float32
      first; `mean_average_precision` and `mean_f1` over the AUs that have them.
    """
    rows: dict[str, list[np.ndarray]] = {}
    gaps: dict[str, list[np.ndarray]] = {}
    clips = 0
    for frames_BTHWC, counts_B, label in batches:
        both = [
            {name: np.asarray(v, np.float64)[counts_B] for name, v in run(frames_BTHWC).items()}
            for run in (reference, lowered)
        ]
        clips += int(counts_B.sum())
        for name, value in both[0].items():
            gaps.setdefault(name, []).append(np.abs(value - both[1][name]).ravel())
        shape = both[0]["probability"].shape
        unknown = np.full(shape, -1, np.int8)
        for key, value in (
            ("float32", both[0]["probability"]),
            ("lowered", both[1]["probability"]),
            ("label", unknown if label is None else label[counts_B]),
        ):
            rows.setdefault(key, []).append(np.asarray(value).reshape(-1, len(aus)))
    first_NA, second_NA, label_NA = (
        np.concatenate(rows[key]) for key in ("float32", "lowered", "label")
    )
    flipped_NA = presence(first_NA) != presence(second_NA)
    per_au = _per_au(aus, first_NA, second_NA, label_NA, flipped_NA, presence)
    return {
        "clips": clips,
        "answers": len(first_NA),
        "outputs": {
            name: {"largest": _rounded(np.max(all_)), "mean": _rounded(np.mean(all_))}
            for name, parts in gaps.items()
            if (all_ := np.concatenate(parts)).size
        },
        "presences": int(flipped_NA.size),
        "flipped": int(flipped_NA.sum()),
        "per_au": per_au,
        **{f"mean_{key}": _mean_pair(per_au, key) for key in ("average_precision", "f1")},
    }


def _per_au(
    aus: Sequence[str],
    first_NA: np.ndarray,
    second_NA: np.ndarray,
    label_NA: np.ndarray,
    flipped_NA: np.ndarray,
    presence: Callable[[np.ndarray], np.ndarray],
) -> list[dict[str, Any]]:
    gap_NA = np.abs(first_NA - second_NA)
    both = (first_NA, second_NA)
    precision = [metrics.average_precision(label_NA, p_NA) for p_NA in both]
    f1 = [metrics.f1(label_NA, presence(p_NA).astype(np.float64)) for p_NA in both]
    return [
        {
            "au": au,
            "largest": _rounded(gap_NA[:, a].max()),
            "mean": _rounded(gap_NA[:, a].mean()),
            "flipped": int(flipped_NA[:, a].sum()),
            "average_precision": _pair(precision, a),
            "f1": _pair(f1, a),
        }
        for a, au in enumerate(aus)
    ]


def _pair(values: Sequence[np.ndarray], a: int) -> list[float] | None:
    pair = [float(value[a]) for value in values]
    return [round(value, 4) for value in pair] if np.isfinite(pair).all() else None


def _mean_pair(per_au: list[dict[str, Any]], key: str) -> list[float] | None:
    pairs = [row[key] for row in per_au if row[key] is not None]
    return np.round(np.mean(pairs, axis=0), 4).tolist() if pairs else None


def _rounded(value: Any) -> float:
    return float(f"{float(value):.3g}")
