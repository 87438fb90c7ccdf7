"""report.md: what report.json holds, as tables for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxfacs.evaluate.calibration import BINS

# key -> (heading, kind); the order of the table in report.md
COLUMNS = {
    "au": ("AU", "text"),
    "name": ("FACS name", "text"),
    "average_precision": ("AP", "share"),
    "chance_ap": ("AP by chance", "share"),
    "roc_auc": ("AUC", "share"),
    "accuracy": ("Accuracy", "share"),
    "recall": ("Recall", "share"),
    "precision": ("Precision", "share"),
    "f1": ("F1", "share"),
    "f1_at_half": ("F1 at 0.5", "share"),
    "threshold": ("Threshold", "share"),
    "occurrence": ("OCC %", "percent"),
    "known": ("Known", "count"),
}
INTENSITY_COLUMNS = {
    "au": ("AU", "text"),
    "name": ("FACS name", "text"),
    "icc": ("ICC(3,1)", "share"),
    "mae": ("MAE", "share"),
    "rmse": ("RMSE", "share"),
    "pcc": ("PCC", "share"),
    "ccc": ("CCC", "share"),
    "known": ("Known", "count"),
}
CALIBRATION_COLUMNS = {
    "au": ("AU", "text"),
    "method": ("Calibration", "text"),
    "ece_before": ("ECE before", "share"),
    "ece_after": ("after", "share"),
    "ece_mass_before": ("equal mass before", "share"),
    "ece_mass_after": ("after", "share"),
    "brier_before": ("Brier before", "share"),
    "brier_after": ("after", "share"),
    "present": ("Present", "count"),
    "known": ("Known", "count"),
}
AFFECT_COLUMNS = {
    "dimension": ("Dimension", "text"),
    "ccc": ("CCC", "share"),
    "pcc": ("PCC", "share"),
    "rmse": ("RMSE", "share"),
    "mse": ("MSE", "share"),
    "mae": ("MAE", "share"),
    "known": ("Known", "count"),
}


def markdown(report: Mapping[str, Any]) -> str:
    """report.md of the content of report.json."""
    parts = ["# Evaluation", *_meta_lines(report["meta"])]
    if "per_au" in report:
        parts += _occurrence_lines(report)
    if "calibration" in report:
        parts += ["", "## Calibration", *_calibration_lines(report["calibration"])]
    if "intensity" in report:
        table = _table(
            INTENSITY_COLUMNS, report["intensity"]["per_au"], report["intensity"]["mean"]
        )
        parts += ["", "## Intensity (0-5)", "", *table]
    if "affect" in report:
        table = _table(AFFECT_COLUMNS, report["affect"]["per_dimension"], report["affect"]["mean"])
        parts += ["", "## Valence and arousal (-1 to 1)", "", *table]
    if "emotion" in report:
        parts += ["", "## Emotions", "", *_emotion_lines(report["emotion"])]
        parts += ["", "![Confusion of emotions](emotion_confusion.png)"]
    for name, own in report.get("sets", {}).items():
        parts += ["", f"## Of these, {name}", *_set_lines(own)]
    return "\n".join(parts) + "\n"


def _set_lines(own: Mapping[str, Any]) -> list[str]:
    """The tables of one set of several: what it codes."""
    parts = ["", f"Examples: {own['examples']}."] if "examples" in own else []
    for key, columns, rows in (
        ("per_au", COLUMNS, "per_au"),
        ("intensity", INTENSITY_COLUMNS, "per_au"),
        ("affect", AFFECT_COLUMNS, "per_dimension"),
    ):
        if key in own:
            table = own if key == "per_au" else own[key]
            parts += ["", *_table(columns, table[rows], table["mean"])]
    if "emotion" in own:
        parts += ["", *_emotion_lines(own["emotion"])]
    return parts or ["", "It has no label of what the network answers."]


def _occurrence_lines(report: Mapping[str, Any]) -> list[str]:
    parts = ["", f"Examples: {report['examples']}.", "", "## Occurrence", ""]
    parts += _table(COLUMNS, report["per_au"], report["mean"])
    unjudged = [row["au"] for row in report["per_au"] if row["average_precision"] is None]
    if unjudged:
        parts += ["", f"Without a positive label, so without AP: AU {', '.join(unjudged)}."]
    parts += [
        "",
        f"Means are over the AUs where a measure is defined. Partial accuracy "
        f"{_cell(report['partial_accuracy'], 'share')}, Hamming score "
        f"{_cell(report['hamming_score'], 'share')} (both over examples). A random order scores "
        f"the column 'AP by chance'. Thresholds: {report['thresholds']}.",
        "",
        "![Precision and recall](pr_curves.png)",
        "",
        "![Confusion](confusion.png)",
    ]
    return parts


def _calibration_lines(calibration: Mapping[str, Any]) -> list[str]:
    said = (
        f"Expected calibration error over {BINS} bins of equal width, and of equal mass; mean "
        f"squared error (Brier). {calibration['measured']}. Lower is better; few labels make any "
        "error look larger."
    )
    table = _table(CALIBRATION_COLUMNS, calibration["per_au"], calibration["mean"])
    return ["", *table, "", said, "", "![Reliability](reliability.png)"]


def _emotion_lines(emotion: Mapping[str, Any]) -> list[str]:
    summary = (
        f"Accuracy {_cell(emotion['accuracy'], 'share')} (always the most frequent: "
        f"{_cell(emotion['chance_accuracy'], 'share')}), mean recall "
        f"{_cell(emotion['mean_recall'], 'share')}, mean F1 {_cell(emotion['mean_f1'], 'share')}."
    )
    columns = {
        "emotion": ("Emotion", "text"),
        "recall": ("Recall", "share"),
        "precision": ("Precision", "share"),
        "f1": ("F1", "share"),
        "known": ("Known", "count"),
    }
    return [*_table(columns, emotion["per_emotion"], {}), "", summary]


def _table(
    columns: Mapping[str, tuple[str, str]], rows: Sequence[Mapping], mean: Mapping
) -> list[str]:
    lines = ["| " + " | ".join(heading for heading, _ in columns.values()) + " |"]
    rules = ("---" if kind == "text" else "--:" for _, kind in columns.values())
    lines.append("|" + "|".join(rules) + "|")
    for row in rows:
        cells = (_cell(row[key], kind) for key, (_, kind) in columns.items())
        lines.append("| " + " | ".join(cells) + " |")
    if mean:
        cells = [
            f"**{_cell(mean[key]['value'], kind)}**" if key in mean else ""
            for key, (_, kind) in columns.items()
        ]
        cells[0] = "**mean**"
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cell(value: Any, kind: str) -> str:
    if value is None:
        return "–"
    if kind == "share":
        return f"{value:.4f}"
    if kind == "percent":
        return f"{100 * value:.1f}"
    return str(value).replace("|", r"\|")


def _meta_lines(meta: Mapping[str, Any]) -> list[str]:
    return ["", *(f"- {key}: {value}" for key, value in meta.items())] if meta else []
