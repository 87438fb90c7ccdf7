"""What a sweep found: one table, as Markdown and CSV, and its plots.

Seeds are repetitions of one experiment: their mean has a confidence interval. Folds are parts of
one experiment: their mean is its number, AU by AU, as papers print it.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxfacs.errors import UserError
from jaxfacs.evaluate.report import AFFECT, AFFECT_KEYS, INTENSITY_KEYS, MEAN_KEYS
from jaxfacs.files import replacing
from jaxfacs.train import runs
from jaxfacs.train.sweep import Planned
from jaxfacs.train.sweep_jobs import FINISHED, Outcome, outcome

CONFIDENCE = 0.95
PER_AU = tuple(key for key in MEAN_KEYS if key != "chance_ap")
EMOTION_KEYS = ("accuracy", "mean_recall", "mean_f1")
# Shares are printed in percent, as papers do; others (correlations, errors) as they are.
SHARES = (*PER_AU, *(f"emotion_{key}" for key in EMOTION_KEYS))
VALIDATION = "best_on_validation"  # the number by which a run keeps its best checkpoint
USUAL = ("mean_f1", "emotion_accuracy", "mean_affect_ccc")

Flat = dict[str, float]


@dataclass(frozen=True)
class Group:
    """The runs of one combination of values.

    Attributes:
      values: swept field -> value.
      asked: how many seeds.
      seeds: complete seed -> fold -> the numbers of its report.
    """

    values: dict[str, str]
    asked: int
    seeds: dict[int, dict[str, Flat]] = field(default_factory=dict)

    def per_seed(self, metric: str) -> list[float]:
        """One number a seed, the mean over its folds; seeds of which it is not defined left out."""
        means = [
            _mean([flat.get(metric) for flat in folds.values()]) for folds in self.seeds.values()
        ]
        return [mean for mean in means if mean is not None]

    def au(self, key: str) -> float | None:
        """Mean over the folds, where defined, and then over the seeds."""
        return _mean(self.per_seed(key))


def known_metric(name: str) -> str:
    """The name; raises UserError, before anything has run, for one that no report could hold."""
    base = re.sub(r"_AU[LR]?\d+$", "", name.rpartition("/")[2])
    per_au = set(PER_AU) if "_AU" in name else set()
    known = [
        *(f"mean_{key}" for key in (*PER_AU, *INTENSITY_KEYS)),
        *(f"emotion_{key}" for key in EMOTION_KEYS),
        *(f"{key}_{dimension}" for key in AFFECT_KEYS for dimension in AFFECT),
        *(f"mean_affect_{key}" for key in AFFECT_KEYS),
    ]
    if name and base not in (per_au or known):
        examples = [f"{key}_AU12" for key in PER_AU]
        raise UserError(f"--metric '{name}' is not in reports; {runs.near(name, known + examples)}")
    return name


def flat_report(report: Mapping[str, Any]) -> Flat:
    """The numbers of a report.json by the names of metrics.jsonl; undefined ones are left out.

    `f1_AU12`, `mean_f1`, `mean_icc`, `emotion_accuracy`, `ccc_valence`, `mean_affect_ccc`; those of
    one set of several behind "SET/".
    """
    found: dict[str, Any] = {}
    for row in report.get("per_au", ()):
        found |= {f"{key}_AU{row['au']}": row[key] for key in PER_AU}
    for section in (report, report.get("intensity", {})):
        found |= {f"mean_{key}": mean["value"] for key, mean in section.get("mean", {}).items()}
    if "emotion" in report:
        found |= {f"emotion_{key}": report["emotion"][key] for key in EMOTION_KEYS}
    if "affect" in report:
        for row in report["affect"]["per_dimension"]:
            found |= {f"{key}_{row['dimension']}": row[key] for key in AFFECT_KEYS}
        for key, mean in report["affect"]["mean"].items():
            found[f"mean_affect_{key}"] = mean["value"]
    flat = {name: float(value) for name, value in found.items() if value is not None}
    for name, own in report.get("sets", {}).items():
        flat |= {f"{name}/{key}": value for key, value in flat_report(own).items()}
    return flat


def write(out: Path, config: str, planned: Sequence[Planned], *, metric: str) -> list[str]:
    """Writes table.md, table.csv, runs.csv, curves.png and sweep.png; returns lines to print.

    Args:
      config: as it was typed.
      metric: "" takes that of the config's best checkpoint, or the first usual one there is.

    Raises:
      UserError: the reports do not hold the metric, or the files cannot be written.
    """
    from jaxfacs.train import sweep_plot

    outcomes = [outcome(out, run) for run in planned]
    logs = [runs.read_run(out / run.name) for run in planned]
    flats = [flat_report(found.report) for found in outcomes]
    chosen = _metric(metric, planned[0], flats)
    flats = [_with_validation(*row) for row in zip(planned, logs, flats, strict=True)]
    groups = grouped(planned, flats)
    key = chosen.removeprefix("mean_")
    key = key if metric and key in PER_AU else "f1"
    aus = _aus(outcomes)
    rows = table(groups, chosen, key, aus)
    unit = " (%)" if is_share(chosen) else ""
    said = _best(groups, planned[0])
    undone = _undone(planned, outcomes)
    page = [
        f"# Sweep of {config}",
        "",
        *_said(planned, outcomes, chosen + unit, key if aus else ""),
        "",
        *runs.aligned(rows),
        "",
        *([*said, ""] if said else []),
        *(["Without a number:", "", *undone, ""] if undone else []),
    ]
    swept = list(groups[0].values)
    measured = [group for group in groups if group.per_seed(chosen)]
    try:
        _text(out / "table.csv", _csv(_numbers(groups, chosen, key, aus)))
        _text(out / "runs.csv", _csv(_run_rows(planned, outcomes, flats, chosen, key, aus)))
        begun = [log for log in logs if log.rows]
        if begun:
            runs.draw(out / "curves.png", begun, runs.choose_metric(begun, ""))
            page += ["![Training loss and validation metric](curves.png)", ""]
        if len(swept) in (1, 2) and measured:
            sweep_plot.draw(out / "sweep.png", measured, chosen)
            page += [f"![{chosen}](sweep.png)", ""]
        _text(out / "table.md", "\n".join(page))
    except OSError as error:
        raise UserError(
            f"cannot write to {out} ({error.strerror}); make room for tables"
        ) from error
    return [*runs.aligned(rows), *said, *undone, f"table: {out / 'table.md'}"]


def grouped(planned: Sequence[Planned], flats: Sequence[Flat]) -> list[Group]:
    """Groups in the order of the plan; a seed counts once all its folds are measured."""
    found: dict[tuple[str, ...], list[tuple[Planned, Flat]]] = {}
    for run, flat in zip(planned, flats, strict=True):
        found.setdefault(tuple(run.values.values()), []).append((run, flat))
    groups = []
    for members in found.values():
        seeds: dict[int, dict[str, Flat]] = {}
        for run, flat in members:
            seeds.setdefault(run.seed, {})[run.fold] = flat
        complete = {seed: folds for seed, folds in seeds.items() if all(folds.values())}
        groups.append(Group(members[0][0].values, len(seeds), complete))
    return groups


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and half the width of its 95 % confidence interval by Student's t; None for one value.

    t(0.975, n − 1) · s / √n with s the sample's standard deviation (n − 1 below); of independent,
    roughly normal values, as seeds are taken to be.
    """
    from scipy.special import stdtrit

    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return mean, None
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    return mean, float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * deviation / math.sqrt(n)


