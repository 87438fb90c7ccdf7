"""`jaxfacs compare`: what a network knows of AUs beside what another, often its start, knew.

Fine-tuning for emotions makes an AU network forget AUs: the mean F1 on DISFA fell from 0.58 to 0.18
in Masur 2022, table 5. Both networks are measured on the same records, each in its own way of
reading them.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib.figure import Figure

from jaxfacs.data.mixture import open_data
from jaxfacs.errors import UserError
from jaxfacs.evaluate import metrics, thresholds
from jaxfacs.evaluate.report import without_nan
from jaxfacs.files import filling, place, replacing
from jaxfacs.train.command import parse_step
from jaxfacs.train.evaluate_run import predictions, reading, refuse_known
from jaxfacs.train.evaluation import Rows
from jaxfacs.train.trained import Trained, load_for_inference

FORMAT = 1  # of comparison.json

# key -> heading of what is compared; F1 at the threshold of each network.
MEASURES = {"average_precision": "AP", "f1": "F1", "icc": "ICC(3,1)"}
LOST = 0.5  # an AU is lost when less than this share of its AP above chance is left
SOMETHING = 0.02  # of AP above chance, without which there was nothing to lose

COLOURS = {"before": "#9db8d2", "after": "#1f5fa8", "chance": "#b04a3a"}
INCHES_PER_AU, DPI = 0.45, 110


def compare(
    workdir: Path,
    before: Annotated[Path, tyro.conf.arg(name="with")],
    *,
    split: str = "test",
    source: tuple[str, ...] = (),
    step: str = "",
    with_step: str = "",
    allow_overlap: bool = False,
) -> int:
    """Compare the AUs of two networks on the same records, as before and after fine-tuning.

    Prints AP, F1 and ICC of every AU that both answer, and which AUs were lost: those of whose AP
    above chance less than half is left. Writes comparison.json, comparison.md and comparison.png
    into WORKDIR/evaluation/SPLIT/STEP.

    Args:
      workdir: what `jaxfacs train` wrote into: the network after.
      before: the work directory of the network before, as that of --init-from.
      split: of the records.
      source: record folders with AU labels; by default those that WORKDIR was trained on.
      step: of WORKDIR: a step, "best" or "latest"; by default the best if there is one.
      with_step: the same, of the network before.
      allow_overlap: also on people that one of them learned from, which is refused otherwise.
    """
    after = load_for_inference(workdir, step=parse_step(step))
    found = comparison(
        after,
        load_for_inference(before, step=parse_step(with_step)),
        sources=source or [part.source for part in after.experiment.data.parts],
        split=split,
        allow_overlap=allow_overlap,
    )
    found["meta"] |= {"workdir": str(workdir), "with": str(before)}
    folder = place(workdir) / "evaluation" / split / str(after.step)
    with filling(folder) as here:
        write(here, found)
    print("\n".join(table(found)))
    print(sentence(found))
    print(f"written: {folder / 'comparison.md'}")
    return 0


def comparison(
    after: Trained,
    before: Trained,
    *,
    sources: Sequence[str],
    split: str,
    allow_overlap: bool = False,
) -> dict[str, Any]:
    """Measures both networks; the content of comparison.json.

    `per_au` has a row for each AU that both answer: `before` and `after` with AP, chance AP, F1,
    threshold, ICC (None where a network gives no intensity) and known labels, `change` of each
    measure, and `kept`, the share of the AP above chance that is left. None is an undefined number.

    Raises:
      UserError: the networks share no AU, the split codes none of those that they share, or it
        shows people that one of them learned from.
    """
    aus = [au for au in after.aus if au in before.aus]
    if not aus:
        raise UserError(
            f"the networks answer no AU in common: {' '.join(after.aus) or 'none'} and "
            f"{' '.join(before.aus) or 'none'}"
        )
    records = open_data(reading(after, sources).data)
    records.require_split(split)
    if not records.statistics(split, aus=aus).known_A.any():
        raise UserError(
            f"split '{split}' of {records.path} codes none of the AUs {' '.join(aus)}; give "
            "--source records that do"
        )
    networks = {"before": before, "after": after}
    if not allow_overlap:
        for trained in networks.values():
            refuse_known(trained, reading(trained, sources), split)
    sides = {
        side: measured(trained, sources=sources, split=split) for side, trained in networks.items()
    }
    rows = [_row(au, sides["before"][au], sides["after"][au]) for au in aus]
    meta = {
        "step": after.step,
        "with_step": before.step,
        "models": [before.experiment.model.name, after.experiment.model.name],
        "split": split,
        "records": records.digest,
    }
    return without_nan(
        {
            "format": FORMAT,
            "meta": meta,
            "per_au": rows,
            "mean": _mean(rows),
            "lost": [row["au"] for row in rows if row["kept"] < LOST],
            "unjudged": [row["au"] for row in rows if math.isnan(row["kept"])],
            "same_labels": all(r["before"]["known"] == r["after"]["known"] for r in rows),
        }
    )


def measured(
    trained: Trained, *, sources: Sequence[str], split: str
) -> dict[str, dict[str, float]]:
    """AU -> measures of a network on a split of any records.

    Thresholds of F1 are tuned on the validation split of the same records; they are 0.5 if there is
    none, or if it is the one that is measured.
    """
    experiment = reading(trained, sources)
    tuning = experiment.data.validation_split
    tuned = tuning != split and open_data(experiment.data).has_split(tuning)
    splits = (split, tuning) if tuned else (split,)
    rows, *own = (_of_aus(rows, trained) for rows in predictions(trained, experiment, *splits))
    threshold_A = np.full(len(trained.aus), thresholds.DEFAULT, np.float32)
    if own:
        threshold_A = thresholds.tune(own[0]["occurrence"], own[0]["probability"])
    truth, p = rows["occurrence"], rows["probability"]
    known = (truth >= 0).sum(axis=0)
    columns = {
        "average_precision": metrics.average_precision(truth, p),
        "chance_ap": (truth == 1).sum(axis=0) / np.maximum(known, 1),
        "f1": metrics.f1(truth, p, threshold=threshold_A),
        "threshold": threshold_A,
        "icc": (
            metrics.icc(rows["intensity"], rows["predicted_intensity"])
            if "predicted_intensity" in rows
            else np.full(len(trained.aus), np.nan)
        ),
        "known": known,
    }
    return {
        au: {key: column[a].item() for key, column in columns.items()}
        for a, au in enumerate(trained.aus)
    }


def table(found: Mapping[str, Any]) -> list[str]:
    """The comparison as lines of a Markdown table; ICC only if both networks give intensities."""
    shown = [key for key in MEASURES if found["mean"][key]["change"] is not None]
    heads = ["AU"]
    for key in shown:
        heads += [f"{MEASURES[key]} before", "after", "change"]
    heads += ["AP by chance", "kept %", "known"]
    lines = [_line(heads), "|---|" + "--:|" * (len(heads) - 1)]
    for row in found["per_au"]:
        cells = [row["au"] + (" (lost)" if row["au"] in found["lost"] else "")]
        for key in shown:
            cells += [_number(row[side][key]) for side in ("before", "after")]
            cells.append(_number(row["change"][key], sign=True))
        kept = row["kept"]
        cells += [_number(row["after"]["chance_ap"]), "–" if kept is None else f"{100 * kept:.0f}"]
        lines.append(_line([*cells, str(row["after"]["known"])]))
    cells = ["mean"]
    for key in shown:
        mean = found["mean"][key]
        cells += [_number(mean["before"]), _number(mean["after"])]
        cells.append(_number(mean["change"], sign=True))
    return [*lines, _line([*cells, "", "", ""])]


def sentence(found: Mapping[str, Any]) -> str:
    """Which AUs were lost, and what could not be judged."""
    told = [f"lost: AU {', '.join(found['lost'])}" if found["lost"] else "no AU was lost"]
    if found["unjudged"]:
        told.append(f"not above chance before, or not measured: AU {', '.join(found['unjudged'])}")
    if not found["same_labels"]:
        told.append("the networks answer for other frames, so their labels are not the same")
    return "; ".join(told)


def write(folder: Path, found: Mapping[str, Any]) -> None:
    """Writes comparison.png, .md and .json into `folder`, each whole or not at all."""
    meta = [f"- {key}: {value}" for key, value in found["meta"].items()]
    page = [
        "# AUs before and after",
        "",
        *meta,
        "",
        *table(found),
        "",
        sentence(found) + ".",
        "",
        "Kept is the share of AP above chance that is left; an AU is lost below "
        f"{100 * LOST:.0f} %. Thresholds of F1 are each network's own, tuned on the validation "
        "split of these records if that is another, else 0.5. Means are over the AUs where both "
        "numbers are defined.",
        "",
        "![AUs before and after](comparison.png)",
    ]
    text = json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "comparison.png") as path:
            draw(path, found)
        for name, content in (("comparison.md", "\n".join(page)), ("comparison.json", text)):
            with replacing(folder / name) as path:
                path.write_text(content + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror or error}); give a WORKDIR you may write to"
        ) from error


def draw(path: str | os.PathLike[str], found: Mapping[str, Any]) -> None:
    """Bars of each measure, before and after, AU by AU; the AP by chance as a line."""
    shown = [key for key in MEASURES if found["mean"][key]["change"] is not None]
    rows = found["per_au"]
    width = max(4.0, INCHES_PER_AU * len(rows) + 1.5)
    figure = Figure(figsize=(width, 2.2 * max(len(shown), 1)), layout="constrained")
    at = np.arange(len(rows))
    for key, axes in zip(shown, figure.subplots(len(shown), squeeze=False)[:, 0], strict=True):
        for side, shift in (("before", -0.2), ("after", 0.2)):
            heights = [math.nan if r[side][key] is None else r[side][key] for r in rows]
            axes.bar(at + shift, heights, 0.4, color=COLOURS[side], label=side)
        if key == "average_precision":
            chance = [row["after"]["chance_ap"] for row in rows]
            axes.hlines(chance, at - 0.4, at + 0.4, color=COLOURS["chance"], lw=1, label="chance")
            axes.legend(fontsize=7, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        axes.set_xticks(at, [row["au"] for row in rows], fontsize=7)
        axes.set_ylabel(MEASURES[key], fontsize=8)
        axes.tick_params(axis="y", labelsize=7)
        axes.set(xlim=(-0.6, len(rows) - 0.4), ylim=(min(0.0, axes.get_ylim()[0]), 1.02))
    figure.supxlabel("AU", fontsize=8)
    figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None})


def _of_aus(rows: Rows, trained: Trained) -> Rows:
    if "probability" not in rows:
        raise UserError(f"model {trained.experiment.model.name} answers no AU; nothing to compare")
    return rows


def _row(au: str, before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
    above = {
        name: side["average_precision"] - side["chance_ap"]
        for name, side in (("before", before), ("after", after))
    }
    judged = above["before"] >= SOMETHING  # False for NaN
    return {
        "au": au,
        "before": before,
        "after": after,
        "change": {key: after[key] - before[key] for key in MEASURES},
        "kept": above["after"] / above["before"] if judged else math.nan,
    }


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean of each measure over the AUs where it is defined before and after."""
    means = {}
    for key in MEASURES:
        both = [r for r in rows if not math.isnan(r["change"][key])]
        pairs = {side: [r[side][key] for r in both] for side in ("before", "after")}
        mean = {side: float(np.mean(v)) if v else math.nan for side, v in pairs.items()}
        means[key] = {**mean, "change": mean["after"] - mean["before"]}
    return means


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None, *, sign: bool = False) -> str:
    return "–" if value is None else f"{value:+.3f}" if sign else f"{value:.3f}"
