"""`jaxfacs runs`: what several runs differ in, how far they came, and their curves.

Reads config.json, metrics.jsonl and the names of checkpoints, nothing of JAX, so that it may look
at runs that are at work.
"""

import difflib
import json
import math
import os
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxfacs.errors import UserError
from jaxfacs.files import place, remote, replacing
from jaxfacs.train.config import flatten

MAX_DEPTH = 4  # of folders of runs below a given folder
MAX_CELL = 40  # characters of a config's value in the table
LOWER_IS_BETTER = ("loss", "mae", "mse", "rmse")
ON_VALIDATION = ("mean_f1", "mean_occurrence", "f1_AU")
DPI = 110
SHARES = (("MFU", "mfu"), ("goodput", "goodput"))  # heading, name in lines of training
LEGEND_ROWS = 24  # more lines than these are not told apart by their colours either


@dataclass(frozen=True)
class RunLog:
    """What a work directory tells of its run.

    Attributes:
      path: the work directory.
      config: field, with dots, -> value; {} if config.json is missing or damaged.
      rows: (kind, metric) -> step -> value, steps rising; of lines of one step the last counts.
      seconds: phase -> seconds, of the last line that tells them, else of the newest checkpoint.
      finished: its last step is saved.
      damaged: lines of metrics.jsonl that could not be read, as one that a kill cut short.
    """

    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    rows: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    finished: bool = False
    damaged: int = 0

    @property
    def step(self) -> int:
        """The last step that any line tells of; 0: none does."""
        return max((max(series) for series in self.rows.values() if series), default=0)

    def curve(self, metric: str) -> dict[int, float]:
        """Step -> value on the validation split, or in training where that is not measured.

        What both lines tell of AUs is that of the validation split, or nothing.
        """
        found = self.rows.get(("validation", metric), {})
        if not found and not metric.startswith(ON_VALIDATION):
            found = self.rows.get(("train", metric), {})
        return {step: value for step, value in found.items() if math.isfinite(value)}

    def last(self, name: str) -> float | None:
        """What the last line of training that tells it says."""
        series = self.rows.get(("train", name))
        return series[max(series)] if series else None

    def metrics(self) -> set[str]:
        return {name for kind, name in self.rows if kind in ("validation", "train")}


def runs(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional],
    *,
    metric: str = "",
    out: Path | None = None,
) -> int:
    """Compares runs in one table: what their configs differ in, steps, metric, time, speed.

    Args:
      folders: work directories, or folders of them.
      metric: of the validation split or else of training, as metrics.jsonl names it; by default
        that by which the first run keeps its best checkpoint.
      out: FILE.png, for curves of the loss and of the metric.
    """
    if not folders:
        raise UserError("no folder is given; name work directories, or folders of them")
    if out is not None and out.suffix.lower() != ".png":
        raise UserError(f"--out {out} is no PNG; give a name that ends in .png")
    logs, empty = gather(folders)
    for folder in empty:
        print(f"no run in {folder}", file=sys.stderr)
    if not logs:
        raise UserError(f"no run in {', '.join(map(str, folders))}; give folders of jaxfacs train")
    chosen = choose_metric(logs, metric)
    print("\n".join(aligned(table(logs, chosen))))
    for log in logs:
        if log.damaged:
            lines = "line" if log.damaged == 1 else "lines"
            print(f"{log.path}: {log.damaged} damaged {lines} of metrics.jsonl left out")
        if not log.config:
            print(f"{log.path}: config.json is missing or damaged")
    if out is not None:
        draw(out, logs, chosen)
        print(f"curves: {out}")
    return 0


def gather(folders: Iterable[Path]) -> tuple[list[RunLog], list[Path]]:
    """The runs in and below folders, each once, and the folders that hold none.

    Raises UserError for a folder that does not exist.
    """
    found: dict[Path, Path] = {}  # by their real paths
    empty = []
    for folder in map(place, folders):
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; give work directories of jaxfacs train")
        below = list(_workdirs(folder, MAX_DEPTH))
        found |= {path.resolve(): path for path in below if path.resolve() not in found}
        if not below:
            empty.append(folder)
    return [read_run(path) for path in found.values()], empty


def _workdirs(folder: Path, depth: int) -> Iterator[Path]:
    if any((folder / name).is_file() for name in ("config.json", "metrics.jsonl")):
        yield folder
    elif depth:
        try:
            below = sorted(path for path in folder.iterdir() if path.is_dir())
        except OSError:
            return  # not for us to read
        for path in below:
            if remote(path) or not path.is_symlink():  # a ring of links has no end
                yield from _workdirs(path, depth - 1)


