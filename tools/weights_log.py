"""The log of a training, kept as a small table and a plot; and whether a training repeats it.

    python tools/weights_log.py --workdir runs/default_still --csv docs/weights_log.csv \
        --plot docs/images/weights_curve.png
    python tools/weights_log.py --workdir runs/again --repeats docs/weights_log.csv

`--repeats` compares the losses of the steps that both have, and ends with 1 where one differs by
more than `--tolerance`: the same program on another processor adds up in another order.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxfacs.files import replacing

TRAINED = ("loss", "loss_occurrence", "loss_intensity", "loss_landmarks")
VALIDATED = ("mean_average_precision", "mean_roc_auc", "mean_icc")
COLUMNS = ("step", *TRAINED, *VALIDATED)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True, help="what was trained")
    parser.add_argument("--csv", type=Path, help="write the table there")
    parser.add_argument("--plot", type=Path, help="write the curves there, PNG")
    parser.add_argument("--repeats", type=Path, help="a table to compare with")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="relative (default: 0.001)")
    options = parser.parse_args(argv)
    metrics = options.workdir / "metrics.jsonl"
    if not metrics.is_file():
        print(f"weights_log: {metrics} is not there; give --workdir of a training", file=sys.stderr)
        return 2
    rows = table(metrics)
    if options.csv:
        write(options.csv, rows)
    if options.plot:
        plot(options.plot, rows)
    if options.repeats:
        return repeats(rows, read(options.repeats), options.tolerance)
    return 0


def table(metrics: Path) -> list[dict[str, float]]:
    """One row a logged step, with the validation of that step where there was one."""
    rows: dict[int, dict[str, float]] = {}
    for line in metrics.read_text().splitlines():
        told: dict[str, Any] = json.loads(line)
        wanted = {"train": TRAINED, "validation": VALIDATED}.get(told.get("kind", ""), ())
        found = {name: float(told[name]) for name in wanted if name in told}
        if found:
            rows.setdefault(told["step"], {"step": told["step"]}).update(found)
    return [rows[step] for step in sorted(rows)]


def write(path: Path, rows: Sequence[dict[str, float]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            cells = [f"{row[name]:.7g}" if name in row else "" for name in COLUMNS]
            writer.writerow(cells)


def read(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def plot(path: Path, rows: Sequence[dict[str, float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for name in TRAINED:
        told = [(row["step"], row[name]) for row in rows if name in row]
        losses.plot(*zip(*told, strict=True), label=name.replace("_", ", "), linewidth=1)
    losses.set(yscale="log", xlabel="step", title="training: losses before their weights")
    losses.legend(fontsize=8)
    for name in VALIDATED:
        told = [(row["step"], row[name]) for row in rows if name in row]
        scores.plot(*zip(*told, strict=True), label=name.replace("_", " "), marker=".")
    scores.set(xlabel="step", ylim=(0, 1), title="validation: people apart")
    scores.legend(fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def repeats(
    own: Sequence[dict[str, float]], kept: Sequence[dict[str, float]], tolerance: float
) -> int:
    """Prints both losses of every step that both have; 1 where they differ by more, else 0."""
    losses = {row["step"]: row["loss"] for row in kept if "loss" in row}
    both = [(row["step"], row["loss"]) for row in own if row["step"] in losses and "loss" in row]
    if not both:
        print("weights_log: no step is in both logs", file=sys.stderr)
        return 2
    worst = 0.0
    for step, loss in both:
        apart = abs(loss / losses[step] - 1)
        worst = max(worst, apart)
        print(f"step {step:.0f}: {losses[step]:.7g} kept, {loss:.7g} now, apart by {apart:.1e}")
    print(f"{len(both)} steps, at most {worst:.1e} apart ({tolerance:g} allowed)")
    return int(worst > tolerance)


if __name__ == "__main__":
    sys.exit(main())