def is_share(metric: str) -> bool:
    base = metric.rpartition("/")[2]
    return base.removeprefix("mean_").partition("_AU")[0] in SHARES or base in SHARES


def table(groups: Sequence[Group], metric: str, key: str, aus: Sequence[str]) -> list[list[str]]:
    """Rows of cells, headings first: swept fields, `key` of each AU and their mean, metric, n."""
    percent = is_share(metric)
    heads = [*runs.headings(list(groups[0].values)).values(), *(f"AU{au}" for au in aus)]
    rows = [[*heads, *(["Avg."] if aus else []), metric + (" (%)" if percent else ""), "n"]]
    for group in groups:
        cells = list(group.values.values())
        values = [group.au(f"{key}_AU{au}") for au in aus]
        cells += [_number(value, percent=True) for value in values]
        cells += [_number(_mean(values), percent=True)] if aus else []
        cells.append(_with_interval(group.per_seed(metric), percent))
        complete = len(group.seeds)
        rows.append(
            [*cells, str(complete) if complete == group.asked else f"{complete} of {group.asked}"]
        )
    return rows


def _numbers(groups: Sequence[Group], metric: str, key: str, aus: Sequence[str]) -> list[list[Any]]:
    """table.csv: full numbers, shares between 0 and 1."""
    heads = [*groups[0].values, *(f"{key}_AU{au}" for au in aus), *([f"{key}_avg"] if aus else [])]
    rows: list[list[Any]] = [[*heads, metric, "ci95", "n", "seeds", VALIDATION]]
    for group in groups:
        values = [group.au(f"{key}_AU{au}") for au in aus]
        seeds = group.per_seed(metric)
        mean, half = interval(seeds) if seeds else (None, None)
        average = [_mean(values)] if aus else []
        rows.append(
            [
                *group.values.values(),
                *values,
                *average,
                mean,
                half,
                len(seeds),
                group.asked,
                _mean(group.per_seed(VALIDATION)),
            ]
        )
    return rows


