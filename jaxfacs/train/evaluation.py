"""Runs a network over a split and measures what it says."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxfacs.errors import UserError
from jaxfacs.evaluate import metrics as measures
from jaxfacs.evaluate.report import AFFECT
from jaxfacs.evaluate.sums import Confusion, Moments, divide
from jaxfacs.train import mesh as meshes

Rows = dict[str, np.ndarray]


def collect(
    predict: Callable[..., dict[str, jax.Array]],
    params: dict,
    stats: dict,
    batches: Iterable[dict[str, np.ndarray]],
    mesh: Mesh,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Rows, dict[str, float]] | None:
    """Every row of a split once, on every process, and the mean of each loss term.

    Padding is dropped. `stop` is asked after each batch, equally often on every process; once it
    says yes the answer is None.
    """
    gathered: list[dict[str, Any]] = []
    for local in batches:
        gathered.append(predict(params, stats, meshes.global_batch(local, mesh)))
        if len(gathered) > 1:  # one late: the host reads a batch while the device works on the next
            gathered[-2] = jax.device_get(gathered[-2])
        if stop():
            return None
    if not gathered:
        raise UserError("the split holds no clip; choose another or build the records again")
    gathered = [jax.device_get(rows) for rows in gathered]
    terms = [k.removeprefix("sum_") for k in gathered[0] if k.startswith("sum_")]
    losses, counted = {}, set()
    for name in terms:
        counted |= {f"sum_{name}", f"weight_{name}"}
        total, weight = (sum(float(g[f"{k}_{name}"]) for g in gathered) for k in ("sum", "weight"))
        losses[f"loss_{name}"] = total / weight if weight else float("nan")
    keys = gathered[0].keys() - counted
    rows = {key: np.concatenate([g[key] for g in gathered]) for key in sorted(keys)}
    return _without_padding(rows), losses


def measure(
    rows: Rows, aus: tuple[str, ...], losses: dict[str, float], *, sets: tuple[str, ...] = ()
) -> dict[str, float]:
    """Flat numbers for the metrics file: means over the AUs, then the AP and F1 of each.

    An AU for which a measure is not defined (never present, never coded) is left out of its mean.
    Of several sets there are the numbers over the rows of all, by which the best checkpoint is
    chosen, and behind "SET/" those of each, where they are defined; checkpoint.metric may name one
    of these instead.
    """
    found = losses | _measured(rows, aus)
    if len(sets) > 1:
        for place, name in enumerate(sets):
            own = _measured(_of_set(rows, place), aus)
            found |= {f"{name}/{key}": v for key, v in own.items() if not np.isnan(v)}
    return found


def _measured(rows: Rows, aus: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    if "probability" in rows:
        truth, p = rows["occurrence"], rows["probability"]
        table = {
            "average_precision": measures.average_precision(truth, p),
            "f1": measures.f1(truth, p),
            "roc_auc": measures.roc_auc(truth, p),
            "accuracy": measures.accuracy(truth, p),
        }
        found["mean_occurrence"] = _mean(divide((truth == 1).sum(0), (truth >= 0).sum(0)))
        found |= {f"mean_{name}": _mean(values) for name, values in table.items()}
        for name in ("average_precision", "f1"):
            found |= {f"{name}_AU{au}": float(v) for au, v in zip(aus, table[name], strict=True)}
    if "predicted_intensity" in rows:
        truth, predicted = rows["intensity"], rows["predicted_intensity"]
        for name in ("icc", "mae", "ccc"):
            found[f"mean_{name}"] = _mean(getattr(measures, name)(truth, predicted))
    if "predicted_valence_arousal" in rows:
        moments = Moments.of_signed(rows["valence_arousal"], rows["predicted_valence_arousal"])
        for name in ("ccc", "pcc", "rmse"):
            values = getattr(moments, name)()
            found |= {f"{name}_{k}": float(v) for k, v in zip(AFFECT, values, strict=True)}
            found[f"mean_affect_{name}"] = _mean(values)
    if "predicted_emotion" in rows:
        called, emotions = rows["predicted_emotion"].argmax(-1), rows["predicted_emotion"].shape[-1]
        table = Confusion.of(rows["emotion"], called, emotions)
        found["emotion_accuracy"] = table.accuracy()
        found["emotion_mean_recall"] = _mean(table.recall())
    return found


# weight of rows -> the rows that it weighs
WEIGHED = {
    "weight": (
        "probability", "occurrence", "predicted_intensity", "intensity",
        "predicted_valence_arousal", "valence_arousal", "weight", "set",
    ),
    "emotion_weight": ("predicted_emotion", "emotion", "emotion_weight", "emotion_set"),
}  # fmt: skip
SETS = {"weight": "set", "emotion_weight": "emotion_set"}  # and the rows that say of which set


def _without_padding(rows: Rows) -> Rows:
    return _kept(rows, {weight: rows[weight] > 0 for weight in WEIGHED if weight in rows})


def _of_set(rows: Rows, place: int) -> Rows:
    return _kept(rows, {weight: rows[of] == place for weight, of in SETS.items() if of in rows})


def _kept(rows: Rows, chosen: dict[str, np.ndarray]) -> Rows:
    """The rows that `chosen` says of each group of WEIGHED."""
    kept = dict(rows)
    for weight, mask in chosen.items():
        kept |= {key: rows[key][mask] for key in WEIGHED[weight] if key in rows}
    return kept


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
