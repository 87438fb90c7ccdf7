"""The plot of a sweep: a line over one field, a map over two."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from jaxfacs.train import runs
from jaxfacs.train.sweep_table import Group, interval, is_share

COLOUR, INK = "#1f5fa8", "#333333"
CELL_INCHES = 0.9
FAR = 8.0  # two values so many times apart are geometric


def draw(path: Path, groups: Sequence[Group], metric: str) -> None:
    """Writes the PNG of groups of one or two swept fields, each with at least one number."""
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    (_line if len(groups[0].values) == 1 else _map)(figure, groups, metric)
    runs.save(figure, path)


def geometric(values: Sequence[float]) -> bool:
    """Whether neighbours' ratios are more alike than their distances: 32 64 128, not 1 2 3."""
    ordered = sorted(set(values))
    if len(ordered) < 2 or ordered[0] <= 0:
        return False
    if len(ordered) == 2:
        return ordered[1] / ordered[0] >= FAR
    steps = [b - a for a, b in itertools.pairwise(ordered)]
    ratios = [math.log(b / a) for a, b in itertools.pairwise(ordered)]
    return max(ratios) / min(ratios) < max(steps) / min(steps)


def numbers(texts: Sequence[str]) -> list[float] | None:
    """The values as numbers, None if one is a word."""
    try:
        found = [float(text) for text in texts]
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) else None


def _line(figure, groups: Sequence[Group], metric: str) -> None:
    ((name, head),) = runs.headings(list(groups[0].values)).items()
    texts = [group.values[name] for group in groups]
    x = numbers(texts)
    order = range(len(groups)) if x is None else sorted(range(len(groups)), key=x.__getitem__)
    at = list(range(len(groups))) if x is None else [x[i] for i in order]
    scale = 100 if is_share(metric) else 1
    found = [interval(groups[i].per_seed(metric)) for i in order]
    figure.set_size_inches(5, 3.6)
    axes = figure.subplots()
    axes.errorbar(
        at,
        [scale * mean for mean, _ in found],
        yerr=[scale * (half or 0) for _, half in found],
        color=COLOUR,
        marker="o",
        capsize=4,
        ls="" if x is None else "-",
    )
    if x is not None and geometric(x):
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(at, [texts[i] for i in order])
    axes.set_xlabel(head)
    axes.set_ylabel(metric + (" (%)" if scale == 100 else ""))
    counts = sorted({len(group.per_seed(metric)) for group in groups})
    if counts[-1] > 1:
        n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        axes.set_title(f"mean and 95 % confidence interval over {n} seeds", fontsize=8)


def _map(figure, groups: Sequence[Group], metric: str) -> None:
    names = list(groups[0].values)
    axis = {name: _ordered([group.values[name] for group in groups]) for name in names}
    rows, columns = axis[names[0]], axis[names[1]]
    scale = 100 if is_share(metric) else 1
    digits = 1 if scale == 100 else 3
    shade = [[math.nan] * len(columns) for _ in rows]
    texts: dict[tuple[int, int], str] = {}
    for group in groups:
        r, c = rows.index(group.values[names[0]]), columns.index(group.values[names[1]])
        mean, half = interval(group.per_seed(metric))
        shade[r][c] = scale * mean
        texts[r, c] = f"{scale * mean:.{digits}f}"
        texts[r, c] += "" if half is None else f"\n± {scale * half:.{digits}f}"
    width, height = CELL_INCHES * len(columns) + 2.2, CELL_INCHES * len(rows) + 1.2
    figure.set_size_inches(max(width, 4), max(height, 3))
    axes = figure.subplots()
    image = axes.imshow(shade, cmap="Blues", aspect="auto")
    for (r, c), text in texts.items():
        dark = float(image.norm(shade[r][c])) > 0.55
        axes.text(c, r, text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    heads = runs.headings(names)
    axes.set_ylabel(heads[names[0]])
    axes.set_xlabel(heads[names[1]])
    figure.colorbar(image, label=metric + (" (%)" if scale == 100 else ""))


def _ordered(texts: Sequence[str]) -> list[str]:
    found = list(dict.fromkeys(texts))
    values = numbers(found)
    if values is None:
        return found
    return [text for _, text in sorted(zip(values, found, strict=True))]