def _run_rows(
    planned: Sequence[Planned],
    outcomes: Sequence[Outcome],
    flats: Sequence[Flat],
    metric: str,
    key: str,
    aus: Sequence[str],
) -> list[list[Any]]:
    """runs.csv: each run by itself."""
    names = list(dict.fromkeys([metric, VALIDATION, *(f"{key}_AU{au}" for au in aus)]))
    rows: list[list[Any]] = [
        ["run", *planned[0].values, "fold", "seed", "state", "split", "step", *names]
    ]
    for run, found, flat in zip(planned, outcomes, flats, strict=True):
        step = found.report.get("meta", {}).get("step", "")
        start = [run.name, *run.values.values(), run.fold, run.seed, found.state, run.split, step]
        rows.append([*start, *(flat.get(name) for name in names)])
    return rows


def _said(
    planned: Sequence[Planned],
    outcomes: Sequence[Outcome],
    metric: str,
    key: str,
) -> list[str]:
    """What one must know to read the table."""
    done = sum(found.state == FINISHED for found in outcomes)
    splits = ", ".join(sorted({run.split for run in planned}))
    folds = [fold for fold in dict.fromkeys(run.fold for run in planned) if fold]
    tuned = {f.report["thresholds"] for f in outcomes if "thresholds" in f.report}
    lines = [
        f"- runs: {done} of {len(planned)} finished",
        f"- measured on: {splits}, of each run's best checkpoint on validation",
        f"- {metric}: "
        + (f"mean over folds {', '.join(folds)}, then " if folds else "")
        + "mean ± 95 % confidence interval (Student's t) over n seeds; none for one seed",
    ]
    if key:
        over = "folds, then seeds" if folds else "seeds"
        lines.append(f"- AU columns: {key} in percent, mean over {over}; Avg. is their mean")
    return lines + [f"- thresholds: {said}" for said in sorted(tuned)]


def _undone(planned: Sequence[Planned], outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"- {run.name}: {found.state}{f' ({found.why})' if found.why else ''}"
        for run, found in zip(planned, outcomes, strict=True)
        if found.state != FINISHED
    ]


def _with_validation(run: Planned, log: runs.RunLog, flat: Flat) -> Flat:
    """A finished run's numbers, and the best that it reached on validation."""
    config = run.experiment.checkpoint
    reached = log.rows.get(("validation", config.metric), {}).values()
    defined = [value for value in reached if math.isfinite(value)]
    if not flat or not defined:
        return flat
    return flat | {VALIDATION: (max if config.mode == "max" else min)(defined)}


def _best(groups: Sequence[Group], run: Planned) -> list[str]:
    """Which values to take. By validation: a choice by the test split would flatter its numbers."""
    config = run.experiment.checkpoint
    measured = [group for group in groups if group.values and group.per_seed(VALIDATION)]
    if len(measured) < 2:
        return []
    pick = max if config.mode == "max" else min
    best = pick(measured, key=lambda group: interval(group.per_seed(VALIDATION))[0])
    value = _with_interval(best.per_seed(VALIDATION), is_share(config.metric))
    heads = runs.headings(list(best.values))
    chosen = ", ".join(f"{heads[name]} {text}" for name, text in best.values.items())
    return [f"Best by {config.metric} on validation ({value}): {chosen}."]


def _metric(wanted: str, run: Planned, flats: Sequence[Flat]) -> str:
    measured = sorted(set().union(*flats))
    if wanted and measured and wanted not in measured:
        raise UserError(
            f"the reports do not hold --metric '{wanted}'; {runs.near(wanted, measured)} The same "
            "command with another writes the tables"
        )
    usual = (run.experiment.checkpoint.metric, *USUAL)
    return wanted or next((name for name in usual if name in measured), usual[0])


def _aus(outcomes: Sequence[Outcome]) -> list[str]:
    """The AUs of all reports in the order of their numbers, also those that were never there."""
    return sorted({row["au"] for f in outcomes for row in f.report.get("per_au", ())}, key=_by_au)


def _by_au(label: str) -> tuple[int, str]:
    digits = re.search(r"\d+$", label)
    return (int(digits[0]) if digits else 0, label)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def _number(value: float | None, *, percent: bool) -> str:
    return "–" if value is None else f"{100 * value:.1f}" if percent else f"{value:.3f}"


def _with_interval(values: Sequence[float], percent: bool) -> str:
    if not values:
        return "–"
    mean, half = interval(values)
    text = _number(mean, percent=percent)
    return text if half is None else f"{text} ± {_number(half, percent=percent)}"


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
