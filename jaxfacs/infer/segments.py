"""Onset, apex and offset of each AU of each face, as a table made of the finished table.

    face_id,AU,onset_frame,apex_frame,offset_frame,onset_s,apex_s,offset_s,duration_s,
    peak_probability,peak_intensity,onset_seen,offset_seen

A segment begins in the first frame in which the AU is present, and ends before the first one in
which its probability is below 0.7 of the threshold (hysteresis: a probability that wavers about the
threshold is one segment), both after `emotion.cues.events`, or where the face is lost. Its offset
is the frame after its last one with the AU present; `onset_seen` and `offset_seen` are 0 where the
film or the face began or ended within it, which then was longer. A single frame alone is left out:
an error of the network looks the same (`jaxfacs emotions cues` lists those too).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxfacs.emotion import frames as frames_module
from jaxfacs.emotion.cues import PRESENT, Event, events
from jaxfacs.emotion.files import write_csv
from jaxfacs.emotion.frames import Frames
from jaxfacs.errors import UserError
from jaxfacs.infer.answer import INTENSITY_DECIMALS, PROBABILITY_DECIMALS, centred

HEADER = (
    *("face_id", "AU", "onset_frame", "apex_frame", "offset_frame"),
    *("onset_s", "apex_s", "offset_s", "duration_s", "peak_probability", "peak_intensity"),
    *("onset_seen", "offset_seen"),
)
SHORTEST = 2  # frames with the AU present
TIME_DECIMALS = 3


def write(
    table_path: str | Path,
    out_path: str | Path,
    *,
    thresholds: Mapping[str, float] | None = None,
    shortest: int = SHORTEST,
) -> int:
    """Writes the segments of a table; returns how many there are.

    Args:
      table_path: what `jaxfacs predict` wrote, or OpenFace.
      out_path: by custom NAME.segments.csv.
      thresholds: AU -> probability from which it is present, those that the table was made with.
        None, or an AU that is not there: the lowest probability that the table calls present.
      shortest: frames with the AU present; shorter segments are left out.

    Raises:
      UserError: the table cannot be read, has no times, or they do not rise.
    """
    told = frames_module.read(Path(table_path))
    if np.isnan(told.time_s_N[told.face_N != "-1"]).any():
        raise UserError(f"{table_path} has no time in every row; a column timestamp is due")
    present = frames_module.read(Path(table_path), evidence="occurrence")
    threshold_A = _thresholds(told, present, thresholds or {})
    rows: list[tuple] = []
    for part in _unbroken(told):
        evidence = replace(part, probability_NA=centred(part.probability_NA, threshold_A))
        try:
            found = events(evidence)
        except ValueError as error:
            raise UserError(f"{table_path}, face {part.face_N[0]}: {error}") from error
        rows += [_row(part, event) for event in found if event.frames >= shortest]
    write_csv(out_path, HEADER, rows)
    return len(rows)


def _thresholds(told: Frames, present: Frames, given: Mapping[str, float]) -> np.ndarray:
    """Of each AU; where it is never present any will do."""
    called = np.where(present.probability_NA >= 1, told.probability_NA, np.inf)
    lowest_A = called.min(axis=0, initial=1.0)
    threshold_A = np.array([given.get(au, t) for au, t in zip(told.aus, lowest_A, strict=True)])
    # From one column of occurrence alone, 0 or 1, any threshold between them is the same.
    only_calls_A = np.isin(np.nan_to_num(told.probability_NA), (0, 1)).all(axis=0)
    threshold_A = np.where(only_calls_A, PRESENT, threshold_A)
    return np.clip(threshold_A, 1e-4, 1 - 1e-4)


def _unbroken(told: Frames) -> Iterator[Frames]:
    """Each face from where it appears to the next frame without it."""
    order = np.unique(told.frame_N)
    for rows in told.sequences():
        if told.face_N[rows[0]] == "-1":
            continue
        place = np.searchsorted(order, told.frame_N[rows])
        for run in np.split(rows, np.flatnonzero(np.diff(place) != 1) + 1):
            yield told.take(run)


def _row(part: Frames, event: Event) -> tuple:
    """`part` has the table's own probabilities; the times of `event` are those of its frames."""
    onset, apex, offset = (
        int(np.searchsorted(part.time_s_N, time_s))
        for time_s in (event.onset_s, event.apex_s, event.offset_s)
    )
    a = part.aus.index(event.au)
    inside = slice(onset, offset if event.ends else offset + 1)
    intensity_K = part.intensity_NA[inside, a]
    known = not np.isnan(intensity_K).all()
    times = (event.onset_s, event.apex_s, event.offset_s, event.duration_s)
    return (
        part.face_N[0],
        event.au,
        *(int(part.frame_N[place]) for place in (onset, apex, offset)),
        *(f"{time_s:.{TIME_DECIMALS}f}" for time_s in times),
        f"{np.nanmax(part.probability_NA[inside, a]):.{PROBABILITY_DECIMALS}f}",
        f"{np.nanmax(intensity_K):.{INTENSITY_DECIMALS}f}" if known else "",
        int(event.begins),
        int(event.ends),
    )
