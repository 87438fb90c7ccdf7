"""`jaxfacs emotions fit`: an AU-to-emotion table from a CSV or from a record folder."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from jaxfacs.data.pipeline import unsided
from jaxfacs.data.projection import Projection
from jaxfacs.data.records import open_set
from jaxfacs.emotion import cooccurrence
from jaxfacs.emotion.command import fit_labels, read_csv


def fit(
    source: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    split: str = "train",
    emotion_column: str = "emotion",
    kind: Literal["cooccurrence", "logistic", "naive_bayes", "mlp"] = "cooccurrence",
    threshold: float = cooccurrence.THRESHOLD,
    start: Path | None = None,
    strength: float = cooccurrence.STRENGTH,
) -> None:
    """Fit an AU-to-emotion table (or a small classifier) on labelled records or frames.

    Args:
      source: a record folder, of which each clip with an emotion counts by the frame that shows
        most AUs; or a CSV, one row a frame: AU columns in any common spelling (AU12_c, AU12_r,
        AU12, 12; empty, 9, 999 and -1 are unknown) and a column with the emotion's name.
      out: the JSON to write; edit its "edits" by hand and draw it with `jaxfacs emotions show`.
      split: of the record folder.
      emotion_column: of the CSV; rows where it is empty are left out.
      kind: the table, or a classifier trained on the same labels.
      threshold: cells this near to an AU's average over emotions say nothing (a share, 0-1).
      start: a table to personalise; its edits are kept.
      strength: how many frames the prior counts for (with --start: 50-200 for one person).
    """
    if source.is_dir():
        aus, occurrence_NA, names = apex_labels(source, split=split)
    else:
        aus, occurrence_NA, names = read_csv(source, emotion_column=emotion_column)
    fit_labels(
        aus,
        occurrence_NA,
        names,
        origin=source,
        out=out,
        kind=kind,
        threshold=threshold,
        start=start,
        strength=strength,
    )


def apex_labels(source: Path, *, split: str) -> tuple[tuple[str, ...], np.ndarray, tuple[str, ...]]:
    """AU labels, occurrence int8 N×A and emotion names ("" unknown): one row a clip.

    A clip's emotion is not to be seen in every frame of it, so the frame with most AUs speaks for
    the clip.
    """
    records = open_set(source)
    index = records.index(split)
    aus = unsided(records.aus)
    occurrence_FA = Projection.between(records.aus, aus).occurrence(index["occurrence_FA"])
    rows = np.split(occurrence_FA, np.cumsum(index["length_N"])[:-1])
    occurrence_NA = np.stack([clip_TA[(clip_TA == 1).sum(axis=1).argmax()] for clip_TA in rows])
    names = tuple(records.emotions[e] if e >= 0 else "" for e in index["emotion_N"])
    return aus, occurrence_NA, names
