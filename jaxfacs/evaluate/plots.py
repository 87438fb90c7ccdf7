"""Pictures of an evaluation, drawn without a display and without pyplot's global state."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxfacs.evaluate.calibration import Reliability
from jaxfacs.evaluate.ranking import Ranking, average_precision, precision_recall
from jaxfacs.evaluate.sums import Counts, divide

DPI = 110
CELL_INCHES = 1.9
MAX_CURVE_POINTS = 500  # more are not seen at this size
INK, MODEL, CHANCE = "#333333", "#1f5fa8", "#b04a3a"


def pr_curves(path: Path, *, aus: Sequence[str], rankings: Sequence[Ranking]) -> None:
    """One small plot an AU: precision over recall, the share of positives dashed."""
    figure = Figure(layout="constrained")
    for axes, au, ranking in zip(_grid(figure, len(aus)), aus, rankings, strict=True):
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 1), yticks=(0, 1))
        precision_K, recall_K = precision_recall(ranking)
        if precision_K.size == 0:
            axes.set_title(f"AU {au}: no positive", fontsize=8, color=CHANCE)
            continue
        kept = np.unique(np.linspace(0, precision_K.size - 1, MAX_CURVE_POINTS).round().astype(int))
        # The step before the first cut starts at that cut's precision, as the sum of AP does.
        precision, recall = precision_K[kept], recall_K[kept]
        axes.step(np.r_[0, recall], np.r_[precision[0], precision], where="pre", color=MODEL, lw=1)
        chance = ranking.positives / (ranking.positives + ranking.negatives)
        axes.axhline(chance, color=CHANCE, lw=0.8, ls="--")
        ap = average_precision(ranking)
        axes.set_title(f"AU {au}   AP {ap:.2f}   chance {chance:.2f}", fontsize=7)
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    _save(figure, path)


def confusion_sheet(path: Path, *, aus: Sequence[str], counts: Counts) -> None:
    """One 2×2 table an AU: rows the label, columns the call; shade is the share of the row."""
    figure = Figure(layout="constrained")
    cells_A22 = np.moveaxis(
        np.array([[counts.tn_A, counts.fp_A], [counts.fn_A, counts.tp_A]]), -1, 0
    )
    for axes, au, cells in zip(_grid(figure, len(aus)), aus, cells_A22, strict=True):
        share = divide(cells, cells.sum(axis=1, keepdims=True))
        _shaded(axes, cells, share, fontsize=7)
        axes.set_title(f"AU {au}", fontsize=8)
        axes.set_xticks((0, 1), ("absent", "present"), fontsize=6)
        axes.set_yticks((0, 1), ("absent", "present"), fontsize=6, rotation=90, va="center")
    figure.supxlabel("called", fontsize=9)
    figure.supylabel("labelled", fontsize=9)
    _save(figure, path)


def reliability(path: Path, *, aus: Sequence[str], reliability: Reliability) -> None:
    """One small plot an AU: share present over the probability said; on the dashes it came true.

    Hollow before, filled after calibration; the bars below are how many labels each bin of the
    probabilities after it holds, the largest with its number.
    """
    figure = Figure(layout="constrained")
    columns = reliability.columns
    for a, (axes, au) in enumerate(zip(_grid(figure, len(aus)), aus, strict=True)):
        before, after = reliability.before[a], reliability.after[a]
        axes.set(xlim=(0, 1), ylim=(-0.3, 1.02), xticks=(0, 1), yticks=(0, 1))
        if not after.count_K.size:
            axes.set_title(f"AU {au}: no label", fontsize=8, color=CHANCE)
            continue
        axes.plot((0, 1), (0, 1), color=CHANCE, lw=0.8, ls="--")
        axes.plot(before.predicted_K, before.present_K, "o-", color=INK, mfc="white", lw=0.6, ms=3)
        axes.plot(after.predicted_K, after.present_K, "o-", color=MODEL, lw=1, ms=3)
        height_K = 0.22 * after.count_K / after.count_K.max()
        axes.bar(after.predicted_K, height_K, bottom=-0.28, width=0.05, color=MODEL, alpha=0.4)
        most = int(np.argmax(after.count_K))
        axes.annotate(
            str(after.count_K[most]),
            (after.predicted_K[most], height_K[most] - 0.28),
            fontsize=5,
            ha="center",
            va="bottom",
            color=INK,
        )
        said = f"{columns['ece_before'][a]:.3f} → {columns['ece_after'][a]:.3f}"
        axes.set_title(f"AU {au}   {said}   n {columns['known'][a]}", fontsize=6.5)
    figure.supxlabel("probability said (hollow: before; filled: after calibration)", fontsize=8)
    figure.supylabel("share present", fontsize=9)
    _save(figure, path)


def emotion_confusion(path: Path, *, emotions: Sequence[str], count_EE: np.ndarray) -> None:
    """The table of emotions: rows the label, columns the call; shade = row share."""
    size = max(3.2, 0.55 * len(emotions) + 1.4)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    _shaded(axes, count_EE, divide(count_EE, count_EE.sum(1, keepdims=True)), fontsize=8)
    ticks = range(len(emotions))
    axes.set_xticks(ticks, emotions, fontsize=8, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, emotions, fontsize=8)
    axes.set_xlabel("called")
    axes.set_ylabel("labelled")
    _save(figure, path)


def _grid(figure: Figure, count: int) -> Iterator[Axes]:
    """`count` axes in a nearly square grid on a figure grown to hold them."""
    columns = max(1, math.ceil(math.sqrt(1.4 * count)))
    rows = max(1, math.ceil(count / columns))
    figure.set_size_inches(CELL_INCHES * columns + 0.5, CELL_INCHES * rows + 0.5)
    for n in range(count):
        axes = figure.add_subplot(rows, columns, n + 1)
        axes.tick_params(labelsize=6, length=2)
        yield axes


def _shaded(axes: Axes, cells: np.ndarray, share: np.ndarray, *, fontsize: int) -> None:
    axes.imshow(np.nan_to_num(share), cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(cells):
        ink = "white" if share[row, column] > 0.55 else INK
        percent = "" if np.isnan(share[row, column]) else f"\n{100 * share[row, column]:.0f}%"
        axes.text(
            column, row, f"{value}{percent}", ha="center", va="center", color=ink, fontsize=fontsize
        )


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None})
