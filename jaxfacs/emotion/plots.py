"""The co-occurrence table as a heat map."""

import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxfacs.emotion.cooccurrence import CooccurrenceMapper
from jaxfacs.errors import UserError
from jaxfacs.facs import ACTION_UNITS, split_label
from jaxfacs.files import replacing

CELL_INCHES = (0.72, 0.24)
INK, FAINT, EDITED = "#222222", "#9a9a9a", "#c03a2b"


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=130, metadata={"Software": None})
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def _named(au: str) -> str:
    unit = ACTION_UNITS.get(split_label(au)[1])
    return f"{au}  {unit.name.lower()}" if unit else au