def read_run(workdir: Path) -> RunLog:
    """What can be read of a work directory; nothing in it is needed."""
    config, steps = {}, None
    tree = _json(workdir / "config.json")
    if isinstance(tree, dict) and isinstance(tree.get("experiment"), dict):
        config = flatten(tree["experiment"])
        steps = config.get("steps")
    rows, damaged = _read_metrics(workdir / "metrics.jsonl")
    saved = checkpoint_steps(workdir)
    seconds = _newest_seconds(rows)
    if not seconds and saved:
        seconds = _seconds_of(workdir / "checkpoints" / str(saved[-1]) / "manifest" / "metadata")
    return RunLog(
        path=workdir,
        config=config,
        rows=rows,
        seconds=seconds,
        finished=isinstance(steps, int) and steps in saved,
        damaged=damaged,
    )


def checkpoint_steps(workdir: Path) -> list[int]:
    """The steps of whole checkpoints, rising: Orbax renames a folder, or marks it, once it is."""
    folder = place(workdir) / "checkpoints"
    try:
        steps = [p for p in folder.iterdir() if p.name.isdigit() and p.is_dir()]
        whole = [p for p in steps if not remote(p) or (p / "commit_success.txt").exists()]
        return sorted(int(p.name) for p in whole)
    except OSError:
        return []


def _read_metrics(path: Path) -> tuple[dict[tuple[str, str], dict[int, float]], int]:
    rows: dict[tuple[str, str], dict[int, float]] = {}
    damaged = 0
    try:
        lines = path.read_bytes().decode(errors="replace").splitlines()
    except OSError:
        return {}, 0
    for line in lines:
        try:
            row = json.loads(line)
            step, kind = row.pop("step"), row.pop("kind")
            if type(step) is not int or type(kind) is not str:
                raise ValueError(line)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            damaged += 1
            continue
        for name, value in row.items():
            if value is None or type(value) in (int, float):
                number = math.nan if value is None else float(value)
                rows.setdefault((kind, name), {})[step] = number
    return {key: dict(sorted(series.items())) for key, series in rows.items()}, damaged


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _newest_seconds(rows: Mapping[tuple[str, str], dict[int, float]]) -> dict[str, float]:
    """Phase -> seconds, of the last line that tells them; a finished run has one of its own."""
    found: dict[str, tuple[int, float]] = {}
    for (kind, name), series in rows.items():
        rate = name.endswith("_per_s")
        if kind in ("train", "seconds") and name.endswith("_s") and not rate:
            phase, last = name.removesuffix("_s"), max(series)
            found[phase] = max(found.get(phase, (0, 0.0)), (last, series[last]))
    return {phase: seconds for phase, (_, seconds) in found.items()}


