"""What a record folder holds, as a table and as three pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from jaxfacs import facs
from jaxfacs.data.records import RecordSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = ("0", "A", "B", "C", "D", "E")
SUBJECTS_SHOWN = 8
SAMPLES = 8  # clips on the sheet
SAMPLE_FRAMES = 6  # of each


def text(records: RecordSet, *, aus: Sequence[str] = ()) -> str:
    """Clips and subjects of each split; occurrence and intensity of each AU, as plain text.

    Occurrence is in per cent of the frames in which the AU was coded; "-" where nobody coded it.
    Intensities are of the training split, rounded to FACS's letters.
    """
    aus = tuple(aus) or records.aus
    card = records.card
    lines = [
        f"{records.name} {card['version']} · {records.path}",
        f"digest {records.digest[:16]} · crops {records.size} px, faces: {_faces(records)}",
        f"licence: {card['licence'] or 'not stated'}",
        "",
        f"{'split':<12}{'clips':>8}{'frames':>10}{'face found':>12}{'subjects':>10}",
    ]
    for split in records.splits:
        content = card["splits"][split]
        found = content["frames_with_found_face"] / content["frames"]
        lines.append(
            f"{split:<12}{content['clips']:>8}{content['frames']:>10}{found:>12.1%}"
            f"{_people(content['subjects'])}"
        )
    if records.emotions:
        lines += ["", *_emotions(records)]
    if records.attributes:
        lines += ["", f"attributes: {', '.join(records.attributes)}"]
    lines += _pixels(records)
    if not aus:
        return "\n".join(lines)
    header = "".join(f"{split:>12}" for split in records.splits)
    levels = "".join(f"{level:>7}" for level in LEVELS)
    lines += ["", "AU: frames present, % of coded frames; intensity, % of graded frames"]
    lines += [f"{'AU':<5}{'name':<26}{header}   {levels}"]
    occurrence = {split: _occurrence(records, split, aus) for split in records.splits}
    grades = _grades(records, next(iter(records.splits)), aus)
    for a, label in enumerate(aus):
        shares = "".join(_percent(occurrence[split][a], 12) for split in records.splits)
        graded = "".join(_percent(share, 7) for share in grades[a])
        lines.append(f"{label:<5}{_name(label):<26}{shares}   {graded}")
    return "\n".join(lines)


def plots(records: RecordSet, out: Path, *, aus: Sequence[str] = ()) -> list[Path]:
    """Writes samples.png and, where a set has them, bars of AUs and emotions into `out`.

    Returns their paths.
    """
    out.mkdir(parents=True, exist_ok=True)
    aus = tuple(aus) or records.aus
    split = next(iter(records.splits))
    figures = {"samples.png": _sheet(records, split)}
    if aus:
        figures["occurrence.png"] = _occurrence_bars(records, aus)
        figures["intensity.png"] = _intensity_bars(records, split, aus)
    if records.emotions:
        figures["emotions.png"] = _emotion_bars(records)
    paths = []
    for name, figure in figures.items():
        figure.savefig(out / name, dpi=110)
        paths.append(out / name)
    return paths


def _faces(records: RecordSet) -> str:
    """The words of the preparation; sets of an earlier jaxfacs have options instead."""
    told = [f"{key} {value}" for key, value in records.crop.items() if key != "size"]
    return " ".join(records.crop.get("steps", ())) or ", ".join(told)


def _pixels(records: RecordSet) -> list[str]:
    mean, std = (records.card.get(key) or [None] for key in ("pixel_mean", "pixel_std"))
    if None in mean:
        return []
    told = "/".join(",".join(f"{value:.1f}" for value in values) for values in (mean, std))
    return ["", f"training pixels, mean/deviation: --model.normalisation {told}"]


def _people(subjects: Sequence[str]) -> str:
    known = [subject for subject in subjects if subject]
    return f"{len(known):>10}  {_some(known)}" if known else f"{'unknown':>10}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SUBJECTS_SHOWN])
    return shown + (", …" if len(names) > SUBJECTS_SHOWN else "")


def _emotions(records: RecordSet) -> Iterator[str]:
    for split in records.splits:
        emotion_N = records.index(split)["emotion_N"]
        counts = [f"{name} {(emotion_N == i).sum()}" for i, name in enumerate(records.emotions)]
        yield f"emotions of clips, {split}: {', '.join(counts)}, unknown {(emotion_N < 0).sum()}"


def _name(label: str) -> str:
    side, number = facs.split_label(label)
    unit = facs.ACTION_UNITS.get(number)
    name = unit.name if unit else ""
    return (f"{ {'L': 'left ', 'R': 'right '}.get(side, '') }{name}")[:25]


def _percent(share: float, width: int) -> str:
    return f"{'-':>{width}}" if np.isnan(share) else f"{share * 100:>{width}.1f}"


def _occurrence(records: RecordSet, split: str, aus: Sequence[str]) -> np.ndarray:
    counts = records.statistics(split, aus=aus)
    return np.where(counts.known_A > 0, counts.positive_A / np.maximum(counts.known_A, 1), np.nan)


def _grades(records: RecordSet, split: str, aus: Sequence[str]) -> np.ndarray:
    """Share of each level 0, A … E among the graded frames, A×6; NaN where none is graded."""
    stored = np.asarray(records.card["splits"][split]["intensity_histogram"], float)
    column = {label: a for a, label in enumerate(records.aus)}
    out = np.full((len(aus), len(LEVELS)), np.nan)
    for a, label in enumerate(aus):
        if label in column and (total := stored[column[label]].sum()) > 0:
            out[a] = stored[column[label]] / total
    return out


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _occurrence_bars(records: RecordSet, aus: Sequence[str]) -> "Figure":
    figure = _figure(max(6.0, 0.32 * len(aus) + 2), 4)
    axes = figure.subplots()
    width = 0.8 / len(records.splits)
    for i, split in enumerate(records.splits):
        share_A = np.nan_to_num(_occurrence(records, split, aus))
        axes.bar(np.arange(len(aus)) + (i + 0.5) * width - 0.4, 100 * share_A, width, label=split)
    axes.set_xticks(np.arange(len(aus)), aus, rotation=90 if len(aus) > 20 else 0)
    axes.set_xlabel("Action Unit")
    axes.set_ylabel("present, % of coded frames")
    axes.set_title(f"{records.name}: occurrence")
    axes.margins(x=0.01)
    axes.legend()
    return figure


def _intensity_bars(records: RecordSet, split: str, aus: Sequence[str]) -> "Figure":
    from matplotlib import colormaps

    grades_AL = np.nan_to_num(_grades(records, split, aus))
    figure = _figure(max(6.0, 0.32 * len(aus) + 2), 4)
    axes = figure.subplots()
    bottom = np.zeros(len(aus))
    for level in range(1, len(LEVELS)):
        share_A = 100 * grades_AL[:, level]
        colour = colormaps["viridis_r"](level / 5)
        axes.bar(np.arange(len(aus)), share_A, 0.8, bottom, label=LEVELS[level], color=colour)
        bottom += share_A
    axes.set_xticks(np.arange(len(aus)), aus, rotation=90 if len(aus) > 20 else 0)
    axes.set_xlabel("Action Unit")
    axes.set_ylabel("% of graded frames")
    axes.set_title(f"{records.name}, {split}: intensity (0 left out)")
    axes.margins(x=0.01)
    axes.legend(title="FACS")
    return figure


def _emotion_bars(records: RecordSet) -> "Figure":
    figure = _figure(max(6.0, 0.6 * len(records.emotions) + 2), 4)
    axes = figure.subplots()
    places = np.arange(len(records.emotions))
    width = 0.8 / len(records.splits)
    for i, split in enumerate(records.splits):
        emotion_N = records.index(split)["emotion_N"]
        counts = np.bincount(emotion_N[emotion_N >= 0], minlength=len(places))
        axes.bar(places + (i + 0.5) * width - 0.4, counts, width, label=split)
    axes.set_xticks(places, records.emotions, rotation=30, ha="right")
    axes.set_ylabel("clips")
    axes.set_title(f"{records.name}: emotions")
    axes.legend()
    return figure


def _sheet(records: RecordSet, split: str) -> "Figure":
    """Some frames of some clips, the AUs of the middle of the clip above each row."""
    source = range(records.splits[split])
    chosen = np.unique(np.linspace(0, len(source) - 1, min(SAMPLES, len(source))).astype(int))
    figure = _figure(1.5 * SAMPLE_FRAMES, 1.8 * len(chosen))
    grid = figure.subplots(len(chosen), 1, squeeze=False)[:, 0]
    for axes, record in zip(grid, chosen.tolist(), strict=True):
        clip = records.clip(split, record)
        places = np.linspace(0, len(clip.frames) - 1, SAMPLE_FRAMES).astype(int)
        jpegs = [np.frombuffer(clip.frames[place], np.uint8) for place in places.tolist()]
        axes.set_axis_off()
        frames = [np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB)) for jpeg in jpegs]
        axes.imshow(np.hstack(frames))
        emotion = records.emotions[clip.emotion] if clip.emotion >= 0 else "no emotion given"
        middle = clip.occurrence_TA[len(clip.frames) // 2]
        shown = [label for label, there in zip(records.aus, middle, strict=True) if there == 1]
        axes.set_title(
            f"{clip.clip_id} · {clip.subject} · {emotion} · {'+'.join(shown) or 'no AU'}",
            loc="left",
            fontsize=8,
        )
    return figure
