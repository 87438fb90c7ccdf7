"""How often mappers were right: per emotion, as tables, files and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxfacs.emotion.files import in_columns, write_csv, write_json
from jaxfacs.emotion.plots import save_picture
from jaxfacs.errors import UserError
from jaxfacs.evaluate import plots
from jaxfacs.evaluate.sums import Confusion, divide
from jaxfacs.files import replacing

FORMAT = 1  # of comparison.json and evaluation.json
NOT_CALLED = "none"  # the last column: no emotion of the set had any probability
BAR_COLOURS = {"accuracy": "#9db8d2", "mean F1": "#1f5fa8"}


@dataclass(frozen=True, eq=False)
class Measured:
    """One mapper on labelled rows.

    Attributes:
      name: of the mapper.
      emotions: E emotions of the labels.
      known: those of them that the mapper has a name for.
      count_EE: int64, rows the label, columns the call; the last column (and an empty last row) is
        `NOT_CALLED`.
      seconds: fitting and reading.
    """

    name: str
    emotions: tuple[str, ...]
    known: tuple[str, ...]
    count_EE: np.ndarray
    seconds: float = 0.0

    @property
    def shared(self) -> int:
        """How many emotions of the labels the mapper knows."""
        return len(self.known)

    @property
    def accuracy(self) -> float:
        return float(divide(np.trace(self.count_EE), self.count_EE.sum()))

    @property
    def chance(self) -> float:
        """Accuracy of always calling the most frequent emotion."""
        return float(divide(self.count_EE.sum(axis=1).max(), self.count_EE.sum()))

    @property
    def mean_recall(self) -> float:
        return _mean(Confusion(self.count_EE).recall()[:-1])

    @property
    def mean_f1(self) -> float:
        """Over emotions that the labels have; one that the mapper never calls counts as 0."""
        seen = self.count_EE.sum(axis=1)[:-1] > 0
        return _mean(Confusion(self.count_EE).f1()[:-1][seen])

    def rows(self) -> list[dict[str, Any]]:
        """Per emotion: recall, precision, F1 (None where undefined) and how many rows there are."""
        table = Confusion(self.count_EE)
        columns = {"recall": table.recall(), "precision": table.precision(), "f1": table.f1()}
        return [
            {
                "emotion": emotion,
                **{key: _or_none(values[e]) for key, values in columns.items()},
                "rows": int(self.count_EE[e].sum()),
            }
            for e, emotion in enumerate(self.emotions)
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "mapper": self.name,
            "accuracy": _or_none(self.accuracy),
            "chance_accuracy": _or_none(self.chance),
            "mean_recall": _or_none(self.mean_recall),
            "mean_f1": _or_none(self.mean_f1),
            "rows": int(self.count_EE.sum()),
            "not_known": [e for e in self.emotions if e not in self.known],
            "per_emotion": self.rows(),
            "confusion": {
                "rows_labelled": list(self.emotions),
                "columns_called": [*self.emotions, NOT_CALLED],
                "count": self.count_EE[:-1].tolist(),
            },
            "seconds": round(self.seconds, 2),
        }

    @classmethod
    def joined(cls, name: str, parts: Sequence["Measured"], *, seconds: float) -> "Measured":
        """Parts of one set as one."""
        known = tuple(e for e in parts[0].emotions if any(e in part.known for part in parts))
        count = np.sum([part.count_EE for part in parts], axis=0)
        return cls(name, parts[0].emotions, known, count, seconds)


def measured(
    name: str,
    probability_NE: np.ndarray,
    called: Sequence[str],
    truth: Sequence[str],
    emotions: Sequence[str],
) -> Measured:
    """Counts calls: the likeliest of the labels' emotions, which the mapper may know only in part.

    Args:
      name: of the mapper.
      probability_NE: over `called`, NaN where nothing is known.
      called: the mapper's emotions.
      truth: N labels, each in `emotions`.
      emotions: those of the labels.
    """
    scores = np.zeros((len(truth), len(emotions) + 1))
    for e, emotion in enumerate(emotions):
        if emotion in called:
            scores[:, e] = np.nan_to_num(probability_NE[:, list(called).index(emotion)])
    call_N = np.where(scores.max(axis=1) > 0, scores.argmax(axis=1), len(emotions))
    index = {emotion: e for e, emotion in enumerate(emotions)}
    truth_N = np.array([index[name] for name in truth], int)
    table = Confusion.of(truth_N, call_N, len(emotions) + 1)
    known = tuple(emotion for emotion in emotions if emotion in called)
    return Measured(name, tuple(emotions), known, table.count_EE)


def per_emotion_text(found: Measured) -> str:
    """The table of one mapper for a terminal."""
    rows = [
        [row["emotion"], *(_shown(row[key]) for key in ("recall", "precision", "f1")), row["rows"]]
        for row in found.rows()
    ]
    missing = [e for e in found.emotions if e not in found.known]
    lines = [
        in_columns(("emotion", "recall", "precision", "F1", "rows"), rows),
        f"accuracy {found.accuracy:.3f} (always the most frequent: {found.chance:.3f}), "
        f"mean recall {found.mean_recall:.3f}, mean F1 {found.mean_f1:.3f}",
    ]
    return "\n".join([*lines, *([f"not known to it: {', '.join(missing)}"] if missing else [])])


def comparison_text(rows: Sequence[Measured]) -> str:
    """The table of all mappers for a terminal, the best mean F1 first."""
    cells = [
        (
            row.name,
            row.accuracy,
            row.mean_recall,
            row.mean_f1,
            row.seconds,
            ", ".join(e for e in row.emotions if e not in row.known) or "-",
        )
        for row in rows
    ]
    header = ("mapper", "accuracy", "mean recall", "mean F1", "seconds", "emotions not known")
    return in_columns(header, cells)


def write_one(folder: Path, found: Measured, *, meta: Mapping[str, Any]) -> None:
    """Writes evaluation.json, per_emotion.csv and confusion.png."""
    write_json(folder / "evaluation.json", {"format": FORMAT, **meta, **found.to_json()})
    _write_per_emotion(folder / "per_emotion.csv", [found])
    _draw_confusion(folder / "confusion.png", found)


def write_all(folder: Path, rows: Sequence[Measured], *, meta: Mapping[str, Any]) -> None:
    """Writes comparison.json, .csv, .png, per_emotion.csv and a confusion plot of each mapper."""
    content = {"format": FORMAT, **meta, "mappers": [row.to_json() for row in rows]}
    write_json(folder / "comparison.json", content)
    header = ("mapper", "accuracy", "mean_recall", "mean_f1", "rows", "seconds", "not_known")
    cells = [[_flat(row.to_json()[key]) for key in header] for row in rows]
    write_csv(folder / "comparison.csv", header, cells)
    _write_per_emotion(folder / "per_emotion.csv", rows)
    for row in rows:
        _draw_confusion(folder / f"confusion_{Path(row.name).stem}.png", row)
    figure = Figure(figsize=(7, 0.8 + 0.32 * max(len(rows), 1)), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(rows))
    axes.barh(place - 0.2, [r.accuracy for r in rows], 0.4, color=BAR_COLOURS["accuracy"])
    axes.barh(place + 0.2, [r.mean_f1 for r in rows], 0.4, color=BAR_COLOURS["mean F1"])
    axes.set_yticks(place, [row.name for row in rows], fontsize=8)
    axes.set(xlim=(0, 1), xlabel="accuracy (light), mean F1 (dark)")
    if rows:
        axes.axvline(rows[0].chance, color="#b04a3a", lw=1, ls="--")
    axes.invert_yaxis()
    save_picture(figure, folder / "comparison.png")


def _write_per_emotion(path: Path, found: Sequence[Measured]) -> None:
    keys = ("emotion", "recall", "precision", "f1", "rows")
    rows = [
        [one.name, *("" if r[k] is None else r[k] for k in keys)]
        for one in found
        for r in one.rows()
    ]
    write_csv(path, ("mapper", *keys), rows)


def _draw_confusion(path: Path, found: Measured) -> None:
    uncalled = found.count_EE[:, -1].any()
    last = None if uncalled else -1
    names = (*found.emotions, NOT_CALLED) if uncalled else found.emotions
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            plots.emotion_confusion(
                temporary, emotions=names, count_EE=found.count_EE[:last, :last]
            )
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _flat(value: Any) -> Any:
    """A JSON value as a cell of a CSV."""
    return "" if value is None else " ".join(value) if isinstance(value, list) else value


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