def _seconds_of(manifest: Path) -> dict[str, float]:
    try:
        seconds = _json(manifest)["host"]["seconds"]
        return {phase: float(value) for phase, value in seconds.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def choose_metric(logs: Sequence[RunLog], wanted: str) -> str:
    """The metric that is compared; "" if nothing is measured yet.

    Raises UserError, with near names, for one that no run has.
    """
    known = sorted(set().union(*(log.metrics() for log in logs)))
    if wanted and wanted not in known:
        remedy = near(wanted, known) if known else "none has measured anything yet"
        raise UserError(f"no run has the metric '{wanted}'; {remedy}")
    own = [str(log.config.get("checkpoint.metric", "")) for log in logs]
    usual = ("mean_average_precision", "emotion_accuracy", "mean_affect_ccc", "loss")
    return wanted or next((name for name in (*own, *usual) if name in known), "")


def near(wanted: str, known: Sequence[str]) -> str:
    """The remedy for a name that does not exist."""
    found = difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
    return f"did you mean {', '.join(found)}?" if found else f"there are {', '.join(known[:8])}"


def lower_is_better(metric: str, config: Mapping[str, Any]) -> bool:
    """Whether a run of this config wants the metric small."""
    if metric == config.get("checkpoint.metric"):
        return config.get("checkpoint.mode") == "min"
    words = metric.replace("/", "_").split("_")
    return metric == "grad_norm" or any(word in LOWER_IS_BETTER for word in words)


def differing(configs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Config field -> its heading, for fields that are not the same in all configs."""
    known = [config for config in configs if config]
    names = sorted(set().union(*known) - {"steps"}) if known else []  # those have their own column
    # Compared as text: 1 and 1.0 are the same number, 1 and True are not the same value.
    names = [n for n in names if len({json.dumps(c.get(n, "–")) for c in known}) > 1]
    return headings(names)


def headings(names: Sequence[str]) -> dict[str, str]:
    """Field -> the last word of its name, or all of it where two end alike."""
    last = [name.rpartition(".")[2] for name in names]
    return {
        name: word if last.count(word) == 1 else name
        for name, word in zip(names, last, strict=True)
    }


def table(logs: Sequence[RunLog], metric: str) -> list[list[str]]:
    """Rows of cells, the headings first."""
    columns = differing([log.config for log in logs])
    shown = metric or "metric"
    heads = ["run", *columns.values(), "steps", f"best {shown}", "at step", "last", "at step"]
    # Only where a run tells them: goodput came later, and MFU needs a device that is known.
    more = [
        (head, name) for head, name in SHARES if any(log.last(name) is not None for log in logs)
    ]
    rows = [[*heads, "wall time", "clips/s", *(head for head, _ in more), "finished"]]
    for log, name in zip(logs, short_names(logs), strict=True):
        cells = [name, *(_cell(log.config.get(column, "–")) for column in columns)]
        cells.append(f"{log.step}/{log.config.get('steps', '?')}")
        curve = log.curve(metric)
        if curve:
            pick = min if lower_is_better(metric, log.config) else max
            best = pick(curve, key=lambda step, curve=curve: curve[step])
            last = max(curve)
            cells += [f"{curve[best]:.4g}", str(best), f"{curve[last]:.4g}", str(last)]
        else:
            cells += ["–"] * 4
        rates = [v for v in log.rows.get(("train", "clips_per_s"), {}).values() if v > 0]
        cells.append(_duration(sum(log.seconds.values())) if log.seconds else "–")
        cells.append(f"{statistics.median(rates):.1f}" if rates else "–")
        shares = [log.last(name) for _, name in more]
        cells += ["–" if share is None else f"{share:.0%}" for share in shares]
        rows.append([*cells, "yes" if log.finished else "no"])
    return rows


def short_names(logs: Sequence[RunLog]) -> list[str]:
    """Work directories without the folder that all share."""
    paths = [log.path.resolve() for log in logs]
    if len(paths) == 1:
        return [paths[0].name]
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return [str(path.relative_to(common)) for path in paths]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table of the rows, its columns as wide as their widest cell."""
    rows = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    # The end of a long one is what tells paths apart.
    return text if len(text) <= MAX_CELL else "…" + text[1 - MAX_CELL :]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def draw(path: Path, logs: Sequence[RunLog], metric: str) -> None:
    """Training loss and metric over steps, a line a run, named by what their configs differ in.

    Raises UserError where the file cannot be written.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    columns = differing([log.config for log in logs])
    labels = [
        ", ".join(f"{head} {_cell(log.config.get(c, '–'))}" for c, head in columns.items())
        for log in logs
    ]
    if not all(labels) or len(set(labels)) < len(labels) or len(columns) > 3:
        labels = short_names(logs)
    few = len(logs) <= 10
    colours = colormaps["tab10" if few else "viridis"]
    shown = [name for name in dict.fromkeys(("loss", metric)) if name]
    figure = Figure(figsize=(5.2 * len(shown), 4.2), layout="constrained")
    for name, axes in zip(shown, figure.subplots(1, len(shown), squeeze=False)[0], strict=True):
        for number, (log, label) in enumerate(zip(logs, labels, strict=True)):
            curve = log.curve(name) if name == metric != "loss" else _loss(log)
            axes.plot(
                list(curve),
                list(curve.values()),
                color=colours(number if few else number / (len(logs) - 1)),
                lw=1.2,
                marker="." if len(curve) < 20 else "",
                label=label if number < LEGEND_ROWS else None,
            )
        axes.set_xlabel("step")
        axes.set_title("training loss" if name == "loss" else name, fontsize=9)
        axes.tick_params(labelsize=8)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", fontsize=7, ncols=2, frameon=False)
    save(figure, path)


def _loss(log: RunLog) -> dict[int, float]:
    return {s: v for s, v in log.rows.get(("train", "loss"), {}).items() if math.isfinite(v)}


def save(figure: Any, path: Path) -> None:
    """Writes a figure as PNG, whole or not at all; UserError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {path}: {reason}; give a file you may write") from error
