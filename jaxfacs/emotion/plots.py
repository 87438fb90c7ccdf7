"""Pictures: the co-occurrence table as a heat map, a film's emotions over time."""

import os
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxfacs.emotion.cooccurrence import CooccurrenceMapper
from jaxfacs.emotion.frames import Frames
from jaxfacs.emotion.reading import Reading
from jaxfacs.errors import UserError
from jaxfacs.facs import ACTION_UNITS, split_label
from jaxfacs.files import replacing

CELL_INCHES = (0.72, 0.24)
MOST_FACES = 8  # that one picture shows
INK, FAINT, EDITED, STILL = "#222222", "#9a9a9a", "#c03a2b", "#dddddd"


def heat_map(table: CooccurrenceMapper, path: str | os.PathLike[str]) -> None:
    """Draws AUs × emotions as PNG: shade and number are the share in per cent.

    Cells too near the AU's average to be used are left white, their numbers faint; a red frame is
    an expert's edit, "out" one that leaves the AU out. Written whole or not at all.
    """
    path = Path(path)
    shown_EA = table.rate_EA.copy()
    used_EA = table.used_EA
    edited = {
        (table.emotions.index(emotion), table.aus.index(au)): share
        for emotion, cells in table.edits.items()
        for au, share in cells.items()
    }
    for cell, share in edited.items():
        shown_EA[cell] = np.nan if share is None else share
    size = (
        2.6 + CELL_INCHES[0] * (len(table.emotions) + 1),
        1.6 + CELL_INCHES[1] * len(table.aus),
    )
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    shade_AE = np.c_[shown_EA.T, table.average_A]
    used_AE = np.c_[~np.isnan(used_EA.T), np.ones(len(table.aus), bool)]
    read_AE = np.where(used_AE, 100 * shade_AE, np.nan)
    picture = axes.imshow(read_AE, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (a, e), share in np.ndenumerate(shade_AE):
        used = used_AE[a, e]
        ink = "white" if share > 0.6 and used else INK if used else FAINT
        text = "out" if edited.get((e, a), 0) is None else f"{100 * share:.0f}"
        text = "" if text == "nan" else text
        axes.text(e, a, text, ha="center", va="center", fontsize=7, color=ink)
    for e, a in edited:
        axes.add_patch(Rectangle((e - 0.5, a - 0.5), 1, 1, fill=False, ec=EDITED, lw=1.5))
    columns = [*table.emotions, "average"]
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(table.aus)), [_named(au) for au in table.aus])
    axes.axvline(len(table.emotions) - 0.5, color="white", lw=3)
    axes.tick_params(labelsize=7, length=0)
    axes.set_title(f"Share of frames with the AU, %   {table.source}", fontsize=8)
    figure.colorbar(picture, ax=axes, fraction=0.03, pad=0.01).ax.tick_params(labelsize=6)
    save_picture(figure, path)


def _named(au: str) -> str:
    unit = ACTION_UNITS.get(split_label(au)[1])
    return f"{au}  {unit.name.lower()}" if unit else au


def course(frames: Frames, reading: Reading, path: Path) -> None:
    """Draws each face's emotions over time as stacked areas, PNG; whole or not at all."""
    faces = [rows for rows in frames.sequences() if frames.face_N[rows[0]] != "-1"][:MOST_FACES]
    figure = Figure(figsize=(9, 0.8 + 1.7 * max(len(faces), 1)), layout="constrained")
    count = len(reading.emotions)
    shades = matplotlib.colormaps["tab10" if count <= 10 else "tab20"](np.arange(count) % 20)
    for row, rows in enumerate(faces):
        axes = figure.add_subplot(len(faces), 1, row + 1)
        timed = not np.isnan(frames.time_s_N[rows]).any()
        x = frames.time_s_N[rows] if timed else frames.frame_N[rows]
        axes.stackplot(
            x,
            np.nan_to_num(reading.probability_TE[rows]).T,
            labels=reading.emotions,
            colors=[
                STILL if emotion == "neutral" else shades[e]
                for e, emotion in enumerate(reading.emotions)
            ],
        )
        axes.set(ylim=(0, 1), ylabel=f"face {frames.face_N[rows[0]]}")
        axes.margins(x=0)
        axes.set_xlabel("seconds" if timed else "frame")
        axes.tick_params(labelsize=7)
        if row == 0:
            axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    save_picture(figure, path)


def save_picture(figure: Figure, path: Path) -> None:
    """Writes a PNG, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=130, metadata={"Software": None})
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
